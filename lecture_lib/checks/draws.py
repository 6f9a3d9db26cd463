"""Random numbers, sizes and masks for the cases of exercises that are made of tensors."""

import math
import random

import torch
from torch import Tensor

from lecture_lib.checks.chance import until

F64, BF16, F16 = torch.float64, torch.bfloat16, torch.float16


class Draw:
    """Fresh sizes and numbers from one seed."""

    def __init__(self, seed: int):
        self.generator, self.random = torch.Generator().manual_seed(seed), random.Random(seed)

    def normal(self, *shape: int, dtype: torch.dtype = torch.float32) -> Tensor:
        """Draw standard normal numbers."""
        return torch.randn(shape, generator=self.generator, dtype=F64).to(dtype)

    def ids(self, *shape: int, below: int, low: int = 0) -> Tensor:
        """Draw integers from low to below - 1."""
        return torch.randint(low, below, shape, generator=self.generator)

    def whole(self, *shape: int) -> Tensor:
        """Draw whole numbers from -3 to 3: float32 adds and multiplies them without rounding."""
        return self.ids(*shape, below=4, low=-3).float()

    def size(self, low: int, high: int) -> int:
        """Draw a size from low to high."""
        return self.random.randint(low, high)

    def sizes(self, count: int) -> list[int]:
        """Draw axis lengths from 3 on that all differ: two equal ones hide a mistake in the order of axes."""
        return self.random.sample(range(3, count + 5), count)

    def order(self, n: int) -> Tensor:
        """Draw a permutation of 0 to n - 1."""
        return torch.randperm(n, generator=self.generator)

    def mask(self, *shape: int) -> Tensor:
        """Draw a mask: every query may look at one key at least and not at one at least; not causal, not the same for all."""

        def draw() -> Tensor:
            open_, shut = torch.rand(shape[-2:], generator=self.generator).topk(2).indices.split(1, dim=-1)
            mask = torch.rand(shape[-2:], generator=self.generator) < 0.5
            return mask.scatter(-1, open_, True).scatter(-1, shut, False)

        tables = [until(draw, irregular) for _ in range(math.prod(shape[:-2]))]
        return torch.stack(tables).reshape(shape)

    def maps(self, D: int, H: int, D_k: int, D_v: int, dtype: torch.dtype = torch.float32) -> tuple:
        """Draw W_q, W_k, W_v (D, H * width) and W_o (H * D_v, D), small enough to leave the size of vectors alone."""
        shapes = (D, H * D_k), (D, H * D_k), (D, H * D_v), (H * D_v, D)
        return tuple((self.normal(*shape, dtype=F64) / shape[0] ** 0.5).to(dtype) for shape in shapes)


def irregular(mask: Tensor) -> bool:
    """Whether a mask is neither triangular nor symmetric nor the same in all its rows."""
    square = mask.shape[0] == mask.shape[1]
    looks_like = (mask.tril(), mask.triu(), mask.mT if square else mask.tril(), mask[:1].expand_as(mask))
    return not any(torch.equal(mask, each) for each in looks_like)


def columns(x: object) -> object:
    """A table stored by columns, with its numbers and its shape as they are; other things as they are."""
    return x.mT.contiguous().mT if isinstance(x, Tensor) and x.ndim > 1 else x


def scattered(x: object) -> object:
    """The same numbers and shape in an order of storage that cannot be flattened without a copy; other things as they are."""
    deep = isinstance(x, Tensor) and x.ndim > 2
    return x.movedim(0, -2).contiguous().movedim(-2, 0) if deep else columns(x)
