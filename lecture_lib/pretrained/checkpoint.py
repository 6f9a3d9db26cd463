"""A model and its tokenizer from a folder in the format of Hugging Face, and back.

The folder holds config.json, model.safetensors (or its shards) and the files of the tokenizer.
`transformers`, and so vLLM, loads what is written here; nothing in a checkpoint is ever executed.
"""

import os
from collections.abc import Mapping
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
from lecture_lib.pretrained.tokenizer import PretrainedTokenizer, TextTokenizer
from lecture_lib.pretrained.tokenizer_files import TOKEN_IDS, load_tokenizer, save_tokenizer
from lecture_lib.pretrained.weights import fill, gather, links
from lecture_lib.wrapped import unwrapped

GENERATION = "generation_config.json"
DTYPES = {
    **{"float32": torch.float32, "fp32": torch.float32, "float": torch.float32, "float64": torch.float64},
    **{"float16": torch.float16, "fp16": torch.float16, "half": torch.float16, "double": torch.float64},
    **{"bfloat16": torch.bfloat16, "bf16": torch.bfloat16},
}
OURS = (
    "architectures",
    "tie_word_embeddings",
    "share_encoder_decoder_embeddings",
    "dtype",
)  # never carried over
DROPPED = ("torch_dtype", "transformers_version", "_name_or_path", "auto_map", "_attn_implementation")


def load_pretrained(
    name_or_folder: str | os.PathLike[str],
    dtype: torch.dtype | str | None = None,
    device: torch.device | str | int | None = None,
    tokenizer: bool = True,
) -> tuple[nn.Module, PretrainedTokenizer | None]:
    """Load a model and its tokenizer.

    The model's `generation` holds what the checkpoint says about sampling and about the tokens that begin and
    end a text (`GenerationSettings`).

    Args:
        name_or_folder: a folder, or the name of a model on the Hugging Face Hub, such as
            "openai-community/gpt2".
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


def find_dtype(dtype: torch.dtype | str | None) -> torch.dtype | None:
    """Give a dtype by its name; None for "auto".

    Raises:
        ValueError: weights cannot have it.
    """
    found = DTYPES.get(dtype.removeprefix("torch.")) if isinstance(dtype, str) else dtype
    if dtype is None or dtype == "auto":
        return None
    if found not in DTYPES.values():
        known = "float32, float64, bfloat16, float16 or 'auto'"
        raise ValueError(f"dtype must be {known}, got {dtype!r}; for fewer bits use quantize_model")
    return found


def find_device(device: torch.device | str | int | None) -> torch.device:
    """Give a device by its name.

    Raises:
        ValueError: there is no such device here.
    """
    gpu = torch.accelerator.current_accelerator() if torch.accelerator.is_available() else None
    if device == "auto":
        device = gpu
    try:
        found = torch.device("cpu" if device is None else device)
        torch.empty(0, device=found)
    except (RuntimeError, AssertionError, TypeError, NotImplementedError):
        here = "'cpu'" if gpu is None else f"'cpu' and {gpu.type!r}"
        raise ValueError(f"there is no device {device!r} here, only {here}") from None
    return found


def save_pretrained(
    model: nn.Module, tokenizer: TextTokenizer | PretrainedTokenizer | None, folder: str | os.PathLike[str]
) -> None:
    """Save a model and its tokenizer as a folder that `transformers` loads.

    A checkpoint that stood there is replaced as a whole; files that are not a checkpoint's stay.

    Args:
        model: an `Encoder`, one of its heads, a `Decoder` or an `EncoderDecoder`, wrapped or not.
        tokenizer: its tokenizer; None: the model alone.
        folder: where; it is made if it does not exist.

    Raises:
        ValueError: no Hugging Face family has such a model; the sentence names the choice that stands in the
            way.
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

    Args:
        model: the model.
        family: its `nearest`.
        architecture: likewise.
        roles: ids of tokens with a role, as the tokenizer knows them.
    """
    configs, more = family.facts(model)
    config = {**family.write(configs), **more, "architectures": [architecture]}
    origin = {
        k: v for k, v in getattr(model, "origin", {}).items() if k not in OURS + DROPPED + family.folded
    }
    if origin.get("model_type") == family.model_type:
        kept = {**config, **origin, **more, **family.supported}
        config = kept if family.read(kept) == configs else config
    said = getattr(model, "generation", None)
    translates, stored = isinstance(model, EncoderDecoder), {} if said is None else said.stored
    own = {}
    if said is not None and said != read_generation(stored, origin, translates):  # changed by the user
        stored = write_generation(said, translates)
        own = token_roles(said, translates)
    ids = {name: roles.get(name) for name in TOKEN_IDS[:3]} | dict(roles)
    for name in set(config) & set(TOKEN_IDS):
        if roles.get(name) in (None, config[name], stored.get(name)):
            ids[name] = config[name]
    newer = {name: i for name, i in roles.items() if name in stored and name not in own}
    return {**config, **ids, **own}, {**stored, **newer}
