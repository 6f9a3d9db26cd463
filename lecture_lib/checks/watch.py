"""Seeing that an answer is the reader's own: calls into the library's solution are noticed while it runs."""

import contextlib
import importlib
import sys
import threading
import types
from collections.abc import Callable, Iterable, Iterator

from lecture_lib.checks.plain import Raised

# Whatever an answer replaces in these is put back after a run.
LIBRARIES = ("torch", "torch.Tensor", "torch.nn.functional", "numpy")


class Borrowed(Exception):
    """The answer called what it was asked to write."""


def codes(function: object) -> Iterable[types.CodeType]:
    """Code objects of a function, or of every method of a class."""
    function = getattr(function, "__wrapped__", function)
    if isinstance(function, type):
        for member in vars(function).values():
            yield from codes(getattr(member, "__func__", member))
    elif isinstance(function, types.FunctionType):
        yield function.__code__


def helpers(reference: Callable) -> dict[str, object]:
    """Functions of the checks that a reference calls by name: whoever calls them has borrowed as well."""
    if not isinstance(reference, types.FunctionType):
        return {}
    named = {name: reference.__globals__.get(name) for name in reference.__code__.co_names}
    ours = __name__.rpartition(".")[0]
    return {
        f"the check's {name}": f for name, f in named.items() if getattr(f, "__module__", "").startswith(ours)
    }


def resolve(dotted: str) -> object | None:
    """The object of a dotted name such as ``lecture_lib.attention.softmax``; None if there is none."""
    module_name, _, name = dotted.rpartition(".")
    try:
        return getattr(importlib.import_module(module_name), name, None)
    except ImportError:
        return None


def call_watched(call: Callable, functions: dict[str, object], kernels: Iterable[str]) -> object:
    """Call and stop at the first use of a function that belongs to someone else.

    Args:
        call: the call to watch, without arguments.
        functions: Python functions and classes that may not run, by the name to tell the reader.
        kernels: names of compiled functions that may not run, such as ``softmax``.

    Returns:
        What the call returned.

    Raises:
        Borrowed: one of them ran; the message names it.
    """
    owned = {id(code): name for name, function in functions.items() for code in codes(function)}
    kernels, seen = set(kernels), []

    def notice(frame: types.FrameType, event: str, argument: object) -> None:
        if event == "call" and id(frame.f_code) in owned:
            seen.append(owned[id(frame.f_code)])
        elif event == "c_call" and argument is sys.setprofile:
            seen.append("sys.setprofile")
        elif event == "c_call" and argument.__name__ in kernels and not _is_text(argument):
            seen.append(_kernel_name(argument))

    before = sys.getprofile(), threading.getprofile()
    threading.setprofile(notice)
    sys.setprofile(notice)
    try:
        with _torch_watched(kernels, seen):
            result = call()
        # Endless recursion, too, ends the watch: that is an error of its own.
        if not seen and sys.getprofile() is not notice and not isinstance(result, Raised):
            seen.append("sys.setprofile")
        if seen:
            raise Borrowed(seen[0])
        return result
    finally:
        sys.setprofile(before[0])
        threading.setprofile(before[1])


def _torch_watched(kernels: set[str], seen: list[str]) -> contextlib.AbstractContextManager:
    """A second net: torch tells of its kernels also where no Python line calls them, as in map(torch.softmax, ...)."""
    if (torch := sys.modules.get("torch")) is None:
        return contextlib.nullcontext()

    class Watch(torch.overrides.TorchFunctionMode):
        def __torch_function__(
            self, function: Callable, types: object, args: tuple = (), kwargs: dict | None = None
        ):
            name = getattr(function, "__name__", "").partition(".")[0]
            if name in kernels:
                seen.append(f"torch's {name}")
            return function(*args, **(kwargs or {}))

    return Watch()


def _is_text(method: object) -> bool:
    return isinstance(getattr(method, "__self__", None), str | bytes)  # "é".encode() is nobody's solution


def _kernel_name(function: object) -> str:
    owner = getattr(function, "__self__", None)
    if hasattr(owner, "dtype"):
        return f"Tensor.{function.__name__}"
    library = type(owner).__module__.partition(".")[0]
    return f"{library if library == 'tokenizers' else 'torch'}'s {function.__name__}"


@contextlib.contextmanager
def usual_settings() -> Iterator[None]:
    """Gradients on and float32 the default, whatever is set outside; what is set inside is undone."""
    if (torch := sys.modules.get("torch")) is None:
        yield
        return
    dtype = torch.get_default_dtype()
    torch.set_default_dtype(torch.float32)
    try:
        with torch.enable_grad():
            yield
    finally:
        torch.set_default_dtype(dtype)


def library_functions() -> dict[tuple[str, str], object]:
    """All functions of the libraries that are loaded, by library and name."""
    return {
        (library, name): value
        for library, place in _loaded().items()
        for name, value in _members(place).items()
        if callable(value)
    }


def put_back(functions: dict[tuple[str, str], object]) -> list[str]:
    """Undo replacements of library functions; their names."""
    places, replaced = _loaded(), []
    members = {library: _members(place) for library, place in places.items()}
    for (library, name), function in functions.items():
        now = members[library].get(name)
        # torch replaces some of its own functions when they are first used.
        by_itself = str(getattr(now, "__module__", "")).startswith(library.partition(".")[0])
        if now is not function and not by_itself:
            setattr(places[library], name, function)
            replaced.append(f"{library}.{name}")
    return replaced


def _members(place: object) -> dict[str, object]:
    owners = reversed(place.__mro__) if isinstance(place, type) else [place]
    return {name: value for owner in owners for name, value in vars(owner).items()}


def _loaded() -> dict[str, object]:
    places = {name: sys.modules[name] for name in LIBRARIES if name in sys.modules}
    return places | ({"torch.Tensor": places["torch"].Tensor} if "torch" in places else {})
