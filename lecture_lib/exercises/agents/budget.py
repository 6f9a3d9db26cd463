"""A budget with state, judged by scripts of calls: against a bookkeeper who keeps every entry and counts anew each time."""

from lecture_lib.agents import Purse
from lecture_lib.checks.chance import until
from lecture_lib.checks.draws import Draw
from lecture_lib.checks.exercise import Case, Exercise
from lecture_lib.checks.script import scripted

READ = [(".calls",), (".tokens",), (".running",)]


def budget_cases(seed: int) -> list[Case]:
    """Calls run out, tokens run out, both, neither; nothing to spend; calls that never began; calls that nobody reserved."""
    draw = Draw(seed)
    a, b = draw.size(3, 6), draw.size(2, 4)
    limit = draw.size(40, 80)
    return [
        Case(f"{a + b} calls", ((a + b,), [("reserve", a), *READ, ("reserve", b + 2), *READ, ("reserve", 1), *READ])),
        Case("calls that run count", ((a,), [("reserve", a - 1), ("reserve", 2), ("settle", 7), ("reserve", 2), *READ])),
        Case("a call that never began", ((a,), [("reserve", a), ("give_back",), *READ, ("reserve", 3), ("settle", 5), *READ])),
        Case(
            f"{limit} tokens",
            ((None, limit), [("reserve", 3), ("settle", limit - 1), ("reserve", 1), ("settle", 1), *READ, ("reserve", 1), *READ]),
        ),
        Case(
            f"beyond {limit} tokens, by calls that run",
            ((9, limit), [("reserve", 3), ("settle", limit + 9), ("reserve", 2), ("settle", 4), *READ, ("settle", 0), *READ]),
        ),
        Case("tokens are used up, and a call is given back", ((9, 6), [("reserve", 2), ("settle", 6), ("give_back",), ("reserve", 4), *READ])),
        Case("no calls at all", ((0,), [("reserve", 1), ("settle", 1), ("give_back",), *READ])),
        Case("no tokens at all", ((5, 0), [("reserve", 2), *READ])),
        Case("no limits", ((), [("reserve", 1000), ("settle", 10**9), ("reserve", 5), *READ])),
        Case("nobody reserved it", ((a,), [("settle", 3), *READ, ("give_back",), *READ, ("reserve", 1), ("settle", 2), ("settle", 2), ("give_back",), *READ])),
        Case("nothing is asked for", ((a, limit), [("reserve", 0), *READ, ("reserve", -1), *READ, ("reserve", 2), ("settle", -1), *READ])),
        Case("less than none when all is spent", ((2, 5), [("reserve", 2), ("settle", 5), ("reserve", -1), *READ, ("reserve", 0)])),
        Case("less than none without limits", ((), [("reserve", -1), *READ, ("reserve", 1), ("settle", -1), *READ])),
        *(Case(f"thirty steps, {kind}", until(lambda: random_script(draw), varied)) for kind in ("first", "second", "third")),
    ]  # fmt: skip


def random_script(draw: Draw) -> tuple[tuple, list]:
    """Draw limits and thirty calls, some of them refused."""
    script, most = [], {"reserve": 4, "settle": 30}
    for _ in range(30):
        act = draw.random.choice(["reserve", "reserve", "settle", "settle", "give_back"])
        script.append((act, draw.size(0, most[act])) if act in most else (act,))
        script.append(draw.random.choice(READ))
    return (draw.size(6, 14), draw.size(60, 160)), script


def varied(drawn: tuple) -> bool:
    """Tell whether calls are granted in full, in part and not at all."""
    limits, script = drawn
    calls = zip(script, scripted(Bookkeeper, limits, script).results, strict=True)
    pairs = [(call[1], given) for call, given in calls if call[0] == "reserve" and call[1]]
    full, none = [given == n for n, given in pairs], [given == 0 for _, given in pairs]
    return any(full) and any(none) and sum(full) + sum(none) < len(pairs)


class Bookkeeper:
    """Keep a line for each event, and add them up whenever something is asked."""

    def __init__(self, max_calls: int | None = None, max_tokens: int | None = None):
        self.limits, self.lines = (max_calls, max_tokens), []

    def _sum(self, *kinds: str) -> int:
        return sum(amount for kind, amount in self.lines if kind in kinds)

    @property
    def calls(self) -> int:
        """Reserved less given back."""
        return self._sum("reserved") - self._sum("returned")

    @property
    def running(self) -> int:
        """Reserved, and neither ended nor given back."""
        return self._sum("reserved") - self._sum("returned", "ended")

    @property
    def tokens(self) -> int:
        """All that were reported."""
        return self._sum("tokens")

    def reserve(self, n: int) -> int:
        """Go through the calls one by one."""
        if n < 0:
            raise ValueError("less than none")
        given = 0
        most_calls, most_tokens = self.limits
        while given < n and self.calls != most_calls and (most_tokens is None or self.tokens < most_tokens):
            self.lines.append(("reserved", 1))
            given += 1
        return given

    def settle(self, tokens: int) -> None:
        """Write two lines."""
        if not self.running or tokens < 0:
            raise ValueError("nothing to settle")
        self.lines += [("ended", 1), ("tokens", tokens)]

    def give_back(self) -> None:
        """Write one line."""
        if not self.running:
            raise ValueError("nothing to give back")
        self.lines.append(("returned", 1))


class TooLate(Purse):
    """Look whether a call runs when it has been taken away already."""

    def settle(self, tokens: int) -> None:
        """As `Purse.settle`."""
        self.running -= 1
        self.tokens += tokens
        if self.running < 0 or tokens < 0:
            raise ValueError("no call is running")

    def give_back(self) -> None:
        """As `Purse.give_back`."""
        self.running -= 1
        self.calls -= 1
        if self.running < 0:
            raise ValueError("no call is running")


LEFT = "n = min(n, self.max_calls - self.calls)"
TOKENS = "self.max_tokens is None or self.tokens < self.max_tokens"
BACK = "self.running -= 1\n        self.calls -= 1"

BUDGET = Exercise(
    name="agents.Budget",
    points=4, difficulty=2, minutes=25,
    against="a bookkeeper who keeps every entry and adds them up anew (exactly)",
    reference=Bookkeeper,
    cases=budget_cases,
    right=Purse,
    owned=("lecture_lib.agents.Purse",),
    use=scripted,
    entry="call",
    mistakes=(
        ("calls are counted when they end: two that run at the same time share the last one. When is a call spent?",
         "self.calls += n", "pass", "self.tokens += tokens", "self.tokens += tokens\n        self.calls += 1", BACK, "self.running -= 1"),
        ("it is all or nothing: where not all calls fit, none begins. How many may?", LEFT, "n = n if n <= self.max_calls - self.calls else 0"),
        ("as many begin as were asked for. What is left of the calls?", LEFT, "n = n if self.calls < self.max_calls else 0"),
        ("one more call is granted when the tokens are exactly used up. Is the limit still below?", TOKENS, TOKENS.replace(" < ", " <= ")),
        ("tokens are not looked at. After how many does no call begin?", TOKENS, "True"),
        ("tokens are looked at where calls are limited only. Which limit stands alone?",
         "if not self.has_tokens()", "if self.max_calls is not None and (not self.has_tokens())"),
        ("calls that have ended are free again. Which calls does the budget count?", "self.max_calls - self.calls", "self.max_calls - self.running"),
        ("the error comes when the numbers have changed already. What may an error change?", TooLate),
        ("the tokens are cut at their limit. What becomes of a call that has begun?",
         "self.tokens += tokens", "self.tokens += tokens if self.max_tokens is None else min(tokens, self.max_tokens - self.tokens)"),
        ("a negative number is taken for 0. What is to be raised?", "whole('n', n)", "max(0, n)", "whole('tokens', tokens)", "max(0, tokens)"),
        ("a negative number of tokens is taken off. What is to be raised?", "tokens = whole('tokens', tokens)", "pass"),
        ("a call that never began is counted. What was it reserved for?", BACK, "self.running -= 1"),
        ("a call that is given back is still running. What does it become?", BACK, "self.calls -= 1"),
        ("a call that has ended is given back: calls never run out. Which calls are counted?",
         "self.tokens += tokens", "self.tokens += tokens\n        self.calls -= 1"),
        ("0 calls are taken for no limit. Which value says that there is none?", "if self.max_calls is not None:", "if self.max_calls:"),
        ("0 tokens are taken for no limit. Which value says that there is none?", "self.max_tokens is None or", "not self.max_tokens or"),
        ("0 is taken for no limit, of calls and of tokens. Which value says that there is none?",
         "if self.max_calls is not None:", "if self.max_calls:", "self.max_tokens is None or", "not self.max_tokens or"),
        ("the calls that were asked for are counted, also those that may not begin. How many began?",
         "self.calls += n", "self.calls += asked", "if self.max_calls is not None:", "asked = n\n        if self.max_calls is not None:"),
        ("a call that nobody reserved may end. What is to be raised?", "self.running -= 1\n        self.tokens += tokens",
         "self.running -= 1\n        self.tokens += tokens", "if self.running == 0:\n            raise ValueError('no call is running: reserve one first')\n        self.running -= 1\n        self.tokens",
         "self.running -= 1\n        self.tokens"),
        ("the tokens of the last call stand there, not of all. Are they added up?", "self.tokens += tokens", "self.tokens = tokens"),
        ("a call that is refused for its tokens is not told from one that ran out of calls: tokens are counted as calls.",
         "self.max_calls - self.calls", "self.max_calls - self.calls - self.tokens"),
    ),
)  # fmt: skip
