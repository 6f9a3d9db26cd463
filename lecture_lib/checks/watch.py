"""What surrounds a call of an answer: torch's usual settings, libraries as they were, and a look at what is borrowed.

The look is a convenience that tells an honest reader what the exercise asks for. It refuses the library's own solution
and, where an exercise says so, torch's ready-made kernels. Whoever wants to deceive it can: that is the grader's business.
"""

import contextlib
import importlib
import sys
import threading
import types
import warnings
from collections.abc import Callable, Iterable, Iterator

import numpy as np

from lecture_lib.checks.plain import Raised, Refused, told

LIBRARIES = ("math", "random", "numpy", "torch", "torch.Tensor", "torch.nn", "torch.nn.functional")
_as_loaded: dict[str, dict[str, object]] = {}  # callables of each library when it was first seen


class Borrowed(Exception):
    """The answer called what it was asked to write."""


def borrowed(name: str) -> Refused:
    """Tell that an answer calls somebody else's."""
    return told(f"calls {name}: the exercise is to write that yourself")


def codes(function: object) -> Iterable[types.CodeType]:
    """Code objects of a function, or of every method of a class."""
    function = getattr(function, "__wrapped__", function)
    if isinstance(function, type):
        for member in vars(function).values():
            yield from codes(getattr(member, "__func__", member))
    elif isinstance(function, types.FunctionType):
        yield function.__code__


def helpers(reference: Callable) -> dict[str, object]:
    """Functions of the exercises that a reference calls by name: whoever calls them has borrowed as well."""
    if not isinstance(reference, types.FunctionType):
        return {}
    named = {name: reference.__globals__.get(name) for name in reference.__code__.co_names}
    ours = ("lecture_lib.exercises", "lecture_lib.checks")
    return {
        f"the check's {name}": f
        for name, f in named.items()
        if str(getattr(f, "__module__", "")).startswith(ours)
    }


def resolve(dotted: str) -> object | None:
    """The object of a dotted name such as ``lecture_lib.attention.softmax``; None if there is none."""
    module_name, _, name = dotted.rpartition(".")
    try:
        return getattr(importlib.import_module(module_name), name, None)
    except ImportError:
        return None


def call_watched(call: Callable, functions: dict[str, object]) -> object:
    """Call and stop at the first use of a Python function that belongs to someone else.

    Args:
        call: the call to watch, without arguments.
        functions: functions and classes that may not run, by the name to tell the reader.

    Returns:
        What the call returned.

    Raises:
        Borrowed: one of them ran; the message names it.
    """
    if sys.getprofile() is not None:  # a profiler or a debugger is at work: leave it alone
        return call()
    owned = {id(code): name for name, function in functions.items() for code in codes(function)}
    seen: list[str] = []

    def notice(frame: types.FrameType, event: str, _argument: object) -> None:
        if event == "call" and id(frame.f_code) in owned:
            seen.append(owned[id(frame.f_code)])

    before = threading.getprofile()
    threading.setprofile(notice)
    sys.setprofile(notice)
    try:
        result = call()
    finally:
        if sys.getprofile() is notice:
            sys.setprofile(None)
        threading.setprofile(before)
    if seen and not isinstance(result, Raised):
        raise Borrowed(seen[0])
    return result


@contextlib.contextmanager
def kernels_noted(words: tuple[str, ...], seen: list[str]) -> Iterator[None]:
    """Note torch's operators whose name holds one of some words, on whatever way they are called.

    All ways (torch.special, modules, methods, map, traced functions) end in the same few operators, named after what
    they do: no list of ways is needed, and none that grows with torch.
    """
    torch = sys.modules.get("torch")
    if not words or torch is None:
        yield
        return
    from torch.utils._python_dispatch import TorchDispatchMode

    class Watch(TorchDispatchMode):
        @classmethod
        def _should_skip_dynamo(cls) -> bool:
            return False  # else the first check of a session imports torch's compiler: 1.8 s, 75 MB

        def __torch_dispatch__(
            self, function: Callable, types: object, args: tuple = (), kwargs: dict | None = None
        ) -> object:
            name = function._schema.name.rpartition("::")[2]
            if any(word in name for word in words):
                seen.append(f"torch's {name.strip('_')}")
            return function(*args, **(kwargs or {}))

    with Watch():
        yield


@contextlib.contextmanager
def usual_settings() -> Iterator[None]:
    """Torch and numpy as they come, whatever is set outside; what is set inside is undone. Warnings are kept silent."""
    with contextlib.ExitStack() as stack:
        stack.enter_context(warnings.catch_warnings())
        warnings.simplefilter("ignore")
        stack.enter_context(np.errstate(all="ignore"))
        if (torch := sys.modules.get("torch")) is not None:
            _usual_torch(torch, stack)
        yield


def _usual_torch(torch: types.ModuleType, stack: contextlib.ExitStack) -> None:
    stack.callback(torch.set_default_dtype, torch.get_default_dtype())
    torch.set_default_dtype(torch.float32)
    debug = torch.get_deterministic_debug_mode()
    if debug:
        stack.callback(torch.set_deterministic_debug_mode, debug)
        torch.set_deterministic_debug_mode(0)
    stack.enter_context(torch.inference_mode(False))
    stack.enter_context(torch.enable_grad())
    if torch.is_autocast_enabled("cpu"):
        stack.enter_context(torch.autocast("cpu", enabled=False))
    if torch.get_default_device().type != "cpu":
        stack.enter_context(torch.device("cpu"))
    if torch.is_anomaly_enabled():
        stack.enter_context(torch.autograd.set_detect_anomaly(False))


def remember() -> None:
    """Keep what the libraries and this package hold now, each when it is first seen."""
    ours = [name for name in sys.modules if name.startswith("lecture_lib.")]
    for name in (*LIBRARIES, *ours):
        if name not in _as_loaded and (place := _place(name)) is not None:
            _as_loaded[name] = {key: f for key, f in _members(place).items() if callable(f)}


@contextlib.contextmanager
def libraries_as_loaded() -> Iterator[None]:
    """Undo what the reader has replaced in the libraries, and do it again afterwards: for references and cases."""
    replaced = list(_replaced())
    for place, name, _, before in replaced:
        setattr(place, name, before)
    try:
        yield
    finally:
        for place, name, now, _ in replaced:
            setattr(place, name, now)


@contextlib.contextmanager
def replacements_undone() -> Iterator[None]:
    """Undo what is replaced in the libraries inside, and leave what was replaced before."""
    before = {(id(place), name): now for place, name, now, _ in _replaced()}
    try:
        yield
    finally:
        for place, name, now, as_loaded in list(_replaced()):
            earlier = before.get((id(place), name), as_loaded)
            if now is not earlier:
                setattr(place, name, earlier)


def _replaced() -> Iterator[tuple[object, str, object, object]]:
    """(where, name, what stands there now, what stood there) for every replaced callable."""
    for library, functions in _as_loaded.items():
        place = _place(library)
        members = _members(place)
        for name, before in functions.items():
            now = members.get(name, before)
            if now is before:
                continue
            # torch replaces some of its own functions when they are first used.
            if not str(getattr(now, "__module__", "")).startswith(library.partition(".")[0]):
                yield place, name, now, before


def _place(name: str) -> object | None:
    if name == "torch.Tensor":
        return sys.modules["torch"].Tensor if "torch" in sys.modules else None
    return sys.modules.get(name)


def _members(place: object) -> dict[str, object]:
    if not isinstance(place, type):
        return vars(place)
    return {name: value for owner in reversed(place.__mro__) for name, value in vars(owner).items()}
