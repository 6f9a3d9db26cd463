"""GPT-2: the decoder with learned positions; its maps are stored transposed, queries, keys and values in one.

Source: `transformers`, GPT2Config and GPT2LMHeadModel; Radford et al. (2019).
"""

import torch
from torch import Tensor, nn

from lecture_lib.decoder import Decoder
from lecture_lib.pretrained.families import Family, Json, Link
from lecture_lib.transformer import ModelConfig

LAYER = {
    "attention.W_q": "attn.c_attn",
    "attention.W_k": "attn.c_attn",
    "attention.W_v": "attn.c_attn",
    "attention.W_o": "attn.c_proj",
    "attention_norm": "ln_1",
    "feed_forward.W_in": "mlp.c_fc",
    "feed_forward.W_out": "mlp.c_proj",
    "feed_forward_norm": "ln_2",
}


def stored_mask(config: ModelConfig, stored: Tensor) -> Tensor:
    """The causal mask that older files hold."""
    return torch.ones(stored.shape[-2:], device=stored.device).tril().expand(stored.shape)


class Gpt2(Family):
    """GPT-2 in all sizes, DistilGPT-2, and those that call themselves gpt2."""

    model_type = "gpt2"
    architectures = {"GPT2LMHeadModel": Decoder}
    settings = (
        {
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
        },
    )
    fixed = {"norm_first": True}
    missing = {
        "n_inner": None,
        "layer_norm_epsilon": 1e-5,
        "activation_function": "gelu_new",
        "tie_word_embeddings": True,
        "resid_pdrop": 0.1,
        "initializer_range": 0.02,
    }
    supported = {"add_cross_attention": False}
    folded = ("scale_attn_weights", "scale_attn_by_inverse_layer_idx")
    modules = {
        "embedding.tokens": "transformer.wte",
        "embedding.positions": "transformer.wpe",
        **{f"stack.layers.#.{ours}": f"transformer.h.#.{theirs}" for ours, theirs in LAYER.items()},
        "stack.final_norm": "transformer.ln_f",
        "head": "lm_head",
    }
    prefix = "transformer."
    replaced = {r"\.attn\.bias$": stored_mask, r"\.attn\.masked_bias$": None}

    def link(self, theirs: str, ours: tuple[str, ...], shared: frozenset[str]) -> Link:
        """As `Family.link`; the maps are transposed."""
        if ".c_" in theirs and theirs.endswith(".weight"):
            return Link((theirs,), ours, transposed=True)
        return super().link(theirs, ours, shared)

    def fold(self, model: nn.Module, theirs: Json) -> None:
        """Move unusual scalings of the scores into the queries, which changes no score."""
        unscaled = not theirs.get("scale_attn_weights", True)
        by_layer = theirs.get("scale_attn_by_inverse_layer_idx", False)
        for i, layer in enumerate(model.stack.layers, start=1):
            factor = (layer.attention.d_head**0.5 if unscaled else 1) / (i if by_layer else 1)
            for parameter in layer.attention.W_q.parameters():
                parameter.data *= factor
