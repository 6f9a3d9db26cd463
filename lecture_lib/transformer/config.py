"""The choices that make a transformer: one set for BERT, GPT-2, Llama, Qwen, Marian, Vaswani (2017).

Source: lecture, Algorithm 12.3 and "Three types of transformer models"; the config.json files of the families
named.
"""

import math
from dataclasses import Field, dataclass, fields

from lecture_lib.embedding import RotaryScaling

CHOICES = {
    "norm": ("layer", "rms"),
    "activation": (
        *("relu", "gelu", "gelu_tanh", "quick_gelu", "silu", "tanh"),
        *("reglu", "geglu", "geglu_tanh", "swiglu"),  # gated: the second factor has no activation
    ),
    "positions": ("learned", "sinusoidal", "sinusoidal_halves", "rotary"),
}


@dataclass(frozen=True)
class ModelConfig:
    """Say everything about a model but its weights.

    Fields left at None are filled in, so `config.d_head` is always a number. Note that `dataclasses.replace`
    keeps the filled-in numbers: name `d_head`, `n_kv_heads` and `d_ff` again (None will do) when you change
    `n_heads` or `d_model`.

    Raises:
        ValueError: a value is out of range, or two do not fit together.
    """

    vocab_size: int  # |V|, number of tokens the model knows
    d_model: int  # D, width of a token
    n_heads: int  # H, query heads of a layer
    n_layers: int  # L, layers of the stack
    context_length: int  # longest text, in tokens
    d_ff: int | None = None  # width inside the feed-forward network; None: 4 D
    n_kv_heads: int | None = None  # key-value heads, a divisor of H; None: H
    d_head: int | None = None  # D_k, width of a head; None: D / H
    norm: str = "layer"  # "layer" or "rms"
    norm_eps: float = 1e-5  # added to the variance
    norm_first: bool = False  # False: post-LN, Algorithm 12.3; True: pre-LN and a norm after the last layer
    activation: str = "gelu"  # of the feed-forward network; "swiglu" and its kin are gated
    positions: str = "learned"  # "learned", "sinusoidal", "sinusoidal_halves" (Marian's order) or "rotary"
    rope_theta: float = 10000.0  # base of the rotary frequencies
    rope_scaling: RotaryScaling | None = None  # rotary frequencies slowed down for a longer context
    qkv_bias: bool = True  # biases of W_q, W_k, W_v
    out_bias: bool = True  # bias of W_o
    mlp_bias: bool = True  # biases of the feed-forward network
    qk_norm: bool = False  # root-mean-square norm of queries and keys (Qwen3)
    tied_head: bool = True  # the output head is the token table
    head_bias: bool = False  # the output head adds a bias
    n_segments: int = 0  # segment kinds (BERT: 2); 0: no segment table
    embedding_norm: bool = False  # a norm after the embeddings (BERT)
    scale_embedding: bool = False  # token vectors times sqrt(D) (Vaswani 2017)
    dropout: float = 0.0  # on the embeddings and on the output of every sublayer, in training
    init_std: float = 0.02  # standard deviation of the initial weights

    def __post_init__(self) -> None:
        for field in fields(self):
            check_value(field, getattr(self, field.name))
        if self.d_head is None and self.d_model % self.n_heads:
            raise ValueError(
                f"{self.n_heads} heads must divide d_model {self.d_model}, or d_head must be given"
            )
        d_head = self.d_model // self.n_heads
        for name, default in {"d_ff": 4 * self.d_model, "n_kv_heads": self.n_heads, "d_head": d_head}.items():
            if getattr(self, name) is None:
                object.__setattr__(self, name, default)
        if self.n_heads % self.n_kv_heads:
            raise ValueError(f"{self.n_kv_heads} key-value heads must divide {self.n_heads} heads")
        if self.positions == "rotary" and self.d_head % 2:
            raise ValueError(
                f"rotary positions turn pairs of features: d_head must be even, got {self.d_head}"
            )
        if self.positions.startswith("sinusoidal") and self.d_model % 2:
            raise ValueError(f"sines and cosines come in pairs: d_model must be even, got {self.d_model}")
        if self.rope_scaling is not None and self.positions != "rotary":
            raise ValueError(f"rope_scaling needs rotary positions, got {self.positions!r}")


def check_value(field: Field, value: object) -> None:
    """Refuse a value that a field of `ModelConfig` cannot have.

    Args:
        field: one of its fields.
        value: its value.

    Raises:
        ValueError: the value is of another type or out of range.
    """
    name = field.name
    if name in CHOICES:
        if value not in CHOICES[name]:
            raise ValueError(f"{name} must be one of {', '.join(CHOICES[name])}; got {value!r}")
    elif name == "n_segments":
        if type(value) is not int or value < 0:
            raise ValueError(f"n_segments must be an integer, 0 or more, got {value!r}")
    elif field.type is int or (field.type == int | None and value is not None):
        if type(value) is not int or value < 1:
            raise ValueError(f"{name} must be a positive integer, got {value!r}")
    elif field.type is bool:
        if type(value) is not bool:
            raise ValueError(f"{name} must be True or False, got {value!r}")
    elif field.type is float:
        if type(value) not in (int, float) or not (
            0 <= value < 1 if name == "dropout" else 0 < value < math.inf
        ):
            wanted = "a probability below 1" if name == "dropout" else "a positive number"
            raise ValueError(f"{name} must be {wanted}, got {value!r}")
    elif field.type == RotaryScaling | None and not isinstance(value, RotaryScaling | None):
        raise ValueError(f"{name} must be a RotaryScaling or None, got {value!r}")
