"""Chat templates: programs in Jinja's language that come with a checkpoint, run where they can do no harm."""

import json
from collections.abc import Mapping
from datetime import datetime
from functools import cache
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from jinja2.sandbox import ImmutableSandboxedEnvironment

REFUSED = (TypeError, ValueError, LookupError, ArithmeticError, RecursionError)


def render(template: str, names: Mapping[str, Any]) -> str:
    """Fill a chat template in, with the helpers of `transformers`; a damaged one, or one that refuses, is refused."""
    try:
        import jinja2
    except ImportError:
        raise ImportError("chat templates need the package jinja2: pip install jinja2") from None
    try:
        return environment().from_string(template).render(names)
    except (jinja2.TemplateError, *REFUSED) as error:
        raise ValueError(f"the chat template refuses this conversation: {error}") from None


@cache
def environment() -> "ImmutableSandboxedEnvironment":
    """The sandbox, with the tags, functions and filters that templates may use."""
    import jinja2
    from jinja2.ext import Extension
    from jinja2.sandbox import ImmutableSandboxedEnvironment

    class Generation(Extension):
        """{% generation %} ... {% endgeneration %} marks what the assistant said; the text is what stands inside."""

        tags = {"generation"}  # noqa: RUF012

        def parse(self, parser: Any) -> Any:
            line = next(parser.stream).lineno
            body = parser.parse_statements(("name:endgeneration",), drop_needle=True)
            return jinja2.nodes.Scope(body).set_lineno(line)

    def refuse(reason: str) -> None:
        raise jinja2.TemplateError(reason)

    def to_json(
        value: Any,
        ensure_ascii: bool = False,
        indent: int | None = None,
        separators: tuple[str, str] | None = None,
        sort_keys: bool = False,
    ) -> str:
        return json.dumps(
            value, ensure_ascii=ensure_ascii, indent=indent, separators=separators, sort_keys=sort_keys
        )

    box = ImmutableSandboxedEnvironment(
        trim_blocks=True, lstrip_blocks=True, extensions=["jinja2.ext.loopcontrols", Generation]
    )
    box.globals |= {"raise_exception": refuse, "strftime_now": lambda form: datetime.now().strftime(form)}
    box.filters["tojson"] = to_json
    return box
