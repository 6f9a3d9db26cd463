"""The weights of a model: out of its wrappers, under their plain names, and whether they are still the same.

`torch.compile`, `DataParallel` and `DistributedDataParallel` keep the model inside. A step of an optimizer, a merged adapter, a
loaded checkpoint, another dtype or device, a layer that is replaced: each leaves a trace that costs little to see, as another
module or parameter in its place, another address, another version counter.
"""

from collections import Counter
from collections.abc import Hashable, Mapping
from itertools import chain
from operator import attrgetter, is_
from typing import Any
from weakref import WeakKeyDictionary, ref

from torch import Tensor, nn

COMPILED = "_orig_mod."  # what torch.compile puts before the names inside, wherever a module was compiled
version = attrgetter("_version")
PARALLEL = (nn.DataParallel, nn.parallel.DistributedDataParallel)


def unwrapped(model: nn.Module, until: type[nn.Module] | tuple[()] = ()) -> nn.Module:
    """Take a model out of its wrappers, however many there are; `until` is the class of one to stop at."""
    while not isinstance(model, until):
        inner = model.module if isinstance(model, PARALLEL) else getattr(model, "_orig_mod", None)
        if not isinstance(inner, nn.Module):
            break
        model = inner
    return model


def plain_state(model: nn.Module) -> dict[str, Tensor]:
    """Give the weights under the names that they have without any wrapper, around the model or inside it."""
    return {name.replace(COMPILED, ""): value for name, value in unwrapped(model).state_dict().items()}


def load_plain_state(model: nn.Module, state: Mapping[str, Tensor]) -> None:
    """Load weights of `plain_state` into a model with or without wrappers; all must be there."""
    inner = unwrapped(model)
    names = {name.replace(COMPILED, ""): name for name in inner.state_dict()}
    inner.load_state_dict({names.get(name, name): value for name, value in state.items()})


class Watch:
    """Remember the weights of a model: has it got others? What was computed from the old ones must not be mixed with the new.

    Hooks count too, and whether there was one is `hooked`. Numbers written through `parameter.data` leave no trace. What modules
    are told beside their weights (an epsilon, a function, a forward put in place of theirs) is compared when asked for, `as_told`.
    """

    def __init__(self, model: nn.Module) -> None:
        modules = list(model.modules())
        self.owners = [d for m in modules for d in (m._modules, m._parameters, m._buffers) if d]
        self.things = list(chain.from_iterable(owner.values() for owner in self.owners))
        self.tensors = list({id(t): t for t in self.things if isinstance(t, Tensor)}.values())
        self.counted = [tensor for tensor in self.tensors if not tensor.is_inference()]
        self.hooks = [h for m in modules for h in (m._forward_hooks, m._forward_pre_hooks)]
        self.addresses = list(map(Tensor.data_ptr, self.tensors))
        self.versions = list(map(version, self.counted))
        self.hooked = any(self.hooks)
        self.modules = list(map(ref, modules))  # a model may go while its watch stays
        self.told = self.settings()
        self.made: dict[Hashable, Any] = {}
        self.done: Counter[Hashable] = Counter()

    def unchanged(self) -> bool:
        """Tell whether every module and tensor is in its place, with the numbers it had."""
        now = list(chain.from_iterable([owner.values() for owner in self.owners]))
        return (
            any(self.hooks) == self.hooked
            and len(now) == len(self.things)
            and all(map(is_, now, self.things))
            and list(map(Tensor.data_ptr, self.tensors)) == self.addresses
            and list(map(version, self.counted)) == self.versions
        )

    def settings(self) -> list[object]:
        """Give what the modules are told beside their weights, and the forward of each class."""
        modules = [module for each in self.modules if (module := each()) is not None]
        public = [value for m in modules for name, value in vars(m).items() if name[0] != "_"]
        return [*public, *[type(m).forward for m in modules]]

    def as_told(self) -> bool:
        """Tell whether weights and settings are what they were."""
        now = self.settings()
        return self.unchanged() and len(now) == len(self.told) and all(map(is_, now, self.told))


# One watch a model, for all who read with it; a model that has changed gets another.
SHARED: WeakKeyDictionary[nn.Module, Watch] = WeakKeyDictionary()
