"""Qwen2 and Qwen3: Llama with biases of queries, keys and values, or with norms of queries and keys.

Source: `transformers`, Qwen2Config, Qwen3Config and their models; Yang et al. (2024, 2025).
"""

from typing import Any

from lecture_lib.decoder import Decoder
from lecture_lib.pretrained.families import Json
from lecture_lib.pretrained.families.llama import Llama
from lecture_lib.transformer import ModelConfig

KINDS = ("sliding_attention", "full_attention")  # of layers


class Qwen2(Llama):
    """Qwen2 and Qwen2.5; the upper layers may see the last tokens only."""

    model_type = "qwen2"
    architectures = {"Qwen2ForCausalLM": Decoder}
    settings = ({k: v for k, v in Llama.settings[0].items() if not k.endswith("_bias")},)
    fixed = {**Llama.fixed, "qkv_bias": True, "out_bias": False, "mlp_bias": False}
    missing = {**Llama.missing, "num_key_value_heads": 32}
    supported = {**Llama.supported, "use_mrope": False}

    def window(self, theirs: Json) -> dict[str, Any]:
        """Read the window, and which layers see everything all the same."""
        n_layers, first = theirs["num_hidden_layers"], theirs.get("max_window_layers", 28)
        window = theirs.get("sliding_window", 4096) if theirs.get("use_sliding_window", False) else None
        if window is None:
            return {}
        kinds = theirs.get("layer_types") or [KINDS[i < first] for i in range(n_layers)]
        if len(kinds) != n_layers or not set(kinds) <= set(KINDS):
            raise ValueError(f"layer_types must name {n_layers} layers as {' or '.join(KINDS)}, got {kinds}")
        full = tuple(i for i, kind in enumerate(kinds) if kind == "full_attention")
        return {"sliding_window": window, "full_layers": full} if len(full) < n_layers else {}

    def write_window(self, config: ModelConfig) -> dict[str, Any]:
        """Write the window, and what each layer sees."""
        windowed = [
            config.sliding_window is not None and i not in config.full_layers for i in range(config.n_layers)
        ]
        return {
            "use_sliding_window": any(windowed),
            "sliding_window": config.sliding_window,
            "max_window_layers": windowed.index(True) if any(windowed) else config.n_layers,
            "layer_types": [KINDS[not each] for each in windowed],
        }


class Qwen3(Qwen2):
    """Qwen3: queries and keys are normalised."""

    model_type = "qwen3"
    architectures = {"Qwen3ForCausalLM": Decoder}
    settings = ({k: v for k, v in Llama.settings[0].items() if k != "mlp_bias"},)
    fixed = {**Llama.fixed, "mlp_bias": False, "qk_norm": True}
    missing = {**Qwen2.missing, "head_dim": 128}
