"""What a training is told, and what it tells."""

from dataclasses import dataclass, field

from lecture_lib.fields import at_least, check_fields, declared, number, positive
from lecture_lib.training.optimization import threshold


@dataclass(frozen=True)
class TrainingConfig:
    """The choices of a training; a number that makes no sense is refused."""

    max_steps: int = at_least(1)  # updates of the weights
    learning_rate: float = positive()  # at the peak of the schedule
    warmup_steps: int = at_least(0, 0)  # steps in which it rises from 0
    final_fraction: float = number(
        0, 0.1
    )  # last learning rate, in units of the peak; 1: constant after the warm-up
    weight_decay: float = number(0, 0.1)  # of matrices; per step and unit of learning rate
    max_grad_norm: float | None = declared(
        threshold, 1.0
    )  # larger gradients are scaled down to it; None: never
    accumulation_steps: int = at_least(1, 1)  # batches per update
    mixed_precision: bool = True  # bfloat16 for the matrix products, on a GPU only
    evaluate_every: int = at_least(0, 0)  # steps; 0: at the end only
    checkpoint_every: int = at_least(0, 0)  # steps; 0: at the end only

    def __post_init__(self) -> None:
        check_fields(self)
        if self.warmup_steps > self.max_steps:
            raise ValueError(f"a warm-up of {self.warmup_steps} must lie within the {self.max_steps} steps")


@dataclass
class TrainingRun:
    """What happened in a training; lists have an entry for every step."""

    losses: list[float] = field(default_factory=list)  # nats per target, before the step
    gradient_norms: list[float] = field(default_factory=list)  # before clipping
    evaluations: dict[int, float] = field(default_factory=dict)  # steps done -> validation loss in nats
    n_targets: int = 0  # tokens asked for
    seconds: float = 0.0  # spent in steps, evaluations and checkpoints left out

    @property
    def tokens_per_second(self) -> float:
        """Targets per second of training."""
        return self.n_targets / self.seconds if self.seconds else 0.0


class TrainingDivergedError(RuntimeError):
    """The loss or its gradient is no longer a finite number."""
