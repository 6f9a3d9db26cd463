"""The command line: ``lecture check``, ``grade``, ``serve``, ``generate``, ``chat``, ``doctor``. ``lecture COMMAND --help`` says how each is used."""

import sys

import typer

from lecture_lib.command.chat import chat
from lecture_lib.command.check import check
from lecture_lib.command.doctor import doctor
from lecture_lib.command.grade import grade
from lecture_lib.command.models import generate, serve

app = typer.Typer(
    help="Tools of the course on large language models.", no_args_is_help=True, pretty_exceptions_enable=False
)
app.command()(check)
app.command()(grade)
app.command()(serve)
app.command()(generate)
app.command()(chat)
app.command()(doctor)


def main() -> None:
    """Run a command; an error is one sentence and exit code 1."""
    try:
        app()
    except (ValueError, OSError, RuntimeError, KeyError, ImportError) as error:
        words = error.args[0] if isinstance(error, KeyError) and error.args else error
        print(f"lecture: {words}", file=sys.stderr)
        sys.exit(1)
