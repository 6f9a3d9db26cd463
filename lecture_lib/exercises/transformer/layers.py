"""The layer of Algorithm 12.3, and a stack of pre-LN layers: the parts are given, the answer puts them together."""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from lecture_lib.checks.draws import Draw
from lecture_lib.checks.exercise import Case, Exercise
from lecture_lib.exercises.transformer.parts import (
    BY_HAND,
    BY_HAND_WORDS,
    draw_parts,
    parts_by_hand,
    torch_layer,
)


def tokens(draw: Draw, *shape: int) -> Tensor:
    """Draw tokens whose mean is not 0 and whose spread is not 1."""
    return 1 + 2 * draw.normal(*shape)


def masks(draw: Draw, n: int) -> dict[str, Tensor]:
    """A causal mask, and one that is not causal and in which every token may look at itself."""
    anywhere = draw.mask(n, n) | torch.eye(n, dtype=torch.bool)
    anywhere[0, -1], anywhere[1, 0] = True, False  # looks ahead, and not always back
    return {"causal": torch.ones(n, n, dtype=torch.bool).tril(), "anywhere": anywhere}


def use_layer(answer: Callable, X: Tensor, parts: dict, **named: Tensor) -> object:
    """Hand over the parts that a case describes."""
    layer = parts_by_hand(X) if parts == BY_HAND else draw_parts(X, **parts)
    return answer(
        X, layer.attention, layer.feed_forward, layer.attention_norm, layer.feed_forward_norm, **named
    )


def torch_post_ln(X: Tensor, *parts: Callable, mask: Tensor | None = None) -> Tensor:
    """Torch's own layer."""
    return torch_layer(*parts, norm_first=False)(X, mask)


def post_ln_cases(seed: int) -> list[Case]:
    """Two tokens by hand, batches, one token, a causal mask and another one, gradients."""
    draw = Draw(seed)
    n = draw.size(3, 5)
    seen = masks(draw, n)

    def case(
        what: str, X: Tensor, n_heads: int, d_ff: int, mask: Tensor | None = None, gradient: tuple = ()
    ) -> Case:
        parts = {"n_heads": n_heads, "d_ff": d_ff, "seed": draw.size(0, 10**6)}
        masked = {} if mask is None else {"mask": mask}
        return Case(f"X {tuple(X.shape)}, {what}", (X,), {"parts": parts, **masked}, gradient)

    two_tokens = 3 * torch.eye(3)[draw.order(3)][None, :2]
    return [
        Case(f"two tokens, D=3; {BY_HAND_WORDS}", (two_tokens,), {"parts": BY_HAND}),
        case("two heads, d_ff=9", tokens(draw, 1, n, 6), 2, 9),
        case("a batch, d_ff=5", tokens(draw, 2, n, 6), 3, 5),
        case("the same sizes with other numbers", tokens(draw, 2, n, 6), 3, 5),
        case("one token in a text", tokens(draw, 3, 1, 6), 2, 7),
        case("not contiguous", tokens(draw, 2, 6, n).mT, 2, 7),
        case("a causal mask", tokens(draw, 2, n, 6), 2, 7, seen["causal"]),
        case("a mask drawn at random", tokens(draw, 2, n, 8), 4, 7, seen["anywhere"]),
        case("float64 with its gradient", tokens(draw, 2, n, 6).double(), 2, 7, seen["causal"], (0,)),
    ]


def post_ln_layer(
    X: Tensor,
    attention: Callable,
    feed_forward: Callable,
    attention_norm: Callable,
    feed_forward_norm: Callable,
    mask: Tensor | None = None,
) -> Tensor:
    """Put a layer together; the mistakes below are changes of these lines."""
    Z = attention_norm(attention(X, mask=mask) + X)
    return feed_forward_norm(feed_forward(Z) + Z)


READ, LAST = "attention(X, mask=mask)", "feed_forward_norm(feed_forward(Z) + Z)"
Z = f"Z = attention_norm({READ} + X)"

POST_LN_LAYER = Exercise(
    name="transformer.post_ln_layer",
    points=3, difficulty=2, minutes=15,
    against="torch.nn.TransformerEncoderLayer(norm_first=False) on the same weights (float32 1e-5, float64 gradients)",
    reference=torch_post_ln,
    right=post_ln_layer,
    cases=post_ln_cases,
    use=use_layer,
    owned=("lecture_lib.transformer.TransformerLayer", "torch.nn.TransformerEncoderLayer"),
    mistakes=(
        ("the residual around the attention is missing. What did the token itself say?", " + X", ""),
        ("the residual around the feed-forward network is missing. What did the token itself say?", " + Z", ""),
        ("both residuals are missing. What does each sublayer's output have to be added to?",
         " + X", "", " + Z", ""),
        ("the norms stand before the sublayers (pre-LN). Where does Algorithm 12.3 put them?",
         Z, "Z = X + attention(attention_norm(X), mask=mask)", LAST, "Z + feed_forward(feed_forward_norm(Z))"),
        ("the norm is applied before the residual is added. What stands inside the bracket of LayerNorm?",
         Z, f"Z = X + attention_norm({READ})", LAST, "Z + feed_forward_norm(feed_forward(Z))"),
        ("the attention's norm is used twice. Does each sublayer not have its own gain and bias?",
         "feed_forward_norm(f", "attention_norm(f"),
        ("the two norms are exchanged. Which one goes with the attention?",
         "attention_norm(a", "feed_forward_norm(a", "feed_forward_norm(f", "attention_norm(f"),
        ("the first norm is missing. What does the network in line 2 of the algorithm get to read?",
         "attention_norm(attention", "(attention"),
        ("the second norm is missing. What is the last operation of the algorithm?", "feed_forward_norm(f", "(f"),
        ("the feed-forward network reads X. Which tokens should it think about, those before or after the "
         "attention?",
         "feed_forward(Z)", "feed_forward(X)"),
        ("the second residual adds X. What goes around the second sublayer?", " + Z", " + X"),
        ("the feed-forward network comes before the attention. Who goes first, reading or thinking?",
         Z, "Z = feed_forward_norm(feed_forward(X) + X)", LAST, "attention_norm(attention(Z, mask=mask) + Z)"),
        ("both sublayers read X side by side. Does the second not work on what the first has found?",
         READ, f"{READ} + feed_forward(X)", "feed_forward(Z) + Z", "Z"),
        ("the mask does not reach the attention. Who has to hand it on?", "mask=mask", "mask=None"),
        ("the mask is turned around. What does True mean to the attention that you are given?",
         "mask=mask", "mask=None if mask is None else ~mask"),
    ),
)  # fmt: skip


def use_stack(answer: Callable, X: Tensor, layers: list, seed: int | None = None, **named: Tensor) -> object:
    """Hand over the layers that a case describes."""
    made = [parts_by_hand(X) if parts == BY_HAND else draw_parts(X, **parts) for parts in layers]
    last = parts_by_hand(X) if seed is None else draw_parts(X, 1, 1, seed)
    output = answer(X, given := list(made), last.attention_norm, **named)
    if given != made:
        raise ValueError("the list of layers is not the same after the call; leave it as it was")
    return output


def torch_pre_ln(X: Tensor, layers: list, final_norm: nn.Module, mask: Tensor | None = None) -> Tensor:
    """Torch's own layers, one after another."""
    for part in layers:
        parts = part.attention, part.feed_forward, part.attention_norm, part.feed_forward_norm
        X = torch_layer(*parts, norm_first=True)(X, mask)
    return final_norm(X)


def pre_ln_cases(seed: int) -> list[Case]:
    """Two tokens by hand, no layer to three, one token, a causal mask and another one, gradients."""
    draw = Draw(seed)
    n = draw.size(3, 5)
    seen = masks(draw, n)

    def case(what: str, X: Tensor, n_layers: int, mask: Tensor | None = None, gradient: tuple = ()) -> Case:
        layers = [{"n_heads": 2, "d_ff": 5 + i, "seed": draw.size(0, 10**6)} for i in range(n_layers)]
        masked = {} if mask is None else {"mask": mask}
        named = {"layers": layers, "seed": draw.size(0, 10**6), **masked}
        return Case(f"X {tuple(X.shape)}, {what}", (X,), named, gradient)

    two_tokens = 3 * torch.eye(3)[draw.order(3)][None, :2]
    one_by_hand = {"layers": [BY_HAND]}
    return [
        Case(f"two tokens, D=3, one layer; {BY_HAND_WORDS}", (two_tokens,), one_by_hand),
        case("one layer", tokens(draw, 1, n, 6), 1),
        case("no layer at all", tokens(draw, 2, n, 6), 0),
        case("three layers, a batch", tokens(draw, 2, n, 6), 3),
        case("the same sizes with other numbers", tokens(draw, 2, n, 6), 3),
        case("two layers, one token in a text", tokens(draw, 2, 1, 4), 2),
        case("two layers, not contiguous", tokens(draw, 2, 6, n).mT, 2),
        case("two layers, a causal mask", tokens(draw, 2, n, 8), 2, seen["causal"]),
        case("two layers, a mask drawn at random", tokens(draw, 2, n, 6), 2, seen["anywhere"]),
        case("two layers, float64 with its gradient", tokens(draw, 2, n, 6).double(), 2, seen["causal"], (0,)),
    ]  # fmt: skip


def pre_ln_stack(X: Tensor, layers: list, final_norm: Callable, mask: Tensor | None = None) -> Tensor:
    """Pre-LN: X + attention(norm(X)), then + network(norm(.)), layer by layer; a norm at the end."""
    for layer in layers:
        Y = X + layer.attention(layer.attention_norm(X), mask=mask)
        X = Y + layer.feed_forward(layer.feed_forward_norm(Y))
    return final_norm(X)


READS = "X + layer.attention(layer.attention_norm(X), mask=mask)"
THINKS = "Y + layer.feed_forward(layer.feed_forward_norm(Y))"
THINKS_FIRST = "X + layer.feed_forward(layer.feed_forward_norm(X))"
READS_THEN = "Y + layer.attention(layer.attention_norm(Y), mask=mask)"

PRE_LN_STACK = Exercise(
    name="transformer.pre_ln_stack",
    points=3, difficulty=2, minutes=15,
    against="torch.nn.TransformerEncoderLayer(norm_first=True) on the same weights (float32 1e-5, float64 gradients)",
    reference=torch_pre_ln,
    right=pre_ln_stack,
    cases=pre_ln_cases,
    use=use_stack,
    owned=("lecture_lib.transformer.TransformerLayer", "lecture_lib.transformer.TransformerStack",
           "torch.nn.TransformerEncoderLayer", "torch.nn.TransformerEncoder"),
    mistakes=(
        ("the last norm is missing: each layer has added to X and nobody has set its size again. What comes "
         "after the loop?",
         "return final_norm(X)", "return X"),
        ("the last norm is applied after every layer. Should anything touch the path along which the "
         "residuals add up?",
         THINKS, f"final_norm({THINKS})", "return final_norm(X)", "return X if layers else final_norm(X)"),
        ("the norms stand behind the residuals (post-LN, Algorithm 12.3). Where does pre-LN put them?",
         READS, "layer.attention_norm(layer.attention(X, mask=mask) + X)", THINKS,
         "layer.feed_forward_norm(layer.feed_forward(Y) + Y)"),
        ("the residual starts from the normalised tokens. To what should a sublayer's output be added?",
         READS, "layer.attention_norm(X) + layer.attention(layer.attention_norm(X), mask=mask)", THINKS,
         "layer.feed_forward_norm(Y) + layer.feed_forward(layer.feed_forward_norm(Y))"),
        ("the residual around the attention starts from normalised tokens. What does the stream hold there?",
         READS, "layer.attention_norm(X) + layer.attention(layer.attention_norm(X), mask=mask)"),
        ("the residual around the feed-forward network starts from normalised tokens. What does the stream hold there?",
         THINKS, "layer.feed_forward_norm(Y) + layer.feed_forward(layer.feed_forward_norm(Y))"),
        ("what the attention has read reaches the network, but not the stream. With what does the second sum begin?",
         THINKS, "X + layer.feed_forward(layer.feed_forward_norm(Y))"),
        ("only the first layer runs. Where does `return` stand?",
         "\n    return final_norm(X)", "\n        return final_norm(X)"),
        ("every layer starts from the same tokens, and only the last one counts. What should the next layer read?",
         "X = Y", "Z = Y", "final_norm(X)", "final_norm(Z)"),
        ("the feed-forward network reads tokens without a norm. What goes before each sublayer?",
         THINKS, "Y + layer.feed_forward(Y)"),
        ("the attention reads tokens without a norm. What goes before each sublayer?",
         "layer.attention_norm(X)", "X"),
        ("the norm of the attention is used for both sublayers. Does each not have its own gain and bias?",
         "layer.feed_forward_norm", "layer.attention_norm"),
        ("attention and feed-forward network read the same tokens side by side. Who works on whose result?",
         "layer.feed_forward_norm(Y)", "layer.feed_forward_norm(X)"),
        ("the residual around the feed-forward network is missing. What did the token itself say?", "Y + ", ""),
        ("the residual around the attention is missing. What did the token itself say?", "X + ", ""),
        ("the feed-forward network comes before the attention. Who goes first, reading or thinking?",
         READS, THINKS_FIRST, THINKS, READS_THEN),
        ("the mask does not reach the attention. Who has to hand it on?", "mask=mask", "mask=None"),
        ("the last layer is left out. How often does the loop run?", "in layers", "in layers[:-1]"),
        ("the layers run from the last to the first. Which one sees the embeddings?",
         "in layers", "in layers[::-1]"),
        ("the first layer is used again and again. Does every layer not have its own weights?",
         "in layers", "in layers[:1] * len(layers)"),
    ),
)  # fmt: skip
