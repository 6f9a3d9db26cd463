r"""What an update is made of: singular values, the nearest matrix of low rank, and what noise alone can do.

$D = W_{tuned} - W_0$. By Eckart and Young no matrix of rank r lies closer to D than its truncated singular value
decomposition, which misses it by $\sqrt{\sum_{k>r} s_k^2}$. Noise of standard deviation σ in every entry has singular values up to
$σ(\sqrt{N} + \sqrt{M})$ (Marchenko and Pastur), and hides what is weaker than $σ (NM)^{1/4}$ (Baik, Ben Arous and Péché).

Axes: N and M rows and columns, r rank.
"""

import copy
import math
import re
from collections.abc import Iterable

import torch
from torch import Tensor, nn

from lecture_lib.fields import whole


def truncate(update: Tensor, r: int) -> Tensor:
    r"""(N, M) nearest matrix of rank r: $\sum_{k \le r} s_k u_k v_k^T$.

    Args:
        update: (N, M) any matrix.
        r: rank, 0 to min(N, M).

    Raises:
        ValueError: a rank out of range.
    """
    r = whole("rank r", r, 0, min(update.shape), f", the smaller width of {tuple(update.shape)}")
    U, s, V = torch.linalg.svd(update, full_matrices=False)
    return (U[:, :r] * s[:r]) @ V[:r]


def energy_shares(update: Tensor) -> Tensor:
    r"""(K,) share of the squared norm in the r largest singular values, $\sum_{k \le r} s_k^2 / \sum_k s_k^2$.

    Args:
        update: (N, M) a matrix that is not 0; K is the smaller of the two.
    """
    squares = torch.linalg.svdvals(update).square()
    return squares.cumsum(0) / squares.sum()


def noise_edge(N: int, M: int, sigma: float) -> float:
    r"""Largest singular value of noise alone, $σ(\sqrt{N} + \sqrt{M})$, in the limit of a large matrix.

    Args:
        N: rows.
        M: columns.
        sigma: standard deviation of every entry.
    """
    return sigma * (math.sqrt(N) + math.sqrt(M))


def seen_through_noise(s: Tensor, N: int, M: int, sigma: float) -> Tensor:
    r"""Singular value that is seen where s was planted: $\sqrt{(s^2 + σ^2 N)(s^2 + σ^2 M)}\,/\,s$ above $σ(NM)^{1/4}$, else the edge.

    Args:
        s: (...) planted singular values, positive.
        N: rows.
        M: columns.
        sigma: standard deviation of the noise in every entry.

    Returns:
        (...) what a large noisy matrix shows.

    Source: Benaych-Georges & Nadakuditi (2012), section 3.1.
    """
    seen = ((s**2 + sigma**2 * N) * (s**2 + sigma**2 * M)).sqrt() / s
    edge = torch.full_like(s, noise_edge(N, M, sigma))
    return torch.where(s > sigma * (N * M) ** 0.25, seen, edge)


def updates_of(before: nn.Module, after: nn.Module, pattern: str = ".*") -> dict[str, Tensor]:
    r"""$W_{tuned} - W_0$ of every matrix that has changed, as stored, by the name of its parameter.

    Args:
        before: the model with $W_0$.
        after: the same model, trained.
        pattern: regular expression for whole names.

    Raises:
        ValueError: two models whose parameters have other names.
    """
    old, new = dict(before.named_parameters()), dict(after.named_parameters())
    if old.keys() != new.keys():
        raise ValueError(
            f"the models differ in {sorted(old.keys() ^ new.keys())[0]}: compare a model with itself, trained"
        )
    changed = {name: (new[name] - old[name]).detach() for name in old if re.fullmatch(pattern, name)}
    return {name: D for name, D in changed.items() if D.ndim == 2 and D.any()}


def with_truncated_updates(before: nn.Module, updates: Iterable[tuple[str, Tensor]], r: int) -> nn.Module:
    """Copy a model and add to its weights what is left of their updates at rank r.

    Args:
        before: the model with $W_0$; not changed.
        updates: names of parameters and their updates, such as `updates_of(...).items()`.
        r: rank, as `truncate`.
    """
    model = copy.deepcopy(before)
    with torch.no_grad():
        for name, D in updates:
            model.get_parameter(name).add_(truncate(D, r))
    return model
