"""``lecture serve`` and ``lecture generate``: a model of the course's zoo, or any that `load_pretrained` reads."""

from pathlib import Path
from typing import Any

import typer

MODEL = typer.Argument(
    help="A name of the zoo (python -m lecture_lib.zoo list), a folder, or owner/model of the Hugging Face Hub."
)


BITS = typer.Option(
    16,
    help="Bits a weight: 8, or 4 (in groups of 32); 16 leaves the model as it is. Fewer are faster and less exact.",
)


def quantized(decoder: Any, bits: int) -> Any:
    """The model with weights of so many bits, where it may be in the form that torch has kernels for.

    That is a scale a row for 8 bits, a scale for 32 weights for 4, and products in bfloat16, in which tokens that are almost
    equally likely may change places with the batch; where 32 does not divide the widths of a small model the groups are smaller.
    """
    from lecture_lib.lora.shapes import is_linear
    from lecture_lib.quantization import quantize_model

    if bits == 16:
        return decoder
    if bits not in (4, 8):
        raise ValueError(f"--bits takes 4, 8 or 16, got {bits}")
    import torch

    widths = [module.in_features for module in decoder.modules() if is_linear(module)]
    group = next(n for n in (32, 16, 8, 4, 2, 1) if not any(w % n for w in widths)) if bits == 4 else None
    return quantize_model(decoder, bits, group, compute_dtype=torch.bfloat16, progress=False)


def folders(adapters: list[str]) -> dict[str, str]:
    """Adapters by name, from name=folder."""
    pairs = [each.partition("=") for each in adapters]
    for whole, (name, equals, folder) in zip(adapters, pairs, strict=True):
        if not (name and equals and Path(folder).is_dir()):
            raise ValueError(f"--adapter takes name=folder, and the folder must be there; got {whole!r}")
    if len({name for name, _, _ in pairs}) < len(pairs):
        raise ValueError("two adapters have the same name")
    return {name: folder for name, _, folder in pairs}


def serve(
    model: str = MODEL,
    port: int = typer.Option(8000, min=1, max=65535),
    host: str = typer.Option("127.0.0.1", help="127.0.0.1 is this machine alone; there is no password."),
    blocks: int = typer.Option(1024, min=1, help="Blocks of the cache, 16 tokens each."),
    running: int = typer.Option(32, min=1, help="Texts computed at once."),
    adapter: list[str] = typer.Option(
        [], help="name=folder of a LoRA adapter, served as a model of that name; may be given several times."
    ),
    bits: int = BITS,
    lookup: bool = typer.Option(False, help="Guess how a text goes on from what it said before."),
    draft: str = typer.Option("", help="A smaller model with the same vocabulary that guesses instead."),
) -> None:
    """Serve a model with OpenAI's API: completions, chat, streaming, JSON schemas, /metrics."""
    from lecture_lib.chat import load_decoder
    from lecture_lib.serving import Engine
    from lecture_lib.serving.server import serve as listen

    decoder, tokenizer, name = load_decoder(model)
    engine = Engine(
        quantized(decoder, bits),
        n_blocks=blocks,
        max_running=running,
        adapters=folders(adapter),
        draft=load_decoder(draft)[0] if draft else None,
    )
    names = ", ".join([name, *engine.adapter_names])
    print(f"{names} on http://{host}:{port}/v1 (Ctrl-C ends it)", flush=True)
    listen(engine, tokenizer, name, host, port, "draft" if draft else "lookup" if lookup else None)


def generate(
    model: str = MODEL,
    prompt: str = typer.Argument(help="The text to continue."),
    tokens: int = typer.Option(60, min=1, help="Number of new tokens at most."),
    temperature: float = typer.Option(1.0, min=0.0, help="0: always the likeliest token."),
    top_p: float = typer.Option(1.0, min=0.0, max=1.0, help="Draw from the likeliest tokens of this share."),
    seed: int = typer.Option(0, min=0),
) -> None:
    """Continue a text, token by token as it comes."""
    import torch

    from lecture_lib.chat import load_decoder
    from lecture_lib.generation import decode_stream
    from lecture_lib.kv_cache import stream
    from lecture_lib.sampling import SamplingParameters

    decoder, tokenizer, _ = load_decoder(model)
    ids = tokenizer.encode(prompt)
    knobs = SamplingParameters(temperature=temperature, **({"top_p": top_p} if top_p < 1 else {}))
    given = stream(
        decoder,
        ids,
        tokens,
        knobs,
        torch.Generator().manual_seed(seed),
        stop=getattr(tokenizer, "eos_ids", ()),
    )
    print(prompt, end="", flush=True)
    for piece in decode_stream(given, tokenizer.decode, ids):
        print(piece, end="", flush=True)
    print()
