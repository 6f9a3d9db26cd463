"""A budget of calls and tokens: who may still ask, and what has been spent."""

from lecture_lib.fields import whole


class Purse:
    """Calls are counted when they are reserved, tokens when they are known: calls that run together cannot share the last one.

    Args:
        max_calls: calls that may begin; None: any number.
        max_tokens: tokens, of prompts and of replies, after which no call begins; None: any number. Calls that already run
            are finished, so that they may go beyond it.

    Example:
        >>> purse = Purse(max_calls=5)
        >>> purse.reserve(3), purse.reserve(3), purse.reserve(3)
        (3, 2, 0)
    """

    def __init__(self, max_calls: int | None = None, max_tokens: int | None = None):
        self.max_calls = None if max_calls is None else whole("max_calls", max_calls)
        self.max_tokens = None if max_tokens is None else whole("max_tokens", max_tokens)
        self.calls = self.tokens = self.running = 0

    def has_tokens(self) -> bool:
        """Tell whether a call may begin as far as tokens go."""
        return self.max_tokens is None or self.tokens < self.max_tokens

    def reserve(self, n: int) -> int:
        """Reserve up to n calls, and give how many may begin; they are counted from now on."""
        n = whole("n", n)
        if self.max_calls is not None:
            n = min(n, self.max_calls - self.calls)
        if not self.has_tokens():
            n = 0
        self.calls += n
        self.running += n
        return n

    def settle(self, tokens: int) -> None:
        """Note that a reserved call has ended and took so many tokens; refused if none is running."""
        tokens = whole("tokens", tokens)
        if self.running == 0:
            raise ValueError("no call is running: reserve one first")
        self.running -= 1
        self.tokens += tokens

    def give_back(self) -> None:
        """Note that a reserved call never began: it is not counted; refused if none is running."""
        if self.running == 0:
            raise ValueError("no call is running: reserve one first")
        self.running -= 1
        self.calls -= 1
