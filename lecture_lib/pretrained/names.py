"""Names of tensors: what a module of ours is called in the Hugging Face checkpoints of each family.

A row reads "our module: their module", with # for the number of a layer.

Source: the state dicts of `transformers` (BertModel, GPT2LMHeadModel, LlamaForCausalLM, MarianMTModel).
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from torch import nn

from lecture_lib.encoder import Encoder


def of_layers(ours: str, theirs: str, parts: Mapping[str, str]) -> dict[str, str]:
    """Put the parts of a layer behind the names of the layers of a stack.

    Args:
        ours: our name of a layer, with # for its number.
        theirs: their name of it.
        parts: our module in it: their module in it.

    Returns:
        Full names, ours: theirs.
    """
    return {f"{ours}.{a}": f"{theirs}.{b}" for a, b in parts.items()}


def of_attention(ours: str, theirs: str, names: str) -> dict[str, str]:
    """Name the four maps of an attention.

    Args:
        ours: our name of the attention.
        theirs: their name of it.
        names: their names of W_q, W_k, W_v and W_o, separated by spaces.

    Returns:
        Full names, ours: theirs.
    """
    return {
        f"{ours}.{a}": f"{theirs}.{b}"
        for a, b in zip(("W_q", "W_k", "W_v", "W_o"), names.split(), strict=True)
    }


BERT_LAYER = {
    **of_attention("attention", "attention", "self.query self.key self.value output.dense"),
    "attention_norm": "attention.output.LayerNorm",
    "feed_forward.W_in": "intermediate.dense",
    "feed_forward.W_out": "output.dense",
    "feed_forward_norm": "output.LayerNorm",
}
BERT = {
    "encoder.embedding.tokens": "bert.embeddings.word_embeddings",
    "encoder.embedding.positions": "bert.embeddings.position_embeddings",
    "encoder.embedding.segments": "bert.embeddings.token_type_embeddings",
    "encoder.embedding.norm": "bert.embeddings.LayerNorm",
    **of_layers("encoder.stack.layers.#", "bert.encoder.layer.#", BERT_LAYER),
    "encoder.pooler": "bert.pooler.dense",
    "dense": "cls.predictions.transform.dense",
    "norm": "cls.predictions.transform.LayerNorm",
    "head": "cls.predictions.decoder",
    "classifier": "classifier",
}
GPT2_LAYER = {
    **of_attention("attention", "attn", "c_attn c_attn c_attn c_proj"),  # queries, keys, values in one
    "attention_norm": "ln_1",
    "feed_forward.W_in": "mlp.c_fc",
    "feed_forward.W_out": "mlp.c_proj",
    "feed_forward_norm": "ln_2",
}
GPT2 = {
    "embedding.tokens": "transformer.wte",
    "embedding.positions": "transformer.wpe",
    **of_layers("stack.layers.#", "transformer.h.#", GPT2_LAYER),
    "stack.final_norm": "transformer.ln_f",
    "head": "lm_head",
}
LLAMA_LAYER = {
    **of_attention("attention", "self_attn", "q_proj k_proj v_proj o_proj"),
    "attention.q_norm": "self_attn.q_norm",
    "attention.k_norm": "self_attn.k_norm",
    "attention_norm": "input_layernorm",
    "feed_forward.W_gate": "mlp.gate_proj",
    "feed_forward.W_in": "mlp.up_proj",
    "feed_forward.W_out": "mlp.down_proj",
    "feed_forward_norm": "post_attention_layernorm",
}
LLAMA = {
    "embedding.tokens": "model.embed_tokens",
    **of_layers("stack.layers.#", "model.layers.#", LLAMA_LAYER),
    "stack.final_norm": "model.norm",
    "head": "lm_head",
}
MARIAN_LAYER = {
    **of_attention("attention", "self_attn", "q_proj k_proj v_proj out_proj"),
    "attention_norm": "self_attn_layer_norm",
    **of_attention("cross_attention", "encoder_attn", "q_proj k_proj v_proj out_proj"),
    "cross_attention_norm": "encoder_attn_layer_norm",
    "feed_forward.W_in": "fc1",
    "feed_forward.W_out": "fc2",
    "feed_forward_norm": "final_layer_norm",
}
MARIAN = {
    "source.tokens": "model.encoder.embed_tokens",
    **of_layers("encoder.layers.#", "model.encoder.layers.#", MARIAN_LAYER),
    "target.tokens": "model.decoder.embed_tokens",
    **of_layers("decoder.layers.#", "model.decoder.layers.#", MARIAN_LAYER),
    "head": "lm_head",
}
NAMES = {"bert": BERT, "gpt2": GPT2, "llama": LLAMA, "qwen2": LLAMA, "qwen3": LLAMA, "marian": MARIAN}

# What checkpoints hold beside the weights asked for: masks, computed positions, tied copies, heads that are
# not built here.
IGNORED = re.compile(
    r"(^|\.)attn\.(masked_)?bias$|rotary_emb\.inv_freq$|embeddings\.position_ids$|embed_positions\.weight$"
    r"|^cls\.seq_relationship\.|^cls\.predictions\.(decoder\.)?(weight|bias)$|^lm_head\.weight$"
    r"|^model\.((en|de)coder\.embed_tokens|shared)\.weight$"
)


@dataclass(frozen=True)
class Link:
    """One tensor of a checkpoint, and the parameters of ours that it holds one below the other."""

    theirs: tuple[str, ...]  # its name, and others it goes by
    ours: tuple[str, ...]
    transposed: bool = False  # GPT-2 stores its maps as (in, out)
    row: bool = False  # Marian stores the bias of its head as (1, |V|)

    @property
    def optional(self) -> bool:
        """Whether zeros stand for the tensor if it is missing, as in `transformers`."""
        return self.row


def links(model: nn.Module, family: str) -> list[Link]:
    """Say where each parameter of a model stands in a checkpoint of a family.

    Args:
        model: one of our models; a shared parameter is taken once, under its first name.
        family: key of `NAMES`.

    Returns:
        One link for each tensor of theirs.
    """
    inside = "encoder." if isinstance(model, Encoder) else ""  # a bare encoder is the encoder of its family
    found: dict[str, list[str]] = {}
    for name, _ in model.named_parameters():
        module, _, kind = (inside + name).rpartition(".")
        number = re.search(r"\.layers\.(\d+)\.", module)
        if number:
            module = module.replace(number[0], ".layers.#.", 1)
        if module not in NAMES[family] or kind not in ("weight", "bias"):
            raise ValueError(
                f"the parameter {name} has no place in a {family} checkpoint; merge adapters before saving"
            )
        theirs = NAMES[family][module].replace("#", number[1] if number else "#")
        found.setdefault(f"{theirs}.{kind}", []).append(name)
    return [link(theirs, tuple(ours), model) for theirs, ours in found.items()]


def link(theirs: str, ours: tuple[str, ...], model: nn.Module) -> Link:
    """Make a link, with the other names of their tensor and the form it is stored in.

    Args:
        theirs: its name by the tables.
        ours: names of our parameters.
        model: the model, which knows whether tables are shared.

    Returns:
        The link.
    """
    if theirs == "lm_head.bias":
        return Link(("final_logits_bias",), ours, row=True)
    if theirs == "cls.predictions.decoder.bias":
        names = ("cls.predictions.bias", theirs)
        return Link(names if model.config.tied_head else names[::-1], ours)
    if theirs == "model.encoder.embed_tokens.weight" and model.shared_embedding:
        return Link(("model.shared.weight", theirs), ours)
    return Link((theirs,), ours, transposed=".c_" in theirs and theirs.endswith(".weight"))


def with_prefix(names: Iterable[str], family: str) -> dict[str, str]:
    """Give the tensors of a checkpoint the names that `links` uses.

    The checkpoint of a bare model leaves the first part out (`h.0.ln_1.weight`); BERT's first had other names
    for norms.

    Args:
        names: names in the checkpoint.
        family: key of `NAMES`.

    Returns:
        Full name: name in the checkpoint.
    """
    prefix = {"bert": "bert.", "gpt2": "transformer."}.get(family, "model.")
    bare = not any(name.startswith(prefix) for name in names)
    renamed = {}
    for name in names:
        full = (
            prefix + name
            if bare and not name.startswith(("lm_head.", "cls.", "classifier.", "final_"))
            else name
        )
        renamed[
            full.replace("LayerNorm.gamma", "LayerNorm.weight").replace("LayerNorm.beta", "LayerNorm.bias")
        ] = name
    return renamed
