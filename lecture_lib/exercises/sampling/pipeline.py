"""The playground's knobs in their order, and a draw: judged by the exact law of what it draws."""

import math
from bisect import bisect
from collections.abc import Callable
from itertools import accumulate

import torch
from torch import Tensor

from lecture_lib import sampling
from lecture_lib.checks.chance import frequencies, seed_alone, until
from lecture_lib.checks.draws import Draw
from lecture_lib.checks.exercise import Case, Exercise
from lecture_lib.checks.plain import Array

DRAWS, FEW = 3000, 100


def playground(
    logits: Tensor,
    ids: Tensor,
    generator: torch.Generator,
    temperature: float = 0.7,
    top_p: float = 0.7,
    top_k: int = 50,
    penalty: float = 1.0,
) -> Tensor:
    """Penalise, heat, cut twice, draw; the mistakes below are changes of these lines."""
    appeared = torch.zeros_like(logits, dtype=torch.bool).scatter(-1, ids, True)
    penalised = torch.where(logits > 0, logits / penalty, logits * penalty)
    logits = torch.where(appeared, penalised, logits)
    logits = sampling.apply_temperature(logits, temperature)
    logits = sampling.top_k(logits, top_k)
    logits = sampling.top_p(logits, top_p)
    return torch.multinomial(logits.softmax(-1), 1, generator=generator)[:, 0]


def use_rows(answer: Callable, logits: Tensor, ids: Tensor, seed: int, **knobs: float) -> list:
    """Thousands of draws for each text in one batch; a few with a generator, again, another time with it, and with another."""

    def draws(n: int, generator: torch.Generator) -> Tensor:
        many, texts = logits.repeat(n // len(logits), 1), ids.repeat(n // len(ids), 1)
        drawn = answer(many, texts, generator, **knobs)
        if not torch.equal(many.view(-1, *logits.shape), logits.expand(n // len(logits), -1, -1)):
            raise ValueError("`logits` itself is changed: work on a copy, logits.clone()")
        return drawn

    new, again, other = (torch.Generator().manual_seed(each) for each in (seed, seed, seed + 1))
    many = draws(DRAWS, torch.Generator().manual_seed(seed))
    return [many, *(draws(FEW, generator) for generator in (new, again, again, other))]


def playground_cases(seed: int) -> list[Case]:
    """The defaults on flat and on sharp laws, each knob with something to do, repeated tokens, a k beyond the vocabulary."""
    draw = Draw(seed)

    def case(what: str, heights: list[float], seen: list[list[int]], **knobs: float) -> Case:
        """Two texts with the same heights in other places; `seen` names tokens by their height's rank."""
        heights = until(
            lambda: torch.tensor(heights) + 0.02 * draw.normal(len(heights)), lambda z: clear(z, **knobs)
        )
        order = draw.order(len(heights))
        orders = order, order.roll(1)  # what is best in the first text is second in the other
        logits = torch.stack([heights[order.argsort()] for order in orders])
        ids = torch.stack([order[torch.tensor(ranks)] for order, ranks in zip(orders, seen, strict=True)])
        return Case(what, (logits, ids, draw.size(1, 10**6)), knobs)

    steps = [2.2, 1.6, 1.2, 0.9, 0.6, 0.4, 0.2, 0.0, -0.2, -0.4, -0.6, -1.0]
    both_signs = [2.0, 1.4, 0.8, 0.4, -0.4, -0.8, -1.2, -1.6]
    flat = torch.linspace(0.6, -0.6, 80).tolist()
    open_ = {"temperature": 1.0, "top_p": 1.0}
    return [
        case("80 tokens that are nearly alike, the playground's settings", flat, [[0, 1], [5, 9]]),
        case("12 tokens, the playground's settings", steps, [[0, 3, 3], [1, 2, 2]]),
        case("12 tokens, T = 2, nothing cut", steps, [[0], [7]], temperature=2.0, top_p=1.0, top_k=100),
        case("8 tokens, penalty 2, one token three times", both_signs, [[0, 0, 0, 5], [0, 0, 0, 6]],
             penalty=2.0, top_k=8, **open_),
        case("9 tokens, top-k 3, penalty 2.2", [6.0, 3.2, 2.8, 2.4, 1.0, 0.5, 0.0, -1.0, -2.0], [[0, 2], [2, 0]],
             penalty=2.2, top_k=3, **open_),
        case("6 tokens near 1000, T = 0.7, top-k 4", [1003.0, 1002.5, 1002.0, 1001.5, 1001.0, 1000.0], [[0], [3]],
             top_p=1.0, top_k=4),
    ]  # fmt: skip


def law(logits, ids, temperature=0.7, top_p=0.7, top_k=50, penalty=1.0) -> dict[int, float]:
    """The exact probability of each token that can come, knob by knob in Python's numbers."""
    heights = [(z / penalty if z > 0 else z * penalty) if i in ids else z for i, z in enumerate(logits)]
    best = sorted(range(len(heights)), key=lambda i: -heights[i])[:top_k]
    powers = {i: math.exp((heights[i] - heights[best[0]]) / temperature) for i in best}
    kept: dict[int, float] = {}
    for i in best:
        if sum(kept.values()) < top_p * sum(powers.values()):
            kept[i] = powers[i]
    return {i: power / sum(kept.values()) for i, power in kept.items()}


def clear(logits: Tensor, top_p: float = 0.7, **knobs: float) -> bool:
    """Whether p is so far from every sum of probabilities that rounding cannot move the nucleus."""
    low, high = (law(logits.tolist(), [], top_p=top_p + shift, **knobs) for shift in (-1e-4, 1e-4))
    return low.keys() == high.keys()


def draw_by_law(logits: Tensor, ids: Tensor, generator: torch.Generator, **knobs: float) -> Tensor:
    """Invert the cumulative sum of the exact law, one uniform number a row."""
    uniform = torch.rand(len(logits), generator=generator, dtype=torch.float64).tolist()
    laws: dict[tuple, tuple] = {}
    drawn = []
    for row, seen, height in zip(logits.tolist(), ids.tolist(), uniform, strict=True):
        text = (*row, *seen)
        if text not in laws:
            found = law(row, seen, **knobs)
            laws[text] = list(found), list(accumulate(found.values()))
        tokens, sums = laws[text]
        drawn.append(tokens[min(bisect(sums, height), len(tokens) - 1)])
    return torch.tensor(drawn)


def accept_draws(case: Case, output: object, _asked: list) -> str | None:
    """Ids of the right shape, drawn with the generator, each text's as its law says."""
    logits, ids, _seed = case.inputs
    sizes = (DRAWS, FEW, FEW, FEW, FEW)
    pairs = zip(output, sizes, strict=True)
    if any(type(each) is not Array or each.values.shape != (n,) for each, n in pairs):
        return f"one tensor ({DRAWS},) of token ids is expected, one id for each row of logits"
    if any(each.dtype not in ("int64", "int32") for each in output):
        return f"token ids are integers; these are {output[0].dtype}"
    many, once, again, then, other = (each.values.tolist() for each in output)
    if once == again == then:
        return "one generator gives the same draws twice, one call after the other: all random numbers must come from it"
    if wrong := seed_alone(once, again, other):
        return wrong
    texts = zip(logits.tolist(), ids.tolist(), strict=True)
    wrong = [frequencies(many[i :: len(logits)], law(*text, **case.named)) for i, text in enumerate(texts)]
    return next((f"text {i}, token ids: {each}" for i, each in enumerate(wrong) if each), None)


TOP_K, TOP_P = "logits = sampling.top_k(logits, top_k)", "logits = sampling.top_p(logits, top_p)"
HEAT = "logits = sampling.apply_temperature(logits, temperature)"
PENALISE = "logits = torch.where(appeared, penalised, logits)"

PLAYGROUND = Exercise(
    name="sampling.playground",
    points=4, difficulty=2, minutes=25,
    against=f"the exact law of each of {DRAWS:,} draws, by a chi-squared test",
    reference=draw_by_law,
    right=playground,
    cases=playground_cases,
    use=use_rows,
    accept=accept_draws,
    owned=("lecture_lib.sampling.sample", "lecture_lib.sampling.process_logits",
           "lecture_lib.sampling.repetition_penalty"),
    mistakes=(
        ("top-p is applied before top-k. Of which tokens does the nucleus then hold p?",
         f"{TOP_K}\n    {TOP_P}", f"{TOP_P}\n    {TOP_K}"),
        ("the temperature is applied after the cuts. From which probabilities should the nucleus be taken?",
         f"{HEAT}\n    {TOP_K}\n    {TOP_P}", f"{TOP_K}\n    {TOP_P}\n    {HEAT}"),
        ("the penalty is applied after the cuts. May a token that has appeared fall out of the k best?",
         PENALISE, "pass", TOP_P, f"{TOP_P}\n    {PENALISE}"),
        ("the penalty divides negative logits, too, which makes them more likely. What lowers a negative number?",
         "logits * penalty)", "logits / penalty)"),
        ("a token is penalised once for each time it has appeared. Does it matter here how often it did?",
         "penalised = torch.where(logits > 0, logits / penalty, logits * penalty)",
         "often = torch.zeros_like(logits).scatter_add(-1, ids, torch.ones_like(ids, dtype=logits.dtype))\n"
         "    penalised = torch.where(logits > 0, logits / penalty ** often, logits * penalty ** often)"),
        ("the penalty is not used. Which tokens should it make less likely?", PENALISE, "pass"),
        ("tokens that have not appeared are penalised. Which ones should be?", "(appeared, ", "(~appeared, "),
        ("every text is penalised for the tokens of all texts. Which ids belong to a row?",
         ".scatter(-1, ids, True)", ".index_fill(-1, ids.unique(), True)"),
        ("the penalty is subtracted from the logits. What does the formula do with a positive logit?",
         "torch.where(logits > 0, logits / penalty, logits * penalty)", "logits - (penalty - 1)"),
        ("the logits are multiplied by T. Does a low temperature sharpen or flatten?",
         HEAT, "logits = logits * temperature"),
        ("the temperature is not used, T = 1 always. Where does the argument go?", HEAT, "pass"),
        ("the most likely token is taken. Should the others never come?",
         "torch.multinomial(logits.softmax(-1), 1, generator=generator)[:, 0]", "logits.argmax(-1)"),
        ("all tokens that are left are equally likely. Which probabilities do they have?",
         "logits.softmax(-1)", "(logits > -torch.inf).float()"),
        ("top-k is left out. Where does the argument go?", TOP_K, "pass"),
        ("k is always 50. Where does the argument go?", "(logits, top_k)", "(logits, 50)"),
        ("top-p is left out. Where does the argument go?", TOP_P, "pass"),
        ("p is always 0.7. Where does the argument go?", "(logits, top_p)", "(logits, 0.7)"),
        ("the cuts are given probabilities, and take them for logits. Where does the softmax belong?",
         HEAT, "logits = sampling.apply_temperature(logits, temperature).softmax(-1)"),
        ("the temperature acts twice. Are the logits divided by T already?",
         "logits.softmax(-1)", "(logits / temperature).softmax(-1)"),
        ("only the last token of each text is penalised. Which tokens have appeared?", "scatter(-1, ids,", "scatter(-1, ids[:, -1:],"),
        ("random numbers come from a generator of your own. Which one was handed over?",
         "generator=generator", "generator=torch.Generator().manual_seed(0)"),
    ),
)  # fmt: skip
