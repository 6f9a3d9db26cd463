r"""LoRA in a model: adapt layers by name, count, merge, unmerge.

Works on any `nn.Module`: the models of this library and those of transformers. Names are chosen as in peft; in
our models the names of the family's checkpoints are understood too.

Source: Hu et al. (2021), section 4; the options of peft's LoraConfig.
"""

from collections.abc import Collection, Iterable

import torch
from torch import nn

from lecture_lib.lora.layer import LoRALayer, adapted, is_merged, unmerge
from lecture_lib.lora.names import Names, find_targets
from lecture_lib.lora.shapes import check_mergeable, check_rank
from lecture_lib.quantization.model import replace_layer
from lecture_lib.weights import unwrapped


def add_lora(
    model: nn.Module,
    target_modules: str | Iterable[str],
    r: int,
    lora_alpha: float,
    lora_dropout: float = 0.0,
    use_rslora: bool = False,
    modules_to_save: Iterable[str] = (),
    generator: torch.Generator | None = None,
    autocast_adapter_dtype: bool = True,
) -> nn.Module:
    r"""Freeze the model and give each chosen layer a trainable update: $W_0 + \frac{\alpha}{r}AB$.

    Args:
        model: changed in place; its outputs stay what they are until the update is trained.
        target_modules: as in peft. A list of names or name endings, ours or those of the family's checkpoints
            (["W_q", "v_proj"]); a string is a regular expression for the whole name; "all-linear": all linear
            layers but the output head. Tables of vectors are adapted when they are named.
        r: rank of each update.
        lora_alpha: strength; the factor in front of each update is lora_alpha / r.
        lora_dropout: probability with which an input of an update is dropped while training.
        use_rslora: the factor is lora_alpha / sqrt(r).
        modules_to_save: names or name endings of modules to train in full as well, such as a new head. A weight
            that such a module shares with another (a tied head) becomes its own, as in peft.
        generator: draws the initial matrices.
        autocast_adapter_dtype: matrices in float32 on a model in half precision.

    Returns:
        The same model.

    Raises:
        ValueError: a name that matches nothing, a layer that has no update, a rank out of range, a model that
            has LoRA already. The model is then unchanged.

    Example:
        >>> model = nn.Sequential(nn.Linear(6, 4), nn.ReLU(), nn.Linear(4, 3))
        >>> count_parameters(add_lora(model, ["0"], r=2, lora_alpha=4))  # 2 (6 + 4) of 43 + 20
        (20, 63)
    """
    check_free_of_lora(model)
    known = Names(model)
    modules = known.modules
    fully_trained = [modules[name] for entry in modules_to_save for name in known.called(entry)]
    parts = {part for module in fully_trained for part in module.modules()}
    names = [name for name in find_targets(known, target_modules) if modules[name] not in parts]
    for name in names:
        check_rank(r, modules[name], name)
    options = (r, lora_alpha, lora_dropout, use_rslora, generator, autocast_adapter_dtype)
    install(model, [adapted(modules[name], *options) for name in names])
    train_in_full(model, fully_trained)
    return model


def lora_layers(model: nn.Module) -> dict[str, LoRALayer]:
    """The adapted layers of a model by name, in its order; none without LoRA or while merged."""
    return {n: m for n, m in unwrapped(model).named_modules() if isinstance(m, LoRALayer)}


def lora_parameters(model: nn.Module) -> list[nn.Parameter]:
    """The matrices of all updates, A (r, D_in) and B (D_out, r) in turn: what an optimizer needs."""
    return [matrix for layer in lora_layers(model).values() for matrix in (layer.lora_A, layer.lora_B)]


def count_parameters(model: nn.Module) -> tuple[int, int]:
    """Count parameters, the trainable and all: an update of rank r adds r (D_in + D_out) trainable ones."""
    parameters = list(model.parameters())
    return sum(p.numel() for p in parameters if p.requires_grad), sum(p.numel() for p in parameters)


def merge_lora(model: nn.Module, reversible: bool = True) -> nn.Module:
    r"""Fold every update into its weight, $W = W_0 + \frac{\alpha}{r}AB$: same outputs, a plain model again.

    Args:
        model: changed in place; its layers and the names in its state_dict are those of before `add_lora`. A
            merged head or table that shared its weight has one of its own afterwards.
        reversible: keep W_0 and the updates for `unmerge_lora`: the memory of the adapted weights once more.

    Returns:
        The same model.

    Raises:
        ValueError: no LoRA in the model, or a base without a floating-point weight (a quantized one would
            have to be rounded again). The model is then unchanged.
    """
    layers = lora_layers(model)
    if not layers:
        raise ValueError("nothing to merge: the model has no LoRA layers")
    for name, layer in layers.items():
        check_mergeable(layer.base_layer, name)
    for layer in layers.values():
        replace_layer(unwrapped(model), layer, layer.merge(reversible))
    return model


def unmerge_lora(model: nn.Module) -> nn.Module:
    """Undo `merge_lora`, bit by bit: the weights W_0 of before and the trainable updates beside them.

    Args:
        model: changed in place; changes made to merged weights are lost.

    Returns:
        The same model.

    Raises:
        ValueError: nothing was merged, or it was merged with `reversible=False`.
    """
    merged = [module for module in model.modules() if is_merged(module)]
    if not merged:
        raise ValueError("nothing to unmerge: the model holds no updates merged by merge_lora(model)")
    for base_layer in merged:
        replace_layer(unwrapped(model), base_layer, unmerge(base_layer))
    return model


def install(model: nn.Module, layers: Iterable[LoRALayer]) -> None:
    """Freeze the model and put the adapted layers in the place, or places, of their bases."""
    model.requires_grad_(False)
    for layer in layers:
        layer.lora_A.requires_grad_(True)
        layer.lora_B.requires_grad_(True)
        replace_layer(unwrapped(model), layer.base_layer, layer)


def train_in_full(model: nn.Module, modules: Collection[nn.Module], tied: bool = False) -> None:
    """Make modules trainable, each with weights of its own unless they are to stay `tied`."""
    owners: dict[int, set[int]] = {}
    for module in unwrapped(model).modules():
        for parameter in module._parameters.values():
            owners.setdefault(id(parameter), set()).add(id(module))
    for part in (part for module in modules for part in module.modules()):
        for name, parameter in part._parameters.items():
            if parameter is not None and not tied and len(owners[id(parameter)]) > 1:
                owners[id(parameter)].discard(id(part))
                part._parameters[name] = nn.Parameter(parameter.detach().clone())
    for module in modules:
        module.requires_grad_(True)


def check_free_of_lora(model: nn.Module) -> None:
    """ValueError if the model has LoRA layers, open or merged."""
    for name, module in unwrapped(model).named_modules():
        if isinstance(module, LoRALayer) or is_merged(module):
            first = "unmerge_lora(model) and then " if is_merged(module) else ""
            raise ValueError(
                f"the model has LoRA already ({name}): {first}merge_lora(model, reversible=False) makes it plain"
            )
