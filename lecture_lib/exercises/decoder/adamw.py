"""One step of training: clip the gradients together, then AdamW."""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from lecture_lib.checks.draws import F64, Draw
from lecture_lib.checks.exercise import Case, Exercise


def several_steps(
    answer: Callable, parameters: list[Tensor], gradients: list[list[Tensor]], **settings: object
) -> dict[str, list]:
    """Take one step for each list of gradients, and keep the three lists after each."""
    m, v = ([torch.zeros_like(p) for p in parameters] for _ in range(2))
    trace = {}
    for step, each in enumerate(gradients, start=1):
        before = [x.clone() for x in (*m, *v)]
        parameters, *state = answer(parameters, each, m, v, step, **settings)
        if not all(map(torch.equal, before, (*m, *v))):
            raise ValueError("m or v is not the same after the call; leave what you were given as it was")
        m, v = state
        after = {"parameters": parameters, "m": m, "v": v}
        trace |= {f"{name} after step {step}": list(each) for name, each in after.items()}
    return trace


def adamw_cases(seed: int) -> list[Case]:
    """Gradients below and above the threshold, alone and in turn, at it, zero ones; every setting changed once."""
    draw = Draw(seed)
    a, b = draw.sizes(2)

    def case(what: str, sizes: list[float], **settings: object) -> Case:
        """One step for each size, which is the norm of all gradients together."""
        shapes = ((a, b), (b,), ())
        parameters = [1 + draw.normal(*shape, dtype=F64) for shape in shapes]
        gradients = []
        for size in sizes:
            drawn = [draw.normal(*shape, dtype=F64) for shape in shapes]
            norm = torch.cat([g.flatten() for g in drawn]).norm()
            gradients.append([size * g / norm for g in drawn])
        rate = {} if "default" in what else {"learning_rate": 0.05}
        return Case(what, (parameters, gradients), rate | settings)

    one = Case(
        "one number, one step",
        ([draw.normal(1, dtype=F64)], [[draw.normal(1, dtype=F64)]]),
        {"learning_rate": 0.1},
    )
    return [
        one,
        case("one step, norm 0.5", [0.5]),
        case("four steps, norm 0.3 to 0.8", [0.5, 0.3, 0.8, 0.4]),
        case("four steps, norm 2 to 9: all are clipped", [3.0, 2.0, 9.0, 4.0]),
        case("norm 0.2, then 20, then 0.2: the second is clipped", [0.2, 20.0, 0.2, 0.2]),
        case("the same with max_norm=5", [2.0, 40.0, 0.5, 7.0], max_norm=5.0),
        case("the same without clipping, max_norm=None", [2.0, 40.0, 0.5, 7.0], max_norm=None),
        case("norm 0.9 and 1.1, on both sides of the threshold", [0.9, 1.1, 0.9]),
        case("gradients of zero at first", [0.0, 0.5, 0.0]),
        case("betas=(0.5, 0.8)", [0.7, 3.0, 0.4], betas=(0.5, 0.8)),
        case("a large epsilon, 0.1", [0.7, 3.0, 0.4], epsilon=0.1),
        case("no weight decay", [0.7, 3.0, 0.4], weight_decay=0.0),
        case("weight decay 0.5, learning rate 0.2", [0.7, 3.0, 0.4], weight_decay=0.5, learning_rate=0.2),
        case("the default learning rate, max_norm=0.01", [0.7, 0.001], max_norm=0.01),
    ]


def torch_step(
    parameters: list[Tensor],
    gradients: list[Tensor],
    m: list[Tensor],
    v: list[Tensor],
    step: int,
    learning_rate: float = 1e-3,
    betas: tuple[float, float] = (0.9, 0.95),
    epsilon: float = 1e-8,
    weight_decay: float = 0.1,
    max_norm: float | None = 1.0,
) -> tuple[list[Tensor], list[Tensor], list[Tensor]]:
    """Take the step with torch's clipping and torch's optimizer, whose state is put in."""
    held = [nn.Parameter(p.clone()) for p in parameters]
    optimizer = torch.optim.AdamW(held, learning_rate, betas, epsilon, weight_decay)
    for p, g, mean, square in zip(held, gradients, m, v, strict=True):
        p.grad = g.clone()
        count = torch.tensor(float(step - 1))
        optimizer.state[p] = {"step": count, "exp_avg": mean.clone(), "exp_avg_sq": square.clone()}
    if max_norm is not None:
        nn.utils.clip_grad_norm_(held, max_norm)
    optimizer.step()
    state = [optimizer.state[p] for p in held]
    return [p.detach() for p in held], [s["exp_avg"] for s in state], [s["exp_avg_sq"] for s in state]


def adamw_step(
    parameters: list[Tensor],
    gradients: list[Tensor],
    m: list[Tensor],
    v: list[Tensor],
    step: int,
    learning_rate: float = 1e-3,
    betas: tuple[float, float] = (0.9, 0.95),
    epsilon: float = 1e-8,
    weight_decay: float = 0.1,
    max_norm: float | None = 1.0,
) -> tuple[list[Tensor], list[Tensor], list[Tensor]]:
    """Clip, average, correct, decay, step; the mistakes below are changes of these lines."""
    beta1, beta2 = betas
    norm = torch.sqrt(sum(g.square().sum() for g in gradients))
    factor = 1.0 if max_norm is None else torch.clamp(max_norm / norm, max=1.0)
    gradients = [factor * g for g in gradients]
    m = [beta1 * mean + (1 - beta1) * g for mean, g in zip(m, gradients, strict=True)]
    v = [beta2 * square + (1 - beta2) * g**2 for square, g in zip(v, gradients, strict=True)]
    new = []
    for p, mean, square in zip(parameters, m, v, strict=True):
        direction = mean / (1 - beta1**step) / (torch.sqrt(square / (1 - beta2**step)) + epsilon)
        new.append((1 - learning_rate * weight_decay) * p - learning_rate * direction)
    return new, m, v


ADAMW = Exercise(
    name="decoder.adamw_step",
    points=4, difficulty=2, minutes=25,
    against="torch.optim.AdamW and torch.nn.utils.clip_grad_norm_, step by step (2e-6)",
    reference=torch_step,
    right=adamw_step,
    cases=adamw_cases,
    use=several_steps,
    tolerance=2e-6,
    kernels=("adam",),
    owned=("torch.optim.AdamW", "torch.nn.utils.clip_grad_norm_", "lecture_lib.training.clip_gradients"),
    mistakes=(
        ("every tensor is clipped by its own norm: the direction of the whole gradient changes. Over what does the norm run?",
         "factor * g for g", "(1.0 if max_norm is None else torch.clamp(max_norm / g.norm(), max=1.0)) * g for g"),
        ("every entry is cut off at the threshold. What should all gradients be multiplied by?",
         "factor * g for g", "(g if max_norm is None else g.clamp(-max_norm, max_norm)) for g"),
        ("small gradients are scaled up to the threshold. What should happen below it?",
         "torch.clamp(max_norm / norm, max=1.0)", "max_norm / norm.clamp_min(1e-30)"),
        ("clipped gradients get the length 1, whatever `max_norm` is. Which length should they have?",
         "torch.clamp(max_norm / norm, max=1.0)", "1.0 if norm <= max_norm else 1 / norm"),
        ("nothing is clipped. Where does `max_norm` enter?",
         "1.0 if max_norm is None else torch.clamp(max_norm / norm, max=1.0)", "1.0"),
        ("the norms of the tensors are added. What is the length of a vector that consists of several parts?",
         "torch.sqrt(sum((g.square().sum() for g in gradients)))", "sum((g.norm() for g in gradients))"),
        ("the square root of the norm is missing: the threshold is compared with the squared length.",
         "torch.sqrt(sum((g.square().sum() for g in gradients)))", "sum((g.square().sum() for g in gradients))"),
        ("a gradient of zero gives NaN. What is 0 times max_norm / 0?",
         "torch.clamp(max_norm / norm, max=1.0)", "1.0 if 0 < norm <= max_norm else max_norm / norm"),
        ("the decay is part of the gradient, as in Adam with an L2 penalty. What does AdamW do with it instead?",
         "gradients = [factor * g for g in gradients]",
         "gradients = [factor * g + weight_decay * p for g, p in zip(gradients, parameters, strict=True)]",
         "(1 - learning_rate * weight_decay) * p", "p"),
        ("the weights do not decay. Where does `weight_decay` enter?",
         "(1 - learning_rate * weight_decay) * p", "p"),
        ("the decay is not multiplied by the learning rate. What is it per?",
         "1 - learning_rate * weight_decay", "1 - weight_decay"),
        ("the decay acts on the new weights. Which weights does it shrink, those before the step or after it?",
         "(1 - learning_rate * weight_decay) * p - learning_rate * direction",
         "(1 - learning_rate * weight_decay) * (p - learning_rate * direction)"),
        ("the averages are not corrected for their start at zero. What is m after one step, if g is the gradient?",
         "mean / (1 - beta1 ** step)", "mean", "square / (1 - beta2 ** step)", "square"),
        ("only m is corrected for its start at zero. Where did v start?",
         "square / (1 - beta2 ** step)", "square"),
        ("the same correction is used for m and v. Whose beta belongs to v?",
         "1 - beta2 ** step", "1 - beta1 ** step"),
        ("the steps are counted from 0 in the corrections: `step` is 1 in the first one.",
         "mean / (1 - beta1 ** step)", "mean / (1 - beta1 ** (step + 1))",
         "square / (1 - beta2 ** step)", "square / (1 - beta2 ** (step + 1))"),
        ("epsilon is added under the root. Where does the formula have it?",
         "torch.sqrt(square / (1 - beta2 ** step)) + epsilon", "torch.sqrt(square / (1 - beta2 ** step) + epsilon)"),
        ("epsilon is added to the root before v is corrected. Which root does the formula have, of v or of v / (1 - β₂ᵗ)?",
         "(torch.sqrt(square / (1 - beta2 ** step)) + epsilon)", "((torch.sqrt(square) + epsilon) / (1 - beta2 ** step) ** 0.5)"),
        ("the two betas are exchanged. Which average is the longer one?",
         "beta1, beta2 = betas", "beta2, beta1 = betas"),
        ("v averages the sizes of the gradients, not their squares. What is the root taken of?",
         "g ** 2", "g.abs()"),
        ("v is made from the gradients before the clipping. What should an outlier not reach?",
         "gradients = [factor * g for g in gradients]", "raw, gradients = (gradients, [factor * g for g in gradients])",
         "zip(v, gradients, strict=True)", "zip(v, raw, strict=True)"),
        ("the root of v is missing. Which unit has a step?",
         "torch.sqrt(square / (1 - beta2 ** step))", "(square / (1 - beta2 ** step))"),
        ("the step goes up the gradient. Which sign makes the loss smaller?",
         "* p - learning_rate", "* p + learning_rate"),
        ("m forgets nothing: the new gradient is added in full. By what is it multiplied?",
         "(1 - beta1) * g", "g"),
        ("the new square is added to v in full. By what is it multiplied?",
         "(1 - beta2) * g ** 2", "g ** 2"),
        ("the corrected averages are handed on, so that the next step corrects them again. Which m and v does it need?",
         "return (new, m, v)",
         "return (new, [mean / (1 - beta1 ** step) for mean in m], [square / (1 - beta2 ** step) for square in v])"),
    ),
)  # fmt: skip
