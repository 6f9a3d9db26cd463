"""A stack of pre-LN layers: the parts are given, the answer puts them together."""

from collections.abc import Callable
from types import SimpleNamespace

import torch
from torch import Tensor, nn

from lecture_lib.checks.exercise import Case, Exercise
from lecture_lib.checks.mistake import Mistake
from lecture_lib.checks.transformer.parts import (
    BY_HAND,
    BY_HAND_WORDS,
    draw_masks,
    draw_parts,
    draw_seed,
    draw_tokens,
    parts_by_hand,
    torch_layer,
)


def _use_stack(answer: Callable, X: Tensor, layers: list, seed: int | None, **named: Tensor) -> object:
    made = [parts_by_hand(X) if parts == BY_HAND else draw_parts(X, **parts) for parts in layers]
    last = parts_by_hand(X) if seed is None else draw_parts(X, 1, 1, seed)
    output = answer(X, given := list(made), last.attention_norm, **named)
    if given != made:
        raise ValueError("the list of layers is not the same after the call; leave it as it was")
    return output


def _torch_pre_ln(X: Tensor, layers: list, final_norm: nn.Module, mask: Tensor | None = None) -> Tensor:
    for part in layers:
        parts = part.attention, part.feed_forward, part.attention_norm, part.feed_forward_norm
        X = torch_layer(*parts, norm_first=True)(X, mask)
    return final_norm(X)


def _pre_ln_cases(seed: int) -> list[Case]:
    draw = torch.Generator().manual_seed(seed)
    n = 3 + seed % 3
    causal, anywhere = draw_masks(n, draw)

    def case(what: str, X: Tensor, n_layers: int, mask: Tensor | None = None, gradient: tuple = ()) -> Case:
        layers = [{"n_heads": 2, "d_ff": 5 + each, "seed": draw_seed(draw)} for each in range(n_layers)]
        masked = {} if mask is None else {"mask": mask}
        named = {"layers": layers, "seed": draw_seed(draw), **masked}
        return Case(f"X {tuple(X.shape)}, {what}", (X,), named, gradient)

    two_tokens = 3 * torch.eye(3)[torch.randperm(3, generator=draw)][None, :2]
    return [
        Case(
            f"two tokens, D=3, one layer; {BY_HAND_WORDS}", (two_tokens,), {"layers": [BY_HAND], "seed": None}
        ),
        case("one layer", draw_tokens(1, n, 6, draw=draw), 1),
        case("no layer at all", draw_tokens(2, n, 6, draw=draw), 0),
        case("three layers, a batch", draw_tokens(2, n, 6, draw=draw), 3),
        case("the same sizes with other numbers", draw_tokens(2, n, 6, draw=draw), 3),
        case("two layers, one token in a text", draw_tokens(2, 1, 4, draw=draw), 2),
        case("two layers, a causal mask", draw_tokens(2, n, 8, draw=draw), 2, causal),
        case("two layers, a mask drawn at random", draw_tokens(2, n, 6, draw=draw), 2, anywhere),
        case(
            "two layers, float64 with its gradient",
            draw_tokens(2, n, 6, draw=draw).double(),
            2,
            causal,
            (0,),
        ),
    ]


def _stack(step: Callable, end: Callable = lambda X, final_norm: final_norm(X)) -> Callable:
    """A stack that takes step(X, layer, mask) for every layer and ends with end(X, final_norm)."""

    def stack(X: Tensor, layers: list, final_norm: Callable, mask: Tensor | None = None) -> Tensor:
        for layer in layers:
            X = step(X, layer, mask)
        return end(X, final_norm)

    return stack


def _read(X: Tensor, layer: SimpleNamespace, mask: Tensor | None) -> Tensor:
    return X + layer.attention(layer.attention_norm(X), mask=mask)


def _think(X: Tensor, layer: SimpleNamespace) -> Tensor:
    return X + layer.feed_forward(layer.feed_forward_norm(X))


def _right(X: Tensor, layer: SimpleNamespace, mask: Tensor | None) -> Tensor:
    return _think(_read(X, layer, mask), layer)


def _post_ln(X: Tensor, layer: SimpleNamespace, mask: Tensor | None) -> Tensor:
    Z = layer.attention_norm(layer.attention(X, mask=mask) + X)
    return layer.feed_forward_norm(layer.feed_forward(Z) + Z)


def _from_the_norm(X: Tensor, layer: SimpleNamespace, mask: Tensor | None) -> Tensor:
    Y = layer.attention_norm(X)
    Z = layer.feed_forward_norm(Y + layer.attention(Y, mask=mask))
    return Z + layer.feed_forward(Z)


def _side_by_side(X: Tensor, layer: SimpleNamespace, mask: Tensor | None) -> Tensor:
    return _read(X, layer, mask) + layer.feed_forward(layer.feed_forward_norm(X))


def _norm_after_each_layer(
    X: Tensor, layers: list, final_norm: Callable, mask: Tensor | None = None
) -> Tensor:
    return _stack(lambda X, layer, mask: final_norm(_right(X, layer, mask)), lambda X, _: X)(
        X, layers, None, mask
    )


PRE_LN_STACK = Exercise(
    name="transformer.pre_ln_stack",
    points=3,
    difficulty=2,
    minutes=15,
    against="torch.nn.TransformerEncoderLayer(norm_first=True) on the same weights (float32 1e-5, float64 gradients)",
    reference=_torch_pre_ln,
    cases=_pre_ln_cases,
    use=_use_stack,
    owned=(
        *("lecture_lib.transformer.TransformerLayer", "lecture_lib.transformer.TransformerStack"),
        *("torch.nn.TransformerEncoderLayer", "torch.nn.TransformerEncoder"),
    ),
    mistakes=(
        Mistake(
            "the last norm is missing: each layer has added to X and nobody has set its size again. What comes after the loop?",
            _stack(_right, lambda X, final_norm: X),
        ),
        Mistake(
            "the last norm is applied after every layer. Should anything touch the path along which the residuals add up?",
            _norm_after_each_layer,
        ),
        Mistake(
            "the norms stand behind the residuals (post-LN, Algorithm 12.3). Where does pre-LN put them?",
            _stack(_post_ln),
        ),
        Mistake(
            "the residual starts from the normalised tokens. To what should a sublayer's output be added?",
            _stack(_from_the_norm),
        ),
        Mistake(
            "the feed-forward network reads tokens without a norm. What goes before each sublayer?",
            _stack(lambda X, layer, mask: (Z := _read(X, layer, mask)) + layer.feed_forward(Z)),
        ),
        Mistake(
            "the attention reads tokens without a norm. What goes before each sublayer?",
            _stack(lambda X, layer, mask: _think(X + layer.attention(X, mask=mask), layer)),
        ),
        Mistake(
            "the norm of the attention is used for both sublayers. Does each not have its own gain and bias?",
            _stack(
                lambda X, layer, mask: (
                    (Z := _read(X, layer, mask)) + layer.feed_forward(layer.attention_norm(Z))
                )
            ),
        ),
        Mistake(
            "attention and feed-forward network read the same tokens side by side. Who works on whose result?",
            _stack(_side_by_side),
        ),
        Mistake(
            "the residual around the feed-forward network is missing. What did the token itself say?",
            _stack(lambda X, layer, mask: layer.feed_forward(layer.feed_forward_norm(_read(X, layer, mask)))),
        ),
        Mistake(
            "the residual around the attention is missing. What did the token itself say?",
            _stack(lambda X, layer, mask: _think(layer.attention(layer.attention_norm(X), mask=mask), layer)),
        ),
        Mistake(
            "the feed-forward network comes before the attention. Who goes first, reading or thinking?",
            _stack(lambda X, layer, mask: _read(_think(X, layer), layer, mask)),
        ),
        Mistake(
            "the mask does not reach the attention. Who has to hand it on?",
            _stack(lambda X, layer, mask: _right(X, layer, None)),
        ),
        Mistake(
            "the last layer is left out. How often does the loop run?",
            lambda X, layers, final_norm, mask=None: _stack(_right)(X, layers[:-1], final_norm, mask),
        ),
        Mistake(
            "the layers run from the last to the first. Which one sees the embeddings?",
            lambda X, layers, final_norm, mask=None: _stack(_right)(X, layers[::-1], final_norm, mask),
        ),
        Mistake(
            "the first layer is used again and again. Does every layer not have its own weights?",
            lambda X, layers, final_norm, mask=None: _stack(_right)(
                X, layers[:1] * len(layers), final_norm, mask
            ),
        ),
    ),
)
