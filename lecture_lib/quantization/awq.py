r"""AWQ: give the columns that meet large activations a finer grid, by scaling them up before rounding.

$W x = (W \,\mathrm{diag}\,s)(x / s)$ is exact for any s > 0. Rounding $W \,\mathrm{diag}\,s$ divides the error of
column k by $s_k$, at the price of a coarser grid for its neighbours when the scaled column is the largest of the
group. The search $s = a^α$, with a the typical size of the inputs, finds the balance; α = 0 is round-to-nearest,
so the search never loses to it on the calibration inputs.

Axes: N rows of W (output features), K columns (input features).
Source: Lin et al. (2024), section 3.2, eqs. 4 and 5 (a is the mean magnitude there, the root mean square here).
"""

from collections.abc import Callable

import torch
from torch import Tensor

from lecture_lib.quantization.gptq import check_moment, output_error


def awq_scale(W: Tensor, H: Tensor, rounded: Callable[[Tensor], Tensor], n_grid: int = 20) -> Tensor:
    r"""Search $α = 0, 1/n, …, 1$ for the scales $s = a^α$ with the least output error.

    Args:
        W: (N, K) weights.
        H: (K, K) second moment XᵀX of the inputs; $a_k = \sqrt{H_{kk}}$ up to a factor.
        rounded: the quantizer: (N, K) weights to the (N, K) weights that their codes stand for.
        n_grid: steps of the search.

    Returns:
        (K,) s, in the dtype of W; the largest and the smallest entry multiply to 1.

    Raises:
        ValueError: shapes of W and H that do not fit, or NaN in H.

    Source: Lin et al. (2024), eq. 5.
    """
    check_moment(W, H)
    size = H.diagonal().sqrt()
    size = size.clamp(min=1e-4 * size.max()) if size.max() > 0 else torch.ones_like(size)
    trials = [_centred(size ** (i / n_grid)).to(W.dtype) for i in range(n_grid + 1)]
    errors = [
        output_error(W, rounded(scaled(W, s)).to(torch.promote_types(W.dtype, H.dtype)) / s, H)
        for s in trials
    ]
    return trials[int(torch.stack(errors).argmin())]


def scaled(W: Tensor, s: Tensor) -> Tensor:
    r"""$W\,\mathrm{diag}\,s$ in the dtype of W (N, K), at most its largest number."""
    largest = torch.finfo(W.dtype).max
    return (W.to(torch.promote_types(W.dtype, torch.float32)) * s).clamp(-largest, largest).to(W.dtype)


def _centred(s: Tensor) -> Tensor:
    """Divide by the middle of the range, so that the scaled weights keep their size."""
    return s / (s.max() * s.min()).sqrt()
