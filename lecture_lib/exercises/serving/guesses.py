"""A look at guessed tokens: keep, or draw from what p has more than q. Judged by the exact law of all that can come out."""

from collections import Counter
from collections.abc import Callable
from itertools import product

import torch
from torch import Tensor

from lecture_lib.checks.chance import frequencies, seed_alone
from lecture_lib.checks.draws import Draw
from lecture_lib.checks.exercise import Case, Exercise

DRAWS, FEW = 1200, 60


def check_guesses(p: Tensor, q: Tensor, guess: list[int], generator: torch.Generator) -> list[int]:
    """Keep guesses as long as chance allows, then draw one token; the mistakes below are changes of these lines."""
    kept = []
    for i, token in enumerate(guess):
        if torch.rand((), generator=generator) >= p[i, token] / q[i, token]:
            more = (p[i] - q[i]).clamp(min=0)
            return [*kept, int(torch.multinomial(more, 1, generator=generator))]
        kept.append(token)
    return [*kept, int(torch.multinomial(p[len(guess)], 1, generator=generator))]


def by_one_uniform(p: Tensor, q: Tensor, guess: list[int], generator: torch.Generator) -> list[int]:
    """Other randomness: all uniform numbers at once, and each token by inverting a cumulative sum."""
    heights = torch.rand(len(guess) + 1, dtype=torch.float64, generator=generator).tolist()

    def inverted(law: list[float], height: float) -> int:
        height *= sum(law)
        for token, chance in enumerate(law):
            height -= chance
            if height < 0:
                return token
        return max(range(len(law)), key=law.__getitem__)

    for i, token in enumerate(guess):
        mine, theirs = p[i].tolist(), q[i].tolist()
        if heights[i] * theirs[token] >= mine[token]:
            more = [max(0.0, a - b) for a, b in zip(mine, theirs, strict=True)]
            return [*guess[:i], inverted(more, heights[-1])]
    return [*guess, inverted(p[len(guess)].tolist(), heights[-1])]


def looks(answer: Callable, p: Tensor, q: Tensor, seed: int) -> list:
    """A thousand looks at guesses drawn from q, counted; a few of them again, and a few from another generator.

    The first result of another form than a list of ints stands in front.
    """
    K, draw = len(q), torch.Generator().manual_seed(seed)
    guesses = torch.multinomial(q, DRAWS, replacement=True, generator=draw).T.tolist() if K else [[]] * DRAWS

    def made(seed: int, n: int) -> list:
        generator = torch.Generator().manual_seed(seed)
        return [answer(p, q, list(guess), generator) for guess in guesses[:n]]

    many, again, other = made(seed, DRAWS), made(seed, FEW), made(seed + 1, FEW)
    wrong = [each for each in many if type(each) is not list or not all(type(token) is int for token in each)]
    return [wrong[:1], {} if wrong else dict(Counter(map(tuple, many))), many[:FEW], again, other]


def law(p: list[list[float]], q: list[list[float]]) -> dict[tuple, float]:
    r"""Exact chance of each result: $\prod_{l<i} \min(p_l, q_l)(x_l) \cdot (p_i - q_i)_+(y)$, at the end $p_K(y)$.

    A guess x is made and kept with chance q min(1, p / q) = min(p, q); what is drawn for a refused one has chance
    (1 - sum of the minima) times the residual law, which is (p - q)_+.
    """
    V, K, chances = len(p[0]), len(q), {}
    for i in range(K + 1):
        for text in product(range(V), repeat=i + 1):
            chance = p[i][text[i]] if i == K else max(0.0, p[i][text[i]] - q[i][text[i]])
            for place, token in enumerate(text[:i]):
                chance *= min(p[place][token], q[place][token])
            if chance > 0:
                chances[text] = chances.get(text, 0.0) + chance
    return chances


def accept_looks(case: Case, output: object, _asked: list) -> str | None:
    """Hold the frequencies of what came out to the law."""
    p, q, _ = case.inputs
    wrong, counts, *repeated = output
    if wrong:
        return f"returned {wrong[0]!r:.60}; a list of ints is asked for"
    return seed_alone(*repeated) or frequencies(counts, law(p.double().tolist(), q.double().tolist()))


def guess_cases(seed: int) -> list[Case]:
    """Laws by hand, laws that are equal, laws with zeros, none and several guesses, double precision."""
    draw = Draw(seed)

    def case(what: str, p: list, q: list, dtype: torch.dtype = torch.float32) -> Case:
        order = draw.order(len(p[0])).tolist()
        p, q = ([[row[x] for x in order] for row in rows] for rows in (p, q))
        laws = torch.tensor(p, dtype=dtype), torch.tensor(q, dtype=dtype).reshape(len(q), len(order))
        return Case(f"{what}: p = {p}, q = {q}", (*laws, draw.size(1, 10**6)))

    a, b, c, d = [0.5, 0.3, 0.2], [0.2, 0.6, 0.2], [0.1, 0.2, 0.7], [0.45, 0.1, 0.45]
    return [
        case("one guess, three tokens", [a, c], [b]),
        case("two guesses, three tokens", [a, c, b], [b, a]),
        case("three guesses, two tokens", [[0.7, 0.3], [0.2, 0.8], [0.5, 0.5], [0.9, 0.1]], [[0.4, 0.6], [0.5, 0.5], [0.1, 0.9]]),
        case("the draft is the model", [a, c, d], [a, c]),
        case("the draft never guesses what the model wants most", [[0.6, 0.4, 0.0], a], [[0.0, 0.5, 0.5]]),
        case("the draft guesses three tokens too rarely", [[0.4, 0.3, 0.1, 0.2], [0.1, 0.2, 0.3, 0.4]], [[0.1, 0.25, 0.02, 0.63]]),
        case("no guess", [d], []),
        case("five tokens, double precision", [[0.55, 0.25, 0.1, 0.05, 0.05], [0.1, 0.1, 0.1, 0.1, 0.6]],
             [[0.05, 0.05, 0.3, 0.3, 0.3]], torch.float64),
    ]  # fmt: skip


GUESSES = Exercise(
    name="serving.check_guesses",
    points=4, difficulty=2, minutes=20,
    against="the exact chance of every list that can come out, by Pearson's chi-squared test on thousands of looks",
    reference=by_one_uniform,
    right=check_guesses,
    use=looks,
    accept=accept_looks,
    cases=guess_cases,
    owned=("lecture_lib.serving.settle",),
    mistakes=(
        ("a guess is kept with chance q / p. For which guesses should the chance be 1?",
         "p[i, token] / q[i, token]", "q[i, token] / p[i, token]"),
        ("a guess is kept with chance p(x), whatever q is. By how much does the draft guess this token too often?",
         "p[i, token] / q[i, token]", "p[i, token]"),
        ("a guess is kept when p(x) is at least q(x), and never else. Where is chance needed?",
         "torch.rand((), generator=generator) >= p[i, token] / q[i, token]",
         "torch.rand((), generator=generator) + p[i, token] < torch.rand((), generator=generator) * 0 + q[i, token] + torch.rand((), "
         "generator=generator) * 0"),
        ("every guess is kept. What does the model say?",
         "torch.rand((), generator=generator) >= p[i, token] / q[i, token]", "torch.rand((), generator=generator) < 0"),
        ("no guess is kept. What is the draft good for?",
         "torch.rand((), generator=generator) >= p[i, token] / q[i, token]", "torch.rand((), generator=generator) >= 0"),
        ("after a refused guess a token is drawn from p. Which tokens did the draft give often enough already?",
         "more = (p[i] - q[i]).clamp(min=0)", "more = p[i]"),
        ("after a refused guess a token is drawn from p without the refused one. Is that what p has more than q?",
         "more = (p[i] - q[i]).clamp(min=0)", "more = p[i].clone()\n            more[token] = 0"),
        ("the residual is taken the wrong way round. Which of the two laws should come out?",
         "(p[i] - q[i]).clamp(min=0)", "(q[i] - p[i]).clamp(min=0)"),
        ("the residual is |p - q|. May a token come that the draft guesses too often?",
         "(p[i] - q[i]).clamp(min=0)", "(p[i] - q[i]).abs()"),
        ("after a refused guess nothing is drawn. How many tokens does a look give at least?",
         "return [*kept, int(torch.multinomial(more, 1, generator=generator))]", "return kept"),
        ("in place of a refused guess the likeliest token of the residual is taken. From which law is it drawn?",
         "int(torch.multinomial(more, 1, generator=generator))", "int(more.argmax())"),
        ("one more token is drawn behind the one that replaces a refused guess. For which text was row i + 1 of p computed?",
         "return [*kept, int(torch.multinomial(more, 1, generator=generator))]",
         "return [*kept, int(torch.multinomial(more, 1, generator=generator)), int(torch.multinomial(p[i + 1], 1, generator=generator))]"),
        ("the token behind the last guess is drawn from the row of that guess. Which row is the law behind it?",
         "p[len(guess)]", "p[len(guess) - 1]"),
        ("later guesses are looked at although one before them was refused. Which text were they made for?",
         "return [*kept, int(torch.multinomial(more, 1, generator=generator))]",
         "kept.append(int(torch.multinomial(more, 1, generator=generator)))\n            continue"),
        ("no token is drawn behind the last guess. What is row K of p for?",
         "return [*kept, int(torch.multinomial(p[len(guess)], 1, generator=generator))]", "return kept or [int(p[0].argmax())]"),
        ("the token behind the last guess is the likeliest one. From which law is it drawn?",
         "int(torch.multinomial(p[len(guess)], 1, generator=generator))", "int(p[len(guess)].argmax())"),
        ("every guess is held to the first row. Which law stands behind the second guess?",
         "p[i, token] / q[i, token]", "p[0, token] / q[0, token]"),
        ("the residual of the first row is drawn from, whichever guess was refused. Which row is it?",
         "(p[i] - q[i])", "(p[0] - q[0])"),
    ),
)  # fmt: skip
