"""How a model reads: the texts anew at every step (`Reread`), the oracle for everything faster.

Axes: B texts, N tokens of the longest, |V| tokens of the vocabulary.
"""

from collections.abc import Callable
from typing import Protocol

import torch
from torch import Tensor, nn

from lecture_lib.padding import pad

Model = Callable[..., Tensor]  # model(ids, lengths=None) -> (B, N, |V|) logits


class Reader(Protocol):
    """What generation asks of a model: to read texts and score what follows."""

    def read(self, rows: list[list[int]]) -> Tensor:
        """Give the (B, |V|) logits of the tokens that follow B lists of token ids."""
        ...


class Reread:
    """Read every text from its beginning.

    Args:
        model: gives (B, N, |V|) logits for (B, N) ids; called `model(ids, lengths)` if the texts are padded (on the right).
        device: where it takes its ids; None: where its weights are, or as its attribute `device` says, else the CPU.
    """

    def __init__(self, model: Model, device: torch.device | None = None) -> None:
        self.model, self.config = model, getattr(model, "config", None)
        parameter = next(model.parameters(), None) if isinstance(model, nn.Module) else None
        home = getattr(model, "device", torch.device("cpu")) if parameter is None else parameter.device
        self.device = home if device is None else device

    @torch.no_grad()
    def read(self, rows: list[list[int]]) -> Tensor:
        """Read as `Reader.read`: (B, |V|) logits; a model that gives logits of another shape is refused."""
        ids, lengths = pad(rows, 0, self.device)
        ragged = min(map(len, rows)) < ids.shape[1]
        logits = self.model(ids, lengths) if ragged else self.model(ids)  # (B, N, |V|)
        if not isinstance(logits, Tensor) or logits.ndim != 3 or logits.shape[:2] != ids.shape:
            got = tuple(logits.shape) if isinstance(logits, Tensor) else type(logits).__name__
            raise ValueError(f"the model must give (B, N, |V|) logits for ids {tuple(ids.shape)}: got {got}")
        return logits[torch.arange(len(rows), device=logits.device), (lengths - 1).to(logits.device)]
