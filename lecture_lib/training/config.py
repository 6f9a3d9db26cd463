"""What a training is told, and what it tells."""

from dataclasses import dataclass, field


@dataclass(frozen=True)
class TrainingConfig:
    """The choices of a training.

    Raises:
        ValueError: a number that makes no sense; says which.
    """

    max_steps: int  # updates of the weights
    learning_rate: float  # at the peak of the schedule
    warmup_steps: int = 0  # steps in which it rises from 0
    final_fraction: float = 0.1  # last learning rate, in units of the peak; 1: constant after the warm-up
    weight_decay: float = 0.1  # of matrices; per step and unit of learning rate
    max_grad_norm: float | None = 1.0  # larger gradients are scaled down to it; None: never
    accumulation_steps: int = 1  # batches per update
    mixed_precision: bool = True  # bfloat16 for the matrix products, on a GPU only
    evaluate_every: int = 0  # steps; 0: at the end only
    checkpoint_every: int = 0  # steps; 0: at the end only

    def __post_init__(self) -> None:
        for name in ("max_steps", "accumulation_steps"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, got {getattr(self, name)}")
        for name in ("warmup_steps", "weight_decay", "evaluate_every", "checkpoint_every", "final_fraction"):
            if not getattr(self, name) >= 0:
                raise ValueError(f"{name} must not be negative, got {getattr(self, name)}")
        if not self.learning_rate > 0:
            raise ValueError(f"learning_rate must be positive, got {self.learning_rate}")
        if self.max_grad_norm is not None and not self.max_grad_norm > 0:
            raise ValueError(
                f"max_grad_norm must be positive, or None for no clipping, got {self.max_grad_norm}"
            )
        if self.warmup_steps > self.max_steps:
            raise ValueError(
                f"the warm-up must lie within the {self.max_steps} steps, got {self.warmup_steps}"
            )


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
