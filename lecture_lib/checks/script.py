"""Answers with state: a case is a script of calls, what comes back is the trace of their results.

Plain data stand for what is not plain: ``earlier(0)`` for the result of call 0, ``table({(1,): 2.0})`` for a callback,
``stream([...])`` for an iterator of which it is seen how far it was read.
"""

import copy
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from lecture_lib.checks.plain import plain, raised

MOST_QUESTIONS = 10_000


@dataclass(frozen=True)
class Trace:
    """Results that are plain already."""

    results: list


def earlier(call: int) -> dict:
    """In a script: the result of an earlier call, counted from 0."""
    return {"result of call": call}


def table(results: dict) -> dict:
    """In a script: a function of positional arguments, given by its results."""
    return {"callback": results}


def stream(items: list) -> dict:
    """In a script: an iterator; the trace then says after each call how many items were read."""
    return {"stream": items}


@dataclass
class _Stage:
    """What has happened so far in a script."""

    results: list = field(default_factory=list)
    read: int = 0
    streams: bool = False

    def live(self, value: object) -> object:
        """The thing that plain data stand for."""
        if type(value) is not dict or len(value) != 1:
            return value
        kind, content = next(iter(value.items()))
        if kind == "result of call":
            return self.results[content]
        if kind == "callback":
            return lambda *arguments: copy.deepcopy(content[arguments])
        return self._items(content) if kind == "stream" else value

    def _items(self, items: list) -> Iterator:
        self.streams = True
        return self._read(iter(items))

    def _read(self, items: Iterator) -> Iterator:
        for item in items:
            self.read += 1
            yield item


def scripted(answer: Callable, arguments: tuple, script: list) -> Trace:
    """Make ``answer(*arguments)`` and go through a script of calls.

    Args:
        answer: a class, a generator, or a function that gives an object.
        arguments: for making it.
        script: calls ``(verb, *arguments)``. A verb is the name of a method; ``next`` takes the next item of an
            iterator, ``call`` calls the object itself, ``.name`` reads an attribute.

    Returns:
        The trace: for each call its result, or the error, which does not end the script; where streams are read,
        ``(result, items read so far)``.
    """
    stage, trace = _Stage(), []
    thing = answer(*(stage.live(each) for each in arguments))
    for verb, *rest in script:
        try:
            result = _act(thing, verb, [stage.live(each) for each in rest])
            told = plain(result)
        except KeyboardInterrupt:
            raise
        except BaseException as error:
            result, told = None, raised(error)
        stage.results.append(result)
        trace.append((told, stage.read) if stage.streams else told)
    return Trace(trace)


def _act(thing: object, verb: str, arguments: list) -> object:
    if verb == "next":
        return next(thing)
    if verb == "call":
        return thing(*arguments)
    return getattr(thing, verb[1:]) if verb.startswith(".") else getattr(thing, verb)(*arguments)


class Questions:
    """What answers may ask in each case: called with a case's place it gives the function, and keeps what is asked."""

    def __init__(self, ask: Callable | None, cases: list):
        self.ask, self.cases = ask, cases
        self.asked: list[list] = [[] for _ in cases]

    def __call__(self, place: int) -> Callable:
        """The function to ask in the case at that place. Arguments arrive, and are kept, in plain form."""
        oracle = self.ask(self.cases[place])

        def asked(*arguments: object) -> object:
            if len(self.asked[place]) >= MOST_QUESTIONS:
                raise RuntimeError(f"more than {MOST_QUESTIONS} questions")
            question = plain(arguments)
            self.asked[place].append(question)
            return copy.deepcopy(oracle(*question))

        return asked
