"""Self-consistency: sample several chains of thought, and let their answers vote.

Source: Wang et al. (2023), "Self-consistency improves chain of thought reasoning in language models".
"""

from collections import Counter
from collections.abc import Hashable, Sequence


def majority_vote(answers: Sequence[Hashable | None]) -> tuple[list, int]:
    """Find the answers that were given most often, and how often; None, no answer, has no vote.

    Args:
        answers: one answer a sample; equal numbers count together, such as 9 and 9.0.

    Returns:
        All answers with the most votes, in the order in which they were first given, and their number of votes: ([], 0) if nobody answered.
        The first one is the choice of the vote; more than one is a tie.

    Example:
        >>> majority_vote([11.0, 27.0, None, 27.0, 11.0, 9.0])
        ([11.0, 27.0], 2)
    """
    votes = Counter(answer for answer in answers if answer is not None)
    most = max(votes.values(), default=0)
    return [answer for answer, count in votes.items() if count == most], most
