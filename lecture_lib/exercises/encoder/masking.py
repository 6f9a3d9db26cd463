"""Masking for BERT: judged by the shares of what is shown and by the exact law of a row, whatever the order of the draws."""

from collections.abc import Sequence

import torch
from torch import Tensor

from lecture_lib.checks.chance import FALSE_ALARM, frequencies, tail
from lecture_lib.checks.draws import Draw
from lecture_lib.checks.exercise import Case, Exercise
from lecture_lib.training import mask_tokens

ROWS = 8000
BATCHES, FEW = 60, 100  # small batches, one call after the other, and their rows
NOT_ASKED = -100


def hide(answer, text, mask_id, vocab_size, special_ids=(), *, seed: int, **named: float) -> dict:
    """Mask many copies of one text, and say what was seen: the same for every right answer, whatever it draws first."""

    def draw(n: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        ids = torch.tensor(text).repeat(n, 1)
        more = {"special_ids": special_ids} if special_ids else {}
        result = answer(ids, mask_id, vocab_size, **more, **named, generator=generator)
        if type(result) is not tuple or [type(each) for each in result] != [Tensor, Tensor]:
            raise TypeError("a pair (ids to show, targets) of tensors is asked for")
        if wrong := [each for each in result if each.shape != ids.shape or each.dtype != torch.int64]:
            got = f"{wrong[0].dtype} {(*wrong[0].shape,)}"
            raise TypeError(f"both tensors must be int64 {(*ids.shape,)}, as the ids: got {got}")
        if not torch.equal(ids, torch.tensor(text).repeat(n, 1)):
            raise ValueError("`ids` itself is changed: work on a copy, ids.clone()")
        return result

    def draws(n: int, seed: int) -> tuple[Tensor, Tensor]:
        return draw(n, torch.Generator().manual_seed(seed))

    (shown, targets), again, other = draws(ROWS, seed), draws(50, seed), draws(50, seed + 1)
    repeats = all(map(torch.equal, (*again, *other), (*draws(50, seed), *draws(50, seed + 1))))
    one = torch.Generator().manual_seed(seed)
    batches = [draw(FEW, one) for _ in range(BATCHES)]
    p, ids = named.get("probability", 0.15), torch.tensor(text).repeat(ROWS, 1)
    facts = seen(ids, shown, targets, mask_id, list(special_ids), p)
    certain = facts["% of the places asked for"] in (0, 100)
    words = [place for place, token in enumerate(text) if token not in (*special_ids, mask_id)]
    drawn = kinds(text, shown, targets, mask_id, special_ids)
    law = row_law(text, mask_id, vocab_size, special_ids, p)
    return {
        "the same generator gives the same again, another one not": repeats
        and (certain or not torch.equal(again[1], other[1])),
        "two calls with one generator, one after the other, give the same": not certain
        and torch.equal(batches[0][1], batches[1][1]),
    } | facts | fixed_numbers(words, batches, mask_id, p) | {
        "rows follow the exact law (chi-squared)": frequencies(drawn, law) is None,
        "tokens that stand in have equal chances (chi-squared)": equal_chances(ids, shown, mask_id, vocab_size),
    }  # fmt: skip


def seen(ids: Tensor, shown: Tensor, targets: Tensor, mask_id: int, special_ids: list[int], p: float) -> dict:
    """Shares on a grid that is coarse against the scatter, and what must hold at every single place."""
    special, asked = torch.isin(ids, torch.tensor(special_ids)), targets != NOT_ASKED
    masked, same = asked & (shown == mask_id), asked & (shown == ids)
    exchanged = asked & ~masked & ~same
    stand_ins = shown[exchanged].unique().numel()  # all of them come if there are enough draws
    least, most = (shown.where(exchanged, rest).sort(1).values for rest in (ids.max() + 10**6, -1))
    several = exchanged.sum(1) > 1  # about 50 rows, if half of three places are asked for
    return {
        "% of the places asked for": percent(asked[~special], 5),
        "% of them shown as the mask": percent(masked[asked & (ids != mask_id)], 10),
        "% of them shown as they are": percent(same[asked], 10),
        "different tokens that stand in for others": stand_ins if p >= 0.3 else min(stand_ins, 1),
        "tokens that stand in are the same all along a row": int(several.sum()) >= 20
        and torch.equal(least[several, 0], most[several, -1]),
        "special tokens that are asked for": int((asked & special).any()),
        "places changed though not asked for": int((shown != ids)[~asked].any()),
        "targets other than the true token": int((targets != ids)[asked].any()),
        "rows that are all masked alike": int(torch.equal(asked, asked[:1].expand_as(asked)) and asked.any() and not asked[~special].all()),
    }  # fmt: skip


def equal_chances(ids: Tensor, shown: Tensor, mask_id: int, vocab_size: int) -> bool:
    """Whether all tokens but the mask and the true one stand in equally often."""
    exchanged = (shown != ids) & (shown != mask_id)
    law = torch.zeros(vocab_size, dtype=torch.float64)
    for token in ids[exchanged].unique().tolist():
        others = [each for each in range(vocab_size) if each not in (token, mask_id)]
        law[others] += (ids[exchanged] == token).double().mean() / len(others)
    return frequencies(shown[exchanged].tolist(), dict(enumerate(law.tolist()))) is None


def fixed_numbers(words: list[int], batches: list[tuple[Tensor, Tensor]], mask_id: int, p: float) -> dict:
    """Whether the numbers of chosen words and of masks, which should scatter, are the same share of every batch."""
    asked = torch.stack([(targets != NOT_ASKED)[:, words] for _, targets in batches]).sum((1, 2)).double()
    masked = torch.stack([(shown == mask_id)[:, words] for shown, _ in batches]).sum((1, 2)).double()
    return {
        "every batch has the same number of places asked for": scatterless(asked, asked * 0 + FEW * len(words) * p, 1 - p),
        "every batch has the same share of masks among them": scatterless(masked, 0.8 * asked, 0.2),
    }  # fmt: skip


def scatterless(numbers: Tensor, means: Tensor, rest: float) -> bool:
    """Whether numbers lie nearer to their binomial means than chance lets them, once in 10^9 cases."""
    if not rest or not means.all():  # certain
        return False
    return tail(float(((numbers - means) ** 2 / (means * rest)).sum()), len(means)) > 1 - FALSE_ALARM


def percent(chosen: Tensor, grid: int) -> int:
    """Share of True, in percent, rounded to a grid."""
    return grid * round(100 / grid * chosen.double().mean().item()) if chosen.numel() else 0


def kinds(
    text: list[int], shown: Tensor, targets: Tensor, mask_id: int, special_ids: Sequence[int]
) -> list[int]:
    """What became of the places that may be masked, one number in base 4 for each row: not asked, mask, same, exchanged."""
    places = [place for place, token in enumerate(text) if token not in special_ids]
    ids, shown, targets = torch.tensor(text)[places], shown[:, places], targets[:, places]
    what = torch.where(shown == ids, 2, torch.where(shown == mask_id, 1, 3)).where(targets != NOT_ASKED, 0)
    return (what * 4 ** torch.arange(len(places))).sum(1).tolist()


def row_law(
    text: list[int], mask_id: int, vocab_size: int, special_ids: Sequence[int], p: float
) -> dict[int, float]:
    """P(number of `kinds`), exactly: places are independent; one random token in |V| is the mask, one the token itself."""
    law = {0: 1.0}
    for place, token in enumerate(token for token in text if token not in special_ids):
        masked, same = 0.8 + 0.1 / vocab_size, 0.1 + 0.1 / vocab_size
        if token == mask_id:  # shown as the mask, it is shown as it is
            masked, same = 0.0, 0.9 + 0.1 / vocab_size
        one = [1 - p, p * masked, p * same, p * (1 - masked - same)]
        law = {row + kind * 4**place: q * one[kind] for row, q in law.items() for kind in range(4)}
    return law


def mask_cases(seed: int) -> list[Case]:
    """Special tokens anywhere, among them the mask and padding; shares of all sizes, 0 and 1; tokens that repeat; |V| = 4."""
    draw = Draw(seed)
    V = draw.size(14, 18)
    order = draw.order(V - 1).tolist()  # the last id is a word: what is never drawn is missed
    cls, sep, pad, mask, a, b, c, *_ = order
    specials = [cls, sep, pad, mask]
    # so few tokens that it shows if the mask or the token itself never stands in
    few = draw.order(4).tolist()

    def case(
        what: str, text: list[int], special_ids: Sequence[int] = (), *, mask: int = mask, V: int = V, **named: float
    ) -> Case:  # fmt: skip
        words = f"{ROWS} copies of the text {text}, |V|={V}, the mask is {mask}, {what}"
        inputs = (text, mask, V, special_ids) if special_ids else (text, mask, V)
        return Case(words, inputs, {"seed": draw.size(0, 10**6), **named})

    return [
        case("nothing is special, no probability given", [a, b, c]),
        case(f"special are {specials}", [cls, a, b, c, sep, pad], specials),
        case("half of the places", [a, b, a], probability=0.5),
        case(f"special are {specials}, 30 %", [a, cls, b, sep, c], tuple(specials), probability=0.3),
        case(f"special is {b} alone, 40 %", [b, a, b, c], [b], probability=0.4),
        case("no place, 0 %", [a, b], probability=0.0),
        case(f"every place, 100 %; special are {specials}", [cls, a, V - 1, sep], specials, probability=1.0),
        case(f"only special tokens, {specials}", [cls, sep, pad], specials),
        case("which the text holds, 90 %", [*few[:3], few[1]], mask=few[0], V=4, probability=0.9),
    ]


def torch_masking(ids, mask_id, vocab_size, special_ids=(), probability=0.15, generator=None):
    """One draw for each place decides all: its part of [0, 1) says whether and how the token is shown."""
    height = torch.rand(ids.shape, generator=generator, dtype=torch.float64)
    height = height.masked_fill(torch.isin(ids, torch.tensor([*special_ids], dtype=ids.dtype)), 1.0)
    asked = height < probability
    shown = ids.masked_fill(height < 0.8 * probability, mask_id)
    exchanged = (height >= 0.8 * probability) & (height < 0.9 * probability)
    shown[exchanged] = torch.randint(vocab_size, (int(exchanged.sum()),), generator=generator)
    return shown, torch.where(asked, ids, NOT_ASKED)


MASK_TOKENS = Exercise(
    name="training.mask_tokens",
    points=4, difficulty=2, minutes=25,
    against="the exact law of the rows, 8000 draws a case (a right answer is refused once in 10^9)",
    reference=torch_masking,
    right=mask_tokens,
    cases=mask_cases,
    use=hide,
    owned=("lecture_lib.training.masked_batches",),
    mistakes=(
        ("special tokens are chosen, too. What could a model learn from guessing the padding?",
         " & ~special", ""),
        ("all that is asked for is shown as the mask. Will there be masks when the model is used?",
         "kind < 0.8", "kind < 2", "any_token, shown", "shown, shown"),
        ("no token is left as it is: 20 % are exchanged. How is the last tenth shown?",
         "kind >= 0.9", "kind >= 0.8"),
        ("no token is exchanged: 20 % are left as they are. How is the second part shown?",
         "kind >= 0.9", "kind >= 1.0"),
        ("2 % are exchanged and 18 % are left as they are. Of which tokens is the second part a tenth?",
         "kind >= 0.9", "kind >= 0.98"),
        ("one number decides twice: whether a token is chosen, and how it is shown. How large can it be at a chosen token?",
         "kind < 0.8", "height < 0.8", "kind >= 0.9", "height >= 0.9"),
        ("the targets are the wrong way round: they are asked for where nothing was chosen.",
         "ids.masked_fill(~chosen, IGNORED)", "ids.masked_fill(chosen, IGNORED)"),
        ("every token is a target. Where should -100 stand?",
         "ids.masked_fill(~chosen, IGNORED)", "ids.clone()"),
        ("the targets are taken from what is shown. What should the model have said?",
         "ids.masked_fill(~chosen", "shown.masked_fill(~chosen"),
        ("only where the mask is shown something is asked for. What of the tokens that are chosen and shown as they are?",
         "~chosen, IGNORED", "shown != mask_id, IGNORED"),
        ("the share is always 15 %. Which argument says it?",
         "height < probability", "height < 0.15"),
        ("the tokens that are not chosen are asked for. On which side of the probability does a draw count?",
         "height < probability", "height >= probability"),
        ("the generator is not used for every draw. What makes your result the same the second time?",
         "generator=generator, device=device, dtype", "device=device, dtype"),
        ("tokens are exchanged all over the text, also where nothing is asked.",
         "chosen & (kind >= 0.9)", "~special & (kind >= 0.9)"),
        ("every text of the batch is masked at the same places. Which shape must the draws have?",
         "(2, *ids.shape)", "(2, 1, ids.shape[-1])"),
        ("the last token of the vocabulary never stands in for another. Does torch.randint include its upper end?",
         "torch.randint(vocab_size", "torch.randint(vocab_size - 1"),
        ("token 0 is the target where nothing is asked. Which number does no token have?",
         "IGNORED", "0"),
        ("every text has the same number of chosen places. Is one place chosen without regard to the others?",
         "height < probability", "height.argsort(-1).argsort(-1) < round(probability * ids.shape[-1])"),
    ),
)  # fmt: skip
