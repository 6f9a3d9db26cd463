"""Temperature for whole texts: the next token's law with the partition function of what follows, against enumeration."""

from itertools import product

import torch
from torch import Tensor

from lecture_lib.checks.draws import F64, Draw
from lecture_lib.checks.exercise import Case, Exercise


def lookahead_cases(seed: int) -> list[Case]:
    """Sharp sources with forbidden steps; one token left and many; T on both sides of 1, at 1, so hot that a small number is none, and so cold that powers vanish."""
    draw = Draw(seed)

    def source(V: int, dtype: torch.dtype = F64, spread: float = 2) -> Tensor:
        """Sharp rows, the last token never behind itself, and no two rows alike."""
        P = (spread * draw.normal(V, V, dtype=F64)).exp()
        P[-1, -1] = 0
        return (P / P.sum(1, keepdim=True)).to(dtype)

    def prefix(V: int, n: int) -> list[int]:
        """Begins and ends with different tokens."""
        first, last = draw.order(V)[:2].tolist()
        return [first, *draw.ids(n - 2, below=V).tolist(), last]

    trap = torch.tensor([[0.0, 0.6, 0.4], [0.5, 0.5, 0.0], [0.0, 0.0, 1.0]])
    # Two texts of 0.6 times 0.5 and one of 0.3003: the likeliest token does not begin the likeliest text.
    close = torch.tensor([[0.0997, 0.6, 0.3003], [0.5, 0.5, 0.0], [0.0, 0.0, 1.0]], dtype=F64)
    return [
        Case("three tokens after [0], T = 0.5, 2 remaining: by hand", (trap, [0], 0.5, 2)),
        Case("three tokens after [0], T = 0.5, 1 remaining: by hand", (trap, [0], 0.5, 1)),
        Case("three tokens after [0], T = 0.5, 9 remaining", (trap.double(), [0], 0.5, 9)),
        Case("three tokens after [0], T = 0.001, 2 remaining: texts of 0.3, 0.3 and 0.3003", (close, [0], 0.001, 2)),
        Case("V = 4, T = 0.7, 3 remaining", (source(4), prefix(4, 3), 0.7, 3)),
        Case("V = 3, T = 0.3, 6 remaining", (source(3), prefix(3, 2), 0.3, 6)),
        Case("V = 3, T = 1, 4 remaining", (source(3), prefix(3, 4), 1.0, 4)),
        Case("V = 4, T = 2.5, 4 remaining", (source(4), prefix(4, 2), 2.5, 4)),
        Case("V = 3, T = 200, 3 remaining: all steps nearly alike, but for the one that never happens", (source(3), prefix(3, 2), 200.0, 3)),
        Case("V = 5, T = 0.5, 4 remaining, in float32", (source(5, torch.float32), prefix(5, 2), 0.5, 4)),
        Case("V = 3, T = 0.001, 5 remaining: the powers are too small for float64", (source(3, spread=0.3), prefix(3, 2), 0.001, 5)),
    ]  # fmt: skip


def by_enumeration(P: Tensor, prefix: list[int], temperature: float, remaining: int) -> Tensor:
    """Weigh every text with p^(1/T) and add up those that begin with each token; logarithms, float64."""
    V = len(P)
    texts = torch.tensor(list(product(range(V), repeat=remaining)))  # (V^remaining, remaining)
    before = torch.cat([torch.full((len(texts), 1), prefix[-1]), texts[:, :-1]], dim=1)
    log_weights = P.double().log()[before, texts].sum(1) / temperature
    return log_weights.softmax(0).reshape(V, -1).sum(1).to(P.dtype)


LOG_Z = "log_Z = torch.logsumexp(log_weights + log_Z, dim=-1)"
NEXT = "(log_weights[prefix[-1]] + log_Z).softmax(-1)"

LOOKAHEAD = Exercise(
    name="sampling.lookahead_probs",
    points=5, difficulty=3, minutes=35,
    against="the sum of p^(1/T) over every text that can follow (float32 1e-5, float64 1e-9)",
    reference=by_enumeration,
    cases=lookahead_cases,
    owned=("lecture_lib.sampling.text_log_probs",),  # a list of all texts leaves no recursion to find
    mistakes=(
        ("the future is left out: that is the ordinary temperature, token by token. Which texts can follow each token?",
         "range(remaining - 1)", "range(0)"),
        ("the recursion is one step short. How many tokens remain after the next one?",
         "range(remaining - 1)", "range(max(0, remaining - 2))"),
        ("the recursion is one step too long. How many tokens remain after the next one?",
         "range(remaining - 1)", "range(remaining)"),
        ("the partition function is taken to the power 1/T as well. Is it a sum of powers, or a power of a sum?",
         NEXT, "(log_weights[prefix[-1]] + log_Z / temperature).softmax(-1)"),
        ("1/T acts again in every step of the recursion. Which factor has its power already?",
         "log_weights + log_Z, dim", "log_weights + log_Z / temperature, dim"),
        ("the next token has its plain probability, and only what follows has the power 1/T. Which factors belong to the text?",
         NEXT, "(P[prefix[-1]].log() + log_Z).softmax(-1)"),
        ("only the best continuation counts, not the sum over all. What is a partition function?",
         LOG_Z, "log_Z = (log_weights + log_Z).amax(-1)"),
        ("the recursion sums over the token before, not over the one behind. Which index of P is the next token?",
         LOG_Z, "log_Z = torch.logsumexp(log_weights.mT + log_Z, dim=-1)"),
        ("column and row are exchanged in the last factor. Which index of P is the last token?",
         "log_weights[prefix[-1]]", "log_weights[:, prefix[-1]]"),
        ("the source is asked about the first token of the prefix. Which one decides what follows?",
         "prefix[-1]", "prefix[0]"),
        ("P is taken to the power T. Should a low temperature sharpen or flatten?",
         "apply_temperature(P.log(), temperature)", "P.log() * temperature"),
        ("the law is not normalised. Which sum must it be divided by?",
         NEXT, "(log_weights[prefix[-1]] + log_Z).exp()"),
        ("the powers are too small for a float at a low temperature, and 0/0 is NaN. Would logarithms hold them?",
         LOG_Z, "log_Z = (log_weights.exp() @ log_Z.exp()).log()", NEXT,
         "(log_weights[prefix[-1]].exp() * log_Z.exp()) / (log_weights[prefix[-1]].exp() * log_Z.exp()).sum()"),
    ),
)  # fmt: skip
