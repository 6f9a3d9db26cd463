"""Models in a wrapper: `torch.compile`, `DataParallel` and `DistributedDataParallel` keep the model inside."""

from collections.abc import Iterator, Mapping

from torch import Tensor, nn

COMPILED = "_orig_mod."  # what torch.compile puts before the names inside, wherever a module was compiled


def wrappers(model: nn.Module) -> Iterator[nn.Module]:
    """Give the wrappers of a model from the outside in, and last the model itself."""
    yield model
    is_parallel = isinstance(model, nn.DataParallel | nn.parallel.DistributedDataParallel)
    inner = model.module if is_parallel else getattr(model, "_orig_mod", None)
    if isinstance(inner, nn.Module):
        yield from wrappers(inner)


def unwrapped(model: nn.Module) -> nn.Module:
    """Take a model out of its wrappers, however many there are; one without is given back as it is."""
    return list(wrappers(model))[-1]


def plain_state(model: nn.Module) -> dict[str, Tensor]:
    """Give the weights under the names that they have without any wrapper, around the model or inside it."""
    return {name.replace(COMPILED, ""): value for name, value in unwrapped(model).state_dict().items()}


def load_plain_state(model: nn.Module, state: Mapping[str, Tensor]) -> None:
    """Load weights of `plain_state` into a model with or without wrappers; all must be there."""
    inner = unwrapped(model)
    names = {name.replace(COMPILED, ""): name for name in inner.state_dict()}
    inner.load_state_dict({names.get(name, name): value for name, value in state.items()})
