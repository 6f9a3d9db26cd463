"""The families of Hugging Face models: which setting of a config.json is which field of `ModelConfig`.

Source: the configuration classes of `transformers`.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

from lecture_lib.transformer import GATED


@dataclass(frozen=True)
class Family:
    """How one family of models writes its choices down."""

    names: tuple[Mapping[str, str], ...]  # our field: their setting; two tables for an encoder and a decoder
    fixed: Mapping[str, object]  # fields that all members share
    missing: Mapping[str, object] = field(default_factory=dict)  # value of a setting that a file leaves out
    supported: Mapping[str, object] = field(default_factory=dict)  # settings with just one value here


COMMON = {
    "vocab_size": "vocab_size",
    "d_model": "hidden_size",
    "n_heads": "num_attention_heads",
    "n_layers": "num_hidden_layers",
    "context_length": "max_position_embeddings",
    "d_ff": "intermediate_size",
    "activation": "hidden_act",
    "tied_head": "tie_word_embeddings",
    "init_std": "initializer_range",
}
BERT = COMMON | {
    "norm_eps": "layer_norm_eps",
    "n_segments": "type_vocab_size",
    "dropout": "hidden_dropout_prob",
}
GPT2 = {
    "vocab_size": "vocab_size",
    "d_model": "n_embd",
    "n_heads": "n_head",
    "n_layers": "n_layer",
    "context_length": "n_positions",
    "d_ff": "n_inner",
    "norm_eps": "layer_norm_epsilon",
    "activation": "activation_function",
    "tied_head": "tie_word_embeddings",
    "dropout": "resid_pdrop",
    "init_std": "initializer_range",
}
QWEN2 = COMMON | {"n_kv_heads": "num_key_value_heads", "norm_eps": "rms_norm_eps"}
QWEN3 = QWEN2 | {"d_head": "head_dim", "qkv_bias": "attention_bias", "out_bias": "attention_bias"}
LLAMA = QWEN3 | {"mlp_bias": "mlp_bias"}
MARIAN = {
    "d_model": "d_model",
    "context_length": "max_position_embeddings",
    "activation": "activation_function",
    "tied_head": "tie_word_embeddings",
    "scale_embedding": "scale_embedding",
    "dropout": "dropout",
    "init_std": "init_std",
}
MARIAN_ENCODER = MARIAN | {
    "vocab_size": "vocab_size",
    "n_heads": "encoder_attention_heads",
    "n_layers": "encoder_layers",
    "d_ff": "encoder_ffn_dim",
}
MARIAN_DECODER = MARIAN | {
    "vocab_size": "decoder_vocab_size",
    "n_heads": "decoder_attention_heads",
    "n_layers": "decoder_layers",
    "d_ff": "decoder_ffn_dim",
}
ROTARY = {"norm": "rms", "norm_first": True, "positions": "rotary"}
ROTARY_MISSING = {
    "rms_norm_eps": 1e-6,
    "hidden_act": "silu",
    "tie_word_embeddings": False,
    "attention_bias": False,
    "mlp_bias": False,
    "num_key_value_heads": None,
    "head_dim": None,
    "initializer_range": 0.02,
}
FAMILIES = {
    "bert": Family(
        (BERT,),
        {"embedding_norm": True},
        {
            "layer_norm_eps": 1e-12,
            "hidden_act": "gelu",
            "type_vocab_size": 2,
            "tie_word_embeddings": True,
            "hidden_dropout_prob": 0.1,
            "initializer_range": 0.02,
        },
        {"position_embedding_type": "absolute", "is_decoder": False, "add_cross_attention": False},
    ),
    "gpt2": Family(
        (GPT2,),
        {"norm_first": True},
        {
            "n_inner": None,
            "layer_norm_epsilon": 1e-5,
            "activation_function": "gelu_new",
            "tie_word_embeddings": True,
            "resid_pdrop": 0.1,
            "initializer_range": 0.02,
        },
        {"add_cross_attention": False},
    ),
    "llama": Family((LLAMA,), ROTARY, ROTARY_MISSING),
    "qwen2": Family((QWEN2,), ROTARY | {"out_bias": False, "mlp_bias": False}, ROTARY_MISSING),
    "qwen3": Family(
        (QWEN3,), ROTARY | {"mlp_bias": False, "qk_norm": True}, ROTARY_MISSING | {"head_dim": 128}
    ),
    "marian": Family(
        (MARIAN_ENCODER, MARIAN_DECODER),
        {"positions": "sinusoidal_halves", "head_bias": True},
        {
            "decoder_vocab_size": None,
            "activation_function": "gelu",
            "tie_word_embeddings": True,
            "scale_embedding": False,
            "dropout": 0.1,
            "init_std": 0.02,
        },
        {
            "normalize_before": False,
            "normalize_embedding": False,
            "add_final_layer_norm": False,
            "static_position_embeddings": True,
        },
    ),
}
ACTIVATIONS = {
    **{
        "relu": "relu",
        "gelu": "gelu",
        "gelu_python": "gelu",
        "gelu_new": "gelu_tanh",
        "gelu_fast": "gelu_tanh",
    },
    **{
        "gelu_pytorch_tanh": "gelu_tanh",
        "quick_gelu": "quick_gelu",
        "silu": "silu",
        "swish": "silu",
        "tanh": "tanh",
    },
}
GATED_FORM = {plain: gated for gated, plain in GATED.items()}
