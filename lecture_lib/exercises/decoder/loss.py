"""The loss of a decoder: at every token, minus the log-probability of the next one."""

import torch
from torch import Tensor
from torch.nn import functional as F

from lecture_lib.checks.draws import F64, Draw, scattered
from lecture_lib.checks.exercise import Case, Exercise


def loss_cases(seed: int) -> list[Case]:
    """One text and several, rows of different length with anything behind them, large scores, nothing to predict."""
    draw = Draw(seed)
    B, N, V = draw.sizes(3)
    N += 2

    def texts(B: int, N: int, V: int, dtype: torch.dtype = torch.float32) -> tuple[Tensor, Tensor]:
        return 2 * draw.normal(B, N, V, dtype=dtype), draw.ids(B, N, below=V)

    def padded(dtype: torch.dtype = torch.float32, behind: float | None = None) -> tuple:
        logits, ids = texts(B, N, V, dtype)
        lengths = draw.ids(B, low=3, below=N)
        lengths[0], lengths[1] = N, 2
        if behind is not None:  # the model has said it, but nobody asked
            logits[torch.arange(N) >= lengths[:, None]] = behind
        return logits, ids, lengths

    high = texts(B, N, V, F64)
    high[0][0] += 1000
    high[0][1] -= 1000
    with_one = padded()
    with_one[2][2] = 1
    (logits, ids), ones = texts(B, N, V), torch.ones(B, dtype=torch.int64)
    sizes = f"B={B}, N={N}, |V|={V}"
    return [
        Case("one text of two tokens, |V|=3: one target", texts(1, 2, 3)),
        Case("one text of three tokens, |V|=2", texts(1, 3, 2)),
        Case(f"{sizes}, no padding", texts(B, N, V)),
        Case(f"{sizes}, lengths given, all of them N", (*texts(B, N, V), torch.full((B,), N))),
        Case(f"{sizes}, rows of different length", padded()),
        Case(f"{sizes}, one row of a single token", with_one),
        Case(f"{sizes}, the logits at padding are NaN", padded(behind=torch.nan)),
        Case(f"{sizes}, float64, scores near +1000 and near -1000", high),
        Case(f"{sizes}, scores spread over 300", (150 * logits, ids)),
        Case(f"{sizes}, not contiguous", (scattered(logits), ids)),
        Case("texts of one token: nothing to predict", texts(2, 1, 4)),
        Case(f"{sizes}, float64 with the gradient", padded(F64), gradient=(0,)),
        Case(f"{sizes}, the same, with NaN at padding", padded(F64, torch.nan), gradient=(0,)),
        Case(f"{sizes}, the same, one token in each row", (*texts(B, N, V, F64), ones), gradient=(0,)),
    ]


def torch_loss(logits: Tensor, ids: Tensor, lengths: Tensor | None = None) -> Tensor:
    """Torch's cross-entropy on a list of single predictions, gathered one by one."""
    ends = [ids.shape[1]] * len(ids) if lengths is None else lengths.tolist()
    pairs = [(row, n) for row, end in enumerate(ends) for n in range(end - 1)]
    if not pairs:
        return logits[:0].sum()
    said = torch.stack([logits[row, n] for row, n in pairs])
    return F.cross_entropy(said, torch.stack([ids[row, n + 1] for row, n in pairs]))


def next_token_loss(logits: Tensor, ids: Tensor, lengths: Tensor | None = None) -> Tensor:
    """Compare what is said at token n with token n + 1; the mistakes below are changes of these lines."""
    said, targets = logits[:, :-1], ids[:, 1:]
    asked = torch.ones_like(targets, dtype=torch.bool)
    if lengths is not None:
        asked = torch.arange(1, ids.shape[1]) < lengths[:, None]
    said, targets = said[asked], targets[asked]
    losses = -torch.log_softmax(said, dim=-1).gather(-1, targets[:, None])
    return losses.sum() / max(len(targets), 1)


LOSS = Exercise(
    name="decoder.next_token_loss",
    points=3, difficulty=2, minutes=15,
    against="torch.nn.functional.cross_entropy on the predictions one by one (float32 1e-5, float64 gradients)",
    reference=torch_loss,
    right=next_token_loss,
    cases=loss_cases,
    kernels=("nll_loss", "cross_entropy"),
    owned=("lecture_lib.training.cross_entropy", "lecture_lib.training.mlm_loss"),
    mistakes=(
        ("what is said at a token is compared with the token itself, which the model has just read. Which token "
         "should it predict?",
         "logits[:, :-1], ids[:, 1:]", "logits[:, 1:], ids[:, 1:]"),
        ("what is said at a token is compared with the token before it. In which direction does a text go on?",
         "logits[:, :-1], ids[:, 1:]", "logits[:, 1:], ids[:, :-1]"),
        ("every row is averaged first, then the rows: short texts count more. Over what should the mean run?",
         "return losses.sum() / max(len(targets), 1)",
         "rows = torch.arange(len(ids))[:, None].expand_as(asked)[asked]\n"
         "    means = [losses[rows == row].mean() for row in rows.unique()]\n"
         "    return sum(means) / max(len(means), 1) + 0 * losses.sum()"),
        ("the losses are added up. Is the loss of a long text larger?",
         " / max(len(targets), 1)", ""),
        ("padding is predicted too. What do `lengths` say?",
         "lengths is not None", "False"),
        ("the sum is divided by all places, padding included. How many predictions were asked for?",
         "max(len(targets), 1)", "max(asked.numel(), 1)"),
        ("the sum is divided by the number of tokens, not of predictions. How many predictions has a text of N tokens?",
         "max(len(targets), 1)", "max(len(targets) + (lengths > 0).sum() if lengths is not None else ids.numel(), 1)"),
        ("the first token of padding is predicted. What comes after the last real token?",
         "torch.arange(1, ids.shape[1])", "torch.arange(ids.shape[1] - 1)"),
        ("the last real token is not predicted. Which token is the last target?",
         "< lengths[:, None]", "< lengths[:, None] - 1"),
        ("the first prediction is left out. Which token is the first target?",
         "return losses", "losses = losses * 1.0\n    return losses",
         "asked = torch.ones_like(targets, dtype=torch.bool)",
         "asked = torch.ones_like(targets, dtype=torch.bool)\n    asked[:, :1] = False",
         "torch.arange(1, ids.shape[1]) < lengths[:, None]",
         "(torch.arange(1, ids.shape[1]) < lengths[:, None]) & (torch.arange(1, ids.shape[1]) > 1)"),
        ("probabilities are averaged, not their logarithms.",
         "-torch.log_softmax", "-torch.softmax"),
        ("the sign is turned round. Is a loss negative?",
         "-torch.log_softmax", "torch.log_softmax"),
        ("the exponentials overflow for large scores. Which function takes softmax and logarithm in one?",
         "torch.log_softmax(said, dim=-1)", "(said.exp() / said.exp().sum(-1, keepdim=True)).log()"),
        ("a softmax that is rounded to 0 or 1 goes into the logarithm. Which function takes softmax and logarithm in one?",
         "torch.log_softmax(said, dim=-1)", "torch.softmax(said, dim=-1).log()"),
        ("0/0 comes out where nothing is asked. What should the loss be there?",
         "max(len(targets), 1)", "len(targets)"),
        ("padding is left out behind the softmax only: the loss is right, but its gradient is NaN at padding. What must be "
         "left out before the softmax?",
         "said, targets = (said[asked], targets[asked])", "count = int(asked.sum())",
         "gather(-1, targets[:, None])", "gather(-1, targets[..., None])[asked]",
         "max(len(targets), 1)", "max(count, 1)"),
        ("padding is multiplied by 0 behind the softmax. What is 0 times NaN?",
         "said, targets = (said[asked], targets[asked])", "count = int(asked.sum())",
         "gather(-1, targets[:, None])", "gather(-1, targets[..., None]) * asked[..., None]",
         "max(len(targets), 1)", "max(count, 1)"),
        ("the last token is asked for the first one, which `roll` brings there. What comes after the last token of a text?",
         "logits[:, :-1], ids[:, 1:]", "logits, ids.roll(-1, 1)",
         "torch.arange(1, ids.shape[1])", "torch.arange(ids.shape[1])"),
        ("the loss of nothing is a constant that hangs on no logits, so that `backward` fails. What is the sum of no losses?",
         "return losses", "if not len(targets):\n        return logits.new_zeros(())\n    return losses"),
        ("the softmax runs over the places, not over the tokens that could come.",
         "log_softmax(said, dim=-1)", "log_softmax(said, dim=0)"),
        ("the logarithms have base 2. Which unit is asked for?",
         "return losses", "return 1.4426950408889634 * losses"),
    ),
)  # fmt: skip
