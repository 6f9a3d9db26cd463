"""The layer of Algorithm 12.3: the parts are given, the answer puts them together."""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from lecture_lib.checks.exercise import Case, Exercise
from lecture_lib.checks.mistake import Mistake
from lecture_lib.checks.transformer.parts import (
    BY_HAND,
    BY_HAND_WORDS,
    Attention,
    draw_masks,
    draw_parts,
    draw_seed,
    draw_tokens,
    parts_by_hand,
    torch_layer,
)


def _use_layer(answer: Callable, X: Tensor, parts: dict, **named: Tensor) -> object:
    layer = parts_by_hand(X) if parts == BY_HAND else draw_parts(X, **parts)
    return answer(
        X, layer.attention, layer.feed_forward, layer.attention_norm, layer.feed_forward_norm, **named
    )


def _torch_post_ln(
    X: Tensor, attention: Attention, f: nn.Module, n1: nn.Module, n2: nn.Module, mask: Tensor | None = None
) -> Tensor:
    return torch_layer(attention, f, n1, n2, norm_first=False)(X, mask)


def _post_ln_cases(seed: int) -> list[Case]:
    draw = torch.Generator().manual_seed(seed)
    n = 3 + seed % 3
    causal, anywhere = draw_masks(n, draw)

    def case(
        what: str, X: Tensor, n_heads: int, d_ff: int, mask: Tensor | None = None, gradient: tuple = ()
    ) -> Case:
        parts = {"n_heads": n_heads, "d_ff": d_ff, "seed": draw_seed(draw)}
        masked = {} if mask is None else {"mask": mask}
        return Case(f"X {tuple(X.shape)}, {what}", (X,), {"parts": parts, **masked}, gradient)

    two_tokens = 3 * torch.eye(3)[torch.randperm(3, generator=draw)][None, :2]
    return [
        Case(f"two tokens, D=3; {BY_HAND_WORDS}", (two_tokens,), {"parts": BY_HAND}),
        case("two heads, d_ff=9", draw_tokens(1, n, 6, draw=draw), 2, 9),
        case("a batch, d_ff=5", draw_tokens(2, n, 6, draw=draw), 3, 5),
        case("the same sizes with other numbers", draw_tokens(2, n, 6, draw=draw), 3, 5),
        case("one token in a text", draw_tokens(2, 1, 4, draw=draw), 2, 7),
        case("a causal mask", draw_tokens(2, n, 6, draw=draw), 2, 7, causal),
        case("a mask drawn at random", draw_tokens(2, n, 8, draw=draw), 4, 7, anywhere),
        case("float64 with its gradient", draw_tokens(2, n, 6, draw=draw).double(), 2, 7, causal, (0,)),
    ]


def _post(first: Callable, second: Callable) -> Callable:
    """A layer in two steps: first(X, a, f, n1, n2) makes Z, second(Z, X, a, f, n1, n2) the result."""

    def layer(
        X: Tensor, attention: Callable, f: Callable, n1: Callable, n2: Callable, mask: Tensor | None = None
    ) -> Tensor:
        def a(Y: Tensor) -> Tensor:
            return attention(Y, mask=mask)

        return second(first(X, a, f, n1, n2), X, a, f, n1, n2)

    return layer


def _first(X: Tensor, a: Callable, f: Callable, n1: Callable, n2: Callable) -> Tensor:
    return n1(a(X) + X)


def _second(Z: Tensor, X: Tensor, a: Callable, f: Callable, n1: Callable, n2: Callable) -> Tensor:
    return n2(f(Z) + Z)


POST_LN_LAYER = Exercise(
    name="transformer.post_ln_layer",
    points=3,
    difficulty=2,
    minutes=15,
    against="torch.nn.TransformerEncoderLayer(norm_first=False) on the same weights (float32 1e-5, float64 gradients)",
    reference=_torch_post_ln,
    cases=_post_ln_cases,
    use=_use_layer,
    owned=("lecture_lib.transformer.TransformerLayer", "torch.nn.TransformerEncoderLayer"),
    mistakes=(
        Mistake(
            "the residual around the attention is missing. What did the token itself say?",
            _post(lambda X, a, f, n1, n2: n1(a(X)), _second),
        ),
        Mistake(
            "the residual around the feed-forward network is missing. What did the token itself say?",
            _post(_first, lambda Z, X, a, f, n1, n2: n2(f(Z))),
        ),
        Mistake(
            "both residuals are missing. What does each sublayer's output have to be added to?",
            _post(lambda X, a, f, n1, n2: n1(a(X)), lambda Z, X, a, f, n1, n2: n2(f(Z))),
        ),
        Mistake(
            "the norms stand before the sublayers (pre-LN). Where does Algorithm 12.3 put them?",
            _post(lambda X, a, f, n1, n2: X + a(n1(X)), lambda Z, X, a, f, n1, n2: Z + f(n2(Z))),
        ),
        Mistake(
            "the norm is applied before the residual is added. What stands inside the bracket of LayerNorm?",
            _post(lambda X, a, f, n1, n2: X + n1(a(X)), lambda Z, X, a, f, n1, n2: Z + n2(f(Z))),
        ),
        Mistake(
            "the attention's norm is used twice. Does each sublayer not have its own gain and bias?",
            _post(_first, lambda Z, X, a, f, n1, n2: n1(f(Z) + Z)),
        ),
        Mistake(
            "the two norms are exchanged. Which one goes with the attention?",
            _post(lambda X, a, f, n1, n2: n2(a(X) + X), lambda Z, X, a, f, n1, n2: n1(f(Z) + Z)),
        ),
        Mistake(
            "the first norm is missing. What does the network in line 2 of the algorithm get to read?",
            _post(lambda X, a, f, n1, n2: a(X) + X, _second),
        ),
        Mistake(
            "the second norm is missing. What is the last operation of the algorithm?",
            _post(_first, lambda Z, X, a, f, n1, n2: f(Z) + Z),
        ),
        Mistake(
            "the feed-forward network reads X. Which tokens should it think about, those before or after the attention?",
            _post(_first, lambda Z, X, a, f, n1, n2: n2(f(X) + Z)),
        ),
        Mistake(
            "the second residual adds X. What goes around the second sublayer?",
            _post(_first, lambda Z, X, a, f, n1, n2: n2(f(Z) + X)),
        ),
        Mistake(
            "the feed-forward network comes before the attention. Who goes first, reading or thinking?",
            _post(lambda X, a, f, n1, n2: n2(f(X) + X), lambda Z, X, a, f, n1, n2: n1(a(Z) + Z)),
        ),
        Mistake(
            "both sublayers read X side by side. Does the second not work on what the first has found?",
            _post(lambda X, a, f, n1, n2: n1(a(X) + f(X) + X), lambda Z, X, a, f, n1, n2: n2(Z)),
        ),
        Mistake(
            "the mask does not reach the attention. Who has to hand it on?",
            lambda X, attention, f, n1, n2, mask=None: _second(n1(attention(X) + X), X, None, f, n1, n2),
        ),
    ),
)
