r"""GPTQ: round the weights one column after the other and let the columns still to come repair the error.

What counts is not the error of the weights but of the layer's output on real inputs X (rows are tokens):
$\|X (W - \hat W)^T\|^2 = \mathrm{tr}\,(W - \hat W) H (W - \hat W)^T$ with $H = X^T X$. Once column j is rounded,
the best the remaining columns can do is a least-squares problem, and its solution is a rank-one update with
row j of U, where $H^{-1} = U^T U$.

Axes: N rows of W (output features), K columns (input features), T tokens of calibration.
Source: Frantar et al. (2023), Algorithm 1; Hassibi & Stork (1993) for the update.
"""

import torch
from torch import Tensor

from lecture_lib.quantization.integers import dequantize, quantize


def output_error(W: Tensor, W_hat: Tensor, H: Tensor) -> Tensor:
    r"""Squared error of the layer's output on the calibration inputs: $\mathrm{tr}\,(W-\hat W) H (W-\hat W)^T$.

    Args:
        W: (N, K) weights.
        W_hat: (N, K) the same after quantization and back.
        H: (K, K) second moment XᵀX of the inputs.

    Returns:
        () sum over tokens and output features, in the squared unit of the output.
    """
    wide = torch.promote_types(W.dtype, H.dtype)
    D = W.to(wide) - W_hat.to(wide)
    return (D @ H.to(wide) * D).sum()


def check_moment(W: Tensor, H: Tensor) -> None:
    """Refuse a second moment that is not one of this layer's inputs.

    Args:
        W: (N, K) weights.
        H: (K, K) second moment XᵀX of the inputs.

    Raises:
        ValueError: shapes that do not fit, or NaN in H.
    """
    if H.shape != (W.shape[1], W.shape[1]):
        raise ValueError(f"H must be (K, K) for weights (N, K): got {tuple(H.shape)} and {tuple(W.shape)}")
    if not torch.isfinite(H).all():
        raise ValueError("the calibration inputs hold NaN or infinity")


def gptq_quantize(
    W: Tensor,
    H: Tensor,
    scale: Tensor,
    zero_point: Tensor | None = None,
    bits: int = 8,
    act_order: bool = False,
    damping: float = 0.01,
    block_size: int = 128,
) -> Tensor:
    r"""Round W column by column on a given grid: $w_k \leftarrow w_k - (w_j - \hat w_j)\,U_{jk}/U_{jj}$ for k > j.

    Inside a block of columns the update is applied at once; the columns behind the block get theirs in one
    matrix product, which gives the same numbers and saves memory traffic.

    Args:
        W: (N, K) weights.
        H: (K, K) second moment XᵀX of the inputs; zeros give round-to-nearest.
        scale: (N, K / G) or (1, 1) step of each group, taken from W beforehand.
        zero_point: (N, K / G) or (1, 1) uint8 code of zero; None: the symmetric grid.
        bits: bits per code, 2 to 8.
        act_order: columns with the largest inputs first, while there are most columns left to repair them.
        damping: this share of the mean of H's diagonal is added to the diagonal.
        block_size: columns between two matrix products.

    Returns:
        (N, K) codes, as `quantize` gives them.

    Raises:
        ValueError: shapes of W and H that do not fit, NaN in H, or an H that stays singular.

    Source: Frantar et al. (2023), Algorithm 1.
    """
    H = H.to(torch.promote_types(W.dtype, H.dtype))
    order = torch.argsort(H.diagonal(), descending=True, stable=True) if act_order else torch.arange(len(H))
    U = _inverse_factor(W, H, order, damping)
    grids = _column_grids(scale, zero_point, W.shape[1])
    grids = [grids[k] for k in order.tolist()]
    W, q = W.to(H.dtype)[:, order], []
    for start in range(0, W.shape[1], block_size):
        stop = min(start + block_size, W.shape[1])
        errors = torch.zeros_like(W[:, start:stop])
        for j in range(start, stop):
            q.append(quantize(W[:, j, None], *grids[j], bits))
            errors[:, j - start] = (W[:, j] - dequantize(q[-1], *grids[j])[:, 0]) / U[j, j]
            W[:, j + 1 : stop] -= errors[:, j - start, None] * U[j, j + 1 : stop]
        W[:, stop:] -= errors @ U[start:stop, stop:]
    return torch.cat(q, dim=1)[:, torch.argsort(order)]


def _column_grids(scale: Tensor, zero_point: Tensor | None, width: int) -> list[tuple[Tensor, Tensor | None]]:
    """Scale (N, 1) and zero point (N, 1) of each of the columns."""
    size = width // scale.shape[1]
    scales = scale.split(1, dim=1)
    zeros = [None] * len(scales) if zero_point is None else zero_point.split(1, dim=1)
    return [(scales[k // size], zeros[k // size]) for k in range(width)]


def _inverse_factor(W: Tensor, H: Tensor, order: Tensor, damping: float) -> Tensor:
    """Upper triangular U with UᵀU = (H + damping)⁻¹, columns in the given order."""
    check_moment(W, H)
    mean = H.diagonal().mean()
    ridge = torch.where(mean > 0, damping * mean, torch.ones_like(mean))
    H = H[order][:, order] + ridge * torch.eye(len(H), dtype=H.dtype, device=H.device)
    try:
        return torch.linalg.cholesky(torch.cholesky_inverse(torch.linalg.cholesky(H)), upper=True)
    except torch.linalg.LinAlgError as error:
        raise ValueError(
            f"H is singular with damping={damping}: raise it, or calibrate on more text"
        ) from error
