"""Llama: the decoder with rotary positions, and what its relatives (Mistral, Qwen) share with it.

Source: `transformers`, LlamaConfig, LlamaForCausalLM and modeling_rope_utils; Touvron et al. (2023).
"""

import dataclasses
import math
from collections.abc import Mapping
from typing import Any

from torch import Tensor

from lecture_lib.decoder import Decoder
from lecture_lib.embedding import RotaryScaling, rotary_frequencies
from lecture_lib.pretrained.families import Family, Json
from lecture_lib.transformer import ModelConfig

LAYER = {
    "attention.W_q": "self_attn.q_proj",
    "attention.W_k": "self_attn.k_proj",
    "attention.W_v": "self_attn.v_proj",
    "attention.W_o": "self_attn.o_proj",
    "attention.q_norm": "self_attn.q_norm",
    "attention.k_norm": "self_attn.k_norm",
    "attention_norm": "input_layernorm",
    "feed_forward.W_gate": "mlp.gate_proj",
    "feed_forward.W_in": "mlp.up_proj",
    "feed_forward.W_out": "mlp.down_proj",
    "feed_forward_norm": "post_attention_layernorm",
}
SCALING = {field.name for field in dataclasses.fields(RotaryScaling)}
HARMLESS = {"type", "rope_theta", "partial_rotary_factor", "finetuned"}  # beside them, in a rope_scaling
OF_KIND = {  # fields of `RotaryScaling` that a kind reads
    "linear": {"factor"},
    "dynamic": {"factor"},
    "llama3": {"factor", "low_freq_factor", "high_freq_factor", "original_max_position_embeddings"},
    "yarn": SCALING - {"low_freq_factor", "high_freq_factor"},
}


class Llama(Family):
    """Llama 2 and 3, and all that call themselves llama."""

    model_type = "llama"
    architectures: Mapping[str, type] = {"LlamaForCausalLM": Decoder}
    settings = (
        {
            "vocab_size": "vocab_size",
            "d_model": "hidden_size",
            "n_heads": "num_attention_heads",
            "n_kv_heads": "num_key_value_heads",
            "d_head": "head_dim",
            "n_layers": "num_hidden_layers",
            "d_ff": "intermediate_size",
            "activation": "hidden_act",
            "norm_eps": "rms_norm_eps",
            "qkv_bias": "attention_bias",
            "out_bias": "attention_bias",
            "mlp_bias": "mlp_bias",
            "tied_head": "tie_word_embeddings",
            "init_std": "initializer_range",
        },
    )
    fixed: Mapping[str, object] = {"norm": "rms", "norm_first": True, "positions": "rotary"}
    missing: Mapping[str, object] = {
        "num_key_value_heads": None,
        "head_dim": None,
        "hidden_act": "silu",
        "rms_norm_eps": 1e-6,
        "attention_bias": False,
        "mlp_bias": False,
        "tie_word_embeddings": False,
        "initializer_range": 0.02,
    }
    supported: Mapping[str, object] = {"rope_interleaved": False}
    modules = {
        "embedding.tokens": "model.embed_tokens",
        **{f"stack.layers.#.{ours}": f"model.layers.#.{theirs}" for ours, theirs in LAYER.items()},
        "stack.final_norm": "model.norm",
        "head": "lm_head",
    }
    gated = True

    def __init__(self) -> None:
        self.replaced = {r"rotary_emb\.inv_freq$": stored_frequencies}

    def fields(self, theirs: Json, names: Mapping[str, str]) -> dict[str, Any]:
        """As `Family.fields`, with rotary positions and the window of attention."""
        return super().fields(theirs, names) | read_rotary(theirs) | self.window(theirs)

    def write(self, configs: tuple[ModelConfig, ...]) -> dict[str, Any]:
        """As `Family.write`, with rotary positions and the window of attention."""
        return super().write(configs) | write_rotary(configs[0]) | self.write_window(configs[0])

    def window(self, theirs: Json) -> dict[str, Any]:
        """Read which tokens attention sees, as fields of `ModelConfig`; Llama's sees all."""
        return {}

    def write_window(self, config: ModelConfig) -> dict[str, Any]:
        """Write which tokens attention sees."""
        return {}


def read_rotary(theirs: Json) -> dict[str, Any]:
    """Read base, scaling and longest text, in the current form (`rope_parameters`) or an older one."""
    rope = {**(theirs.get("rope_scaling") or {}), **(theirs.get("rope_parameters") or {})}
    fraction = rope.get("partial_rotary_factor", theirs.get("partial_rotary_factor"))
    if fraction not in (None, 1):
        raise ValueError(f"partial_rotary_factor={fraction!r} is not supported, only 1.0")
    if "max_position_embeddings" not in theirs:
        raise ValueError("the setting 'max_position_embeddings' is missing")
    context, scaling = theirs["max_position_embeddings"], read_scaling(rope, theirs)
    if scaling is not None and scaling.rope_type != "llama3":  # made for texts longer than those of training
        first = scaling.original_max_position_embeddings or context
        context = max(context, math.floor(scaling.factor * first))
    theta = rope.get("rope_theta") or theirs.get("rope_theta") or 10_000.0
    return {"rope_theta": float(theta), "rope_scaling": scaling, "context_length": context}


def read_scaling(rope: Json, theirs: Json) -> RotaryScaling | None:
    """Read how rotary frequencies are scaled."""
    kind = rope.get("rope_type", rope.get("type")) or "default"
    unknown = set(rope) - SCALING - HARMLESS
    if unknown:
        raise ValueError(f"{min(unknown)!r} in the rotary settings is not supported")
    if kind == "default":
        return None
    if kind not in OF_KIND:
        raise ValueError(f"rotary scaling of type {kind!r} is not supported, only {', '.join(OF_KIND)}")
    numbers = {name: rope[name] for name in OF_KIND[kind] & set(rope) if rope[name] is not None}
    first = theirs["max_position_embeddings"]
    if kind == "dynamic":
        numbers["original_max_position_embeddings"] = first
    elif kind in ("llama3", "yarn"):
        said = theirs.get("original_max_position_embeddings")
        first = said or numbers.get("original_max_position_embeddings", first)
        numbers["original_max_position_embeddings"] = first
    if kind == "yarn" and "factor" not in numbers:
        numbers["factor"] = theirs["max_position_embeddings"] / first
    if "factor" not in numbers:
        raise ValueError(f"rotary scaling of type {kind!r} needs a factor")
    return RotaryScaling(**{**numbers, "rope_type": kind})


def write_rotary(config: ModelConfig) -> dict[str, Any]:
    """Write base, scaling and longest text, in the current and in the older form."""
    scaling, theirs, context = config.rope_scaling, None, config.context_length
    if scaling is not None:
        theirs = {k: v for k, v in vars(scaling).items() if v is not None}
        if scaling.rope_type == "dynamic":
            context = theirs.pop("original_max_position_embeddings")
        elif scaling.rope_type == "linear":
            context = math.ceil(context / scaling.factor)
    current = {"rope_theta": config.rope_theta, **(theirs or {"rope_type": "default"})}
    return {
        "max_position_embeddings": context,
        "rope_parameters": current,
        "rope_theta": config.rope_theta,
        "rope_scaling": theirs,
    }


def stored_frequencies(config: ModelConfig, stored: Tensor) -> Tensor:
    """The frequencies that older files hold: those of the config, before the scaling or after it."""
    both = [
        rotary_frequencies(config.d_head, config.rope_theta, scaling, stored.device)
        for scaling in (config.rope_scaling, None)
    ]
    return next((each for each in both if each.allclose(stored.float(), rtol=0.01, atol=1e-4)), both[0])
