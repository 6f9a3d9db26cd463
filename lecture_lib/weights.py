"""Has a model got other weights? What was computed from the old ones must not be mixed with the new.

A step of an optimizer, a merged adapter, a loaded checkpoint, another dtype or device, a layer that is replaced: each leaves a
trace that costs little to see, as another module or parameter in its place, another address, another version counter.
"""

from itertools import chain

from torch import Tensor, nn


class Watch:
    """Remember the weights and hooks of a model; numbers written through `parameter.data` leave no trace."""

    def __init__(self, model: nn.Module) -> None:
        self.owners = [d for m in model.modules() for d in (m._modules, m._parameters, m._buffers) if d]
        things = {id(thing): thing for owner in self.owners for thing in owner.values()}
        self.tensors = [thing for thing in things.values() if isinstance(thing, Tensor)]
        self.counted = [tensor for tensor in self.tensors if not tensor.is_inference()]
        self.hooks = [h for m in model.modules() for h in (m._forward_hooks, m._forward_pre_hooks)]
        self.things, self.before = list(things.values()), self.state()

    def state(self) -> tuple[list[int], list[int], list[int], int]:
        """What stands in every place, the address and version of every tensor, and the number of hooks."""
        places = list(map(id, chain.from_iterable(owner.values() for owner in self.owners)))
        versions = [t._version for t in self.counted]
        return places, [t.data_ptr() for t in self.tensors], versions, sum(map(len, self.hooks))

    def hooked(self) -> bool:
        """Tell whether a module had a hook when the watch began."""
        return self.before[-1] > 0

    def unchanged(self) -> bool:
        """Tell whether every module and tensor is in its place, with the numbers it had."""
        return self.state() == self.before
