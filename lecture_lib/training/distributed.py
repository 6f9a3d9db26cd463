"""Several processes, one model: each takes its rows of every batch, and the gradients are averaged.

`torchrun --nproc_per_node=2 script.py` starts the same script twice and tells each process its rank by environment variables.
Without torchrun there is one process and nothing happens here. Source: Li et al. (2020), PyTorch Distributed.
"""

import atexit
import os
from contextlib import AbstractContextManager, nullcontext

import torch
from torch import Tensor, distributed, nn
from torch.nn.parallel import DistributedDataParallel

from lecture_lib.weights import unwrapped


def process_rank() -> tuple[int, int]:
    """Join the other processes if torchrun started this one: rank, and number of processes; else 0 and 1."""
    if not distributed.is_available() or (
        not distributed.is_initialized() and "TORCHELASTIC_RUN_ID" not in os.environ
    ):
        return 0, 1
    if not distributed.is_initialized():
        if torch.cuda.is_available():
            torch.cuda.set_device(local_device())
        distributed.init_process_group("nccl" if torch.cuda.is_available() else "gloo")
        atexit.register(distributed.destroy_process_group)
    return distributed.get_rank(), distributed.get_world_size()


def local_device() -> torch.device:
    """Give the device of this process: its own GPU, or the CPU. Move the model there first."""
    if not torch.cuda.is_available():
        return torch.device("cpu")
    return torch.device("cuda", int(os.environ.get("LOCAL_RANK", "0")))


def replicate(model: nn.Module, n_processes: int) -> nn.Module:
    """Wrap the model, if it is not yet, so that backward() averages gradients; the weights stay its own."""
    return DistributedDataParallel(model) if n_processes > 1 and not averaging(model) else model


def averaging(model: nn.Module) -> DistributedDataParallel | None:
    """Give the wrapper that averages gradients, among those of a model."""
    found = unwrapped(model, DistributedDataParallel)
    return found if isinstance(found, DistributedDataParallel) else None


def without_averaging(model: nn.Module, yes: bool) -> AbstractContextManager:
    """Put off the averaging of gradients, for all but the last of the batches that are accumulated."""
    wrapper = averaging(model)
    return wrapper.no_sync() if yes and wrapper else nullcontext()


def sum_over_processes(value: Tensor, n_processes: int) -> Tensor:
    """Add up what each process has: the sum of `value`, of any shape, in every process."""
    if n_processes > 1:
        distributed.all_reduce(value)
    return value


def gather(value: Tensor, n_processes: int, device: torch.device) -> list[Tensor]:
    """Collect what each process has, in the order of their ranks, on the CPU; they exchange it on `device`."""
    if n_processes == 1:
        return [value]
    value = value.to(device)
    found = [torch.empty_like(value) for _ in range(n_processes)]
    distributed.all_gather(found, value)
    return [each.cpu() for each in found]
