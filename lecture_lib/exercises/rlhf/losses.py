"""The losses of PPO and of DPO: token by token, and torch's binary cross-entropy."""

import torch
from torch import Tensor
from torch.nn import functional as F

from lecture_lib.checks.chance import until
from lecture_lib.checks.draws import F64, Draw, scattered
from lecture_lib.checks.exercise import Case, Exercise


def bites(drawn: tuple) -> bool:
    """Both signs of the advantage stand on both sides of both limits, and inside them, and clear of them."""
    new, old, A, mask, clip = drawn
    ratio = (new - old).exp()[mask]
    zones = [(ratio < 1 - clip), (ratio > 1 + clip), (ratio - 1).abs() < clip / 2]
    clear = ((ratio - 1).abs() - clip).abs() > 0.01
    both = all((zone & (A[mask] * sign > 0.1)).any() for zone in zones for sign in (1, -1))
    uneven = len(set(mask.sum(1).tolist())) > 1
    return bool(clear.all()) and both and uneven and not mask.all()


def wild(drawn: tuple) -> tuple:
    """Put 500, NaN and both infinities where nothing counts, in another order into each tensor."""
    *tensors, mask, _ = drawn
    places = torch.arange(mask.numel()).view_as(mask) % 4
    odd = torch.tensor([500.0, torch.nan, torch.inf, -torch.inf])[places]
    return *(x.where(mask, odd.roll(k, 1).to(x.dtype)) for k, x in enumerate(tensors)), mask


def ppo_cases(seed: int) -> list[Case]:
    """By hand, the first update, all zones of the ratio, other limits, wild padding, nothing to count, float64 with gradients."""
    draw = Draw(seed)
    B, N = draw.sizes(2)
    N += 6

    def batch(dtype: torch.dtype = torch.float32, clip: float = 0.2) -> tuple:
        def one() -> tuple:
            new, old, A = (draw.normal(B, N, dtype=dtype) for _ in range(3))
            return -1 + 0.4 * new, -1 + 0.4 * old, A, draw.normal(B, N) > -0.4, clip

        return until(one, bites)

    one = torch.ones(1, 2)
    hand = torch.tensor([[1.5, 0.5]]).log(), 0 * one, torch.tensor([[1.0, -1.0]]), one.bool()
    new, old, A, mask, _ = batch()
    exact, nobody = batch(F64), torch.zeros_like(mask)
    far = torch.tensor([[-1.0, -1, -13]]), torch.tensor([[-13.0, -13, -1]]), torch.tensor([[-0.5, 1, -1]])
    sizes = f"B={B}, N={N}"
    return [
        Case("ratios 1.5 and 0.5, advantages 1 and -1: by hand", hand),
        Case(f"{sizes}, the first update: all ratios are 1", (old, old, A, mask)),
        Case(f"{sizes}, ε = 0.2", (new, old, A, mask)),
        Case(f"{sizes}, ε = 0.1", batch(clip=0.1)),
        Case(f"{sizes}, ε = 0.4", batch(clip=0.4)),
        Case(f"{sizes}, every token counts", (new, old, A, torch.ones_like(mask))),
        Case("ratios of e^12 and e^-12", (*far, far[0] < 0)),
        Case(f"{sizes}, padding holds 500, NaN and inf", wild((new, old, A, mask, 0))),
        Case("no token counts", (new, old, A, nobody)),
        Case(f"{sizes}, not contiguous", (scattered(new), scattered(old), scattered(A), mask)),
        Case(f"{sizes}, float64 with gradients", exact, gradient=(0, 1, 2)),
        Case(f"{sizes}, the same, padding holds 500, NaN and inf", wild(exact), gradient=(0, 1, 2)),
        Case(f"{sizes}, the same, no token counts", (*exact[:3], nobody), gradient=(0, 1, 2)),
        Case(
            f"{sizes}, float64, the first update with its gradient",
            (exact[1], exact[1].clone(), exact[2], exact[3]),
            gradient=(0, 1, 2),
        ),
    ]


def token_by_token(log_probs, old_log_probs, advantages, mask, clip=0.2) -> Tensor:
    """Each token says in words what it earns."""
    gains = [0 * log_probs[:0].sum()]
    for i, j in mask.nonzero().tolist():
        ratio = torch.exp(log_probs[i, j] - old_log_probs[i, j].detach())
        A = float(advantages[i, j])
        if A > 0 and ratio > 1 + clip:
            ratio = torch.full_like(ratio, 1 + clip)  # it earns no more
        if A < 0 and ratio < 1 - clip:
            ratio = torch.full_like(ratio, 1 - clip)
        gains.append(ratio * A)
    return -torch.stack(gains).sum() / max(len(gains) - 1, 1)


LOWER = "torch.minimum(ratio * advantages, ratio.clamp(1 - clip, 1 + clip) * advantages)"

PPO_LOSS = Exercise(
    name="rlhf.ppo_loss",
    points=4, difficulty=2, minutes=25,
    against="the gain of every token by itself, with torch's gradients",
    reference=token_by_token,
    cases=ppo_cases,
    mistakes=(
        ("the larger of the two gains counts. Which is the cautious one?", "torch.minimum", "torch.maximum"),
        ("nothing is clipped. What may a ratio earn at most?", LOWER, "ratio * advantages"),
        ("all ratios are clipped, also where that makes the loss smaller. Should a token that went the wrong way feel no pull back?",
         LOWER, "ratio.clamp(1 - clip, 1 + clip) * advantages"),
        ("the smaller ratio is taken, and then multiplied by A. Which of the two products is the smaller one if A is negative?",
         LOWER, "torch.minimum(ratio, ratio.clamp(1 - clip, 1 + clip)) * advantages"),
        ("the ratio is limited from above only. What if a bad token has become rare already?",
         "ratio.clamp(1 - clip, 1 + clip)", "ratio.clamp(max=1 + clip)"),
        ("the gain is given, not the loss. In which direction does an optimizer go?", "return -gains", "return gains"),
        ("old and new are exchanged in the ratio. Which one stands in the numerator?",
         "(log_probs - old_log_probs.detach())", "(old_log_probs.detach() - log_probs)"),
        ("the difference of the logarithms is taken for the ratio.", ".masked_fill(~mask, 0).exp()", ".masked_fill(~mask, 0) + 1"),
        ("the sum is divided by all places, padding included. How many tokens count?",
         "mask.sum().clamp(min=1)", "mask.numel()"),
        ("it is a sum, not a mean. By how many tokens is it divided?", "-gains.sum() / mask.sum().clamp(min=1)", "-gains.sum()"),
        ("first each text is averaged, then the texts: tokens of short texts count more. Over what does the mean run?",
         "-gains.sum() / mask.sum().clamp(min=1)", "-(gains.sum(1) / mask.sum(1).clamp(min=1)).mean()"),
        ("the logarithm of the ratio is limited to ±ε. Which limits has the ratio itself?",
         "ratio.clamp(1 - clip, 1 + clip)", "torch.exp(torch.log(ratio).clamp(-clip, clip))"),
        ("what stands at padding is not hidden: NaN or 0 times inf. What should be filled before the exponential?",
         "(log_probs - old_log_probs.detach()).masked_fill(~mask, 0).exp()", "(log_probs - old_log_probs.detach()).exp()",
         "advantages.detach().masked_fill(~mask, 0)", "advantages.detach() * mask"),
        ("padding is hidden behind the exponential only: the loss is right, but its gradient is NaN. What should be filled before?",
         "(log_probs - old_log_probs.detach()).masked_fill(~mask, 0).exp()", "(log_probs - old_log_probs.detach()).exp()",
         "advantages.detach().masked_fill(~mask, 0)", "advantages.detach()", LOWER, f"{LOWER}.masked_fill(~mask, 0)"),
        ("the loss of no token is a constant, so that `backward` fails. What is the sum of no gains?",
         "return -gains", "if not mask.any():\n        return log_probs.new_zeros(())\n    return -gains"),
        ("the mean of no tokens is NaN. By which number may a sum of no terms be divided?",
         "mask.sum().clamp(min=1)", "mask.sum()"),
        ("padding counts as if it were text.", "gains.sum() /", "(gains.sum() + (~mask).sum()) /"),
        ("a gradient goes through the old probabilities. They are data; what cuts it off?",
         "old_log_probs.detach()", "old_log_probs"),
        ("a gradient goes through the advantages. They are data; what cuts it off?",
         "advantages.detach()", "advantages"),
        ("ε is not what was asked for: it is always 0.2.", "clip = positive_real('clip', clip)", "clip = 0.2"),
    ),
)  # fmt: skip


def dpo_cases(seed: int) -> list[Case]:
    """By hand, no change yet, several pairs, other prices, pairs that are very right and very wrong, float64 with gradients."""
    draw = Draw(seed)
    B = draw.size(4, 8)

    def pairs(dtype: torch.dtype = torch.float32, spread: float = 1.5) -> list[Tensor]:
        return [-12 + spread * draw.normal(B, dtype=dtype) for _ in range(4)]

    a, b, c, d = pairs()
    far = torch.tensor([-900.0, -20.0, -30.0]), torch.tensor([-20.0, -900.0, -31.0])
    extreme = (*far, *(torch.full_like(x, -25.0) for x in far))
    return [
        Case("one pair, β = 0.5: by hand", (*(torch.tensor([x]) for x in (-3.0, -5.0, -5.0, -5.0)), 0.5)),
        Case(f"{B} pairs, the policy is the reference", (c, d, c.clone(), d.clone(), 0.3)),
        Case(f"{B} pairs, β = 0.1", (a, b, c, d, 0.1)),
        Case(f"{B} pairs, β = 1", (a, b, c, d, 1.0)),
        Case(f"{B} pairs, β = 3", (*pairs(), 3.0)),
        Case("three pairs, very wrong and very right", (*extreme, 1.0)),
        Case(f"{B} pairs, not contiguous", (*map(scattered, pairs()), 0.4)),
        Case(f"{B} pairs, float64 with gradients", (*pairs(F64), 0.7), gradient=(0, 1, 2, 3)),
        Case("the three pairs, float64 with gradients", (*(x.double() for x in extreme), 1.0), gradient=(0, 1, 2, 3)),
    ]  # fmt: skip


def as_a_label(chosen, rejected, reference_chosen, reference_rejected, beta) -> Tensor:
    """Binary cross-entropy of the label "the first is better"."""
    logits = beta * ((chosen - rejected) - (reference_chosen - reference_rejected).detach())
    return F.binary_cross_entropy_with_logits(logits, torch.ones_like(logits))


INSIDE = "beta * (gained - lost)"

DPO_LOSS = Exercise(
    name="rlhf.dpo_loss",
    points=3, difficulty=2, minutes=15,
    against='torch\'s binary cross-entropy of the label "the first is better"',
    reference=as_a_label,
    cases=dpo_cases,
    owned=("lecture_lib.rlhf.reward_loss",),
    mistakes=(
        ("the reference is left out. What should the loss be while the policy is still the reference?",
         "chosen - reference_chosen.detach()", "chosen", "rejected - reference_rejected.detach()", "rejected"),
        ("the reference is left out for the rejected answers. Which two ratios are compared?",
         "rejected - reference_rejected.detach()", "rejected"),
        ("the references are exchanged. What should the loss be while the policy is still the reference?",
         "chosen - reference_chosen.detach()", "chosen - reference_rejected.detach()",
         "rejected - reference_rejected.detach()", "rejected - reference_chosen.detach()"),
        ("logarithms are divided by logarithms. What is the logarithm of a ratio?",
         "chosen - reference_chosen.detach()", "chosen / reference_chosen.detach()",
         "rejected - reference_rejected.detach()", "rejected / reference_rejected.detach()"),
        ("the difference is divided by β. Which unit has β ln π?", INSIDE, "(gained - lost) / beta"),
        ("β is left out.", INSIDE, "(gained - lost)"),
        ("β multiplies the policy's part only. What is the implicit reward of an answer?", INSIDE,
         "(beta * (chosen - rejected) - (reference_chosen - reference_rejected).detach())"),
        ("chosen and rejected are exchanged. Which of the two should gain?", "gained - lost", "lost - gained"),
        ("the log-likelihood is given, not the loss. In which direction does an optimizer go?", "-F.logsigmoid", "F.logsigmoid"),
        ("it is a sum, not a mean over the pairs.", ").mean()", ").sum()"),
        ("the pairs are averaged inside the sigmoid. Does a very right pair make up for a very wrong one?",
         "-F.logsigmoid(beta * (gained - lost)).mean()", "-F.logsigmoid((beta * (gained - lost)).mean())"),
        ("the logarithm is taken of a sigmoid that is rounded to 0: inf. Which function of torch.nn.functional does both at once?",
         "-F.logsigmoid(beta * (gained - lost))", "-torch.log(torch.sigmoid(beta * (gained - lost)))"),
        ("the branch of `torch.where` that is not taken overflows: the loss is right, but its gradient is NaN. Which function of "
         "torch.nn.functional needs no branches?",
         "-F.logsigmoid(beta * (gained - lost))", "torch.where(gained > lost - 50 / beta, torch.log1p(torch.exp(beta * (lost - gained))), beta * (lost - gained))"),
        ("the probability of the wrong preference is averaged, not minus the logarithm of the right one.",
         "-F.logsigmoid(beta * (gained - lost))", "torch.sigmoid(-beta * (gained - lost))"),
        ("it is a hinge, max(0, 1 - x). Which loss has the Bradley-Terry model?",
         "-F.logsigmoid(beta * (gained - lost))", "(1 - beta * (gained - lost)).clamp(min=0)"),
        ("a gradient goes through the reference. It is fixed; what cuts it off?",
         "reference_chosen.detach()", "reference_chosen", "reference_rejected.detach()", "reference_rejected"),
    ),
)  # fmt: skip
