"""How good translations are: BLEU, which counts the short runs of words that they share with those of people.

Source: Papineni et al. (2002), section 2.
"""

import math
from collections import Counter
from collections.abc import Sequence


def bleu(hypotheses: Sequence[Sequence[str]], references: Sequence[Sequence[str]], max_n: int = 4) -> float:
    r"""Score a set of translations from 0 to 100: $100\,\mathrm{BP}\,(\prod_n p_n)^{1/n_{max}}$, BP = min(1, e^{1-r/c}).

    p_n is the share of the runs of n words in all hypotheses together that stand in
    their reference too, each run counted at most as often as it stands there. c and r are
    the numbers of words in all hypotheses and in all references. If no run of some
    length fits, the score is 0.

    Args:
        hypotheses: translations to be scored, as lists of words.
        references: one good translation for each of them.
        max_n: longest run that is counted.

    Raises:
        ValueError: not one reference for each hypothesis.

    Example:
        >>> bleu([["le", "chat", "noir", "dort"]], [["le", "chat", "noir", "dort", "ici"]], max_n=2)
        77.8800783071405

    Source: Papineni et al. (2002), sections 2.1 and 2.2.
    """
    if len(hypotheses) != len(references):
        raise ValueError(f"{len(hypotheses)} hypotheses need as many references: got {len(references)}")
    mean_log = 0.0
    for n in range(1, max_n + 1):
        matches, runs = 0, 0
        for hypothesis, reference in zip(hypotheses, references, strict=True):
            ours, theirs = (
                Counter(tuple(words[i : i + n]) for i in range(len(words) - n + 1))
                for words in (hypothesis, reference)
            )
            matches += sum((ours & theirs).values())  # a run counts as often as both have it
            runs += sum(ours.values())
        if matches == 0:
            return 0.0
        mean_log += math.log(matches / runs) / max_n
    c, r = (sum(map(len, texts)) for texts in (hypotheses, references))
    return 100 * min(1.0, math.exp(1 - r / c)) * math.exp(mean_log)
