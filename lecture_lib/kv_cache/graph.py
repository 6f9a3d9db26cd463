"""Record a step once and replay it: what Python does between the kernels of a small model takes longer than they.

On a GPU the recording is a CUDA graph: all kernels of a step start at one stroke, at the recorded addresses and shapes. On a
CPU it is the program that `torch.jit.trace` writes down, in which the number of stored tokens may vary.

Source: PyTorch documentation, "CUDA Graphs" and "torch.jit.trace"; gpt-fast (2023) for fixed shapes.
"""

import warnings
from collections.abc import Callable

import torch
from torch import Tensor, nn

Step = Callable[[Tensor, Tensor, Tensor], Tensor]  # tokens, positions, stored keys and values -> logits


@torch.no_grad()
def record(model: nn.Module, step: Step, tokens: Tensor, positions: Tensor, stored: Tensor) -> Step:
    """Record a step from examples of its arguments: a function of the same ones with the same results.

    It knows the weights of now alone. On a GPU every replay uses the memory of `stored` itself, (L, 2, B, M, H_kv, D_k), and
    gives its results in the same memory each time.
    """
    if stored.is_cuda:
        return graph(step, tokens, positions, stored)
    learning = [parameter for parameter in model.parameters() if parameter.requires_grad]
    try:  # a program's constants need no gradients
        for parameter in learning:
            parameter.requires_grad_(False)
        return trace(step, tokens, positions, stored)
    finally:
        for parameter in learning:
            parameter.requires_grad_(True)


def trace(step: Step, *examples: Tensor) -> Step:
    """Write the step down as a program of torch's own, without Python."""
    aside = tuple(tensor.clone() for tensor in examples)
    with warnings.catch_warnings():
        warnings.simplefilter(
            "ignore"
        )  # that tracing is old, and that sizes which never change are constants
        return torch.jit.trace(step, aside, check_trace=False)


def graph(step: Step, tokens: Tensor, positions: Tensor, stored: Tensor) -> Step:
    """Write the step's kernels down as a CUDA graph."""
    tokens, positions = tokens.clone(), positions.clone()
    aside = torch.cuda.Stream()
    aside.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(aside):
        for _ in range(3):  # kernels are loaded and workspaces made before anything is recorded
            step(tokens, positions, stored)
    torch.cuda.current_stream().wait_stream(aside)
    recorded = torch.cuda.CUDAGraph()
    with torch.cuda.graph(recorded):
        logits = step(tokens, positions, stored)

    def replay(new_tokens: Tensor, new_positions: Tensor, _: Tensor) -> Tensor:
        tokens.copy_(new_tokens), positions.copy_(new_positions)
        recorded.replay()
        return logits

    return replay
