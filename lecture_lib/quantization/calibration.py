r"""Calibration: what the layers of a model meet on real text, as second moments $H = X^T X$.

Axes: T tokens, K input features of a layer.
"""

from collections.abc import Iterable, Mapping, Sequence
from functools import partial

import torch
from torch import Tensor, nn
from tqdm.auto import tqdm

Batch = Tensor | Sequence[Tensor] | Mapping[str, Tensor]


def second_moments(
    model: nn.Module, layers: Mapping[str, nn.Module], batches: Iterable[Batch], progress: bool = False
) -> dict[str, Tensor]:
    r"""Run the batches through the model and add up $H = X^T X$ of the inputs of each layer.

    Args:
        model: it runs in evaluation mode, without gradients, and is left as it was.
        layers: names and modules inside the model whose inputs count.
        batches: model inputs: ids (B, N), a tuple of arguments, or a dict of named arguments.
        progress: whether to show a progress bar over the batches.

    Returns:
        (K, K) float32 for each name that a batch reached. Padded positions count like others.

    Raises:
        ValueError: no batches.
    """
    batches = list(batches)
    if not batches:
        raise ValueError("calibration holds no batches: pass a list of model inputs, e.g. ids (B, N)")
    moments: dict[str, Tensor] = {}
    handles = [
        layer.register_forward_pre_hook(partial(_add_moment, moments, name), with_kwargs=True)
        for name, layer in layers.items()
    ]
    modes = {module: module.training for module in model.modules()}
    try:
        _run(model.eval(), tqdm(batches, "calibration", disable=not progress, leave=False, unit="batch"))
    finally:
        for handle in handles:
            handle.remove()
        for module, training in modes.items():
            module.training = training
    return moments


def _run(model: nn.Module, batches: Iterable[Batch]) -> None:
    with torch.no_grad():
        for batch in batches:
            if isinstance(batch, Mapping):
                model(**batch)
            elif isinstance(batch, Tensor):
                model(batch)
            else:
                model(*batch)


def _add_moment(
    moments: dict[str, Tensor],
    name: str,
    layer: nn.Module,
    args: tuple[Tensor, ...],
    kwargs: dict[str, Tensor],
) -> None:
    (x,) = (*args, *kwargs.values())
    X = x.detach().flatten(0, -2).float()  # (T, K)
    if name not in moments:
        moments[name] = X.new_zeros(X.shape[1], X.shape[1])
    moments[name].addmm_(X.T, X)
