r"""LoRA in a model: adapt layers by name, count, merge, unmerge.

Works on any `nn.Module`: the models of this library and those of transformers. Names are chosen as in peft.

Source: Hu et al. (2021), section 4; the options of peft's LoraConfig.
"""

import difflib
import re
from collections.abc import Iterable

import torch
from torch import nn

from lecture_lib.lora.layer import LoRALinear, check_mergeable, check_rank, is_linear, is_merged, unmerge


def add_lora(
    model: nn.Module,
    target_modules: str | Iterable[str],
    r: int,
    lora_alpha: float,
    lora_dropout: float = 0.0,
    use_rslora: bool = False,
    modules_to_save: Iterable[str] = (),
    generator: torch.Generator | None = None,
) -> nn.Module:
    r"""Freeze the model and give each chosen linear layer a trainable update: $W_0 + \frac{\alpha}{r}AB$.

    Args:
        model: changed in place; its outputs stay what they are until the update is trained.
        target_modules: as in peft. A list of names or name endings (["q_proj", "v_proj"]); a string is a
            regular expression for the whole name; "all-linear": all but the output head of transformers.
        r: rank of each update.
        lora_alpha: strength; the factor in front of each update is lora_alpha / r.
        lora_dropout: probability with which an input of an update is dropped while training.
        use_rslora: the factor is lora_alpha / sqrt(r).
        modules_to_save: names or name endings of modules to train in full as well, such as a new head.
        generator: draws the matrices A; B starts at zero.

    Returns:
        The same model.

    Raises:
        ValueError: a name that matches nothing, a layer that is not linear, a rank out of range, a model that
            has LoRA already. The model is then unchanged.

    Example:
        >>> model = nn.Sequential(nn.Linear(6, 4), nn.ReLU(), nn.Linear(4, 3))
        >>> count_parameters(add_lora(model, ["0"], r=2, lora_alpha=4))  # 2 (6 + 4) of 43 + 20
        (20, 63)
    """
    check_free_of_lora(model)
    fully_trained = [module for entry in modules_to_save for module in _modules_named(model, entry).values()]
    parts = {part for module in fully_trained for part in module.modules()}
    names = [name for name in find_targets(model, target_modules) if model.get_submodule(name) not in parts]
    for name in names:
        check_rank(r, model.get_submodule(name), name)
    layers = {
        name: LoRALinear(model.get_submodule(name), r, lora_alpha, lora_dropout, use_rslora, generator)
        for name in names
    }
    install(model, layers)
    for module in fully_trained:
        module.requires_grad_(True)
    return model


def lora_layers(model: nn.Module) -> dict[str, LoRALinear]:
    """The adapted layers of a model.

    Args:
        model: a model after `add_lora`.

    Returns:
        The layers by name, in the order of the model; none without LoRA or while merged.
    """
    return {name: module for name, module in model.named_modules() if isinstance(module, LoRALinear)}


def lora_parameters(model: nn.Module) -> list[nn.Parameter]:
    """The matrices of all updates: what an optimizer needs.

    Args:
        model: a model after `add_lora`.

    Returns:
        A (r, D_in) and B (D_out, r) of each adapted layer, in turn.
    """
    return [matrix for layer in lora_layers(model).values() for matrix in (layer.lora_A, layer.lora_B)]


def count_parameters(model: nn.Module) -> tuple[int, int]:
    """Count parameters: an update of rank r adds r (D_in + D_out) trainable ones.

    Args:
        model: any model.

    Returns:
        The number of trainable parameters, and of all.
    """
    parameters = list(model.parameters())
    return sum(p.numel() for p in parameters if p.requires_grad), sum(p.numel() for p in parameters)


def merge_lora(model: nn.Module, reversible: bool = True) -> nn.Module:
    r"""Fold every update into its weight, $W = W_0 + \frac{\alpha}{r}AB$: same outputs, a plain model again.

    Args:
        model: changed in place; its layers and the names in its state_dict are those of before `add_lora`.
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
    for name, layer in layers.items():
        model.set_submodule(name, layer.merge(reversible))
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
    merged = {name: module for name, module in model.named_modules() if is_merged(module)}
    if not merged:
        raise ValueError("nothing to unmerge: the model holds no updates merged by merge_lora(model)")
    for name, base_layer in merged.items():
        model.set_submodule(name, unmerge(base_layer))
    return model


def install(model: nn.Module, layers: dict[str, LoRALinear]) -> None:
    """Freeze the model and put the adapted layers, by name, in place of their bases."""
    model.requires_grad_(False)
    for name, layer in layers.items():
        layer.lora_A.requires_grad_(True)
        layer.lora_B.requires_grad_(True)
        model.set_submodule(name, layer)


def check_free_of_lora(model: nn.Module) -> None:
    """ValueError if the model has LoRA layers, open or merged."""
    adapted = next((name for name, module in model.named_modules() if isinstance(module, LoRALinear)), None)
    if adapted is not None:
        raise ValueError(
            f"the model has LoRA already ({adapted}): merge_lora(model, reversible=False) makes it plain"
        )
    merged = next((name for name, module in model.named_modules() if is_merged(module)), None)
    if merged is not None:
        raise ValueError(
            f"the model holds a merged update that can be undone ({merged}): call unmerge_lora(model) first"
        )


def find_targets(model: nn.Module, target_modules: str | Iterable[str]) -> list[str]:
    """Names of the layers that `target_modules` chooses as in peft, in the model's order; never none."""
    if target_modules == "all-linear":
        head = model.get_output_embeddings() if hasattr(model, "get_output_embeddings") else None
        chosen = {n: m for n, m in model.named_modules() if n and is_linear(m) and m is not head}
        if not chosen:
            raise ValueError(f"{type(model).__name__} has no linear layer to adapt")
    elif isinstance(target_modules, str):
        chosen = _modules_matching(model, target_modules)
    else:
        entries = list(target_modules)
        if not entries:
            raise ValueError(f"target_modules is empty: name the layers to adapt, such as {_endings(model)}")
        found = [_modules_named(model, entry) for entry in entries]
        chosen = {n: m for n, m in model.named_modules() if any(n in modules for modules in found)}
    for name, module in chosen.items():
        if not is_linear(module):
            raise ValueError(f"LoRA adapts linear layers only: {name} is {type(module).__name__}")
    return list(chosen)


def near_names(wanted: str, names: Iterable[str]) -> str:
    """Up to three of the names that resemble the wanted one, as a remark for an error message."""
    near = difflib.get_close_matches(wanted, list(dict.fromkeys(names)), cutoff=0.5)
    return f"; near names: {', '.join(near)}" if near else ""


def _modules_named(model: nn.Module, entry: str) -> dict[str, nn.Module]:
    """The modules with that name or name ending; ValueError if there is none."""
    chosen = {n: m for n, m in model.named_modules() if n == entry or n.endswith(f".{entry}")}
    if not chosen or not entry:
        # An ending is compared with endings of as many parts: "attn.c_atn" with "attn.c_attn".
        parts = entry.count(".") + 1
        endings = (".".join(n.split(".")[-parts:]) for n, _ in model.named_modules() if n)
        raise ValueError(
            f"no module is named {entry!r} or ends in it{near_names(entry, endings)}; "
            f"the linear layers here end in {_endings(model)}"
        )
    return chosen


def _modules_matching(model: nn.Module, pattern: str) -> dict[str, nn.Module]:
    """The modules whose whole name matches the regular expression; ValueError if there is none."""
    try:
        chosen = {n: m for n, m in model.named_modules() if n and re.fullmatch(pattern, n)}
    except re.error as error:
        raise ValueError(f"target_modules={pattern!r} is no regular expression: {error}") from None
    if not chosen:
        raise ValueError(
            f"no module's whole name matches the regular expression {pattern!r}; for name endings pass "
            f"a list; the linear layers here end in {_endings(model)}"
        )
    return chosen


def _endings(model: nn.Module) -> list[str]:
    """Last parts of the names of the linear layers, each once."""
    return list(dict.fromkeys(n.split(".")[-1] for n, m in model.named_modules() if n and is_linear(m)))
