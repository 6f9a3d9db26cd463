"""BERT: the encoder, alone or with a head that guesses words, or classifies texts or words.

Source: `transformers`, BertConfig and its models; Devlin et al. (2019).
"""

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from lecture_lib.encoder import Encoder, MaskedLanguageModel, TextClassifier, WordClassifier
from lecture_lib.pretrained.families import Family, Json, Link, Stored, copies, same
from lecture_lib.transformer import ModelConfig

LAYER = {
    "attention.W_q": "attention.self.query",
    "attention.W_k": "attention.self.key",
    "attention.W_v": "attention.self.value",
    "attention.W_o": "attention.output.dense",
    "attention_norm": "attention.output.LayerNorm",
    "feed_forward.W_in": "intermediate.dense",
    "feed_forward.W_out": "output.dense",
    "feed_forward_norm": "output.LayerNorm",
}
TABLE, HEAD = "bert.embeddings.word_embeddings", "cls.predictions.decoder"


def stored_positions(config: ModelConfig, stored: Tensor) -> Tensor:
    """The positions 0, 1, 2, ... that older files hold."""
    return torch.arange(stored.shape[-1], device=stored.device).expand(stored.shape)


class Bert(Family):
    """BERT in all sizes, with the heads that are taught."""

    model_type = "bert"
    architectures = {
        "BertModel": Encoder,
        "BertForMaskedLM": MaskedLanguageModel,
        "BertForPreTraining": MaskedLanguageModel,
        "BertForSequenceClassification": TextClassifier,
        "BertForTokenClassification": WordClassifier,
    }
    settings = (
        {
            "vocab_size": "vocab_size",
            "d_model": "hidden_size",
            "n_heads": "num_attention_heads",
            "n_layers": "num_hidden_layers",
            "context_length": "max_position_embeddings",
            "d_ff": "intermediate_size",
            "activation": "hidden_act",
            "norm_eps": "layer_norm_eps",
            "n_segments": "type_vocab_size",
            "tied_head": "tie_word_embeddings",
            "dropout": "hidden_dropout_prob",
            "init_std": "initializer_range",
        },
    )
    fixed = {"embedding_norm": True}
    missing = {
        "layer_norm_eps": 1e-12,
        "hidden_act": "gelu",
        "type_vocab_size": 2,
        "tie_word_embeddings": True,
        "hidden_dropout_prob": 0.1,
        "initializer_range": 0.02,
    }
    supported = {"position_embedding_type": "absolute", "is_decoder": False, "add_cross_attention": False}
    modules = {
        "encoder.embedding.tokens": TABLE,
        "encoder.embedding.positions": "bert.embeddings.position_embeddings",
        "encoder.embedding.segments": "bert.embeddings.token_type_embeddings",
        "encoder.embedding.norm": "bert.embeddings.LayerNorm",
        **{
            f"encoder.stack.layers.#.{ours}": f"bert.encoder.layer.#.{theirs}"
            for ours, theirs in LAYER.items()
        },
        "encoder.pooler": "bert.pooler.dense",
        "dense": "cls.predictions.transform.dense",
        "norm": "cls.predictions.transform.LayerNorm",
        "head": HEAD,
        "classifier": "classifier",
    }
    prefix, heads = "bert.", ("cls.", "classifier.")
    replaced = {
        r"embeddings\.position_ids$": stored_positions,
        r"^cls\.": None,
    }  # heads that are not asked for

    def write(self, configs: tuple[ModelConfig, ...]) -> dict[str, Any]:
        """As `Family.write`; there is always a table of segments."""
        theirs = super().write(configs)
        return theirs | {"type_vocab_size": max(theirs["type_vocab_size"], 1)}

    def build(self, architecture: str, theirs: Json, stored: Stored) -> nn.Module:
        """As `Family.build`; the tensors also tell the number of classes and whether there is a pooler."""
        (config,), kind = self.read(theirs), self.architectures[architecture]
        if config.tied_head and not copies(stored, f"{TABLE}.weight", f"{HEAD}.weight"):
            config = dataclasses.replace(config, tied_head=False)
        encoder = Encoder(config)
        if any(name.endswith("pooler.dense.weight") for name in stored):
            encoder.add_pooler()
        if kind is Encoder:
            return encoder
        if kind is MaskedLanguageModel:
            return MaskedLanguageModel(encoder)
        if "classifier.weight" not in stored:
            raise ValueError("the checkpoint lacks the tensor classifier.weight")
        model = kind(encoder, stored["classifier.weight"]().shape[0])
        labels = theirs.get("id2label") or {}
        model.labels = [labels.get(str(i), name) for i, name in enumerate(model.labels)]
        return model

    def facts(self, model: nn.Module) -> tuple[tuple[ModelConfig, ...], dict[str, Any]]:
        """As `Family.facts`, with the names of classes."""
        config, more = model.config, {}
        if isinstance(model, MaskedLanguageModel):
            tied = same(model.head, model.encoder.embedding.tokens, config.tied_head)
            config = dataclasses.replace(config, tied_head=tied)
        if isinstance(model, TextClassifier | WordClassifier):
            more = {"id2label": {str(i): label for i, label in enumerate(model.labels)}}
            more["label2id"] = {label: i for i, label in enumerate(model.labels)}
        return (config,), more

    def link(self, theirs: str, ours: tuple[str, ...], shared: frozenset[str]) -> Link:
        """As `Family.link`; the bias of the head is stored twice, and `decoder.bias` is the one that counts."""
        if theirs == f"{HEAD}.bias":
            return Link((theirs, "cls.predictions.bias"), ours, written=(theirs, "cls.predictions.bias"))
        tied = theirs == f"{TABLE}.weight" and "head.weight" in shared
        return Link((theirs, f"{HEAD}.weight") if tied else (theirs,), ours)

    def modules_of(self, architecture: str) -> Mapping[str, str]:
        """As `Family.modules_of`; a bare encoder's have no prefix, neither theirs nor ours."""
        if architecture != "BertModel":
            return self.modules
        inside = {a: b for a, b in self.modules.items() if a.startswith("encoder.")}
        return {a.removeprefix("encoder."): b.removeprefix("bert.") for a, b in inside.items()}

    def named(self, stored: Stored, architecture: str) -> dict[str, Callable[[], Tensor]]:
        """As `Family.named`; the first BERT had other names for norms."""
        newer = {
            name.replace("LayerNorm.gamma", "LayerNorm.weight").replace(
                "LayerNorm.beta", "LayerNorm.bias"
            ): read
            for name, read in stored.items()
        }
        if architecture == "BertModel":
            return {name.removeprefix("bert."): read for name, read in newer.items()}
        return super().named(newer, architecture)
