"""What an engine has done so far, as numbers."""

from collections import Counter, deque
from dataclasses import dataclass, field

KEPT = 100_000  # events, steps and requests that are remembered


class QueueFull(RuntimeError):
    """So many requests wait already that another one is not taken."""


@dataclass
class Counters:
    """What an engine has done so far."""

    steps: int = 0
    tokens_computed: int = 0  # guesses included
    tokens_given: int = 0
    tokens_found: int = 0  # in the cache, so not computed
    guesses: Counter[str] = field(default_factory=Counter)  # "guessed" tokens, and "kept" ones that came true
    preempted: int = 0
    waste: deque[float] = field(
        default_factory=lambda: deque(maxlen=KEPT)
    )  # share of taken slots that hold nothing
    first_token: dict[int, float] = field(
        default_factory=dict
    )  # seconds to the first token, of the last requests
