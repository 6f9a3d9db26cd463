"""``lecture serve`` and ``lecture generate``: a model of the course's zoo, or any that `load_pretrained` reads."""

import typer

MODEL = typer.Argument(
    help="A name of the zoo (python -m lecture_lib.zoo list), a folder, or owner/model of the Hugging Face Hub."
)


def serve(
    model: str = MODEL,
    port: int = typer.Option(8000, min=1, max=65535),
    host: str = typer.Option("127.0.0.1", help="127.0.0.1 is this machine alone; there is no password."),
    blocks: int = typer.Option(1024, min=1, help="Blocks of the cache, 16 tokens each."),
    running: int = typer.Option(32, min=1, help="Texts computed at once."),
) -> None:
    """Serve a model with OpenAI's API: completions, chat, streaming, JSON schemas, /metrics."""
    from lecture_lib.chat import load_decoder
    from lecture_lib.serving import Engine
    from lecture_lib.serving.server import serve as listen

    decoder, tokenizer, name = load_decoder(model)
    print(f"{name} on http://{host}:{port}/v1 (Ctrl-C ends it)", flush=True)
    listen(Engine(decoder, n_blocks=blocks, max_running=running), tokenizer, name, host, port)


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
