"""Scaled dot-product attention with masks of every kind."""

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional as F

from lecture_lib import attention
from lecture_lib.checks.attention.draws import F64, normal, sizes, some_keys
from lecture_lib.checks.exercise import Case, Exercise
from lecture_lib.checks.mistake import Mistake, altered


def _attention_cases(seed: int) -> list[Case]:
    draw = torch.Generator().manual_seed(seed)
    B, H, N, M, D_k, D_v = sizes(draw, 6)

    def qkv(*leading: int, n: int = N, d_v: int = D_v, dtype: torch.dtype = torch.float32) -> tuple:
        return tuple(normal(draw, *leading, *shape, dtype=dtype) for shape in ((n, D_k), (M, D_k), (M, d_v)))

    one_head = f"N={N} queries, M={M} keys, D_k={D_k}, D_v={D_v}"
    many = f"batch ({B}, {H}), {one_head}"
    nowhere = some_keys(draw, N, M)
    nowhere[0], nowhere[1] = True, False
    lengths = torch.randint(1, M, (B, 1, 1, 1), generator=draw)
    Q, K, V = qkv(B, dtype=F64)
    large, far = (30 * (1 + Q.abs()), 30 * (1 + K.abs()), V), (1e6 * (1 + Q.abs()), -1e6 * (1 + K.abs()), V)
    Q, K, V = qkv(B)
    view = (Q, K.mT.contiguous().mT, V.transpose(0, 1).contiguous().transpose(0, 1))
    tiny = (normal(draw, 2, 2), normal(draw, 3, 2), normal(draw, 3, 1))
    return [
        Case("N=2 queries, M=3 keys, D_k=2, D_v=1", tiny),
        Case(one_head, qkv()),
        Case(many, qkv(B, H)),
        Case(f"as many queries as keys, {M}, D_k={D_k}, D_v={D_v}, no mask", qkv(n=M)),
        Case(f"{one_head}, a mask for each query", (*qkv(), some_keys(draw, N, M))),
        Case(f"{one_head}, query 1 may look nowhere", (*qkv(), nowhere)),
        Case(f"{many}, padded keys, mask ({B}, 1, 1, {M})", (*qkv(B, H), torch.arange(M) < lengths)),
        Case(
            f"{many}, its own mask for each batch and head", qkv(B, H), {"mask": some_keys(draw, B, H, N, M)}
        ),
        Case(f"batch (1,), one query, M={M} keys, D_k={D_k}, one value", qkv(1, n=1, d_v=1)),
        Case(f"batch ({B},), {one_head}, scores above 1000, float64", large),
        Case(f"batch ({B},), {one_head}, scores below -10^12, masked", (*far, some_keys(draw, N, M))),
        Case(f"batch ({B},), {one_head}, transposed views", view),
        Case(
            f"batch ({B},), {one_head}, masked, one query nowhere, float64, with gradients",
            (*qkv(B, dtype=F64), nowhere),
            gradient=(0, 1, 2),
        ),
        Case(f"{one_head}, but K and V exchanged: they do not fit", (Q[0], V[0], K[0])),
        Case(f"{one_head}, but a mask ({N}, {M + 1}): it does not fit", (*qkv(), some_keys(draw, N, M + 1))),
    ]


def _fused_kernel(Q: Tensor, K: Tensor, V: Tensor, mask: Tensor | None = None) -> Tensor:
    try:
        return F.scaled_dot_product_attention(Q, K, V, attn_mask=mask)
    except RuntimeError as error:
        raise ValueError("the shapes do not fit") from error


def _wrong(*changes: tuple[str, str]) -> Callable:
    return altered(attention.scaled_dot_product_attention, *changes)


SCALE, KEYS = " / math.sqrt(Q.shape[-1])", "K.mT"
MASKED, WEIGHTS = "scores.masked_fill(~mask, -torch.inf)", "softmax(scores, dim=-1)"

SCALED_DOT_PRODUCT = Exercise(
    name="attention.scaled_dot_product_attention",
    points=4,
    difficulty=2,
    minutes=20,
    against="torch.nn.functional.scaled_dot_product_attention (float32 1e-5, float64 1e-9 with gradients)",
    reference=_fused_kernel,
    cases=_attention_cases,
    kernels=(
        "scaled_dot_product_attention",
        "_scaled_dot_product_attention_math",
        "_scaled_dot_product_flash_attention_for_cpu",
        "_native_multi_head_attention",
    ),
    owned=("torch.nn.functional.multi_head_attention_forward", "lecture_lib.attention.MultiHeadAttention"),
    mistakes=(
        Mistake(
            "the scores are not divided by anything. How large is a sum of D_k products, typically?",
            _wrong((SCALE, "")),
        ),
        Mistake(
            "the scores are divided by D_k. It is the standard deviation of the sum that should be undone: "
            "does that grow like D_k?",
            _wrong((SCALE, " / Q.shape[-1]")),
        ),
        Mistake(
            "the scores are divided by √D_v instead of √D_k. Which width do queries and keys share?",
            _wrong((SCALE, " / math.sqrt(V.shape[-1])")),
        ),
        Mistake(
            "the scores are divided by the square root of the number of keys. How many terms has one dot product?",
            _wrong((SCALE, " / math.sqrt(K.shape[-2])")),
        ),
        Mistake(
            "the scores are multiplied by √D_k. Should wide heads look more sharply than narrow ones?",
            _wrong((SCALE, " * math.sqrt(Q.shape[-1])")),
        ),
        Mistake(
            "the weights are scaled, not the scores. What does a row of weights sum to then?",
            _wrong((SCALE, ""), (WEIGHTS, "softmax(scores, dim=-1) / math.sqrt(Q.shape[-1])")),
        ),
        Mistake(
            "the softmax runs over the queries. Whose weights must sum to one: those that one query gives, "
            "or those that one key gets?",
            _wrong((WEIGHTS, "softmax(scores, dim=-2)")),
        ),
        Mistake(
            "the mask is not used. Where does it enter: before the softmax or after it?",
            _wrong(("mask is not None", "False")),
        ),
        Mistake(
            "the mask is read the other way round. Does True mean hidden, or may look?",
            _wrong(("~mask", "mask")),
        ),
        Mistake(
            "hidden scores are set to 0. What weight does a score of 0 get, and which score gets weight 0?",
            _wrong(("-torch.inf", "0")),
        ),
        Mistake(
            "hidden weights are set to 0 after the softmax. What do the weights that are left sum to?",
            _wrong(
                (MASKED, "scores"), ("return weights", "return (weights if mask is None else weights * mask)")
            ),
        ),
        Mistake(
            "hidden scores are set to a number such as -10000 or -1e9: a score can lie below it. "
            "Below which number does no score lie?",
            _wrong(("-torch.inf", "-1e4")),
        ),
        Mistake(
            "a query that may look nowhere reads the mean of all values. What is left to read for it?",
            _wrong(("-torch.inf", "-1e30")),
        ),
        Mistake(
            "a query that may look nowhere gives NaN: its softmax is 0/0. Does your softmax know that case?",
            _wrong((WEIGHTS, "torch.softmax(scores, dim=-1)")),
        ),
        Mistake(
            "the exponentials overflow for large scores. What does a safe softmax subtract first?",
            _wrong((WEIGHTS, "scores.exp() / scores.exp().sum(-1, keepdim=True)")),
        ),
        Mistake(
            "shapes that do not fit are not refused with a ValueError. Was `check_attention` called, with the mask?",
            _wrong(("check_attention(Q, K, V, mask)", "pass")),
        ),
        Mistake(
            "the mask is not handed to `check_attention`. Would you notice one that is too wide?",
            _wrong(("check_attention(Q, K, V, mask)", "check_attention(Q, K, V, None)")),
        ),
        Mistake(
            "the keys are mixed instead of the values. Which of the two does a query match, and which does it read?",
            _wrong(("weights @ V", "weights @ K")),
        ),
        Mistake(
            "the weights themselves are returned. What do they mix?",
            _wrong(("weights @ V", "weights")),
        ),
        Mistake(
            "all axes of K are reversed, as by `.T`, also those of the batch. Which two axes should change places?",
            _wrong((KEYS, "K.permute(*reversed(range(K.ndim)))")),
        ),
        Mistake(
            "K is reshaped to (D_k, M) instead of transposed: the numbers stay in their old order.",
            _wrong((KEYS, "K.reshape(*K.shape[:-2], K.shape[-1], K.shape[-2])")),
        ),
    ),
)
