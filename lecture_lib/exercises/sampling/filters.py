"""Two filters: the k best tokens, with a bug that ties show, and the nucleus, with its boundary rule."""

import math
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from lecture_lib.checks.chance import until
from lecture_lib.checks.compare import difference
from lecture_lib.checks.draws import BF16, F64, Draw
from lecture_lib.checks.exercise import Case, Exercise
from lecture_lib.checks.kinds import find_the_bug
from lecture_lib.checks.plain import Array, plain


def k_best(logits: Tensor, k: int) -> Tensor:
    """Keep the k largest of (..., V) logits and all that equal the k-th; the others become -inf.

    Example:
        >>> k_best(torch.tensor([1.0, 3.0, 1.0, 0.0]), 2)
        tensor([1., 3., 1., -inf])
    """
    k = min(k, logits.shape[-1])
    removed = logits < logits.topk(k).values[..., -1:]
    return logits.masked_fill(removed, -torch.inf)


def k_best_cases(seed: int) -> list[Case]:
    """Ties at the k-th place and above it, k of 1 and beyond the vocabulary, batches, negative logits, half precision."""
    draw = Draw(seed)
    a, b, V = draw.sizes(3)
    V += 4
    k = draw.size(2, 4)
    tied = torch.tensor([2.0, 1.0, 1.0, 1.0, 0.0, -1.0])[draw.order(6)]
    near = torch.tensor([2.0, 1.0, 1.0 - 2**-23, 0.5, 0.0, -1.0])[draw.order(6)]
    above = torch.tensor([2.0, 2.0, 2.0, 1.0, 0.0, -1.0])[draw.order(6)]
    rows = torch.stack([draw.normal(V).sort().values[draw.order(V)] + 20 * row for row in range(V)])
    coarse = torch.stack([torch.tensor([3.0, 2.0, 2.0, 2.0, 1.0, 0.0, 0.0])[draw.order(7)] for _ in range(a)])
    return [
        Case("six logits, k = 2, three equal ones at the second place", (tied, 2)),
        Case("six logits, k = 2, three equal ones at the first place", (above, 2)),
        Case("six logits, k = 2, the third is 0.9999999, not 1", (near, 2)),
        Case("six logits, k = 1, three equal ones at the first place", (above, 1)),
        Case(f"logits ({V},), k = {k}", (draw.normal(V), k)),
        Case(f"logits ({V},), all negative, k = {k}", (draw.normal(V) - 50, k)),
        Case(f"logits ({V},), k = {V + 2}: more than there are", (draw.normal(V), V + 2)),
        Case(f"logits ({V}, {V}), k = {k}, rows of very different height", (rows, k)),
        Case(f"logits ({a}, {b}, {V}), k = {k}", (draw.normal(a, b, V), k)),
        Case(f"logits ({a}, 7) in bfloat16, k = 3, with ties", (coarse.to(BF16), 3)),
    ]


def by_counting(logits: Tensor, k: int) -> Tensor:
    """A token stays if fewer than k are larger than it."""
    larger = (logits[..., None, :] > logits[..., :, None]).sum(-1)
    return torch.where(larger < k, logits, -torch.inf)


KTH = "logits.topk(k).values[..., -1:]"
REMOVED = f"removed = logits < {KTH}"

TOP_K = Exercise(
    name="sampling.top_k",
    points=2, difficulty=1, minutes=10,
    against="for every token a count of those that are larger (exactly)",
    reference=by_counting,
    right=k_best,
    cases=k_best_cases,
    mistakes=(
        ("exactly k tokens stay, and chance decides between equal ones. What should be compared: places or values?",
         REMOVED, "best = logits.topk(k).indices\n    removed = torch.ones_like(logits, dtype=torch.bool)\n"
                  "    removed = removed.scatter(-1, best, False)"),
        ("the k-th token goes, too. Is what equals the k-th to be kept?",
         f"logits < {KTH}", f"logits <= {KTH}"),
        ("a k larger than the vocabulary is an error. How many can be kept at most?",
         "min(k, logits.shape[-1])", "k"),
        ("k + 1 tokens stay.", "min(k, logits.shape[-1])", "min(k + 1, logits.shape[-1])"),
        ("the k smallest logits stay. Which end of the list is likely?",
         REMOVED, "removed = logits > logits.topk(k, largest=False).values[..., -1:]"),
        ("all texts of the batch share one threshold. Whose k-th logit does each text need?",
         f"< {KTH}", "< logits.flatten().topk(k).values[-1]"),
        ("the thresholds line up with the tokens, not with the texts. Which axis was dropped?",
         "[..., -1:]", "[..., -1]"),
        ("tokens are removed by the logit 0, which many tokens have. Which logit has the probability 0?",
         "-torch.inf", "0.0"),
        ("tokens are removed by a logit that is finite. Which logit has the probability 0, whatever the others are?",
         "-torch.inf", "-10000.0"),
        ("every distinct value counts once, so equal tokens take one place together. How many tokens are larger?",
         REMOVED, "removed = torch.stack([row < row.unique().flip(0)[:k].min() for row in logits.reshape(-1, "
                  "logits.shape[-1])]).reshape(logits.shape)"),
    ),
)  # fmt: skip
# Symptom: of tokens with the same logit one stays and the other goes.
K_BEST = find_the_bug(
    TOP_K,
    "sampling.k_best",
    "exactly k tokens stay",
    points=2,
    difficulty=1,
    minutes=10,
    imports="import torch",
)


def nucleus(probs: Tensor, p: float) -> Tensor:
    """Keep the smallest set of most likely tokens that holds p; the mistakes below are changes of these lines."""
    ordered, order = probs.sort(dim=-1, descending=True)
    before = ordered.cumsum(-1) - ordered  # probability of the more likely tokens
    kept = before < p
    kept[..., 0] = True
    kept = kept.scatter(-1, order, kept)
    probs = probs * kept
    return probs / probs.sum(-1, keepdim=True)


def clear_of_boundary(probs: Tensor, p: float) -> bool:
    """Whether no sum of largest probabilities is so close to p that rounding decides, and the nucleus is neither 1 nor all."""
    sums = probs.double().sort(dim=-1, descending=True).values.cumsum(-1)
    size = 1 + (sums < p).sum(-1)
    return bool(((sums - p).abs() > 1e-3).all() and (size > 1).any() and (size < probs.shape[-1]).any())


def nucleus_cases(seed: int) -> list[Case]:
    """The lecture's p, sums that reach p exactly, one token above p, p of 0 and 1, ties, batches, far-off tails."""
    draw = Draw(seed)
    a, b, V = draw.sizes(3)
    V += 4

    def spread(*shape: int) -> Tensor:
        probs = lambda: (1.5 * draw.normal(*shape)).softmax(-1)  # noqa: E731
        return until(probs, lambda probs: clear_of_boundary(probs, 0.7))

    def eighths(*numbers: int) -> Tensor:
        return torch.tensor(numbers)[draw.order(len(numbers))] / sum(numbers)

    zeros = eighths(4, 2, 1, 1, 0, 0)
    return [
        Case("four tokens, p = 0.7", (eighths(8, 4, 3, 1), 0.7)),
        Case("four tokens, p = 0.75, which two of them hold exactly", (eighths(4, 2, 1, 1), 0.75)),
        Case("four tokens, p = 0.7502, a little more than two of them hold", (eighths(4, 2, 1, 1), 0.7502)),
        Case("five tokens, p = 0.5, which one of them holds exactly", (eighths(8, 4, 2, 1, 1), 0.5)),
        Case("four tokens, p = 0.2, less than the most likely one has", (eighths(8, 4, 3, 1), 0.2)),
        Case("four tokens, p = 0: only the most likely one", (eighths(9, 4, 2, 1), 0.0)),
        Case("six tokens, two of probability 0, p = 1: all that can come", (zeros, 1.0)),
        Case("seven tokens, p = 0.5: five are equally likely, and some of them stay", (eighths(6, 2, 2, 2, 2, 2, 0), 0.5)),
        Case(f"probs ({V},), p = 0.7", (spread(V), 0.7)),
        Case(f"probs ({a}, {V}), p = 0.7: a batch", (spread(a, V), 0.7)),
        Case(f"probs ({a}, {b}, {V}), p = 0.7: two axes of batch", (spread(a, b, V), 0.7)),
        Case(f"probs ({b}, {V}) in float64, p = 0.7", (spread(b, V).to(F64), 0.7)),
    ]  # fmt: skip


def token_by_token(probs: Tensor, p: float) -> Tensor:
    """Take the most likely token that is left until p is reached, in Python's exactly rounded sums."""
    rows = []
    for row in probs.double().reshape(-1, probs.shape[-1]).tolist():
        taken: list[int] = []
        while not taken or math.fsum(row[i] for i in taken) < p:
            taken.append(max((i for i in range(len(row)) if i not in taken), key=lambda i: row[i]))
        total = math.fsum(row[i] for i in taken)
        rows.append([row[i] / total if i in taken else 0.0 for i in range(len(row))])
    return torch.tensor(rows, dtype=F64).reshape(probs.shape).to(probs.dtype)


def accept_nucleus(case: Case, output: object, _asked: list) -> str | None:
    """The reference's numbers, whichever of equally likely tokens have them."""
    expected = plain(token_by_token(*case.inputs))
    other = difference(output, expected, None)
    if type(output) is not Array or output.values.shape != expected.values.shape:
        return other
    tiny = (output.values != 0) & (np.abs(output.values) < 1e-3) & (expected.values == 0)
    if tiny.any():
        return f"a token outside the set has {output.values[tiny][0]:.3g}; it must have 0"
    if other is None:
        return None
    probs = case.inputs[0].numpy()

    def by_size(values: np.ndarray) -> np.ndarray:
        return np.take_along_axis(values, np.lexsort((values, probs)), -1)

    same = replace(output, values=by_size(output.values)), replace(expected, values=by_size(expected.values))
    return difference(*same, None) and other


NUCLEUS = Exercise(
    name="sampling.nucleus",
    points=4, difficulty=2, minutes=20,
    against="tokens taken one by one until their exact sum reaches p (1e-5)",
    reference=token_by_token,
    right=nucleus,
    cases=nucleus_cases,
    accept=accept_nucleus,
    owned=("lecture_lib.sampling.top_p",),
    mistakes=(
        ("the token that crosses p is left out, so the set holds less than p. Which token makes the sum reach p?",
         "before = ordered.cumsum(-1) - ordered", "before = ordered.cumsum(-1)"),
        ("one token too many stays where the sum is p exactly. Has it reached p?",
         "before < p", "before <= p"),
        ("one token too many stays: the one after the sum has reached p. Is the sum before a token or behind it compared?",
         "before = ordered.cumsum(-1) - ordered", "before = (ordered.cumsum(-1) - ordered).roll(1, -1)"),
        ("the probabilities come back in the order of their size. Which token is which?",
         "probs = probs * kept", "probs = ordered * kept.gather(-1, order)"),
        ("the mark of the i-th largest token stands at place i. How do marks find back to their tokens?",
         "kept = kept.scatter(-1, order, kept)", "pass"),
        ("the marks are gathered where they should be scattered. Does `order` lead from rank to token, or back?",
         "kept.scatter(-1, order, kept)", "kept.gather(-1, order)"),
        ("the probabilities that are left do not sum to one. What is a distribution?",
         "return probs / probs.sum(-1, keepdim=True)", "return probs"),
        ("what is left is divided by p. To which sum does it come, if the last token of the set crosses p?",
         "return probs / probs.sum(-1, keepdim=True)", "return probs / max(p, 1e-09)"),
        ("what is left went through a softmax. Are these numbers logits?",
         "return probs / probs.sum(-1, keepdim=True)", "return probs.masked_fill(probs == 0, -torch.inf).softmax(-1)"),
        ("the least likely tokens come first. Which end of the list is the nucleus?",
         "descending=True", "descending=False"),
        ("no token is left when p is 0, and 0/0 is NaN. How many tokens must stay at least?",
         "kept[..., 0] = True", "pass"),
        ("all tokens as likely as the last one of the nucleus stay. Is this the smallest set that holds p?",
         "probs = probs * kept",
         "probs = probs * (probs >= torch.where(kept, probs, 2.0).amin(-1, keepdim=True)) * (probs > 0)"),
        ("tokens stay that have at least the probability p themselves. What is p compared with?",
         "before < p", "ordered >= p"),
        ("tokens stay that have at least p times the probability of the best (that is min-p). What is p compared with?",
         "before < p", "ordered >= p * ordered[..., :1]"),
        ("the sum runs over the first axis, from text to text. Over which axis is a distribution?",
         "before = ordered.cumsum(-1) - ordered", "before = ordered.cumsum(0) - ordered"),
        ("every token stays. Which ones lie outside the set?", "probs = probs * kept", "pass"),
    ),
)  # fmt: skip
