"""What a perfect reader of a hidden Markov source believes, and the loss that not even it can avoid."""

import math
from collections.abc import Callable

import torch
from torch import Tensor

from lecture_lib.checks.draws import F64, Draw
from lecture_lib.checks.exercise import Case, Exercise


def drawn_source(draw: Draw, S: int, K: int, gaps: bool = False) -> Tensor:
    """T (S, K, K) of a source; with gaps, some tokens cannot come from some states."""
    T = draw.normal(S, K, K, dtype=F64).exp() ** 1.5
    if gaps:
        T[torch.arange(1, S), torch.arange(1, S) % K] = 0  # token x never comes from state x % K
    return T / T.sum((0, 2), keepdim=True)


def three_states(stay: float = 0.9, right: float = 0.85) -> Tensor:
    """T of the chapter's source: stay in the state or go to one of two others, and name the new state, mostly rightly."""
    walk = torch.full((3, 3), (1 - stay) / 2, dtype=F64).fill_diagonal_(stay)
    names = torch.full((3, 3), (1 - right) / 2, dtype=F64).fill_diagonal_(right)
    return torch.stack([walk * names[:, token] for token in range(3)])


def naming_source(draw: Draw) -> Tensor:
    """T (3, 3, 3) of a source whose token is its state."""
    walk = drawn_source(draw, 1, 3)[0]
    return torch.stack([walk * torch.eye(3, dtype=F64)[x] for x in range(3)])


def some_belief(draw: Draw, K: int) -> Tensor:
    """Draw a distribution over K states, none of them improbable."""
    weights = 0.2 + draw.normal(K, dtype=F64).abs()
    return weights / weights.sum()


def follow(answer: Callable, T: Tensor, belief: Tensor, tokens: list[int]) -> list[Tensor]:
    """Read a text, one update after the other."""
    beliefs = []
    for token in tokens:
        belief = answer(T, belief, token)
        beliefs.append(belief)
    return beliefs


def belief_cases(seed: int) -> list[Case]:
    """One token and many, sources of all shapes, a certain belief, tokens that rule a state out, one that cannot come."""
    draw = Draw(seed)
    S, K = draw.sizes(2)
    T, gaps = drawn_source(draw, S, K), drawn_source(draw, K, K + 1, gaps=True)
    square = drawn_source(draw, K, K)
    sure = torch.eye(K + 1, dtype=F64)[1]
    even = torch.full((3,), 1 / 3, dtype=F64)
    flat = drawn_source(draw, 2, 2).float()
    rare = drawn_source(draw, 3, 3)
    rare[0] *= 1e-14
    rare /= rare.sum((0, 2), keepdim=True)
    named = naming_source(draw)
    return [
        Case("the chapter's source, token 0 first", (three_states(), even, [0])),
        Case(f"{S} tokens, {K} states, one token read", (T, some_belief(draw, K), [S - 1])),
        Case(f"{S} tokens, {K} states, six tokens read", (T, some_belief(draw, K), draw.ids(6, below=S).tolist())),
        Case(f"{K} tokens, {K} states", (square, some_belief(draw, K), draw.ids(4, below=K).tolist())),
        Case("the chapter's source, 40 tokens read", (three_states(), even, draw.ids(40, below=3).tolist())),
        Case(
            "nearly sure of a state that cannot give the token",
            (gaps, 0.9 * sure + 0.1 * some_belief(draw, K + 1), [1, 0]),
        ),
        Case("sure of a state before the token", (gaps, sure, [0, 2])),
        Case("sure of state 1, which cannot give token 1", (gaps, sure, [1])),
        Case("the state is the token itself", (named, some_belief(draw, 3), [2, 0])),
        Case("token 0 has a probability near 1e-14", (rare, some_belief(draw, 3), [0, 1])),
        Case("two states, float32", (flat, torch.tensor([0.25, 0.75]), [1, 0, 1])),
    ]  # fmt: skip


def bayes(T: Tensor, belief: Tensor, token: int) -> Tensor:
    """Bayes' rule, state by state, in Python's floats."""
    table, K = T[token].tolist(), len(belief)
    joint = [math.fsum(p * row[j] for p, row in zip(belief.tolist(), table, strict=True)) for j in range(K)]
    if not (total := math.fsum(joint)):
        raise ValueError("this token cannot come")
    return torch.tensor([p / total for p in joint], dtype=belief.dtype)


def belief_update(T: Tensor, belief: Tensor, token: int) -> Tensor:
    """Weigh all moves that give the token; the mistakes below are changes of these lines."""
    joint = belief @ T[token]  # (K,) p(token, next state)
    total = joint.sum()
    if total == 0:
        raise ValueError(f"token {token} cannot come after this belief")
    return joint / total


BELIEF = Exercise(
    name="decoder.belief_update",
    points=2, difficulty=1, minutes=10,
    against="Bayes' rule, state by state, in Python's floats (float64 1e-9)",
    reference=bayes,
    right=belief_update,
    cases=belief_cases,
    use=follow,
    mistakes=(
        ("the result is not divided by its sum. What do the probabilities of all states sum to?",
         "return joint / total", "return joint"),
        ("the table is read the other way round. In T[x][i][j], which state is the one before the token?",
         "belief @ T[token]", "T[token] @ belief"),
        ("the states before the token are weighed, and nobody moves. Which state does the belief speak of after the token?",
         "belief @ T[token]", "belief * T[token].sum(1)"),
        ("the token is not looked at: this is only the walk. Which of the tables belongs to the token?",
         "belief @ T[token]", "belief @ T.sum(0)"),
        ("the belief so far is forgotten. What does it weigh?",
         "belief @ T[token]", "(torch.ones_like(belief) / len(belief)) @ T[token]"),
        ("the walk is taken first and then the token is weighed as if it came from the new state. "
         "Does T[x] not hold both at once?",
         "belief @ T[token]", "(belief @ T.sum(0)) * T[token].sum(1)"),
        ("the token is weighed as if it came from the state before, and then the walk is taken, whatever the token was. "
         "Does T[x] not hold both at once?",
         "belief @ T[token]", "(belief * T[token].sum(1)) @ T.sum(0)"),
        ("the largest entry becomes 1, not the sum.",
         "total = joint.sum()", "total = joint.max()"),
        ("every move counts alike: what can happen is counted, not how probable it is.",
         "T[token]\n", "(T[token] > 0).to(T.dtype)\n"),
        ("every row of the table is made to sum to one, so that a state that rarely gives the token counts as "
         "much as the others. By which single number may you divide?",
         "belief @ T[token]",
         "belief @ (T[token] / T[token].sum(1, keepdim=True).clamp_min(1e-300 if T.dtype == torch.float64 else 1e-30))"),
        ("an impossible token gives NaN instead of a ValueError. What is 0 / 0?",
         "total == 0", "False"),
        ("an improbable token is refused like an impossible one. Which probability exactly has a token that cannot come?",
         "total == 0", "total < 1e-09"),
        ("a small number is added to the sum that one divides by: after an improbable token the probabilities do not sum to 1.",
         "joint / total", "joint / (total + 1e-12)"),
        ("a token that rules one state out is refused. May another state have been the one?",
         "total == 0", "(joint == 0).any()"),
    ),
)  # fmt: skip


def floor_cases(seed: int) -> list[Case]:
    """The first token and later ones, sources of all shapes, starts that are not even, tokens that cannot come."""
    draw = Draw(seed)
    S, K = draw.size(2, 3), 4
    T, start = drawn_source(draw, S, K), some_belief(draw, K)
    gaps = drawn_source(draw, 3, 4, gaps=True)
    coin = torch.tensor([[[0.25]], [[0.75]]], dtype=F64)
    wide = drawn_source(draw, 5, 3)
    even = torch.full((3,), 1 / 3, dtype=F64)
    return [
        Case("one state, a coin with 1/4 and 3/4, n=1", (coin, torch.ones(1, dtype=F64), 1)),
        Case("the same coin, n=4", (coin, torch.ones(1, dtype=F64), 4)),
        Case(f"{S} tokens, {K} states, n=1", (T, start, 1)),
        Case(f"{S} tokens, {K} states, n=2", (T, start, 2)),
        Case(f"{S} tokens, {K} states, n=6", (T, start, 6)),
        Case("5 tokens, 3 states, n=4", (wide, some_belief(draw, 3), 4)),
        Case("the state is the token itself, n=5", (naming_source(draw), some_belief(draw, 3), 5)),
        Case("tokens that cannot come from some states, n=3", (gaps, torch.eye(4, dtype=F64)[1], 3)),
        Case("the chapter's source, n=3", (three_states(), even, 3)),
        Case("the chapter's source, n=9: 6561 texts", (three_states(), even, 9)),
    ]


def mean_over_texts(T: Tensor, start: Tensor, n: int) -> float:
    """Walk through all texts, one token at a time, and average the entropy of the next token."""
    tables = T.tolist()

    def walk(joint: list[float], left: int) -> float:
        steps = [[math.fsum(p * row[j] for p, row in zip(joint, table, strict=True)) for j in range(len(joint))]
                 for table in tables]  # fmt: skip
        if left:
            return math.fsum(walk(each, left - 1) for each in steps if sum(each) > 0)
        here, after = sum(joint), [sum(each) for each in steps]
        return -math.fsum(p * math.log(p / here) for p in after if p > 0)

    return walk(start.tolist(), n - 1)


def entropy_floor(T: Tensor, start: Tensor, n: int) -> float:
    """Uncertainty of n tokens less that of n - 1; the mistakes below are changes of these lines."""
    joint = start[None]  # (texts, K): p(text, state after it)
    for _ in range(n - 1):
        joint = torch.einsum("ti,xij->txj", joint, T).flatten(0, 1)
    texts = joint.sum(-1)
    longer = torch.einsum("ti,xij->tx", joint, T)  # p(text, one more token); entr(0) is 0
    return float(torch.special.entr(longer).sum() - torch.special.entr(texts).sum())


RESULT = "float(torch.special.entr(longer).sum() - torch.special.entr(texts).sum())"
GUARDED = "longer[texts > 0] / texts[texts > 0, None]"

FLOOR = Exercise(
    name="decoder.entropy_floor",
    points=4, difficulty=3, minutes=25,
    against="the entropy of the next token, averaged over all texts one by one (1e-9)",
    reference=mean_over_texts,
    right=entropy_floor,
    cases=floor_cases,
    mistakes=(
        ("all texts count alike. With which weight does a text enter the mean?",
         RESULT, f"float(torch.special.entr({GUARDED}).sum(-1).mean())"),
        ("one token too many is read before the prediction. How many tokens stand before token n?",
         "range(n - 1)", "range(n)"),
        ("one token too few is read before the prediction. How many tokens stand before token n?",
         "range(n - 1)", "range(max(n - 2, 0))"),
        ("nothing is read: this is the entropy of token n alone. What does a perfect reader know?",
         RESULT, "float(torch.special.entr(longer.sum(0)).sum())"),
        ("only the token just before is used, and those before it are forgotten. What does a perfect reader know?",
         "texts = joint.sum(-1)",
         "joint = joint.unflatten(0, (-1, len(T))).sum(0) if n > 1 else joint\n    texts = joint.sum(-1)"),
        ("the state walks once before the first token. Of which time does `start` speak?",
         "start[None]", "(start @ T.sum(0))[None]"),
        ("this is the entropy of the whole text of n tokens. How much of it is new in the last token?",
         RESULT, "float(torch.special.entr(longer).sum())"),
        ("this is the mean over the tokens 1 to n. Which token is asked for?",
         RESULT, "float(torch.special.entr(longer).sum() / n)"),
        ("the logarithm has base 2. Which unit is asked for?",
         RESULT, f"{RESULT} / math.log(2)"),
        ("the sign is turned round. Is an uncertainty negative?",
         RESULT, f"-{RESULT}"),
        ("tokens that cannot come give NaN: 0 times the logarithm of 0. What is its limit?",
         RESULT, "-float((longer * (longer / texts[:, None]).log()).sum())"),
        ("the states are taken to be equally probable at the start. Which distribution was given?",
         "start[None]", "(torch.ones_like(start) / len(start))[None]"),
        ("the tables are read the other way round. In T[x][i][j], which state is the one before the token?",
         "'ti,xij->txj', joint, T", "'ti,xij->txj', joint, T.mT",
         "'ti,xij->tx', joint, T", "'ti,xij->tx', joint, T.mT"),
        ("this is the uncertainty about the hidden state. Which uncertainty does the loss measure?",
         RESULT, "float(torch.special.entr(joint).sum() - torch.special.entr(texts).sum())"),
        ("the state is taken to be known to the reader. What does it see of the source?",
         RESULT,
         "float((joint.sum(0) * torch.special.entr(T.sum(2)).sum(0)).sum())"),
    ),
)  # fmt: skip
