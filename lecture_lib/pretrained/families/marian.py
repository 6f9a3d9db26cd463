"""Marian: the translator, with sines and cosines for positions and a bias of the head stored as a row.

Source: `transformers`, MarianConfig and MarianMTModel; Junczys-Dowmunt et al. (2018).
"""

import dataclasses
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from lecture_lib.embedding import sinusoidal_positions
from lecture_lib.encoder_decoder import EncoderDecoder
from lecture_lib.pretrained.families import Family, Json, Link, Stored, copies, same
from lecture_lib.transformer import ModelConfig

ATTENTION = {"W_q": "q_proj", "W_k": "k_proj", "W_v": "v_proj", "W_o": "out_proj"}
LAYER = {
    **{f"attention.{ours}": f"self_attn.{theirs}" for ours, theirs in ATTENTION.items()},
    "attention_norm": "self_attn_layer_norm",
    **{f"cross_attention.{ours}": f"encoder_attn.{theirs}" for ours, theirs in ATTENTION.items()},
    "cross_attention_norm": "encoder_attn_layer_norm",
    "feed_forward.W_in": "fc1",
    "feed_forward.W_out": "fc2",
    "feed_forward_norm": "final_layer_norm",
}
BOTH = {
    "d_model": "d_model",
    "context_length": "max_position_embeddings",
    "activation": "activation_function",
    "tied_head": "tie_word_embeddings",
    "scale_embedding": "scale_embedding",
    "dropout": "dropout",
    "init_std": "init_std",
}
SIDE = {"n_heads": "attention_heads", "n_layers": "layers", "d_ff": "ffn_dim"}
SHARED, SOURCE, TARGET, HEAD = (
    f"{name}.weight"
    for name in ("model.shared", "model.encoder.embed_tokens", "model.decoder.embed_tokens", "lm_head")
)


def stored_waves(config: ModelConfig, stored: Tensor) -> Tensor:
    """The sines and cosines that published files hold."""
    return sinusoidal_positions(torch.arange(len(stored), device=stored.device), config.d_model, halves=True)


class Marian(Family):
    """The Helsinki-NLP translators and their like."""

    model_type = "marian"
    architectures = {"MarianMTModel": EncoderDecoder}
    settings = (
        {**BOTH, "vocab_size": "vocab_size", **{a: f"encoder_{b}" for a, b in SIDE.items()}},
        {**BOTH, "vocab_size": "decoder_vocab_size", **{a: f"decoder_{b}" for a, b in SIDE.items()}},
    )
    fixed = {"positions": "sinusoidal_halves", "head_bias": True}
    missing = {
        "decoder_vocab_size": None,
        "activation_function": "gelu",
        "tie_word_embeddings": True,
        "scale_embedding": False,
        "dropout": 0.1,
        "init_std": 0.02,
    }
    supported = {
        "normalize_before": False,
        "normalize_embedding": False,
        "add_final_layer_norm": False,
        "static_position_embeddings": True,
    }
    modules = {
        "source.tokens": "model.encoder.embed_tokens",
        **{f"encoder.layers.#.{a}": f"model.encoder.layers.#.{b}" for a, b in LAYER.items()},
        "target.tokens": "model.decoder.embed_tokens",
        **{f"decoder.layers.#.{a}": f"model.decoder.layers.#.{b}" for a, b in LAYER.items()},
        "head": "lm_head",
    }
    heads = ("lm_head.", "final_logits_bias")
    replaced = {r"\.embed_positions\.weight$": stored_waves, r"^model\.shared\.weight$": None}

    def fields(self, theirs: Json, names: Mapping[str, str]) -> dict[str, Any]:
        """As `Family.fields`; source and target may have one vocabulary."""
        fields = super().fields(theirs, names)
        return {**fields, "vocab_size": fields["vocab_size"] or theirs["vocab_size"]}

    def build(self, architecture: str, theirs: Json, stored: Stored) -> nn.Module:
        """As `Family.build`; source and target share their table if the tensors do."""
        source, target = self.read(theirs)
        one = theirs.get("share_encoder_decoder_embeddings", True)
        shared = one and source.vocab_size == target.vocab_size
        a, b = (name if name in stored else SHARED for name in (SOURCE, TARGET))
        separate = not target.tied_head and not {a, b} <= set(stored)
        shared = shared and not separate and copies(stored, a, b)
        if target.tied_head and not copies(stored, b if b in stored else a, HEAD):
            source, target = (dataclasses.replace(each, tied_head=False) for each in (source, target))
        return EncoderDecoder(source, target, shared_embedding=shared)

    def facts(self, model: nn.Module) -> tuple[tuple[ModelConfig, ...], dict[str, Any]]:
        """As `Family.facts`, with what the token tables share."""
        tied = same(model.head, model.target.tokens, model.config.tied_head)
        shared = same(model.source.tokens, model.target.tokens, model.shared_embedding)
        configs = (model.encoder.config, model.decoder.config)
        more = {"share_encoder_decoder_embeddings": shared, "is_encoder_decoder": True}
        return tuple(dataclasses.replace(each, tied_head=tied) for each in configs), more

    def link(self, theirs: str, ours: tuple[str, ...], shared: frozenset[str]) -> Link:
        """As `Family.link`; one table may have up to four names."""
        if theirs == "lm_head.bias":
            return Link(("final_logits_bias",), ours, row=True)
        both, tied = "target.tokens.weight" in shared, "head.weight" in shared
        if theirs == SOURCE and both and tied:
            return Link((SOURCE, TARGET, SHARED, HEAD), ours, written=(SHARED,))
        if theirs == SOURCE and both:
            return Link((SOURCE, TARGET, SHARED), ours, written=(SHARED, SOURCE, TARGET))
        if theirs == SOURCE:
            return Link((SOURCE, SHARED), ours)
        if theirs == TARGET:
            return Link((TARGET, SHARED, HEAD) if tied else (TARGET, SHARED), ours)
        return Link((theirs,), ours)
