r"""Positions: vectors that know where they stand, by clocks added (sinusoidal) or turning them (rotary).

Source: Vaswani et al. (2017), section 3.5; Su et al. (2021), rotary positions.
Axes: B batch, H heads, N tokens, D = d_model, D_k = d_head; `...` any number of leading axes.
"""

import torch
from torch import Tensor

from lecture_lib.embedding.rotary_scaling import RotaryScaling
from lecture_lib.fields import positive_real


def sinusoidal_positions(positions: int | Tensor, d_model: int, halves: bool = False) -> Tensor:
    r"""Write a position as a row of clocks: $\sin(n/10000^{2i/D})$ and $\cos(n/10000^{2i/D})$.

    Args:
        positions: number of positions N, for 0 ... N - 1; or (...) the positions themselves.
        d_model: width D of a token, even.
        halves: False: sine and cosine alternate, as in the paper; True: all sines, then all cosines, as in
            Marian.

    Returns:
        (N, d_model) or (..., d_model) float32, one row a position, on the device of `positions`.

    Raises:
        ValueError: d_model is odd, so that a sine would be left without its cosine.

    Example:
        >>> sinusoidal_positions(2, 4)
        tensor([[0.0000, 1.0000, 0.0000, 1.0000],
                [0.8415, 0.5403, 0.0100, 0.9999]])

    Source: Vaswani et al. (2017), section 3.5.
    """
    if d_model % 2:
        raise ValueError(f"sines and cosines come in pairs: d_model must be even, got {d_model}")
    if isinstance(positions, int):
        positions = torch.arange(positions)
    # Late positions lose digits in float32.
    wide = torch.float32 if positions.device.type == "mps" else torch.float64
    pairs = torch.arange(0, d_model, 2, dtype=wide, device=positions.device)
    angles = positions[..., None] * 10000 ** (-pairs / d_model)  # (..., d_model / 2)
    waves = (angles.sin().float(), angles.cos().float())
    return torch.cat(waves, dim=-1) if halves else torch.stack(waves, dim=-1).flatten(-2)


def rotary_frequencies(
    d_head: int,
    theta: float = 10000.0,
    scaling: RotaryScaling | None = None,
    device: torch.device | None = None,
    length: int | None = None,
) -> Tensor:
    r"""Give each pair of features its own clock: $\omega_i = \theta^{-2i/D_k}$ for $i = 0 \dots D_k/2 - 1$.

    Args:
        d_head: width D_k of one head; an odd one is refused.
        theta: the base, positive; the slowest clock takes about 2 pi theta tokens for a turn.
        scaling: how to slow the clocks down for a longer context; None: not at all.
        length: number of tokens of the text; only "dynamic" scaling depends on it.

    Returns:
        (d_head / 2,) float32 angles per token, in radians.

    Source: Su et al. (2021), eq. 15.
    """
    if d_head % 2:
        raise ValueError(f"rotary positions turn features in pairs: d_head must be even, got {d_head}")
    theta = positive_real("theta", theta)
    pairs = torch.arange(0, d_head, 2, device=device).float()
    # In float32, rounded as in Hugging Face models: at position 100,000 it matters.
    frequencies = 1 / theta ** (pairs / d_head)
    return frequencies if scaling is None else scaling.slow(frequencies, theta, length)


def rotary_tables(positions: Tensor, frequencies: Tensor, amplitude: float = 1.0) -> tuple[Tensor, Tensor]:
    r"""Read the clocks: $\cos(n\,\omega_i)$ and $\sin(n\,\omega_i)$. A model computes these once and all its layers turn by them.

    Args:
        positions: (..., N) positions of the tokens, any integers, in any order.
        frequencies: (D_k / 2,) angles per token, from `rotary_frequencies`.
        amplitude: factor on both, `scaling.amplitude` of a model with a `RotaryScaling`.

    Returns:
        (..., N, D_k / 2) float32 cosines, and the sines in the same shape.
    """
    angles = positions[..., None].float() * frequencies  # (..., N, D_k / 2)
    cos, sin = angles.cos(), angles.sin()
    return (cos, sin) if amplitude == 1 else (amplitude * cos, amplitude * sin)


def rotate(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    r"""Turn each pair of features by its angle, (..., N, D_k): $(a, b) \to (a\cos - b\sin,\; b\cos + a\sin)$.

    The pairs are (i, i + D_k / 2), the half-split order of Hugging Face's models, which reorder the weights to match;
    the paper and Meta's own Llama code pair (2i, 2i + 1).

    Args:
        x: (..., N, D_k) queries or keys; the result has its dtype.
        cos: (..., N, D_k / 2) cosines, broadcast over the leading axes of x.
        sin: (..., N, D_k / 2) sines, likewise.
    """
    cos, sin = cos.to(x.dtype), sin.to(x.dtype)
    a, b = x.chunk(2, dim=-1)
    return torch.cat([a * cos - b * sin, b * cos + a * sin], dim=-1)


def apply_rotary(x: Tensor, positions: Tensor, theta: float = 10000.0) -> Tensor:
    r"""Turn feature pair i of the token at position n by the angle $n\,\theta^{-2i/D_k}$: $z_i \to z_i\,e^{in\omega_i}$.

    This is the definition; models turn by `rotate` with tables made once. Dot products of turned queries and
    keys depend on the difference of their positions alone. The pairs are (i, i + D_k / 2), as in Hugging
    Face's models.

    Args:
        x: (..., N, D_k) queries or keys, D_k even.
        positions: (..., N) integer positions, in any order: (N,) for all rows alike, (B, 1, N) for a row each
            of x (B, H, N, D_k).
        theta: the base of the frequencies.

    Returns:
        (..., N, D_k) the turned vectors, in the dtype of x.

    Raises:
        ValueError: D_k is odd, or the positions do not fit the tokens.

    Example:
        >>> apply_rotary(torch.tensor([[1.0, 0.0], [1.0, 0.0]]), torch.tensor([0, 1]))
        tensor([[1.0000, 0.0000],
                [0.5403, 0.8415]])

    Source: Su et al. (2021), section 3.2.2.
    """
    axes = zip(reversed(positions.shape), reversed(x.shape[:-1]), strict=False)
    if positions.ndim >= x.ndim or any(p not in (1, n) for p, n in axes):
        raise ValueError(
            f"positions {tuple(positions.shape)} do not broadcast to {tuple(x.shape[:-1])}, one position a token"
        )
    frequencies = rotary_frequencies(x.shape[-1], theta, device=x.device)
    angles = positions[..., None] * frequencies  # (..., N, D_k / 2)
    a, b = x.to(torch.promote_types(x.dtype, torch.float32)).chunk(2, dim=-1)  # there is no complex bfloat16
    turned = torch.complex(a, b) * torch.polar(torch.ones_like(angles), angles)
    return torch.cat([turned.real, turned.imag], dim=-1).to(x.dtype)
