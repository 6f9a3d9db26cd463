"""The training loop: forward, backward, clip, step; with a progress bar, checkpoints and an exact way back.

A run that was stopped and resumed gives the same numbers as one that was not: the checkpoint holds weights, optimizer, step
and the state of torch's random numbers, and the batches of the steps done are drawn again and passed over. So `batches`
must begin as it began the first time (a new generator with the same seed); this is checked.
"""

import builtins
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path

import torch
from torch import nn
from tqdm.auto import tqdm

from lecture_lib.training.batches import Batch
from lecture_lib.training.checkpoint import load_checkpoint, save_checkpoint
from lecture_lib.training.config import TrainingConfig, TrainingDivergedError, TrainingRun
from lecture_lib.training.distributed import process_rank
from lecture_lib.training.evaluation import Objective, evaluate, target_loss
from lecture_lib.training.interrupt import deferred_interrupt
from lecture_lib.training.state import TrainingState


def train(
    model: nn.Module,
    batches: Iterable[Batch],
    config: TrainingConfig,
    objective: Objective = target_loss,
    validation: Iterable[Batch] = (),
    checkpoint: str | Path | None = None,
    resume: bool = False,
    progress: bool | None = None,
) -> TrainingRun:
    """Train a model by AdamW, in place and on its device; on several processes if torchrun started them.

    Args:
        model: called with the inputs of a batch.
        batches: as many as steps times accumulation steps, or more; the same ones in every process.
        objective: mean loss of a batch in nats per target; `model` in it may be a replica of the model. The bar shows
            its `status`, if it has one.
        validation: a finite number of batches, for an evaluation every `config.evaluate_every` steps and at the end.
        checkpoint: file to save to, every `config.checkpoint_every` steps, at the end and when interrupted.
        resume: go on from that file if there is one; with more `max_steps` also after the end, along the new schedule.
        progress: show a bar; None: where someone can see it, on a terminal or in a notebook.

    Returns:
        Loss and gradient norm of every step, those before a resumption included, and the evaluations.

    Raises:
        ValueError: too few batches, a checkpoint that exists already or is of another run, nothing to train.
        TrainingDivergedError: loss or gradient is no longer a finite number; the weights are those before this step.
        KeyboardInterrupt: Ctrl-C; the step is finished and the checkpoint written before.
        OSError: a checkpoint could not be written; the one before is unharmed.
    """
    rank, n_processes = process_rank()
    saver = _Saver(checkpoint, resume, rank)
    state = TrainingState(model, config, objective, rank, n_processes)
    stream = iter(batches)
    if saver.found:
        state.restore(load_checkpoint(saver.path), stream)
        saver.step = state.step
    was_training = model.training
    shown = _someone_watches() if progress is None else progress
    bar = tqdm(total=config.max_steps, initial=state.step, unit="step", disable=not shown or rank > 0)
    try:
        # The reader may have switched gradients off.
        with torch.inference_mode(False), torch.enable_grad(), deferred_interrupt() as interrupted, bar:
            _steps(state, stream, tuple(validation), saver, bar, interrupted)
    except TrainingDivergedError as error:
        raise TrainingDivergedError(f"{error}; {saver.last()}") from None
    finally:
        model.train(was_training)
    return state.run


class _Saver:
    """Where checkpoints go; only the first process writes."""

    def __init__(self, path: str | Path | None, resume: bool, rank: int) -> None:
        self.path = None if path is None else Path(path)
        self.rank = rank
        self.found = self.path is not None and self.path.exists()
        self.step: int | None = None  # of the last checkpoint
        if resume and path is None:
            raise ValueError("to resume, say from which checkpoint")
        if self.found and not resume:
            raise ValueError(f"{path} exists already: resume=True goes on from it, another name begins anew")

    def save(self, state: TrainingState) -> None:
        if self.path is None or self.step == state.step:
            return
        content = state.content()  # all processes take part
        if self.rank == 0:
            try:
                save_checkpoint(self.path, content)
            except OSError as error:
                raise OSError(f"at step {state.step}: {error}") from error
        self.step = state.step

    def last(self) -> str:
        if self.path is None or not self.path.exists():
            return "there is no checkpoint"
        return f"the last good checkpoint is {self.path}" + (f", of step {self.step}" if self.step else "")


def _steps(
    state: TrainingState,
    stream: Iterator[Batch],
    validation: Sequence[Batch],
    saver: _Saver,
    bar: tqdm,
    interrupted: Callable[[], bool],
) -> None:
    config, run = state.config, state.run
    while state.step < config.max_steps:
        start = time.perf_counter()
        stop = state.take_step(stream, interrupted)
        run.seconds += time.perf_counter() - start
        bar.update()
        status = getattr(state.objective, "status", "") or f"{run.tokens_per_second:,.0f} tokens/s"
        bar.set_postfix_str(f"loss {run.losses[-1]:.3f}, {status}", refresh=False)
        last = state.step == config.max_steps
        if validation and (last or _due(state.step, config.evaluate_every)):
            run.evaluations[state.step] = evaluate(state.model, validation, state.objective).loss
        if stop or last or _due(state.step, config.checkpoint_every):
            saver.save(state)
        if stop and not last:
            raise KeyboardInterrupt(f"stopped after step {state.step} of {config.max_steps}; {saver.last()}")


def _due(step: int, every: int) -> bool:
    return every > 0 and step % every == 0


def _someone_watches() -> bool:
    return sys.stderr.isatty() or hasattr(builtins, "__IPYTHON__")
