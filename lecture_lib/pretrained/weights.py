"""Weights: the tensors of a checkpoint put into a model, and taken out of it under the names of a family."""

import re
from collections import Counter

import torch
from torch import Tensor, nn

from lecture_lib.pretrained.families import Family, Link, Stored

FLOATING = (torch.float64, torch.float32, torch.bfloat16, torch.float16)
NORMS = (nn.LayerNorm, nn.RMSNorm)

DTYPES = {
    **{"float32": torch.float32, "fp32": torch.float32, "float": torch.float32, "float64": torch.float64},
    **{"float16": torch.float16, "fp16": torch.float16, "half": torch.float16, "double": torch.float64},
    **{"bfloat16": torch.bfloat16, "bf16": torch.bfloat16},
}


def links(model: nn.Module, family: Family, architecture: str) -> list[Link]:
    """Say where each parameter of a model stands in a checkpoint; a shared one is taken under its first name."""
    names = [name for name, _ in model.named_parameters()]
    shared = frozenset(name for name, _ in model.named_parameters(remove_duplicate=False)) - set(names)
    found: dict[str, list[str]] = {}
    for name in names:
        module, _, kind = name.rpartition(".")
        theirs = family.name_of(module, architecture)
        if theirs is None or kind not in ("weight", "bias"):
            raise ValueError(f"{name} has no place in a {family.model_type} checkpoint; merge adapters first")
        found.setdefault(f"{theirs}.{kind}", []).append(name)
    return [family.link(theirs, tuple(ours), shared) for theirs, ours in found.items()]


def fill(
    model: nn.Module,
    wanted: list[Link],
    family: Family,
    stored: Stored,
    dtype: torch.dtype | None,
    device: torch.device,
) -> None:
    """Read the `stored` tensors into a model, and refuse a checkpoint that holds too few, too many or other ones.

    `dtype` None: that of most weights, and norms keep their own.
    """
    lost = [link.theirs[0] for link in wanted if not link.row and not stored.keys() & set(link.theirs)]
    if lost:
        raise ValueError(
            f"the checkpoint lacks {len(lost)} of the {len(wanted)} tensors that its config asks for, "
            f"the first is {lost[0]}"
        )
    known = {name for link in wanted for name in link.theirs}
    check_rest(model, family, {name: stored[name] for name in stored if name not in known})
    shapes = {name: parameter.shape for name, parameter in model.named_parameters()}
    state = {}
    for link in wanted:
        state |= zip(link.ours, read(link, stored, [shapes[name] for name in link.ours]), strict=True)
    sizes = Counter()
    for part in state.values():
        sizes[part.dtype] += part.numel()
    main = sizes.most_common(1)[0][0] if dtype is None else dtype
    for name, part in state.items():
        norm = isinstance(model.get_submodule(name.rpartition(".")[0]), NORMS)
        state[name] = part.to(device, part.dtype if norm and dtype is None else main, copy=True)
    model.load_state_dict(state, strict=False, assign=True)
    if hasattr(model, "tie"):
        model.tie()


def check_rest(model: nn.Module, family: Family, rest: Stored) -> None:
    """Refuse tensors that have no place, and those that say another thing than what stands in for them."""
    extra = [name for name in rest if not any(re.search(known, name) for known in family.replaced)]
    if extra:
        raise ValueError(
            f"it holds {len(extra)} tensors without a place in its config, the first is {extra[0]}"
        )
    for name, load in rest.items():
        compute = next(f for known, f in family.replaced.items() if re.search(known, name))
        if compute is None:
            continue
        tensor = load()
        expected = compute(model.config, tensor)
        if tensor.shape != expected.shape or not expected.float().allclose(
            tensor.float(), rtol=0.01, atol=0.01
        ):
            raise ValueError(f"the tensor {name} is not what its config says, and would be replaced by it")


def read(link: Link, stored: Stored, shapes: list[torch.Size]) -> list[Tensor]:
    """Read one tensor and cut it into the parameters that it holds."""
    shape = (sum(shape[0] for shape in shapes), *shapes[0][1:])
    name = next((name for name in link.theirs if name in stored), None)
    if name is None:
        return [torch.zeros(shape, device="cpu")]
    tensor = stored[name]()
    if tensor.dtype not in FLOATING:
        raise ValueError(f"the tensor {name} is stored as {tensor.dtype}, which is not supported")
    expected = (1, *shape) if link.row else tuple(reversed(shape)) if link.transposed else shape
    if tuple(tensor.shape) != expected:
        raise ValueError(f"{name} has shape {tuple(tensor.shape)}, but its config asks for {expected}")
    tensor = tensor[0] if link.row else tensor.mT if link.transposed else tensor
    return list(tensor.split([shape[0] for shape in shapes]))


def gather(model: nn.Module, family: Family, architecture: str) -> dict[str, Tensor]:
    """Take the weights out of a model, under the names of a family."""
    for name, module in model.named_modules():
        if next(module.buffers(recurse=False), None) is not None:
            raise ValueError(f"{name} is a {type(module).__name__}; undo adapters and quantization first")
    state, tensors = dict(model.named_parameters()), {}
    for link in links(model, family, architecture):
        tensor = torch.cat([state[name].detach() for name in link.ours])
        tensor = tensor[None] if link.row else tensor.mT if link.transposed else tensor
        tensors |= {name: tensor.clone() for name in link.written or link.theirs[:1]}
    return tensors


def find_dtype(dtype: torch.dtype | str | None) -> torch.dtype | None:
    """Give a dtype by its name; None for "auto"."""
    found = DTYPES.get(dtype.removeprefix("torch.")) if isinstance(dtype, str) else dtype
    if dtype is None or dtype == "auto":
        return None
    if found not in DTYPES.values():
        known = "float32, float64, bfloat16, float16 or 'auto'"
        raise ValueError(f"dtype must be {known}, got {dtype!r}; for fewer bits use quantize_model")
    return found


def find_device(device: torch.device | str | int | None) -> torch.device:
    """Give a device by its name."""
    gpu = torch.accelerator.current_accelerator() if torch.accelerator.is_available() else None
    if device == "auto":
        device = gpu
    try:
        found = torch.device("cpu" if device is None else device)
        torch.empty(0, device=found)
    except (RuntimeError, AssertionError, TypeError, NotImplementedError):
        here = "'cpu'" if gpu is None else f"'cpu' and {gpu.type!r}"
        raise ValueError(f"there is no device {device!r} here, only {here}") from None
    return found
