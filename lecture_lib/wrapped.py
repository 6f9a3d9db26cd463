"""Models in a wrapper: `torch.compile`, `DataParallel` and `DistributedDataParallel` keep the model inside."""

from torch import nn


def unwrapped(model: nn.Module) -> nn.Module:
    """Take a model out of its wrappers, however many there are.

    Args:
        model: any module; one without a wrapper is given back as it is.
    """
    wrappers = (nn.DataParallel, nn.parallel.DistributedDataParallel)
    while True:
        inner = model.module if isinstance(model, wrappers) else getattr(model, "_orig_mod", None)
        if not isinstance(inner, nn.Module):
            return model
        model = inner
