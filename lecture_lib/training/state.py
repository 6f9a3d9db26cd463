"""All that changes during a training: a step of it, and its way into a checkpoint and back."""

import math
import zlib
from collections.abc import Callable, Iterator
from dataclasses import asdict
from typing import Any

import torch
from torch import nn

from lecture_lib.training.batches import Batch
from lecture_lib.training.config import TrainingConfig, TrainingDivergedError, TrainingRun
from lecture_lib.training.distributed import gather, replicate, sum_over_processes, without_averaging
from lecture_lib.training.evaluation import Objective
from lecture_lib.training.losses import widened
from lecture_lib.training.optimization import adamw_groups, clip_gradients, learning_rate
from lecture_lib.weights import load_plain_state, plain_state

MAY_CHANGE = {"evaluate_every", "checkpoint_every"}  # on resuming: they do not touch the weights
CONTENT = {"step", "model", "optimizer", "config", "run", "random_states", "last_batch"}


class TrainingState:
    """Model, optimizer and the number of steps done, for one of the processes, which each take their share of the rows."""

    def __init__(
        self,
        model: nn.Module,
        config: TrainingConfig,
        objective: Objective,
        rank: int = 0,
        n_processes: int = 1,
    ) -> None:
        self.optimizer = torch.optim.AdamW(
            adamw_groups(model, config.weight_decay), lr=config.learning_rate, betas=(0.9, 0.95)
        )
        self.model, self.config, self.objective = model, config, objective
        self.replica = replicate(model, n_processes)
        self.rank, self.n_processes = rank, n_processes
        self.device = next(model.parameters()).device
        self.step, self.run = 0, TrainingRun()
        self.last_batch: Batch | None = None

    def take_step(self, stream: Iterator[Batch], interrupted: Callable[[], bool]) -> bool:
        """Update the weights once, and say whether to stop after this step, in any of the processes.

        The loss is the mean over all targets of all the batches and processes of the step: each part of it counts by the
        share of the targets it holds, so that the parts together give the gradient of one big batch.
        """
        batches = self.draw(stream)
        n_targets = sum(batch.n_targets for batch in batches)
        self.model.train()
        self.optimizer.zero_grad()
        exact = torch.float32 if self.device.type == "mps" else torch.float64
        loss = torch.zeros(2, dtype=exact, device=self.device)  # and whether to stop
        for i, batch in enumerate(batches):
            mine = batch.share(self.rank, self.n_processes)
            part = mine.n_targets / max(n_targets, 1)
            with without_averaging(self.replica, i + 1 < len(batches)):
                with torch.autocast(self.device.type, torch.bfloat16, enabled=self.is_mixed()):
                    weighted = part * widened(self.objective(self.replica, mine.to(self.device)))
                (self.n_processes * weighted).backward()  # the mean over processes becomes a sum
            loss[0] += weighted.detach()
        loss[1] = float(interrupted())
        total, stop = sum_over_processes(loss, self.n_processes).tolist()
        self.update(total)
        self.run.n_targets += n_targets
        return stop > 0

    def draw(self, stream: Iterator[Batch]) -> list[Batch]:
        """Take the batches of one step; that they have come to an end is refused."""
        batches = [batch for _, batch in zip(range(self.config.accumulation_steps), stream, strict=False)]
        if len(batches) < self.config.accumulation_steps:
            raise ValueError(f"the batches ended after {self.step} of {self.config.max_steps} steps")
        self.last_batch = batches[-1]
        return batches

    def update(self, loss: float) -> None:
        """Follow the gradient, if it and the loss are finite; else the weights are as they were (TrainingDivergedError)."""
        config = self.config
        rate = learning_rate(
            self.step, config.max_steps, config.learning_rate, config.warmup_steps, config.final_fraction
        )
        norm = clip_gradients(self.model.parameters(), config.max_grad_norm).item()
        if not (math.isfinite(loss) and math.isfinite(norm)):
            raise TrainingDivergedError(
                f"step {self.step + 1}: the loss is {loss} and its gradient has norm {norm}, "
                f"at learning rate {rate:.2g}; try a smaller one, or a longer warm-up. "
                "The model has the weights from before this step"
            )
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        self.optimizer.step()
        self.step += 1
        self.run.losses.append(loss)
        self.run.gradient_norms.append(norm)

    def is_mixed(self) -> bool:
        """Tell whether matrix products are in bfloat16."""
        return self.config.mixed_precision and self.device.type == "cuda"

    def content(self) -> dict[str, Any]:
        """Give what a checkpoint holds."""
        random_states = [gather(torch.get_rng_state(), self.n_processes, self.device)]
        if self.device.type == "cuda":
            random_states.append(gather(torch.cuda.get_rng_state(self.device), self.n_processes, self.device))
        return {
            "step": self.step,
            "model": plain_state(self.model),
            "optimizer": self.optimizer.state_dict(),
            "config": asdict(self.config),
            "run": asdict(self.run),
            "random_states": random_states,
            "last_batch": _checksum(self.last_batch),
        }

    def restore(self, content: dict[str, Any], stream: Iterator[Batch]) -> None:
        """Go back to a checkpoint and pass over the batches of the steps done; what is of another training is refused."""
        if missing := CONTENT - set(content):
            raise ValueError(f"this is no checkpoint of a training: it has no {', '.join(sorted(missing))}")
        now, then = asdict(self.config), content["config"]
        may_change = MAY_CHANGE | ({"max_steps"} if now["max_steps"] > then.get("max_steps", 0) else set())
        changed = [
            f"{k} {then.get(k)} -> {now[k]}" for k in now if now[k] != then.get(k) and k not in may_change
        ]
        if (before := len(content["random_states"][0])) != self.n_processes:
            changed.append(f"number of processes {before} -> {self.n_processes}")
        if changed:
            raise ValueError(f"the checkpoint is of a training with other settings: {', '.join(changed)}")
        try:
            load_plain_state(self.model, content["model"])
            self.optimizer.load_state_dict(content["optimizer"])
        except (RuntimeError, ValueError) as error:
            raise ValueError(
                f"the checkpoint is of another model: {str(error).strip().splitlines()[-1].strip()}"
            ) from error
        for self.step in range(content["step"]):
            self.draw(stream)
        self.step, self.run = content["step"], TrainingRun(**content["run"])
        if _checksum(self.last_batch) != content["last_batch"]:
            raise ValueError("not the batches of the run to resume: give the same text and a new generator")
        torch.set_rng_state(content["random_states"][0][self.rank])
        if self.device.type == "cuda":
            torch.cuda.set_rng_state(content["random_states"][-1][self.rank], self.device)


def _checksum(batch: Batch | None) -> int:
    """Tell batches apart by their targets."""
    return 0 if batch is None else zlib.crc32(batch.targets.cpu().contiguous().numpy().tobytes())
