"""Components that ask no model: a vote, a check by a program, an order by a number."""

from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from typing import ClassVar

from lecture_lib.agents.components import Candidate
from lecture_lib.agents.ledger import Ledger
from lecture_lib.prompting import majority_vote


@dataclass(frozen=True)
class Vote:
    """Fuse by vote: of the candidates with the commonest answer the first goes on; among equally common ones the first."""

    answer: Callable[
        [str], Hashable | None
    ]  # reads the answer in a text; None: there is none, and it has no vote
    name: ClassVar[str] = "vote"
    width: ClassVar[int] = 1

    def __call__(self, question: str, candidates: Sequence[Candidate], ledger: Ledger) -> list[Candidate]:
        """Give the winner alone."""
        answers = [self.answer(each.text) for each in candidates]
        winners, _ = majority_vote(answers)
        return [candidates[answers.index(winners[0])]] if winners else []


@dataclass(frozen=True)
class Check:
    """Verify by a program."""

    passes: Callable[[str], bool]
    name: ClassVar[str] = "check"
    width: ClassVar[int] = 1

    def __call__(self, question: str, candidates: Sequence[Candidate], ledger: Ledger) -> list[Candidate]:
        """Give the candidates that pass."""
        return [each for each in candidates if self.passes(each.text)]


@dataclass(frozen=True)
class Sort:
    """Rank by a number: the largest score first; equal ones stay in order."""

    score: Callable[[Candidate], float]
    keep: int | None = None
    name: ClassVar[str] = "sort"
    width: ClassVar[int] = 1

    def __call__(self, question: str, candidates: Sequence[Candidate], ledger: Ledger) -> list[Candidate]:
        """Give the best candidates in order."""
        return sorted(candidates, key=self.score, reverse=True)[: self.keep]
