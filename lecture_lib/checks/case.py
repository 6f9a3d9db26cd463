"""A case: one call of the answer, and what to look at besides its result."""

import functools
from collections.abc import Callable
from dataclasses import dataclass, field

from lecture_lib.checks import wire
from lecture_lib.checks.plain import Refused, plain
from lecture_lib.checks.verdict import differs
from lecture_lib.checks.watch import libraries_as_loaded, remember, usual_settings


@dataclass(frozen=True)
class Case:
    """One call of the answer. All but `hidden` can be sent by `wire`."""

    what: str  # for the reader: "batch (2, 3), N=4 queries, M=7 keys, D_k=6, D_v=5"
    inputs: tuple  # positional arguments: tensors, arrays and builtins
    named: dict = field(default_factory=dict)  # keyword arguments
    gradient: tuple[int, ...] = ()  # positions of the float64 inputs whose gradient is compared as well
    hidden: object = None  # what `ask` and `accept` know and the answer must not: never sent

    @property
    def sent(self) -> tuple:
        """What the confined side needs: ``Case(*loads(dumps(case.sent), live=True))``."""
        return self.what, self.inputs, self.named, self.gradient

    @functools.cached_property
    def message(self) -> str:
        """The same as `wire` writes it: once, however many answers are called."""
        return wire.dumps(self.sent).decode("ascii")


def changed_input(case: Case, names: list[str], inputs: tuple, named: dict) -> str | None:
    """The name of an argument that is not as it was."""
    before = [*zip(names, case.inputs, strict=False), *case.named.items()]
    pairs = zip(before, (*inputs, *(named[name] for name in case.named)), strict=True)
    return next((name for (name, old), new in pairs if differs(new, old)), None)


def writes_into(name: str) -> str:
    """Tell that an answer changes what it was given."""
    return (
        f"writes into the caller's {name}: `{name} += ...`, `{name}[...] = ...` and methods such as add_ or append change "
        f"the object itself; work on a copy, or write `{name} = {name} + ...`"
    )


def gradients(output: object, inputs: tuple, case: Case, names: list[str]) -> dict:
    """Plain gradients of a fixed mix of a result's numbers, by the inputs that the case names."""
    import torch

    words = [f"its gradient with respect to {names[place]}" for place in case.gradient]
    if type(output) is not torch.Tensor or not output.requires_grad:
        none = "a result that carries no gradient back to the inputs (no .detach(), .item(), numpy)"
        return dict.fromkeys(words, Refused(none))
    direction = torch.cos(torch.arange(output.numel(), dtype=output.real.dtype)).reshape(output.shape)
    sources = [inputs[place] for place in case.gradient]
    # A number, not a vector and a direction: for those torch imports sympy, half a second.
    found = torch.autograd.grad((output * direction).sum().real, sources, allow_unused=True)
    filled = (torch.zeros_like(x) if g is None else g for x, g in zip(sources, found, strict=True))
    return dict(zip(words, map(plain, filled), strict=True))


def drawn_as_usual(cases: Callable[[int], list[Case]], seed: int) -> list[Case]:
    """Cases under torch's usual settings, with libraries as they were loaded."""
    remember()
    with usual_settings(), libraries_as_loaded():
        return cases(seed)
