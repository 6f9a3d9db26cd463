"""A model and its tokenizer from a folder in the format of Hugging Face, and back.

The folder holds config.json, model.safetensors (or its shards) and the files of the tokenizer.
`transformers`, and so vLLM, loads what is written here; nothing in a checkpoint is ever executed.
"""

import os
from collections.abc import Callable, Mapping
from functools import wraps
from pathlib import Path
from typing import Any

import torch
from torch import nn

from lecture_lib.encoder_decoder import EncoderDecoder
from lecture_lib.pretrained.families import Family, family_of, nearest
from lecture_lib.pretrained.files import (
    CONFIG,
    SINGLE,
    find_folder,
    open_weights,
    read_settings,
    refuse_pointers,
    replaced,
    weight_files,
    write_json,
    write_weights,
)
from lecture_lib.pretrained.generation import read_generation, token_roles, write_generation
from lecture_lib.pretrained.tokenizer import (
    TOKEN_IDS,
    PretrainedTokenizer,
    TextTokenizer,
    load_tokenizer,
    save_tokenizer,
)
from lecture_lib.pretrained.weights import fill, find_device, find_dtype, gather, links
from lecture_lib.weights import unwrapped

GENERATION = "generation_config.json"
NEVER_KEPT = {  # settings of a file that a model came from: facts of the weights, and of who wrote it
    *("architectures", "tie_word_embeddings", "share_encoder_decoder_embeddings", "dtype", "torch_dtype"),
    *("transformers_version", "_name_or_path", "auto_map", "_attn_implementation"),
}
THEIRS = {  # keywords of `from_pretrained` and its like: what stands for them here
    "torch_dtype": "write dtype=, such as dtype='bfloat16'",
    "device_map": "write device=, such as device='cuda' or device='auto'",
    "trust_remote_code": "nothing in a checkpoint is ever executed",
    "load_in_8bit": "load the model, then call quantize_model(model, 8)",
    "load_in_4bit": "load the model, then call quantize_model(model, 4)",
    "quantization_config": "load the model, then call quantize_model",
    "attn_implementation": "leave it out: attention is always torch's fused kernel",
    "low_cpu_mem_usage": "leave it out: weights are always read one by one",
    "use_safetensors": "leave it out: weights are read from safetensors alone",
    "safe_serialization": "leave it out: weights are written as safetensors alone",
    "max_shard_size": "leave it out: the weights are one file",
    "push_to_hub": "upload the folder afterwards, with huggingface_hub.upload_folder",
    "pretrained_model_name_or_path": "write name_or_folder=",
    "save_directory": "write folder=",
}


def answered(function: Callable) -> Callable:
    """Let a function say what stands for the keywords that tutorials of `transformers` use."""

    @wraps(function)
    def call(*arguments: Any, **keywords: Any) -> Any:
        for name in keywords.keys() & THEIRS.keys():
            raise TypeError(f"{function.__name__} takes no {name}=: {THEIRS[name]}")
        return function(*arguments, **keywords)

    return call


@answered
def load_pretrained(
    name_or_folder: str | os.PathLike[str],
    dtype: torch.dtype | str | None = None,
    device: torch.device | str | int | None = None,
    tokenizer: bool = True,
) -> tuple[nn.Module, PretrainedTokenizer | None]:
    """Load a model and its tokenizer.

    The model's `generation` (`GenerationSettings`) holds what the checkpoint says about sampling and the ends of texts.

    Args:
        name_or_folder: a folder, or the name of a model on the Hugging Face Hub, such as "openai-community/gpt2".
        dtype: of the weights, such as torch.bfloat16 or "bfloat16"; None or "auto": as they are stored.
        device: where the model lives; None: the CPU; "auto": a GPU if there is one.
        tokenizer: False: leave the tokenizer out.

    Returns:
        The model, in evaluation mode, and its tokenizer (None without).

    Raises:
        FileNotFoundError: a file is missing, or the name cannot be reached.
        ValueError: an architecture, a setting or a file that cannot be used; the sentence says which.
    """
    dtype, device = find_dtype(dtype), find_device(device)
    folder = find_folder(name_or_folder)
    refuse_pointers(folder, tokenizer)
    config = read_settings(folder / CONFIG)
    generation = read_settings(folder / GENERATION, optional=True)
    stored = {name: read for path in weight_files(folder) for name, read in open_weights(path).items()}
    try:
        family, architecture = family_of(config)
        stored = family.named(stored, architecture)
        with torch.inference_mode(False), torch.device("meta"):
            model = family.build(architecture, config, stored)
        with torch.inference_mode(False):
            fill(model, links(model, family, architecture), family, stored, dtype, device)
            family.fold(model, config)
        translates = isinstance(model, EncoderDecoder)
        model.generation, model.origin = read_generation(generation, config, translates), config
    except ValueError as error:
        raise ValueError(f"{folder}: {error}") from None
    except (KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"{folder / CONFIG} makes no sense: {type(error).__name__} at {error}") from None
    return model.eval(), load_tokenizer(folder, config) if tokenizer else None


@answered
def save_pretrained(
    model: nn.Module, tokenizer: TextTokenizer | PretrainedTokenizer | None, folder: str | os.PathLike[str]
) -> None:
    """Save a model and its tokenizer as a folder that `transformers` loads.

    A checkpoint that stood there is replaced as a whole; files that are not a checkpoint's stay.

    Args:
        model: an `Encoder`, one of its heads, a `Decoder` or an `EncoderDecoder`, wrapped or not.
        tokenizer: None: the model alone.
        folder: made if it does not exist.

    Raises:
        ValueError: no Hugging Face family has such a model; the sentence names the choice that stands in the way.
    """
    model, folder = unwrapped(model), Path(folder)
    family, architecture, misfit = nearest(model)
    if misfit:
        raise ValueError(misfit)
    tensors = gather(model, family, architecture)
    if folder.exists() and not folder.is_dir():
        raise ValueError(f"{folder} is a file; give a folder")
    with replaced(folder) as new:
        write_weights(new / SINGLE, tensors)
        context = model.config.context_length
        roles = {} if tokenizer is None else save_tokenizer(tokenizer, new, context)
        config, generation = describe(model, family, architecture, roles)
        largest = max(tensors.values(), key=torch.Tensor.numel)
        write_json(new / CONFIG, {**config, "dtype": str(largest.dtype).removeprefix("torch.")})
        if generation:
            write_json(new / GENERATION, generation)


def describe(
    model: nn.Module, family: Family, architecture: str, roles: Mapping[str, Any]
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Write the config.json and the generation_config.json of a model; {} where there is nothing to say.

    What the files that the model came from said besides is kept, and so is their way of saying it.
    """
    configs, more = family.facts(model)
    config = {**family.write(configs), **more, "architectures": [architecture]}
    never = NEVER_KEPT | set(family.folded)
    origin = {name: value for name, value in getattr(model, "origin", {}).items() if name not in never}
    kept = {**config, **origin, **more, **family.supported}
    if origin.get("model_type") == family.model_type and family.read(kept) == configs:
        config = kept
    else:
        origin = {}
    said, translates = getattr(model, "generation", None), isinstance(model, EncoderDecoder)
    stored, own = ({} if said is None else said.stored), {}
    if said is not None and said != read_generation(stored, origin, translates):  # changed since it was read
        stored, own = write_generation(said, translates), token_roles(said, translates)
    ids = {name: roles.get(name) for name in TOKEN_IDS[:3]} | dict(roles)
    for name in set(origin) & set(TOKEN_IDS):
        if roles.get(name) in (None, origin[name], stored.get(name)):
            ids[name] = origin[name]
    newer = {name: i for name, i in roles.items() if name in stored and name not in own}
    return {**config, **ids, **own}, {**stored, **newer}
