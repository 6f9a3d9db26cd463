"""How many numbers a layer learns."""

from collections.abc import Callable

import torch
from torch import nn

from lecture_lib.checks.exercise import Case, Exercise
from lecture_lib.checks.mistake import Mistake


def _cases(seed: int) -> list[Case]:
    draw = torch.Generator().manual_seed(seed)

    def number(low: int, high: int) -> int:
        return int(torch.randint(low, high, (), generator=draw))

    heads, d_head, d_ff = number(3, 6), number(4, 9), number(50, 90)
    D = heads * d_head
    return [
        Case("D=4, two heads, d_ff=6: by hand", (4, 2, 6)),
        Case("a layer of BERT-large: D=1024, 16 heads, d_ff=4096", (1024, 16, 4096)),
        Case(f"D={D}, {heads} heads, d_ff={d_ff}", (D, heads, d_ff)),
        Case(f"D={D}, one head, d_ff={d_ff}", (D, 1, d_ff)),
        Case("no biases", (D, heads, d_ff), {"bias": False}),
        Case("a gated network", (D, heads, d_ff), {"gated": True}),
        Case("key-value heads given, as many as heads", (D, heads, d_ff, heads)),
        Case("one key-value head", (D, heads, d_ff), {"n_kv_heads": 1}),
        Case("two query heads to a key-value head", (6 * d_head, 6, d_ff, 3, False, True)),
        Case("gated, without biases, four query heads to one", (8 * d_head, 8, d_ff, 2, True, False)),
        Case("a layer of Llama 3 8B: D=4096, 32 heads, 8 key-value heads", (4096, 32, 14336, 8, True, False)),
    ]


def _counted(
    d_model: int,
    n_heads: int,
    d_ff: int,
    n_kv_heads: int | None = None,
    gated: bool = False,
    bias: bool = True,
) -> int:
    shared = d_model // n_heads * (n_heads if n_kv_heads is None else n_kv_heads)
    with torch.device("meta"):
        maps = [nn.Linear(d_model, width, bias) for width in (d_model, shared, shared, d_model)]
        maps += [nn.Linear(d_model, d_ff, bias) for _ in range(1 + gated)] + [nn.Linear(d_ff, d_model, bias)]
        norms = [nn.LayerNorm(d_model), nn.LayerNorm(d_model)]
    return sum(parameter.numel() for part in (*maps, *norms) for parameter in part.parameters())


def _plus(change: Callable) -> Callable:
    """A count that is wrong by change(D, H, d_ff, H_kv, gated, bias)."""

    def count(
        d_model: int,
        n_heads: int,
        d_ff: int,
        n_kv_heads: int | None = None,
        gated: bool = False,
        bias: bool = True,
    ) -> int:
        right = _counted(d_model, n_heads, d_ff, n_kv_heads, gated, bias)
        return right + change(d_model, n_heads, d_ff, n_kv_heads or n_heads, gated, bias)

    return count


LAYER_PARAMETER_COUNT = Exercise(
    name="transformer.layer_parameter_count",
    points=3,
    difficulty=2,
    minutes=15,
    against="the parameters of torch.nn.Linear and LayerNorm, counted",
    reference=_counted,
    cases=_cases,
    owned=("lecture_lib.transformer.parameter_count", "lecture_lib.transformer.TransformerLayer"),
    mistakes=(
        Mistake(
            "the output map W_o is not counted. How many maps has an attention?",
            _plus(lambda D, H, F, H_kv, gated, bias: -D * D - bias * D),
        ),
        Mistake(
            "no biases are counted. When does `bias` say that there are some?",
            _plus(lambda D, H, F, H_kv, gated, bias: -bias * (3 * D + 2 * H_kv * (D // H) + (1 + gated) * F)),
        ),
        Mistake(
            "biases are counted that are not there. What does `bias=False` ask for?",
            _plus(
                lambda D, H, F, H_kv, gated, bias: (
                    (not bias) * (3 * D + 2 * H_kv * (D // H) + (1 + gated) * F)
                )
            ),
        ),
        Mistake(
            "the biases of the network are counted with the wrong widths, one too many D for a d_ff. How wide is the"
            " result of each map?",
            _plus(lambda D, H, F, H_kv, gated, bias: bias * (1 + gated) * (D - F)),
        ),
        Mistake(
            "the norms are not counted. Do they learn anything?",
            _plus(lambda D, H, F, H_kv, gated, bias: -4 * D),
        ),
        Mistake(
            "one norm is counted, or two with their gains alone. How many has Algorithm 12.3, and what does each learn?",
            _plus(lambda D, H, F, H_kv, gated, bias: -2 * D),
        ),
        Mistake(
            "`bias=False` takes the biases of the norms away as well. Which biases does it speak of?",
            _plus(lambda D, H, F, H_kv, gated, bias: -(not bias) * 2 * D),
        ),
        Mistake(
            "every head gets maps of the full width D x D. How wide is one head?",
            _plus(lambda D, H, F, H_kv, gated, bias: (H - 1) * 4 * D * D),
        ),
        Mistake(
            "`n_kv_heads` is not used. How wide are all keys together when heads share them?",
            _plus(lambda D, H, F, H_kv, gated, bias: 2 * (H - H_kv) * (D // H) * (D + bias)),
        ),
        Mistake(
            "the values are not shared like the keys. What belongs to a key-value head?",
            _plus(lambda D, H, F, H_kv, gated, bias: (H - H_kv) * (D // H) * (D + bias)),
        ),
        Mistake(
            "a gated network is counted with two maps. Which map makes the gate?",
            _plus(lambda D, H, F, H_kv, gated, bias: -gated * (D + bias) * F),
        ),
        Mistake(
            "d_ff is taken to be 4 D. What does the argument say?",
            _plus(lambda D, H, F, H_kv, gated, bias: (4 * D - F) * ((2 + gated) * D + bias * (1 + gated))),
        ),
        Mistake(
            "the number is a float. Which division keeps whole numbers whole?",
            lambda *sizes, **more: float(_counted(*sizes, **more)),
        ),
    ),
)
