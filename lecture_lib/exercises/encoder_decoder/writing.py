"""The loop that writes translations, for many sources at once, which end at different places."""

from collections.abc import Callable

import torch
from torch import Tensor

from lecture_lib.checks.chance import until
from lecture_lib.checks.draws import Draw
from lecture_lib.checks.exercise import Case, Exercise

WORDS, STATES, PRIMES = 7, 997, torch.tensor([2, 3, 5, 7, 11, 13, 17, 19, 23, 29])


class Scripted:
    """A translator whose next word depends on all real source words and on all words written so far; it counts its calls."""

    def __init__(self, seed: int) -> None:
        self.table = torch.rand(STATES, WORDS, generator=torch.Generator().manual_seed(seed))
        self.calls = 0

    def __call__(
        self, source_ids: Tensor, target_ids: Tensor, source_lengths: Tensor | None = None
    ) -> Tensor:
        """Give (B, M, WORDS) logits, those at place m from the target words 0 ... m."""
        self.calls += 1
        N, M = source_ids.shape[1], target_ids.shape[1]
        source = (source_ids + 1) * PRIMES[:N]
        if source_lengths is not None:
            source = source * (torch.arange(N) < source_lengths[:, None])
        written = ((target_ids + 1) * 31 * PRIMES[:M]).cumsum(1)
        return self.table[(37 * source.sum(1, keepdim=True) + written) % STATES]


def use_writer(answer, source_ids, source_lengths, start_id, end_id, max_new_tokens, seed: int) -> object:
    """Give what was written, and how often the model was called."""
    model = Scripted(seed)
    written = answer(model, source_ids, source_lengths, start_id, end_id, max_new_tokens)
    return {"translations": written, "calls of the model": model.calls}


def alone(model, source_ids, source_lengths, start_id, end_id, max_new_tokens) -> list[list[int]]:
    """Every source by itself, without padding, word by word."""
    written, before = [], model.calls
    for source, n in zip(source_ids, source_lengths.tolist(), strict=True):
        words = [start_id]
        while len(words) <= max_new_tokens and end_id not in words[1:]:
            words.append(int(model(source[None, :n], torch.tensor([words]))[0, -1].argmax()))
        written.append(words[1:])
    model.calls = before + max(map(len, written))  # what one call for all sources needs
    return [words[:-1] if words[-1] == end_id else words for words in written]


def writer_cases(seed: int) -> list[Case]:
    """One source; ends at different places, at once, never; the end word first or last in the vocabulary."""
    draw = Draw(seed)

    def case(what: str, holds: Callable, B: int, most: int = 8) -> Case:
        def drawn() -> tuple:
            lengths = draw.ids(B, low=2, below=6)
            lengths[0] = 5
            words = draw.order(WORDS)[:2].tolist()
            return (draw.ids(B, 5, below=9), lengths, *words, most), draw.size(0, 10**6)

        def fits(each: tuple) -> bool:
            inputs, seed = each
            found = [len(words) for words in alone(Scripted(seed), *inputs)]
            return holds(found)

        inputs, model_seed = until(drawn, fits)
        what = f"{what}; start {inputs[2]}, end {inputs[3]}, at most {most} words"
        return Case(what, inputs, {"seed": model_seed})

    return [
        case("one source", lambda n: 2 <= n[0] < 8, 1),
        case("two sources, the first ends first", lambda n: 1 <= n[0] < n[1] < 8, 2),
        case("two sources, the second ends first", lambda n: 1 <= n[1] < n[0] < 8, 2),
        case("four sources of different lengths", lambda n: len(set(n)) >= 3 and max(n) < 8, 4),
        case("one ends at once", lambda n: 0 in n and 3 <= max(n) < 8, 3),
        case("one never ends", lambda n: max(n) == 6 and 1 <= min(n) < 5, 3, 6),
        case("none ends", lambda n: min(n) == 3, 2, 3),
        case("one word each", lambda n: set(n) <= {0, 1} and len(set(n)) == 2, 2, 1),
        case("all end together", lambda n: len(set(n)) == 1 and 2 <= n[0] < 8, 2),
    ]


def write_translations(
    model: Callable,
    source_ids: Tensor,
    source_lengths: Tensor,
    start_id: int,
    end_id: int,
    max_new_tokens: int,
) -> list[list[int]]:
    """Write them all at once; the mistakes below are changes of these lines."""
    target = torch.full((len(source_ids), 1), start_id)
    ended = torch.zeros(len(source_ids), dtype=torch.bool)
    while target.shape[1] <= max_new_tokens and not ended.all():
        best = model(source_ids, target, source_lengths)[:, -1].argmax(dim=-1)
        target = torch.cat([target, best[:, None]], dim=1)
        ended |= best == end_id
    rows = [row[1:] for row in target.tolist()]
    return [row[: row.index(end_id)] if end_id in row else row for row in rows]


def one_after_another(
    model: Callable, source_ids: Tensor, source_lengths: Tensor, *rest: int
) -> list[list[int]]:
    """Call the loop for each source: right, but slow."""
    rows = zip(source_ids.split(1), source_lengths.split(1), strict=True)
    return [write_translations(model, *row, *rest)[0] for row in rows]


WRITER = Exercise(
    name="encoder_decoder.write_translations",
    points=4, difficulty=2, minutes=20,
    against="every source by itself, without padding; the model may be called once for each new word of the longest",
    reference=alone,
    right=write_translations,
    cases=writer_cases,
    use=use_writer,
    owned=("lecture_lib.generation.translate", "lecture_lib.generation.generate"),
    mistakes=(
        ("all stop as soon as one has ended. When may the loop stop?",
         "ended.all()", "ended.any()"),
        ("the loop never stops early: the model is called up to `max_new_tokens` times though all have ended.",
         " and (not ended.all())", ""),
        ("the loop stops only if all end in the same step. What must be remembered of those that ended before?",
         "ended |= best == end_id", "ended = best == end_id"),
        ("what a row writes behind its end is kept. Where is a translation cut?",
         "row[:row.index(end_id)] if end_id in row else row", "[each for each in row if each != end_id]"),
        ("rows are cut at their last end token. What stands behind the first one?",
         "row[:row.index(end_id)] if end_id in row else row",
         "row[:len(row) - 1 - row[::-1].index(end_id)] if end_id in row else row"),
        ("the end token is part of the translation. Is it a word of it?",
         "row.index(end_id)", "row.index(end_id) + 1"),
        ("the start token is part of the translation. Which words are new?",
         "row[1:]", "row"),
        ("the last word is cut off where no end token was written. Which rows have one?",
         "if end_id in row else row", "if end_id in row else row[:-1]"),
        ("one word too many may be written. Does `max_new_tokens` count the start token?",
         "<= max_new_tokens", "<= max_new_tokens + 1"),
        ("one word too few may be written. Does `max_new_tokens` count the start token?",
         "<= max_new_tokens", "< max_new_tokens"),
        ("the next word is taken from the first place of the logits. Which place knows all that is written?",
         "[:, -1]", "[:, 0]"),
        ("the model is shown the last word only. What does it need to know of what it has written?",
         "model(source_ids, target, source_lengths)", "model(source_ids, target[:, -1:], source_lengths)"),
        ("the model is not told where the sources end: it reads their padding.",
         "target, source_lengths)", "target)"),
        ("all translations follow the first source. What does row b of the logits belong to?",
         "argmax(dim=-1)", "argmax(dim=-1)[:1].expand(len(target))"),
        ("the least likely word is taken. Which one is greedy?",
         "argmax", "argmin"),
        ("the loop begins with the end token. What does a translation begin with?",
         "start_id)", "end_id)"),
        ("every source is translated by itself: the model is called once for each word of each source. What does one "
         "call with all rows give?",
         one_after_another),
    ),
)  # fmt: skip
