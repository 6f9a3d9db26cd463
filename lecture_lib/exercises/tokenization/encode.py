"""Apply learned merges to a word."""

import random
from collections.abc import Callable, Mapping, Sequence

from lecture_lib.checks.chance import until
from lecture_lib.checks.exercise import Case, Exercise
from lecture_lib.exercises.tokenization.merge import new_list
from lecture_lib.tokenization import encode_word

Merges = Mapping[tuple[int, int], tuple[int, int]]


def library_ids(ids: Sequence[int], merges: Merges) -> list[int]:
    """The BPE model of `tokenizers`; each id that is no merge is written as one character."""
    import tokenizers

    spelled = {i: chr(0x4E00 + i) for i in {*ids, *(part for pair in merges for part in pair)}}
    in_order = sorted(merges.items(), key=lambda item: item[1])
    for (left, right), (_, new_id) in in_order:
        spelled[new_id] = spelled[left] + spelled[right]
    pairs = [(spelled[left], spelled[right]) for (left, right), _ in in_order]
    model = tokenizers.models.BPE({text: i for i, text in spelled.items()}, pairs)
    return [token.id for token in model.tokenize("".join(spelled[i] for i in ids))]


def encoded_anew(answer: Callable, ids: Sequence[int], merges: Merges) -> object:
    """Encode, and look whether the list is a new one."""
    return new_list(answer(ids, merges), ids)


def drawn_merges(draw: random.Random, alphabet: int, count: int) -> dict:
    """Draw merges as training could leave them: parts exist before they are merged, every token is spelled once.

    Neither the ids nor the places in the dictionary follow the rank.
    """
    spelled = {i: (i,) for i in range(alphabet)}
    new_ids = draw.sample(range(alphabet, alphabet + 5 * count), count)
    merges, taken = {}, set()
    for rank in range(count):
        left, right = (draw.choice(list(spelled)) for _ in "ab")
        token = spelled[left] + spelled[right]
        if token in taken or len(token) > 5:
            continue
        taken.add(token)
        merges[left, right] = (rank, new_ids[rank])
        spelled[new_ids[rank]] = token
    items = list(merges.items())
    draw.shuffle(items)
    return dict(items)


def drawn_case(draw: random.Random, alphabet: int, count: int, length: int) -> Case:
    """Draw merges and a word in which merging from left to right gives something else."""

    def call() -> tuple:
        return [draw.randrange(alphabet) for _ in range(length)], drawn_merges(draw, alphabet, count)

    word, merges = until(call, lambda call: left_to_right(*call) != encode_word(*call))
    return Case(f"{len(merges)} drawn merges, a word of {length}", (word, merges))


def encode_cases(seed: int) -> list[Case]:
    """Ranks against places, ids and lengths; runs; merges of merges; nothing to merge; drawn merges."""
    draw = random.Random(seed)
    a, b, c, d = draw.sample(range(90), 4)
    x, y, z = draw.sample(range(100, 200), 3)
    low, high = sorted((x, y))
    n = 2 * draw.randrange(2, 4) + 1
    of_merges = {(a, x): (2, y), (c, d): (3, z), (b, c): (1, x)}
    never = {(a, b): (0, x), (b, c): (1, y), (a, y): (2, z)}
    return [
        Case("the later pair of the word was learned first", ([a, b, c], {(b, c): (0, high), (a, b): (1, low)})),
        Case("a merge of a merge, the dictionary in another order", ([a, b, c, d], of_merges)),
        Case("a lower id that was learned later", ([a, b, c], {(a, b): (7, low), (b, c): (5, high)})),
        Case("a run of 3", ([a, a, a], {(a, a): (0, x)})),
        Case(f"a run of {n}", ([a] * n, {(a, a): (0, x), (x, x): (1, y)})),
        Case("a run with a neighbour", ([a, a, a, b], {(a, a): (0, x), (a, b): (1, y)})),
        Case("the same pair at several places", ([a, b, c, a, b, a, b, d], {(a, b): (0, x), (x, c): (1, y)})),
        Case("the same pair at two places, nothing else", ([a, b, d, a, b], {(a, b): (4, x)})),
        Case("longest token first would differ", ([a, b, c, d], {(c, d): (0, x), (a, b): (1, y), (y, c): (2, z)})),
        Case("a long token that the ranks never reach", ([a, b, c], never)),
        Case("nothing to merge", ([a, c, b], {(a, b): (0, x)})),
        Case("no merges", ([a, b], {})),
        Case("one id", ([d], {(a, b): (0, x)})),
        Case("an empty word", ([], {(a, b): (0, x)})),
        Case("a word as a tuple", ((a, b, a, b), {(a, b): (3, x), (x, x): (9, y)})),
        Case("ranks about a million", ([a, b, c], {(a, b): (10**6, x), (b, c): (10**6 - 1, y)})),
        *(drawn_case(draw, 3, 20, draw.randrange(12, 20)) for _ in range(4)),
        drawn_case(draw, 2, 12, 300),
    ]  # fmt: skip


def left_to_right(ids: Sequence[int], merges: Merges) -> list[int]:
    """Merge as soon as a pair is known."""
    done: list[int] = []
    for i in ids:
        done.append(i)
        while len(done) > 1 and (done[-2], done[-1]) in merges:
            done[-2:] = [merges[done[-2], done[-1]][1]]
    return done


def longest_token(ids: Sequence[int], merges: Merges) -> list[int]:
    """Take the longest token of the vocabulary from the left."""
    spelled = {(i,): i for i in ids}
    lengths: dict[int, tuple[int, ...]] = {}
    for (left, right), (_, new_id) in sorted(merges.items(), key=lambda item: item[1]):
        lengths[new_id] = lengths.get(left, (left,)) + lengths.get(right, (right,))
        spelled[lengths[new_id]] = new_id
    done, start = [], 0
    while start < len(ids):
        end = next(e for e in range(len(ids), start, -1) if tuple(ids[start:e]) in spelled)
        done.append(spelled[tuple(ids[start:end])])
        start = end
    return done


def never_again(ids: Sequence[int], merges: Merges) -> list[int]:
    """Leave out the merges of merges."""
    new_ids = {new for _, new in merges.values()}
    return encode_word(ids, {pair: m for pair, m in merges.items() if not {*pair} & new_ids})


BEST = "best = min(ranked)"


def by(key: str) -> str:
    """Choose the best pair by another key."""
    return f"best = min(ranked, key=lambda m: {key} if m is not never else math.inf)"


ENCODE = Exercise(
    name="tokenization.encode_word",
    points=4, difficulty=2, minutes=15,
    against="the BPE model of the tokenizers library",
    reference=library_ids,
    cases=encode_cases,
    use=encoded_anew,
    entry="id",
    owned=("lecture_lib.tokenization.encode_long_word",),
    mistakes=(
        ("the word is merged from left to right as soon as a pair is known. Which of several pairs comes first?",
         left_to_right),
        ("the pair that was learned last goes first. Is rank 0 the first or the last?",
         BEST, by("-m[0]")),
        ("the order of the dictionary decides instead of the rank. Does it have to be sorted?",
         BEST, by("list(merges.values()).index(m)")),
        ("the lowest new id goes first instead of the lowest rank. Which of the two numbers is the rank?",
         BEST, by("m[1]")),
        ("only one merge is applied. When is a word finished?",
         "while len(ids) > 1", "for _ in ids[1:2]"),
        ("the rank is written into the word instead of the new id. Which of the two numbers names the token?",
         "best[1]", "best[0]"),
        ("in a run the rightmost pair is merged first. Which of equals goes first?",
         "ranked.", "len(ranked) - 1 - ranked[::-1]."),
        ("the longest token of the vocabulary is taken from the left, as WordPiece does. What do the ranks say?",
         longest_token),
        ("pairs made by a merge are never merged themselves. Is the word looked at again?",
         never_again),
    ),
)  # fmt: skip
