"""LoRA: one adapted layer (`layer`), a model full of them (`model`), peft's files (`save`, `load`)."""

from lecture_lib.lora.layer import LoRAEmbedding, LoRALayer, LoRALinear
from lecture_lib.lora.load import load_lora
from lecture_lib.lora.model import (
    add_lora,
    count_parameters,
    lora_layers,
    lora_parameters,
    merge_lora,
    unmerge_lora,
)
from lecture_lib.lora.save import save_lora

__all__ = [
    "LoRAEmbedding",
    "LoRALayer",
    "LoRALinear",
    "add_lora",
    "count_parameters",
    "load_lora",
    "lora_layers",
    "lora_parameters",
    "merge_lora",
    "save_lora",
    "unmerge_lora",
]
