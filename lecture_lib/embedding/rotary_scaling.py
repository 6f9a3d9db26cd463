"""Rotary clocks slowed down, so that a model reads texts longer than those it was trained on.

Source: Grattafiori et al. (2024), section 3.2, for Llama 3's rule; Peng et al. (2023) for YaRN; the names and their meaning
are those of a Hugging Face config.json. Axes: D_k = d_head.
"""

import math
from dataclasses import dataclass, fields

import torch
from torch import Tensor

from lecture_lib.fields import at_least, check_fields, number, one_of, positive

NEEDED = {  # what each kind needs beside its factor
    "linear": (),
    "dynamic": ("original_max_position_embeddings",),
    "llama3": ("low_freq_factor", "high_freq_factor", "original_max_position_embeddings"),
    "yarn": ("original_max_position_embeddings",),
}
OPTIONAL = {"yarn": ("beta_fast", "beta_slow", "truncate", "attention_factor", "mscale", "mscale_all_dim")}


@dataclass(frozen=True)
class RotaryScaling:
    r"""How rotary frequencies $\omega_i$ are slowed down: $s\,\omega_i + (1 - s)\,\omega_i / \text{factor}$.

    The share s that stays is 0 for every clock ("linear"); or it falls from 1 for the fast clocks, which tell neighbours
    apart, to 0 for those that make less than about one turn in the first context ("llama3", "yarn"). "dynamic" raises the
    base theta as far as the length of the text asks for. A number that is missing or means nothing in its kind is refused.
    """

    factor: float = positive()  # how many times longer the context becomes
    low_freq_factor: float | None = positive(None)  # turns in the first context; clocks with fewer are slowed
    high_freq_factor: float | None = positive(None)  # clocks with more turns stay as they are
    original_max_position_embeddings: int | None = at_least(1, None)  # the first context, in tokens
    rope_type: str | None = one_of(tuple(NEEDED), None)  # None: llama3 with low_freq_factor, else linear
    beta_fast: float | None = positive(None)  # YaRN's high_freq_factor; None: 32
    beta_slow: float | None = positive(None)  # YaRN's low_freq_factor; None: 1
    truncate: bool | None = None  # whether YaRN rounds the two to whole clocks; None: yes
    attention_factor: float | None = number(0, None)  # length of turned vectors; None: YaRN's rule
    mscale: float | None = number(0, None)  # weights of that rule, both or none
    mscale_all_dim: float | None = number(0, None)

    def __post_init__(self) -> None:
        check_fields(self)
        if self.rope_type is None:
            kind = "linear" if self.low_freq_factor is None else "llama3"
            object.__setattr__(self, "rope_type", kind)
        kind, given = self.rope_type, [f.name for f in fields(self) if getattr(self, f.name) is not None]
        lost = [name for name in NEEDED[kind] if name not in given]
        if lost:
            raise ValueError(f"rotary scaling of type {kind!r} needs {' and '.join(lost)}")
        known = ("factor", "rope_type", *NEEDED[kind], *OPTIONAL.get(kind, ()))
        extra = [name for name in given if name not in known]
        if extra:
            raise ValueError(f"{extra[0]} has no meaning in rotary scaling of type {kind!r}")
        for low, high in (("low_freq_factor", "high_freq_factor"), ("beta_slow", "beta_fast")):
            a, b = getattr(self, low), getattr(self, high)
            if a is not None and b is not None and a >= b:
                raise ValueError(f"{low} must be below {high}, got {a} and {b}")

    @property
    def amplitude(self) -> float:
        r"""Factor on cosines and sines: 1, but for YaRN $1 + 0.1 \ln(\text{factor})$, unless it is given."""
        if self.rope_type != "yarn":
            return 1.0
        if self.attention_factor is not None:
            return self.attention_factor
        grown = math.log(max(self.factor, 1.0))
        if self.mscale and self.mscale_all_dim:
            return (0.1 * self.mscale * grown + 1) / (0.1 * self.mscale_all_dim * grown + 1)
        return 0.1 * grown + 1

    def slow(self, frequencies: Tensor, theta: float, length: int | None = None) -> Tensor:
        """Slow clocks of base theta down, (D_k / 2,) angles per token; "dynamic" asks for the `length` of the text."""
        if self.rope_type == "dynamic":
            return self._rebased(frequencies, length or 0)
        stays = torch.zeros_like(frequencies)
        if self.rope_type == "llama3":
            turns = self.original_max_position_embeddings * frequencies / (2 * math.pi)
            stays = (turns - self.low_freq_factor) / (self.high_freq_factor - self.low_freq_factor)
        elif self.rope_type == "yarn":
            stays = self._yarn_share(frequencies, theta)
        return torch.lerp(frequencies / self.factor, frequencies, stays.clamp(0, 1))

    def _rebased(self, frequencies: Tensor, length: int) -> Tensor:
        """The clocks of a base that grows with the text, so that the slowest is slowed by about `factor`."""
        first, n = self.original_max_position_embeddings, len(frequencies)
        grown = self.factor * max(length, first) / first - (self.factor - 1)
        exponents = torch.arange(n, device=frequencies.device) / max(n - 1, 1)
        return frequencies / grown**exponents

    def _yarn_share(self, frequencies: Tensor, theta: float) -> Tensor:
        """1 for clocks before the one with `beta_fast` turns, 0 after that with `beta_slow`, a line between."""
        d_head = 2 * len(frequencies)

        def clock_with(turns: float) -> float:
            wave = self.original_max_position_embeddings / (2 * math.pi * turns)
            return d_head * math.log(wave) / (2 * math.log(theta))

        first, last = clock_with(self.beta_fast or 32), clock_with(self.beta_slow or 1)
        if self.truncate is not False:
            first, last = math.floor(first), math.ceil(last)
        first, last = max(first, 0), min(last, d_head - 1)
        width = last - first or 0.001
        return 1 - (torch.arange(len(frequencies), device=frequencies.device) - first) / width
