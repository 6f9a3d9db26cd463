"""A cross-attention head set by hand: it puts adjectives behind the noun, but leaves those before that French leaves there."""

import random
from itertools import product

import torch
from torch import Tensor

from lecture_lib.checks.exercise import Case
from lecture_lib.checks.kinds import by_hand

# French: <start> le mon petit grand rouge noir ...
ENGLISH = ["the", "my", "small", "big", "red", "black", "dog", "cat", "hat", "<end>"]
DETERMINER, BEFORE, AFTER, NOUN, END = range(5)
KINDS = torch.tensor([0, 0, 1, 1, 2, 2, 3, 3, 3, 4])  # of the English words, and of the French but <start>
KIND_OF = torch.eye(5)[KINDS]  # (10, 5), one-hot
WIDTH = 6


def french_order(source: list[int]) -> list[int]:
    """Places of the English words in the order in which French says them: determiner, before, noun, after, end."""
    order = [DETERMINER, BEFORE, NOUN, AFTER, END]
    return sorted(range(len(source)), key=lambda place: order.index(KINDS[source[place]]))


def looks(given: dict[str, Tensor], source: list[int]) -> Tensor:
    """Weights (M + 1, N) of the head while the right translation is written; the query is the last French word alone."""
    written = [0, *(source[place] + 1 for place in french_order(source)[:-1])]
    scores = given["W_q"][written] @ given["W_k"][source].mT / WIDTH**0.5
    return torch.softmax(scores, dim=-1)


def head_by_hand(
    changes: dict | None = None, strength: float = 100.0, late: bool = False, first_row: int = 1
) -> dict[str, Tensor]:
    """Give the head that asks, after a word of each kind, for the kind of word that comes next, if need be the second choice."""
    first, second = 2.0, 1.0
    asks = {
        DETERMINER: {BEFORE: first, NOUN: second},
        BEFORE: {NOUN: first},
        NOUN: {AFTER: first, END: second},
        AFTER: {END: first},
    } | (changes or {})
    by_kind = torch.zeros(5, 5)
    for kind, wishes in asks.items():
        for wished, much in wishes.items():
            by_kind[kind, wished] = much
    W_q, W_k = torch.zeros(2, 10, WIDTH).unbind()
    W_k[:, :5] = KIND_OF
    W_q[0, DETERMINER] = first
    W_q[first_row : first_row + 9, :5] += KIND_OF[:-1] @ (torch.eye(5) if late else by_kind)
    return {"W_q": strength * W_q, "W_k": W_k}


def sentences(seed: int) -> list[Case]:
    """All sentences that can be said, in an order that is drawn."""
    determiners, before, after, nouns = ([w for w in range(9) if KINDS[w] == kind] for kind in range(4))
    patterns = ((), (before,), (after,), (before, after))
    sources = [source for each in patterns for source in product(determiners, *each, nouns, [9])]
    random.Random(seed).shuffle(sources)
    return [Case(" ".join(ENGLISH[word] for word in source), (list(source),)) for source in sources]


def mostly_right(case: Case, output: object, _asked: list) -> str | None:
    """Ask for a weight of 0.99 at least on the word that comes next in French."""
    (source,) = case.inputs
    order = french_order(source)
    if output.values.shape != (len(order), len(source)):
        return f"the weights are {output.values.shape}, not {(len(order), len(source))}"
    found = output.values[range(len(order)), order]
    if (found >= 0.99).all():
        return None
    row = int((found >= 0.99).argmin())
    words = [ENGLISH[source[place]] for place in order]
    last = f"the translation of '{words[row - 1]}'" if row else "<start>"
    weight = f"'{words[row]}' a weight of {found[row]:.3f}"
    return f"after {last} the head gives {weight}; at least 0.99 is asked for"


SWAPPING_HEAD = by_hand(
    "encoder_decoder.swapping_head",
    machine=looks,
    weights=head_by_hand,
    cases=sentences,
    against="the weight on the word that comes next in French, at least 0.99 in each of the 54 sentences",
    accept=mostly_right,
    points=4, difficulty=3, minutes=25,
    mistakes=(
        ("all adjectives come before the noun, as in English. Which kinds of word does a noun ask for?",
         lambda: head_by_hand({DETERMINER: {BEFORE: 3, AFTER: 2, NOUN: 1}, BEFORE: {AFTER: 2, NOUN: 1},
                               AFTER: {NOUN: 2}, NOUN: {END: 2}})),
        ("all adjectives come behind the noun. Which of them does a determiner ask for?",
         lambda: head_by_hand({DETERMINER: {NOUN: 2}, NOUN: {BEFORE: 3, AFTER: 2, END: 1}})),
        ("after a determiner the adjective and the noun get the same score. Which is wanted first?",
         lambda: head_by_hand({DETERMINER: {BEFORE: 2, NOUN: 2}})),
        ("after a noun the adjective and the end get the same score. Which is wanted first?",
         lambda: head_by_hand({NOUN: {AFTER: 2, END: 2}})),
        ("after a noun only an adjective is asked for. Where does the head look when there is none?",
         lambda: head_by_hand({NOUN: {AFTER: 2}})),
        ("after a determiner only an adjective is asked for. Where does the head look when there is none?",
         lambda: head_by_hand({DETERMINER: {BEFORE: 2}})),
        ("each word looks at the English word that it translates itself. Which word does row m decide?",
         lambda: head_by_hand(late=True)),
        ("the rows of W_q are numbered as the English words. Which number has the French word of English word 0?",
         lambda: head_by_hand(first_row=0)),
        ("the right word is preferred, but not strongly. How large must a difference of scores be for 0.99?",
         lambda: head_by_hand(strength=4.0)),
    ),
)  # fmt: skip
