"""Mistral: Llama whose tokens see only the last ones, by a window that slides.

Source: `transformers`, MistralConfig and MistralForCausalLM; Jiang et al. (2023).
"""

from typing import Any

from lecture_lib.decoder import Decoder
from lecture_lib.pretrained.families import Json
from lecture_lib.pretrained.families.llama import Llama
from lecture_lib.transformer import ModelConfig


class Mistral(Llama):
    """Mistral 7B, Nemo, and those that call themselves mistral."""

    model_type = "mistral"
    architectures = {"MistralForCausalLM": Decoder}
    settings = ({k: v for k, v in Llama.settings[0].items() if not k.endswith("_bias")},)
    fixed = {**Llama.fixed, "qkv_bias": False, "out_bias": False, "mlp_bias": False}
    missing = {**Llama.missing, "num_key_value_heads": 8}
    supported = {**Llama.supported, "attention_bias": False, "mlp_bias": False}

    def window(self, theirs: Json) -> dict[str, Any]:
        """Read the window of all layers: 4096 if a file leaves it out, none if it says null."""
        window = theirs.get("sliding_window", 4096)
        others = set(theirs.get("layer_types") or ()) - {"sliding_attention"}
        if window is not None and others:
            raise ValueError(f"layer_types with {min(others)!r} are not supported: Mistral's are all alike")
        return {"sliding_window": window}

    def write_window(self, config: ModelConfig) -> dict[str, Any]:
        """Write the window of all layers."""
        return {"sliding_window": config.sliding_window}
