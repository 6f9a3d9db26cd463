"""Chat templates: programs in Jinja's language that come with a checkpoint, run where they can do no harm."""

import json
from collections.abc import Mapping
from datetime import datetime
from typing import Any


def render(template: str, names: Mapping[str, Any]) -> str:
    """Fill a template in, with the helpers that `transformers` gives to it.

    Args:
        template: in Jinja's language.
        names: what it may read.

    Returns:
        The text.

    Raises:
        ValueError: the template is damaged, refuses what it reads, or tries to reach out of the sandbox.
        ImportError: the package jinja2 is missing.
    """
    try:
        import jinja2
        from jinja2.sandbox import ImmutableSandboxedEnvironment
    except ImportError:
        raise ImportError("chat templates need the package jinja2: pip install jinja2") from None
    environment = ImmutableSandboxedEnvironment(
        trim_blocks=True, lstrip_blocks=True, extensions=["jinja2.ext.loopcontrols"]
    )

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

    def now(pattern: str) -> str:
        return datetime.now().strftime(pattern)

    environment.globals |= {"raise_exception": refuse, "strftime_now": now}
    environment.filters["tojson"] = to_json
    try:
        return environment.from_string(template).render(names)
    except (
        jinja2.TemplateError,
        TypeError,
        ValueError,
        LookupError,
        ArithmeticError,
        RecursionError,
    ) as error:
        raise ValueError(f"the chat template refuses this conversation: {error}") from None
