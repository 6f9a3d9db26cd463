"""Which of our models a checkpoint holds, how it is built, filled, and named when it is saved."""

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from lecture_lib.decoder import Decoder
from lecture_lib.embedding import TokenEmbedding
from lecture_lib.encoder import Encoder, MaskedLanguageModel, TextClassifier, WordClassifier
from lecture_lib.encoder_decoder import EncoderDecoder
from lecture_lib.pretrained.configs import read_config, write_config
from lecture_lib.pretrained.names import IGNORED, Link, links, with_prefix

Stored = Mapping[str, Callable[[], Tensor]]  # name of each tensor: a function that reads it
ARCHITECTURES: dict[str, type[nn.Module]] = {
    "BertModel": Encoder,
    "BertForMaskedLM": MaskedLanguageModel,
    "BertForPreTraining": MaskedLanguageModel,
    "BertForSequenceClassification": TextClassifier,
    "BertForTokenClassification": WordClassifier,
    "GPT2LMHeadModel": Decoder,
    "LlamaForCausalLM": Decoder,
    "Qwen2ForCausalLM": Decoder,
    "Qwen3ForCausalLM": Decoder,
    "MarianMTModel": EncoderDecoder,
}
LEAVES = (nn.Linear, nn.Embedding, TokenEmbedding, nn.LayerNorm, nn.RMSNorm, nn.Dropout, nn.Identity)
FLOATING = (torch.float64, torch.float32, torch.bfloat16, torch.float16)


def build(config: Mapping[str, Any], stored: Stored) -> nn.Module:
    """Build the model that a config.json describes, without memory for its weights.

    Args:
        config: content of the config.json.
        stored: the tensors of the checkpoint, which tell the number of classes and whether there is a pooler.

    Returns:
        The model on torch's meta device.

    Raises:
        ValueError: the architecture or one of its settings is not supported.
    """
    architecture = (config.get("architectures") or [None])[0]
    kind = ARCHITECTURES.get(architecture)
    if kind is None:
        raise ValueError(
            f"the architecture {architecture!r} is not supported, only {', '.join(ARCHITECTURES)}"
        )
    if config.get("quantization_config"):
        raise ValueError("quantized checkpoints are not supported; load the original and quantize it here")
    configs = read_config(config)
    with torch.device("meta"):
        if kind is Decoder:
            return Decoder(*configs)
        if kind is EncoderDecoder:
            shared = config.get("share_encoder_decoder_embeddings", True) and configs[1].tied_head
            return EncoderDecoder(*configs, shared_embedding=shared)
        encoder = Encoder(*configs)
        if any(name.endswith("pooler.dense.weight") for name in stored):
            encoder.add_pooler()
        if kind is Encoder:
            return encoder
        if kind is MaskedLanguageModel:
            return MaskedLanguageModel(encoder)
        if "classifier.weight" not in stored:
            raise ValueError("the checkpoint lacks the tensor classifier.weight")
        model = kind(encoder, stored["classifier.weight"]().shape[0])
    labels = config.get("id2label") or {}
    model.labels = [labels.get(str(i), name) for i, name in enumerate(model.labels)]
    return model


def fill(
    model: nn.Module,
    config: Mapping[str, Any],
    stored: Stored,
    dtype: torch.dtype | None = None,
    device: torch.device | str = "cpu",
) -> None:
    """Read the weights into a model, and refuse a checkpoint that holds too few, too many or other ones.

    Args:
        model: from `build`.
        config: content of the config.json.
        stored: the tensors of the checkpoint.
        dtype: of the weights; None: as the first is stored.
        device: where they go.

    Raises:
        ValueError: a tensor is missing, without a place, of another shape, or quantized.
    """
    names = with_prefix(stored, config["model_type"])
    parameters = dict(model.named_parameters())
    state: dict[str, Tensor] = {}
    wanted = links(model, config["model_type"])
    lost = [link.theirs[0] for link in wanted if not link.optional and not names.keys() & set(link.theirs)]
    if lost:
        raise ValueError(
            f"the checkpoint lacks {len(lost)} of the {len(wanted)} tensors that its config asks for, "
            f"the first is {lost[0]}"
        )
    known = {name for link in wanted for name in link.theirs}
    extra = [name for name in names if name not in known and not IGNORED.search(name)]
    if extra:
        raise ValueError(
            f"the checkpoint holds tensors that its config has no place for ({len(extra)}, "
            f"the first is {extra[0]})"
        )
    for link in wanted:
        parts = read(link, names, stored, [parameters[name].shape for name in link.ours])
        dtype = parts[0].dtype if dtype is None else dtype
        state |= {
            name: part.to(device, dtype, copy=True) for name, part in zip(link.ours, parts, strict=True)
        }
    model.load_state_dict(state, strict=False, assign=True)
    if hasattr(model, "tie"):
        model.tie()
    fold_scale(model, config)


def read(link: Link, names: Mapping[str, str], stored: Stored, shapes: list[torch.Size]) -> list[Tensor]:
    """Read one tensor and cut it into the parameters that it holds.

    Args:
        link: says which.
        names: full name: name in the checkpoint.
        stored: the tensors of the checkpoint.
        shapes: shape of each of our parameters.

    Returns:
        One tensor for each of our parameters.

    Raises:
        ValueError: the tensor has another shape, or is quantized.
    """
    shape = (sum(shape[0] for shape in shapes), *shapes[0][1:])
    name = next((name for name in link.theirs if name in names), None)
    if name is None:
        return [torch.zeros(shape)]
    tensor = stored[names[name]]()
    if tensor.dtype not in FLOATING:
        raise ValueError(f"the tensor {name} is stored as {tensor.dtype}, which is not supported")
    expected = (1, *shape) if link.row else tuple(reversed(shape)) if link.transposed else shape
    if tuple(tensor.shape) != expected:
        raise ValueError(
            f"the tensor {name} has shape {tuple(tensor.shape)}, but its config asks for {expected}"
        )
    tensor = tensor[0] if link.row else tensor.mT if link.transposed else tensor
    return list(tensor.split([shape[0] for shape in shapes]))


def fold_scale(model: nn.Module, config: Mapping[str, Any]) -> None:
    """Move GPT-2's unusual scalings of the scores into its queries, which changes no score.

    Args:
        model: a filled model.
        config: content of its config.json.
    """
    unscaled = not config.get("scale_attn_weights", True)
    by_layer = config.get("scale_attn_by_inverse_layer_idx", False)
    if config["model_type"] != "gpt2" or not (unscaled or by_layer):
        return
    for i, layer in enumerate(model.stack.layers, start=1):
        factor = (layer.attention.d_head**0.5 if unscaled else 1) / (i if by_layer else 1)
        for parameter in layer.attention.W_q.parameters():
            parameter.data *= factor


def describe(model: nn.Module) -> dict[str, Any]:
    """Write the config.json of a model.

    Args:
        model: an `Encoder`, one of its heads, a `Decoder` or an `EncoderDecoder`.

    Returns:
        Its content, but for the dtype and the tokens that have a role.

    Raises:
        ValueError: no Hugging Face family has such a model.
    """
    for name, module in model.named_modules():
        if (
            not list(module.children())
            and type(module) not in LEAVES
            and next(module.buffers(), None) is not None
        ):
            raise ValueError(
                f"{name} is a {type(module).__name__}; merge adapters and undo quantization before saving"
            )
    if type(model) is EncoderDecoder:
        if model.shared_embedding and not model.config.tied_head:
            raise ValueError("a Hugging Face marian that shares its embedding cannot have tied_head=False")
        theirs = write_config("marian", (model.encoder.config, model.decoder.config))
        shared = {"share_encoder_decoder_embeddings": model.shared_embedding, "is_encoder_decoder": True}
        return {**theirs, **shared, "architectures": ["MarianMTModel"]}
    if type(model) is Decoder:
        architecture, family = decoder_family(model)
    else:
        architecture, family = (
            next((n for n, kind in ARCHITECTURES.items() if kind is type(model)), None),
            "bert",
        )
    if architecture is None:
        raise ValueError(f"a {type(model).__name__} has no form in the format of Hugging Face")
    theirs = {**write_config(family, (model.config,)), "architectures": [architecture]}
    if isinstance(model, TextClassifier | WordClassifier):
        theirs["id2label"] = {str(i): label for i, label in enumerate(model.labels)}
        theirs["label2id"] = {label: i for i, label in enumerate(model.labels)}
    return theirs


def decoder_family(model: Decoder) -> tuple[str, str]:
    """Say which family of decoders has the choices of a model.

    Args:
        model: the decoder.

    Returns:
        The architecture and the family, the nearest if none has them all.
    """
    config = model.config
    if config.positions != "rotary":
        return "GPT2LMHeadModel", "gpt2"
    if config.qk_norm:
        return "Qwen3ForCausalLM", "qwen3"
    if config.qkv_bias and not config.out_bias:
        return "Qwen2ForCausalLM", "qwen2"
    return "LlamaForCausalLM", "llama"
