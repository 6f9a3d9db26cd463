"""``python -m lecture_lib.serving MODEL``: serve a model on this machine, for any client that speaks OpenAI's API."""

import argparse
import sys
from pathlib import Path


def main() -> None:
    """Load, say where it listens, serve."""
    words = argparse.ArgumentParser(prog="python -m lecture_lib.serving", description=__doc__)
    words.add_argument(
        "model", help="a folder in Hugging Face's format, or the name of a model of the course's zoo"
    )
    words.add_argument("--port", type=int, default=8000)
    words.add_argument("--host", default="127.0.0.1", help="127.0.0.1: this machine alone")
    words.add_argument("--blocks", type=int, default=1024, help="blocks of the cache, 16 tokens each")
    words.add_argument("--name", default="", help="what clients call it")
    given = words.parse_args()
    try:
        from lecture_lib.pretrained import load_pretrained
        from lecture_lib.serving.engine import Engine
        from lecture_lib.serving.server import serve

        folder = Path(given.model)
        if not folder.is_dir():
            raise ValueError(f"there is no folder {given.model}; `lecture serve` also takes names of the zoo")
        model, tokenizer = load_pretrained(folder)
        name = given.name or folder.name
        print(f"{name} on http://{given.host}:{given.port}/v1 (Ctrl-C ends it)", flush=True)
        serve(Engine(model.eval(), n_blocks=given.blocks), tokenizer, name, given.host, given.port)
    except (ValueError, OSError, ImportError) as error:
        sys.exit(f"lecture serving: {error}")


if __name__ == "__main__":
    main()
