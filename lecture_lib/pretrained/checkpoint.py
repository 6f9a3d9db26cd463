"""A model and its tokenizer from a folder in the format of Hugging Face, and back.

The folder holds config.json, model.safetensors (or its shards) and the files of the tokenizer.
`transformers`, and so vLLM, loads what is written here; nothing in a checkpoint is ever executed.
"""

import os
from pathlib import Path

import torch
from torch import nn

from lecture_lib.pretrained.architectures import build, describe, fill
from lecture_lib.pretrained.files import (
    SINGLE,
    open_weights,
    read_settings,
    weight_files,
    write_json,
    write_weights,
)
from lecture_lib.pretrained.hub import find_folder
from lecture_lib.pretrained.names import links
from lecture_lib.pretrained.tokenizer import PretrainedTokenizer, TextTokenizer
from lecture_lib.pretrained.tokenizer_files import TOKEN_IDS, load_tokenizer, save_tokenizer


def load_pretrained(
    name_or_folder: str | os.PathLike[str],
    dtype: torch.dtype | None = None,
    device: torch.device | str | None = None,
    tokenizer: bool = True,
) -> tuple[nn.Module, PretrainedTokenizer | None]:
    """Load a model and its tokenizer.

    Args:
        name_or_folder: a folder, or the name of a model on the Hugging Face Hub, such as
            "openai-community/gpt2".
        dtype: of the weights; None: as they are stored.
        device: where the model lives; None: the CPU.
        tokenizer: False: leave the tokenizer out.

    Returns:
        The model, in evaluation mode, and its tokenizer (None without).

    Raises:
        FileNotFoundError: a file is missing, or the name cannot be reached.
        ValueError: an architecture, a setting or a file that cannot be used; the sentence says which.
    """
    folder = find_folder(name_or_folder)
    config = read_settings(folder / "config.json")
    stored = {name: read for path in weight_files(folder) for name, read in open_weights(path).items()}
    try:
        model = build(config, stored)
        fill(model, config, stored, dtype, "cpu" if device is None else device)
    except ValueError as error:
        raise ValueError(f"{folder}: {error}") from None
    except (KeyError, TypeError, AttributeError) as error:
        raise ValueError(
            f"{folder / 'config.json'} makes no sense: {type(error).__name__} at {error}"
        ) from None
    return model.eval(), load_tokenizer(folder, config) if tokenizer else None


def save_pretrained(
    model: nn.Module, tokenizer: TextTokenizer | PretrainedTokenizer | None, folder: str | os.PathLike[str]
) -> None:
    """Save a model and its tokenizer as a folder that `transformers` loads.

    Each file is written whole or not at all; config.json comes last.

    Args:
        model: an `Encoder`, one of its heads, a `Decoder` or an `EncoderDecoder`.
        tokenizer: its tokenizer; None: the model alone.
        folder: where; it is made if it does not exist.

    Raises:
        ValueError: no Hugging Face family has such a model; the sentence names the choice that stands in the
            way.
    """
    theirs = describe(model)
    state = dict(model.named_parameters())
    tensors = {}
    for link in links(model, theirs["model_type"]):
        tensor = torch.cat([state[name].detach() for name in link.ours])
        tensors[link.theirs[0]] = tensor[None] if link.row else tensor.mT if link.transposed else tensor
    if "cls.predictions.decoder.bias" in tensors:  # transformers holds it twice
        tensors["cls.predictions.bias"] = tensors["cls.predictions.decoder.bias"].clone()
    folder = Path(folder)
    if folder.exists() and not folder.is_dir():
        raise ValueError(f"{folder} is a file; give a folder")
    folder.mkdir(parents=True, exist_ok=True)
    write_weights(folder / SINGLE, tensors)
    theirs |= dict.fromkeys(TOKEN_IDS[:3])
    if tokenizer is not None:
        theirs |= save_tokenizer(tokenizer, folder, model.config.context_length)
    dtype = str(next(iter(tensors.values())).dtype).removeprefix("torch.")
    write_json(folder / "config.json", {**theirs, "dtype": dtype})
