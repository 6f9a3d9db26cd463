"""Record a step once and replay it: what Python does between the kernels of a small model takes longer than they.

On a GPU the recording is a CUDA graph: all kernels of a step start at one stroke, at the recorded addresses and shapes. On a
CPU it is the program that `torch.jit.trace` writes down, in which the number of stored tokens may vary.

Source: PyTorch documentation, "CUDA Graphs" and "torch.jit.trace"; gpt-fast (2023) for fixed shapes.
"""

import warnings
from collections.abc import Callable
from itertools import chain

import torch
from torch import Tensor, nn

from lecture_lib.packed import objects_of, recorded_with_objects

Step = Callable[..., Tensor]  # tokens, positions, stored keys and values, clocks if there are any -> logits


@torch.no_grad()
def record(model: nn.Module, step: Step, tokens: Tensor, positions: Tensor, *memory: Tensor) -> Step:
    """Record a step from examples of its arguments: a function of the same ones with the same results.

    It knows the weights of now alone. `memory` is what is stored, (L, 2, B, M, H_kv, D_k), and the clocks of a rotary model: on
    a GPU every replay uses these very tensors, and gives its results in the same memory each time.
    """
    if tokens.is_cuda:
        return graph(step, tokens, positions, *memory)
    learning = [parameter for parameter in model.parameters() if parameter.requires_grad]
    try:  # a program's constants need no gradients
        for parameter in learning:
            parameter.requires_grad_(False)
        return trace(model, step, tokens, positions, *memory)
    finally:
        for parameter in learning:
            parameter.requires_grad_(True)


class Recordable(nn.Module):
    """A step with the objects that its kernels read weights from: as attributes they are part of a program."""

    def __init__(self, step: Step, objects: list[torch.ScriptObject]) -> None:
        super().__init__()
        self.step = (step,)
        for i, each in enumerate(objects):
            setattr(self, f"weights_{i}", each)

    def forward(self, *given: Tensor) -> Tensor:
        """Do the step."""
        return self.step[0](*given)


def trace(model: nn.Module, step: Step, *examples: Tensor) -> Step:
    """Write the step down as a program of torch's own, without Python."""
    aside = tuple(tensor.clone() for tensor in examples)
    step(*aside)  # weights are put into a kernel's order before anything is recorded
    recordable = Recordable(step, objects_of(chain(model.parameters(), model.buffers())))
    before = recorded_with_objects.set(True)
    with warnings.catch_warnings():
        warnings.simplefilter(
            "ignore"
        )  # that tracing is old, and that sizes which never change are constants
        try:
            return torch.jit.trace(recordable, aside, check_trace=False).forward
        finally:
            recorded_with_objects.reset(before)


def graph(step: Step, tokens: Tensor, positions: Tensor, *memory: Tensor) -> Step:
    """Write the step's kernels down as a CUDA graph."""
    tokens, positions = tokens.clone(), positions.clone()
    aside = torch.cuda.Stream()
    aside.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(aside):
        for _ in range(3):  # kernels are loaded and workspaces made before anything is recorded
            step(tokens, positions, *memory)
    torch.cuda.current_stream().wait_stream(aside)
    recorded = torch.cuda.CUDAGraph()
    with torch.cuda.graph(recorded):
        logits = step(tokens, positions, *memory)

    def replay(new_tokens: Tensor, new_positions: Tensor, *_: Tensor) -> Tensor:
        tokens.copy_(new_tokens), positions.copy_(new_positions)
        recorded.replay()
        return logits

    return replay
