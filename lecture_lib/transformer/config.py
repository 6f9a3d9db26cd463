"""The choices that make a transformer: one set for BERT, GPT-2, Llama, Mistral, Qwen, Marian, Vaswani (2017).

Source: lecture, Algorithm 12.3 and "Three types of transformer models"; the config.json files of the families named.
"""

from dataclasses import dataclass

from lecture_lib.embedding import RotaryScaling
from lecture_lib.fields import at_least, check_fields, one_of, positive, probability

ACTIVATION_NAMES = (
    *("relu", "gelu", "gelu_tanh", "quick_gelu", "silu", "tanh"),
    *("reglu", "geglu", "geglu_tanh", "swiglu"),  # gated: the second factor has no activation
)
POSITIONS = ("learned", "sinusoidal", "sinusoidal_halves", "rotary")


@dataclass(frozen=True)
class ModelConfig:
    """Say everything about a model but its weights; what is out of range, or does not fit together, is refused.

    Fields left at None are filled in, so `config.d_head` is always a number. Note that `dataclasses.replace` keeps the filled-in
    numbers: name `d_head`, `n_kv_heads` and `d_ff` again (None will do) when you change `n_heads` or `d_model`.
    """

    vocab_size: int = at_least(1)  # |V|, number of tokens the model knows
    d_model: int = at_least(1)  # D, width of a token
    n_heads: int = at_least(1)  # H, query heads of a layer
    n_layers: int = at_least(1)  # L, layers of the stack
    context_length: int = at_least(1)  # longest text, in tokens
    d_ff: int | None = at_least(1, None)  # width inside the feed-forward network; None: 4 D
    n_kv_heads: int | None = at_least(1, None)  # key-value heads, a divisor of H; None: H
    d_head: int | None = at_least(1, None)  # D_k, width of a head; None: D / H
    norm: str = one_of(("layer", "rms"), "layer")
    norm_eps: float = positive(1e-5)  # added to the variance
    norm_first: bool = False  # False: post-LN, Algorithm 12.3; True: pre-LN and a norm after the last layer
    activation: str = one_of(ACTIVATION_NAMES, "gelu")  # of the feed-forward network
    positions: str = one_of(POSITIONS, "learned")  # "sinusoidal_halves": all sines first, as in Marian
    rope_theta: float = positive(10000.0)  # base of the rotary frequencies
    rope_scaling: RotaryScaling | None = None  # rotary frequencies slowed down for a longer context
    sliding_window: int | None = at_least(
        1, None
    )  # a token sees itself and those just before, so many in all
    full_layers: tuple[int, ...] = ()  # layers, from 0, that see everything all the same
    qkv_bias: bool = True  # biases of W_q, W_k, W_v
    out_bias: bool = True  # bias of W_o
    mlp_bias: bool = True  # biases of the feed-forward network
    qk_norm: bool = False  # root-mean-square norm of queries and keys (Qwen3)
    tied_head: bool = True  # the output head is the token table
    head_bias: bool = False  # the output head adds a bias
    n_segments: int = at_least(0, 0)  # segment kinds (BERT: 2); 0: no segment table
    embedding_norm: bool = False  # a norm after the embeddings (BERT)
    scale_embedding: bool = False  # token vectors times sqrt(D) (Vaswani 2017)
    dropout: float = probability(0.0, below_one=True)  # on embeddings and on every sublayer, in training
    init_std: float = positive(0.02)  # standard deviation of the initial weights

    def __post_init__(self) -> None:
        check_fields(self)
        if self.d_head is None and self.d_model % self.n_heads:
            raise ValueError(f"{self.n_heads} heads must divide d_model {self.d_model}, or give d_head")
        d_head = self.d_model // self.n_heads
        for name, default in {"d_ff": 4 * self.d_model, "n_kv_heads": self.n_heads, "d_head": d_head}.items():
            if getattr(self, name) is None:
                object.__setattr__(self, name, default)
        if self.n_heads % self.n_kv_heads:
            raise ValueError(f"{self.n_kv_heads} key-value heads must divide {self.n_heads} heads")
        name = "d_head" if self.positions == "rotary" else "d_model"
        if self.positions != "learned" and (width := getattr(self, name)) % 2:
            raise ValueError(f"{self.positions} positions come in pairs: {name} must be even, got {width}")
        if self.rope_scaling is not None and self.positions != "rotary":
            raise ValueError(f"rope_scaling needs rotary positions, got {self.positions!r}")
        object.__setattr__(self, "full_layers", tuple(self.full_layers))
        if not set(self.full_layers) <= set(range(self.n_layers)):
            raise ValueError(f"full_layers must be among 0 ... {self.n_layers - 1}, got {self.full_layers}")
