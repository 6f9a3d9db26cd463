"""Calls of chat models at the same time, counted, within a budget, each with a time limit: `Ledger.ask`."""

import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from lecture_lib.agents.purse import Purse
from lecture_lib.chat import ChatModel, Message, Reply
from lecture_lib.fields import positive_real, whole
from lecture_lib.sampling import SamplingParameters


class BudgetSpent(RuntimeError):  # noqa: N818
    """No call could begin: the budget is spent."""


@dataclass(frozen=True)
class Ask:
    """One call to be made."""

    model: ChatModel
    messages: Sequence[Message]
    sampling: SamplingParameters = SamplingParameters()
    max_new_tokens: int | None = None


class Ledger:
    """What the calls of a pipeline have cost, and what went wrong.

    Args:
        max_calls: as in `Purse`.
        max_tokens: as in `Purse`.
        n_workers: calls that run at the same time; 1 for a model that runs on this machine.
        timeout: seconds after which a call counts as failed. Its thread cannot be stopped, and is left alone.
        seed: call k asks its model with a seed that depends on this one and k alone, whatever runs beside it.
    """

    def __init__(
        self,
        max_calls: int | None = None,
        max_tokens: int | None = None,
        n_workers: int = 8,
        timeout: float = 60.0,
        seed: int = 0,
    ):
        self.purse = Purse(max_calls, max_tokens)
        self.n_workers, self.timeout = whole("n_workers", n_workers, 1), positive_real("timeout", timeout)
        self.seed = whole("seed", seed)
        self.tokens_in = self.tokens_out = self._asked = 0
        self.failures: list[str] = []
        self._lock = threading.Lock()

    @property
    def calls(self) -> int:
        """Calls that have begun."""
        return self.purse.calls

    def ask(self, asks: Sequence[Ask]) -> list[Reply | None]:
        """Make the calls, as many as the budget allows, the first ones first.

        Returns:
            As long as `asks`: the reply, or None where the call failed or was not allowed; `failures` says which.

        Raises:
            BudgetSpent: no call was allowed.
        """
        if not asks:
            return []
        n = self.purse.reserve(len(asks))
        first, self._asked = self._asked, self._asked + n
        with ThreadPoolExecutor(self.n_workers) as pool:
            found = list(pool.map(self._one, asks[:n], range(first, first + n)))
        refused = len(asks) - sum(began for began, _ in found)
        if refused == len(asks):
            raise BudgetSpent(f"the budget is spent: {self.purse.calls} calls, {self.purse.tokens} tokens")
        if refused:
            self.failures.append(f"{refused} of {len(asks)} calls not made: the budget is spent")
        return [reply for _, reply in found] + [None] * (len(asks) - n)

    def _one(self, ask: Ask, number: int) -> tuple[bool, Reply | None]:
        """Make one call, and tell whether it began and what came back."""
        with self._lock:
            if not self.purse.has_tokens():
                self.purse.give_back()
                return False, None
        found = in_time(lambda: self._reply(ask, number), self.timeout)
        with self._lock:
            if isinstance(found, Exception):
                self.purse.settle(0)
                self.failures.append(f"{ask.model.name}: {type(found).__name__}: {found}")
                return True, None
            read, written = found.tokens_in or 0, found.tokens_out or 0
            if found.tokens_in is None and self.purse.max_tokens is not None:
                self.failures.append(
                    f"{ask.model.name}: it counts no tokens, so a budget of them is not kept"
                )
            self.purse.settle(read + written)
            self.tokens_in += read
            self.tokens_out += written
        return True, found

    def _reply(self, ask: Ask, number: int) -> Reply:
        seed = 10_000 * self.seed + number
        (reply,) = ask.model.replies(
            ask.messages, ask.sampling, n=1, max_new_tokens=ask.max_new_tokens, seed=seed
        )
        return reply


def in_time(call: object, timeout: float) -> object:
    """Give what a call returns, or the exception that it raises, or a TimeoutError after so many seconds."""
    found = []

    def run() -> None:
        try:
            found.append(call())
        except Exception as error:  # whatever a component raises must not end the others
            found.append(error)

    thread = threading.Thread(target=run, daemon=True)  # so that a call that hangs does not keep Python alive
    thread.start()
    thread.join(timeout)
    return found[0] if found else TimeoutError(f"no reply within {timeout:g} s")
