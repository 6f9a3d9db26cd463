"""``lecture chat``: a conversation in the terminal, with a model that runs here or behind an address."""

import sys
from collections.abc import Iterator
from contextlib import closing
from typing import TYPE_CHECKING

import typer

if TYPE_CHECKING:
    from lecture_lib.chat import ChatModel
    from lecture_lib.sampling import SamplingParameters

MODEL = typer.Argument(
    help="A name of the zoo (python -m lecture_lib.zoo list), a folder, owner/model of the Hugging Face Hub, "
    "or the address of a server, such as http://127.0.0.1:8000/v1."
)


def chat(
    model: str = MODEL,
    name: str = typer.Option("", help="Which model of a server; not needed if it has one."),
    system: str = typer.Option("", help="What the model is told first."),
    temperature: float = typer.Option(1.0, min=0.0, help="0: always the likeliest token."),
    top_p: float = typer.Option(1.0, min=0.0, max=1.0, help="Draw from the likeliest tokens of this share."),
    tokens: int = typer.Option(0, min=0, help="Tokens of an answer at most; 0: to the end of the context."),
    seed: int = typer.Option(-1, min=-1, help="For the same answers again; -1: others each time."),
    key_variable: str = typer.Option("", help="Name of the environment variable with the server's key."),
) -> None:
    """Talk with a model: a line is a question, the answer is printed as it comes.

    Ctrl-C stops an answer, Ctrl-D ends. Nothing is kept. With a pipe each line is a question, and only answers are printed.
    """
    from lecture_lib.chat import open_model
    from lecture_lib.sampling import SamplingParameters

    sampling = SamplingParameters(temperature=temperature, top_p=top_p if top_p < 1 else None)
    spoken = open_model(model, name or None, key_variable=key_variable or None)
    if spoken.note:
        print(spoken.note, file=sys.stderr)
    turns = [{"role": "system", "content": system}] if system else []
    limits = {"max_new_tokens": tokens or None, "seed": None if seed < 0 else seed}
    for question in questions():
        answer = say(spoken, [*turns, {"role": "user", "content": question}], sampling, limits)
        if answer is not None:
            turns += [{"role": "user", "content": question}, {"role": "assistant", "content": answer}]


def questions() -> Iterator[str]:
    """Lines that hold something, from a person or a pipe."""
    typed = sys.stdin.isatty()
    while True:
        try:
            line = input("> " if typed else "").strip()
        except EOFError:
            break
        except KeyboardInterrupt:
            if not typed:
                raise
            print("\n(Ctrl-D ends)", file=sys.stderr)
            continue
        if line:
            yield line
    if typed:
        print()


def say(
    model: "ChatModel", turns: list[dict[str, str]], sampling: "SamplingParameters", limits: dict
) -> str | None:
    """Print an answer as it comes; what was said of it, or None if there is none and a person may ask again."""
    from lecture_lib.chat import ChatError

    said, typed = "", sys.stdin.isatty()
    try:
        with closing(model.stream(turns, sampling, **limits)) as pieces:
            for piece in pieces:
                if isinstance(piece, str):
                    piece = piece if said else piece.lstrip()
                    said += piece
                    print(piece, end="", flush=True)
                elif typed:
                    count = f"{piece.tokens_in} tokens in, {piece.tokens_out} out"
                    print(
                        f"\n({count if piece.tokens_in else 'tokens not counted'})",
                        end="",
                        file=sys.stderr,
                        flush=True,
                    )
    except KeyboardInterrupt:
        print(" (stopped)", end="", file=sys.stderr)
    except ChatError as error:
        if not typed:
            raise
        print(f"{error}", file=sys.stderr)
        return None
    print()
    return said.strip()
