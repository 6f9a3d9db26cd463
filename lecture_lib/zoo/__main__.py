"""`python -m lecture_lib.zoo`: list the models, train one anew, hold one to its card."""

import argparse
import sys
from pathlib import Path

from lecture_lib.zoo.make import describe_again, make, measure, outside
from lecture_lib.zoo.recipe import all_recipes
from lecture_lib.zoo.store import CARD, MODELS, card, folder, names


def arguments() -> argparse.ArgumentParser:
    """Say what can be asked for."""
    parser = argparse.ArgumentParser("python -m lecture_lib.zoo", description=__doc__)
    commands = parser.add_subparsers(dest="command")
    commands.add_parser("list", help="the models and what they are (this is what happens without a command)")
    training = commands.add_parser("train", help="train a model anew, with a progress bar")
    training.add_argument("name", help="one of the list, or all")
    training.add_argument(
        "--seeds", type=int, nargs="+", help="the first one is kept (default: those of the card)"
    )
    training.add_argument("--out", type=Path, default=Path("zoo"), help="folder to write to (default: zoo)")
    training.add_argument("--resume", action="store_true", help="go on with a training that was interrupted")
    evaluation = commands.add_parser("evaluate", help="measure a model that is here and hold it to its card")
    evaluation.add_argument("name", help="one of the list, or all")
    cards = commands.add_parser(
        "cards", help="write the cards anew after a change of the recipes' words or bands"
    )
    cards.add_argument(
        "--out", type=Path, default=MODELS, help="folder with the models (default: those here)"
    )
    return parser


def main(given: list[str] | None = None) -> int:
    """Run a command; the exit status is 1 if it failed."""
    asked = arguments().parse_args(given)
    try:
        if asked.command == "train":
            return train_all(asked)
        if asked.command == "evaluate":
            return evaluate_all(asked.name)
        if asked.command == "cards":
            for name in {path.parent.name for path in asked.out.glob(f"*/{CARD}")} & set(all_recipes()):
                describe_again(all_recipes()[name], asked.out)
            return 0
        for name in names():
            print(f"{name:18} {card(name)['summary']}")
    except KeyboardInterrupt as stop:
        print(f"{stop or 'stopped'}; the same command with --resume goes on", file=sys.stderr)
        return 1
    except (ValueError, OSError) as error:
        print(error, file=sys.stderr)
        return 1
    return 0


def chosen(name: str) -> list[str]:
    """Give the recipes that a name stands for."""
    if name != "all" and name not in all_recipes():
        raise ValueError(f"there is no recipe {name!r}; there are {', '.join(all_recipes())}")
    return list(all_recipes()) if name == "all" else [name]


def train_all(asked: argparse.Namespace) -> int:
    """Train what was asked for; what is finished already is left alone when resuming."""
    failed = []
    for name in chosen(asked.name):
        recipe = all_recipes()[name]
        if (
            asked.resume
            and (asked.out / name / "card.json").is_file()
            and not list(asked.out.glob(f"{name}-*.part"))
        ):
            print(f"{name} is there already")
            continue
        content = make(recipe, asked.out, asked.seeds, asked.resume)
        print(f"{name}: {content['metrics']} -> {asked.out / name}")
        failed += outside(recipe, content["metrics"])
    print(*failed, sep="\n", end="\n" if failed else "", file=sys.stderr)
    return 1 if failed else 0


def evaluate_all(name: str) -> int:
    """Measure what was asked for."""
    failed = []
    for each in names() if name == "all" else [name]:
        where, recipe = folder(each), all_recipes()[each]
        metrics = measure(recipe, where)
        print(f"{each}: {metrics}")
        failed += outside(recipe, metrics)
    print(*failed, sep="\n", end="\n" if failed else "", file=sys.stderr)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
