"""How many numbers a layer learns."""

import torch
from torch import nn

from lecture_lib.checks.draws import Draw
from lecture_lib.checks.exercise import Case, Exercise


def count_cases(seed: int) -> list[Case]:
    """Sizes by hand, drawn ones and two real ones; biases, gates, and key-value heads, alone and together."""
    draw = Draw(seed)
    heads, d_head, d_ff = draw.size(3, 5), draw.size(4, 8), draw.size(50, 89)
    D = heads * d_head
    return [
        Case("D=4, two heads, d_ff=6: by hand", (4, 2, 6)),
        Case("D=4, two heads, d_ff=6, no biases", (4, 2, 6), {"bias": False}),
        Case("D=4, two heads, d_ff=6, gated", (4, 2, 6), {"gated": True}),
        Case("a layer of BERT-large: D=1024, 16 heads, d_ff=4096", (1024, 16, 4096)),
        Case(f"D={D}, {heads} heads, d_ff={d_ff}", (D, heads, d_ff)),
        Case(f"D={D}, one head, d_ff={d_ff}", (D, 1, d_ff)),
        Case("no biases", (D, heads, d_ff), {"bias": False}),
        Case("a gated network", (D, heads, d_ff), {"gated": True}),
        Case("key-value heads given, as many as heads", (D, heads, d_ff, heads)),
        Case("one key-value head", (D, heads, d_ff), {"n_kv_heads": 1}),
        Case("two query heads to a key-value head", (6 * d_head, 6, d_ff, 3, False, True)),
        Case("two query heads to a key-value head, no biases", (6 * d_head, 6, d_ff, 3, False, False)),
        Case("two query heads to a key-value head, gated", (6 * d_head, 6, d_ff, 3, True, True)),
        Case("gated, without biases, four query heads to one", (8 * d_head, 8, d_ff, 2, True, False)),
        Case("a layer of Llama 3 8B: D=4096, 32 heads, 8 key-value heads", (4096, 32, 14336, 8, True, False)),
    ]


def counted(d_model, n_heads, d_ff, n_kv_heads=None, gated=False, bias=True) -> int:
    """Make torch's own modules and count."""
    shared = d_model // n_heads * (n_heads if n_kv_heads is None else n_kv_heads)
    with torch.device("meta"):
        maps = [nn.Linear(d_model, width, bias) for width in (d_model, shared, shared, d_model)]
        maps += [nn.Linear(d_model, d_ff, bias) for _ in range(1 + gated)] + [nn.Linear(d_ff, d_model, bias)]
        norms = [nn.LayerNorm(d_model), nn.LayerNorm(d_model)]
    return sum(parameter.numel() for part in (*maps, *norms) for parameter in part.parameters())


def layer_parameter_count(
    d_model: int,
    n_heads: int,
    d_ff: int,
    n_kv_heads: int | None = None,
    gated: bool = False,
    bias: bool = True,
) -> int:
    """Count inputs times outputs and biases of every map; the mistakes below are changes of these lines."""
    d_head = d_model // n_heads
    d_kv = d_head * (n_heads if n_kv_heads is None else n_kv_heads)
    q, k, v, o = ((d_model, d_model), (d_model, d_kv), (d_model, d_kv), (d_model, d_model))
    network = [(d_model, d_ff)] * (2 if gated else 1) + [(d_ff, d_model)]
    widths = [q, k, v, o, *network]
    weights, biases = (sum(a * b for a, b in widths), sum(b for _, b in widths))
    norms = 2 * 2 * d_model
    return weights + bias * biases + norms


LAYER_PARAMETER_COUNT = Exercise(
    name="transformer.layer_parameter_count",
    points=3, difficulty=2, minutes=15,
    against="the parameters of torch.nn.Linear and LayerNorm, counted",
    reference=counted,
    right=layer_parameter_count,
    cases=count_cases,
    owned=("lecture_lib.transformer.parameter_count", "lecture_lib.transformer.TransformerLayer"),
    mistakes=(
        ("the output map W_o is not counted. How many maps has an attention?",
         "[q, k, v, o, *network]", "[q, k, v, *network]"),
        ("no biases are counted. When does `bias` say that there are some?",
         "bias * biases", "0"),
        ("biases are counted that are not there. What does `bias=False` ask for?",
         "bias * biases", "biases"),
        ("the map of the gate is counted without its bias. Which maps are linear?",
         "bias * biases", "bias * (biases - gated * d_ff)"),
        ("the maps of the attention are counted without biases. Which maps does `bias` speak of?",
         "bias * biases", "bias * (biases - 2 * d_model - 2 * d_kv)"),
        ("the biases of keys and values are D wide although heads share them. How wide is the result of these maps?",
         "bias * biases", "bias * (biases + 2 * (d_model - d_kv))"),
        ("the biases of the network are counted with the wrong widths, one too many D for a d_ff. How wide is "
         "the result of each map?",
         "sum((b for _, b in widths))", "sum((d_model if (a, b) == (d_model, d_ff) else b for a, b in widths))"),
        ("the norms are not counted. Do they learn anything?",
         "2 * 2 * d_model", "0"),
        ("one norm is counted, or two with their gains alone. How many has Algorithm 12.3, and what does each "
         "learn?",
         "2 * 2 * d_model", "2 * d_model"),
        ("`bias=False` takes the biases of the norms away as well. Which biases does it speak of?",
         "2 * 2 * d_model", "2 * (1 + bias) * d_model"),
        ("every head gets maps of the full width D x D. How wide is one head?",
         "weights + bias", "weights + (n_heads - 1) * 4 * d_model * d_model + bias"),
        ("`n_kv_heads` is not used. How wide are all keys together when heads share them?",
         "(n_heads if n_kv_heads is None else n_kv_heads)", "n_heads"),
        ("the values are not shared like the keys. What belongs to a key-value head?",
         "(d_model, d_kv), (d_model, d_kv)", "(d_model, d_kv), (d_model, d_model)"),
        ("a gated network is counted with two maps. Which map makes the gate?",
         "(2 if gated else 1)", "1"),
        ("d_ff is taken to be 4 D. What does the argument say?",
         "d_head = d_model // n_heads", "d_head, d_ff = (d_model // n_heads, 4 * d_model)"),
        ("the number is a float. Which division keeps whole numbers whole?",
         "d_model // n_heads", "d_model / n_heads"),
    ),
)  # fmt: skip
