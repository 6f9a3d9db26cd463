"""Random numbers and sizes for the cases of this chapter."""

import torch
from torch import Tensor


class Draw:
    """Fresh sizes and numbers from one seed."""

    def __init__(self, seed: int):
        self.generator = torch.Generator().manual_seed(seed)

    def normal(self, *shape: int, dtype: torch.dtype = torch.float32) -> Tensor:
        """Normal numbers of that shape."""
        return torch.randn(shape, generator=self.generator, dtype=dtype)

    def ids(self, *shape: int, below: int) -> Tensor:
        """Integers from 0 to below - 1."""
        return torch.randint(below, shape, generator=self.generator)

    def size(self, low: int, high: int) -> int:
        """A size from low to high."""
        return int(self.ids(below=high - low + 1)) + low
