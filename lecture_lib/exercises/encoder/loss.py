"""The loss of a masked language model: the mean over the places that are asked for, and over no others."""

import torch
from torch import Tensor
from torch.nn import functional as F

from lecture_lib.checks.draws import F64, Draw, scattered
from lecture_lib.checks.exercise import Case, Exercise


def loss_cases(seed: int) -> list[Case]:
    """By hand, unequal numbers of targets in a row, token 0 as a target, nothing asked, scores that overflow, gradients."""
    draw = Draw(seed)
    B, N, V = draw.sizes(3)

    def asked(b: int, n: int, v: int) -> Tensor:
        """Targets of which the first row has one, the second none, the others more; 0 is among them."""
        targets = draw.ids(b, n, below=v).where(torch.rand(b, n, generator=draw.generator) < 0.5, -100)
        targets[0], targets[1] = -100, -100
        targets[0, draw.size(0, n - 1)] = 0
        targets[2:, :2] = torch.tensor([0, v - 1])
        return targets

    two = torch.tensor([[[2.0, 0.0], [0.0, 1.0], [5.0, 0.0]]])
    nothing = torch.full((B, N), -100)
    return [
        Case("one text of three tokens, |V|=2, the last one not asked: by hand", (two, torch.tensor([[0, 0, -100]]))),
        Case(f"logits ({B}, {N}, {V})", (draw.normal(B, N, V), asked(B, N, V))),
        Case(f"logits ({B}, {N}, {V}), everything asked", (draw.normal(B, N, V), draw.ids(B, N, below=V))),
        Case(f"logits ({B}, {N}, {V}), nothing asked: 0", (draw.normal(B, N, V), nothing)),
        Case(f"logits ({B}, {N}, {V}) of about 1000", (1000 * (2 + draw.normal(B, N, V)), asked(B, N, V))),
        Case(f"logits ({B}, {N}, {V}), not contiguous", (scattered(draw.normal(B, N, V)), asked(B, N, V))),
        Case(f"logits ({B}, {V}) of one row", (draw.normal(B, V), draw.ids(B, below=V))),
        Case(f"logits ({B}, {N}, {V}), float64, with its gradient", (draw.normal(B, N, V, dtype=F64), asked(B, N, V)), gradient=(0,)),
        Case("logits (1, 2, 3), float64, nothing asked: 0, and so is its gradient", (draw.normal(1, 2, 3, dtype=F64), nothing[:1, :2]), gradient=(0,)),
    ]  # fmt: skip


def torch_loss(logits: Tensor, targets: Tensor) -> Tensor:
    """Torch's cross-entropy, summed, over the number of targets."""
    summed = F.cross_entropy(logits.flatten(0, -2), targets.flatten(), ignore_index=-100, reduction="sum")
    return summed / max(int((targets != -100).sum()), 1)


def masked_loss(logits: Tensor, targets: Tensor) -> Tensor:
    """Mean of -ln p(target) where something is asked; the mistakes below are changes of these lines."""
    asked = targets != -100
    log_probs = torch.log_softmax(logits[asked], dim=-1)
    losses = -log_probs.gather(-1, targets[asked][:, None])
    return losses.sum() / max(losses.numel(), 1)


def mean_of_means(logits: Tensor, targets: Tensor) -> Tensor:
    """The mean over texts of each text's own mean."""
    asked = targets != -100
    log_probs = torch.log_softmax(logits, dim=-1).gather(-1, targets.clamp_min(0)[..., None])[..., 0]
    return ((-log_probs * asked).sum(-1) / asked.sum(-1).clamp_min(1)).mean()


def zero_of_its_own(logits: Tensor, targets: Tensor) -> Tensor:
    """The right loss, but a batch without targets gives a new 0."""
    asked = targets != -100
    if not asked.any():
        return torch.zeros((), dtype=logits.dtype)
    return torch_loss(logits, targets)


MASKED_LOSS = Exercise(
    name="encoder.masked_loss",
    points=2, difficulty=1, minutes=10,
    against="torch.nn.functional.cross_entropy (float32 1e-5, float64 1e-9 with gradients)",
    reference=torch_loss,
    right=masked_loss,
    cases=loss_cases,
    kernels=("cross_entropy", "nll_loss"),
    owned=("lecture_lib.training.cross_entropy", "lecture_lib.training.mlm_loss", "lecture_lib.training.target_loss"),
    mistakes=(
        ("the sum is divided by the number of all places. Which places does the mean run over?",
         "losses.numel()", "targets.numel()"),
        ("the losses are summed. What should become of a loss when the batch has twice the rows?",
         " / max(losses.numel(), 1)", ""),
        ("it is divided by the number of texts. Which places does the mean run over?",
         "losses.numel()", "len(targets)"),
        ("each text is averaged by itself, then the texts. Which weight has every asked place of the batch?", mean_of_means),
        ("places where nothing is asked count as if token 0 were the target. What does -100 say?",
         "targets != -100", "targets < logits.shape[-1]", "targets[asked]", "targets[asked].clamp_min(0)"),
        ("token 0 is taken for a place where nothing is asked. Can it be a target?",
         "targets != -100", "targets > 0"),
        ("nothing asked gives NaN. By which number may a sum of no terms be divided?",
         "max(losses.numel(), 1)", "losses.numel()"),
        ("the 0 of a batch without targets is a new number. How can it be made of the logits, so that `backward()` works?",
         zero_of_its_own),
        ("the sign is wrong: a good guess gets a large loss.",
         "-log_probs", "log_probs"),
        ("the loss is in bits. Which logarithm was asked for?",
         "max(losses.numel(), 1)", "max(losses.numel(), 1) / torch.tensor(2.0).log().to(logits.dtype)"),
        ("the exponentials overflow for large logits. Which function gives ln p without them?",
         "torch.log_softmax(logits[asked], dim=-1)", "(logits[asked].exp() / logits[asked].exp().sum(-1, keepdim=True)).log()"),
        ("the logits are taken for logarithms of probabilities. What must e to their power sum to?",
         "torch.log_softmax(logits[asked], dim=-1)", "logits[asked]"),
        ("1 - p is averaged instead of -ln p.",
         "-log_probs.gather(-1, targets[asked][:, None])", "1 - log_probs.gather(-1, targets[asked][:, None]).exp()"),
    ),
)  # fmt: skip
