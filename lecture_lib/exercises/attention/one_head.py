"""One head: the softmax, and scaled dot-product attention with masks of every kind."""

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from lecture_lib.checks.draws import BF16, F16, F64, Draw, columns, scattered
from lecture_lib.checks.exercise import Case, Exercise


def softmax_cases(seed: int) -> list[Case]:
    """Every axis, heights at which an exponential overflows, slices that are -inf, all number types."""
    draw = Draw(seed)
    a, b, c, d = draw.sizes(4)
    heights = torch.tensor([1000.0, -1000.0], dtype=F64).repeat(a)[:a, None] + draw.normal(a, b, dtype=F64)
    shut = draw.normal(a, b, c)
    shut[0, 0, 0], shut[1, :, 1] = -torch.inf, -torch.inf
    cut = draw.normal(b, c, dtype=F64)
    cut[0, 0] = -torch.inf
    cut[1] -= 17  # weights near 1e-8, which are small but not nothing
    return [
        Case("x (3,), no dim given", (draw.normal(3),)),
        Case(f"x ({a}, {b}, {c}), no dim given", (draw.normal(a, b, c),)),
        Case(f"x ({a}, {b}), dim=-1", (draw.normal(a, b), -1)),
        Case(f"x ({a}, {b}), dim=0", (draw.normal(a, b),), {"dim": 0}),
        Case(f"x ({a}, {b}, {c}), dim=1", (draw.normal(a, b, c), 1)),
        Case(f"x ({a}, {b}, {c}, {d}), dim=-3", (draw.normal(a, b, c, d), -3)),
        Case(f"x ({a}, {b}), float64, rows near +1000 and near -1000", (heights,)),
        Case(
            f"x ({b}, {c}), float64, dim=0, scores spread over 1000 around -10^5",
            (1000 * draw.normal(b, c, dtype=F64) - 1e5, 0),
        ),
        Case(f"x ({a}, {b}, {c}), dim=1, one score -inf and one whole slice -inf", (shut, 1)),
        Case("x (2, 2), the first row -inf throughout", (torch.tensor([[-torch.inf] * 2, [0.0, 1.0]]),)),
        Case(f"x ({b}, 1), dim=-1: a single key", (draw.normal(b, 1), -1)),
        Case(f"x ({a}, {c}), dim=1, a transposed view", (draw.normal(c, a).mT, 1)),
        Case(f"x ({a}, {b}, {c}), dim=2, not contiguous", (scattered(draw.normal(a, b, c)), 2)),
        Case(f"x ({a}, {b}, {c}) in bfloat16, dim=1", (draw.normal(a, b, c, dtype=BF16), 1)),
        Case(f"x ({b}, {a}) in float16, dim=-1", (20 * draw.normal(b, a, dtype=F16), -1)),
        Case(f"x ({b}, {c}) in float64, dim=0, with its gradient", (cut, 0), gradient=(0,)),
    ]


def torch_softmax(x: Tensor, dim: int = -1) -> Tensor:
    """Torch's softmax, with zeros where everything is -inf."""
    nowhere = (x == -torch.inf).all(dim, keepdim=True)
    return torch.softmax(x.masked_fill(nowhere, 0), dim).masked_fill(nowhere, 0)


SOFTMAX = Exercise(
    name="attention.softmax",
    points=3, difficulty=1, minutes=15,
    against="torch.softmax (float32 1e-5, float64 1e-9 with gradients)",
    reference=torch_softmax,
    cases=softmax_cases,
    kernels=("softmax",),
    mistakes=(
        ("the weights sum to one along the last axis, whatever `dim` says. Which axis was asked for?",
         "amax(dim, keepdim=True)", "amax(-1, keepdim=True)", "(dim, keepdim=True).", "(-1, keepdim=True)."),
        ("the weights sum to one along the first axis, whatever `dim` says. Which axis was asked for?",
         "amax(dim, keepdim=True)", "amax(0, keepdim=True)", "(dim, keepdim=True).", "(0, keepdim=True)."),
        ("all weights of the tensor together sum to one. Over which axis should the sum run?",
         "amax(dim, keepdim=True)", "amax()", "(dim, keepdim=True).", "()."),
        ("scores go into the exponential as they are, and e^1000 overflows. Which number can be subtracted "
         "from all scores of a slice without changing its weights?",
         "(x - largest)\n    return powers / powers.sum(dim, keepdim=True).clamp_min(1)",
         "(x)\n    return powers / powers.sum(dim, keepdim=True)"),
        ("the largest score of the whole tensor is subtracted: a slice far below it vanishes, 0/0. Whose "
         "largest score does each slice need?",
         "amax(dim, keepdim=True)", "amax()", ".clamp_min(1)", ""),
        ("a slice that is -inf throughout gives NaN. What is -inf minus -inf, and what should be subtracted "
         "there?",
         ".masked_fill(largest == -torch.inf, 0)", "", ".clamp_min(1)", ""),
        ("a slice that is -inf throughout gives equal weights, as if all were allowed. How much weight may a "
         "query that looks nowhere give away?",
         ".masked_fill(largest == -torch.inf, 0)\n    powers = torch.exp(x - largest)",
         "\n    powers = torch.exp(x.clamp_min(-1000000000.0) - largest.clamp_min(-1000000000.0))"),
        ("the powers are divided by their mean. What should the weights of a slice sum to?",
         "sum(dim, keepdim=True).clamp_min(1)", "mean(dim, keepdim=True)"),
        ("the sign of the scores is turned round: the largest score gets the smallest weight.",
         "x.detach", "(-x).detach", "x - ", "-x - "),
        ("powers of 2 are taken instead of powers of e. Which base does the formula have?",
         ".exp", ".exp2"),
        ("the summed axis is dropped, so the division lines up the wrong axes. How can a sum keep its axis?",
         "(dim, keepdim=True).", "(dim)."),
        ("logarithms of the weights are returned. Are your weights positive?",
         "powers / powers.sum(dim, keepdim=True).clamp_min(1)",
         "torch.log(powers / powers.sum(dim, keepdim=True).clamp_min(1))"),
        ("a small number is added to the sum, so the weights sum to less than one. How small can the sum get "
         "once the largest power is 1?",
         "powers.sum(dim, keepdim=True)", "(powers.sum(dim, keepdim=True) + 1e-06)"),
    ),
)  # fmt: skip


def attention_cases(seed: int) -> list[Case]:
    """Masks of every kind, broadcast axes, huge scores, views, all number types, and shapes that do not fit."""
    draw = Draw(seed)
    B, H, N, M, D_k, D_v = draw.sizes(6)

    def qkv(*leading: int, n: int = N, d_v: int = D_v, dtype: torch.dtype = torch.float32) -> tuple:
        return tuple(draw.normal(*leading, *shape, dtype=dtype) for shape in ((n, D_k), (M, D_k), (M, d_v)))

    one = f"N={N} queries, M={M} keys, D_k={D_k}, D_v={D_v}"
    many = f"batch ({B}, {H}), {one}"
    nowhere = draw.mask(N, M)
    nowhere[0], nowhere[1] = True, False
    lengths = draw.ids(B, 1, 1, 1, low=1, below=M)
    Q, K, V = qkv(B, dtype=F64)
    large, far = (
        (30 * (1 + Q.abs()), 30 * (1 + K.abs()), 10 * V),
        (3e17 * (1 + Q.abs()), -3e17 * (1 + K.abs()), V),
    )
    (Q, K, V), learned = qkv(B), (*qkv(B, dtype=F64), nowhere)
    return [
        *few_queries(draw),
        Case(one, qkv()),
        Case(many, qkv(B, H)),
        Case(f"as many queries as keys, {M}, D_k={D_k}, D_v={D_v}, no mask", qkv(n=M)),
        Case(f"{one}, a mask for each query", (*qkv(), draw.mask(N, M))),
        Case(f"as many queries as keys, {M}, a mask that is not symmetric", (*qkv(n=M), draw.mask(M, M))),
        Case(f"{one}, query 1 may look nowhere", (*qkv(), nowhere)),
        Case(f"{one}, a mask ({M},) for all queries", (*qkv(), draw.mask(2, M)[0])),
        Case(f"{many}, padded keys, mask ({B}, 1, 1, {M})", (*qkv(B, H), torch.arange(M) < lengths)),
        Case(f"{many}, its own mask for each batch and head", qkv(B, H), {"mask": draw.mask(B, H, N, M)}),
        Case(f"{many}, a mask ({H}, {N}, {M}) for each head", (*qkv(B, H), draw.mask(H, N, M))),
        Case(f"{many}, a mask ({B}, 1, {N}, {M}) for each batch", (*qkv(B, H), draw.mask(B, 1, N, M))),
        Case(f"batch (1,), one query, M={M} keys, D_k={D_k}, one value", qkv(1, n=1, d_v=1)),
        Case(f"batch ({B},), {one}, scores above 1000, float64", large),
        Case(f"batch ({B},), {one}, scores below -10^34, masked", (*far, draw.mask(N, M))),
        Case(f"batch ({B},), {one}, not contiguous", (scattered(Q), columns(K), scattered(V))),
        Case(f"batch ({B},), {one}, bfloat16, masked", (*qkv(B, dtype=BF16), draw.mask(N, M))),
        Case(f"{one}, float16", qkv(dtype=F16)),
        Case(f"batch ({B},), {one}, one query nowhere, float64, with gradients", learned, gradient=(0, 1, 2)),
        Case(f"{one}, but K and V exchanged: they do not fit", (Q[0], V[0], K[0])),
        Case(f"{one}, but a mask ({N}, {M + 1}): it does not fit", (*qkv(), draw.mask(N, M + 1))),
    ]


def few_queries(draw: Draw) -> list[Case]:
    """Two queries and three keys, by hand, with a mask and without."""
    few = (draw.normal(2, 2), draw.normal(3, 2), draw.normal(3, 1))
    two_of_three = torch.tensor([[True, False, True], [False, True, True]])
    what = "N=2 queries, M=3 keys, D_k=2, D_v=1"
    nowhere = Case(f"{what}, a mask (2, 1): query 0 nowhere", (*few, torch.tensor([[False], [True]])))
    return [Case(what, few), Case(f"{what}, masked", (*few, two_of_three)), nowhere]


def fused_kernel(Q: Tensor, K: Tensor, V: Tensor, mask: Tensor | None = None) -> Tensor:
    """Torch's kernel, in 32 bits at least, on leading axes that are written out."""
    try:
        axes = np.broadcast_shapes(Q.shape[:-2], K.shape[:-2], V.shape[:-2])
        wide = [x.to(torch.promote_types(x.dtype, torch.float32)) for x in (Q, K, V)]
        wide = [x.expand(*axes, *x.shape[-2:]) for x in wide]
        return F.scaled_dot_product_attention(*wide, attn_mask=mask).to(Q.dtype)
    except RuntimeError as error:
        raise ValueError("the shapes do not fit") from error


SCALED_DOT_PRODUCT = Exercise(
    name="attention.scaled_dot_product_attention",
    points=4, difficulty=2, minutes=20,
    against="torch.nn.functional.scaled_dot_product_attention (float32 1e-5, float64 1e-9 with gradients)",
    reference=fused_kernel,
    cases=attention_cases,
    kernels=("attention", "safe_softmax"),
    owned=("torch.nn.functional.multi_head_attention_forward", "lecture_lib.attention.MultiHeadAttention"),
    mistakes=(
        ("the scores are not divided by anything. How large is a sum of D_k products, typically?",
         " / math.sqrt(Q.shape[-1])", ""),
        ("the scores are divided by D_k. It is the standard deviation of the sum that should be undone: does "
         "that grow like D_k?",
         "math.sqrt(Q.shape[-1])", "Q.shape[-1]"),
        ("the scores are divided by √D_v instead of √D_k. Which width do queries and keys share?",
         "Q.shape", "V.shape"),
        ("the scores are divided by the square root of the number of keys. How many terms has one dot product?",
         "Q.shape[-1]", "K.shape[-2]"),
        ("the scores are multiplied by √D_k. Should wide heads look more sharply than narrow ones?",
         "mT /", "mT *"),
        ("the weights are scaled, not the scores. What does a row of weights sum to then?",
         " / math.sqrt(Q.shape[-1])", "", "(scores, dim=-1)", "(scores, dim=-1) / math.sqrt(Q.shape[-1])"),
        ("the softmax runs over the queries. Whose weights must sum to one: those that one query gives, or "
         "those that one key gets?",
         "dim=-1", "dim=-2"),
        ("the mask is not used. Where does it enter: before the softmax or after it?",
         "mask is not None", "False"),
        ("the mask is read the other way round. Does True mean hidden, or may look?",
         "~mask", "mask"),
        ("hidden scores are set to 0. What weight does a score of 0 get, and which score gets weight 0?",
         "-torch.inf", "0"),
        ("hidden weights are set to 0 after the softmax. What do the weights that are left sum to?",
         ".masked_fill(~mask, -torch.inf)", "", "weights @", "(weights if mask is None else weights * mask) @"),
        ("hidden scores are set to a number such as -10000 or -1e9: a score can lie below it. Below which "
         "number does no score lie?",
         "torch.inf", "10000.0"),
        ("a query that may look nowhere reads the mean of all values. What is left to read for it?",
         "torch.inf", "3e+38"),
        ("a query that may look nowhere gives NaN: its softmax is 0/0. Does your softmax know that case?",
         "softmax", "torch.softmax"),
        ("the exponentials overflow for large scores. What does a safe softmax subtract first?",
         "softmax(scores, dim=-1)", "scores.exp() / scores.exp().sum(-1, keepdim=True)"),
        ("shapes that do not fit are not refused with a ValueError. Was `check_attention` called, with the mask?",
         "check_attention(Q, K, V, mask)", "pass"),
        ("the mask is not handed to `check_attention`. Would you notice one that is too wide?",
         "V, mask", "V, None"),
        ("the keys are mixed instead of the values. Which of the two does a query match, and which does it read?",
         " @ V", " @ K"),
        ("the weights themselves are returned. What do they mix?",
         " @ V", ""),
        ("all axes of K are reversed, as by `.T`, also those of the batch. Which two axes should change places?",
         "mT /", "permute(*reversed(range(K.ndim))) /"),
        ("K is reshaped to (D_k, M) instead of transposed: the numbers stay in their old order.",
         "mT /", "reshape(*K.shape[:-2], K.shape[-1], K.shape[-2]) /"),
    ),
)  # fmt: skip
