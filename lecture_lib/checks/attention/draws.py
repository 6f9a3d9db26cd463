"""Random numbers, sizes and masks for the cases of this chapter."""

import torch
from torch import Generator, Tensor

F64 = torch.float64


def sizes(draw: Generator, count: int) -> list[int]:
    """Draw axis lengths from 3 on that all differ: two equal ones hide a mistake in the order of axes."""
    return (torch.randperm(count + 2, generator=draw)[:count] + 3).tolist()


def normal(draw: Generator, *shape: int, dtype: torch.dtype = torch.float32) -> Tensor:
    """Draw standard normal numbers."""
    return torch.randn(shape, generator=draw, dtype=dtype)


def some_keys(draw: Generator, *shape: int) -> Tensor:
    """Draw a mask in which every query may look at one key at least, and not at one at least."""
    open_, shut = torch.rand(shape, generator=draw).topk(2).indices.split(1, dim=-1)
    mask = torch.rand(shape, generator=draw) < 0.5
    return mask.scatter(-1, open_, True).scatter(-1, shut, False)


def maps(draw: Generator, D: int, H: int, D_k: int, D_v: int, dtype: torch.dtype = torch.float32) -> tuple:
    """Draw W_q, W_k, W_v (D, H * width) and W_o (H * D_v, D), small enough to leave the size of vectors alone."""
    shapes = (D, H * D_k), (D, H * D_k), (D, H * D_v), (H * D_v, D)
    return tuple(normal(draw, *shape, dtype=dtype) / shape[0] ** 0.5 for shape in shapes)


def views(inputs: tuple) -> tuple:
    """Store every table by columns, with its numbers and its shape as they are."""
    return tuple(x.mT.contiguous().mT if isinstance(x, Tensor) else x for x in inputs)
