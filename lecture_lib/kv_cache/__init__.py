"""Cached inference: keys and values that stay (`cache`), a model that uses them (`reader`), faster steps.

`graph` records a step, `layout` puts weights into the order that suits a machine. `generate` and `stream` are
those of `lecture_lib.generation`, with each token computed once.
"""

import functools
from collections.abc import Callable
from typing import Any

from lecture_lib import generation
from lecture_lib.kv_cache.cache import KVCache
from lecture_lib.kv_cache.layout import lay_out_for_decoding
from lecture_lib.kv_cache.reader import Cached


def cached(function: Callable[..., Any]) -> Callable[..., Any]:
    """The same function for a model that remembers what it has read."""

    @functools.wraps(function)
    def call(model: Any, *arguments: Any, chunk_size: int | None = None, **named: Any) -> Any:
        reader = model if isinstance(model, Cached) else Cached(model, chunk_size=chunk_size)
        return function(reader, *arguments, **named)

    return call


generate = cached(generation.generate)
stream = cached(generation.stream)

__all__ = ["Cached", "KVCache", "generate", "lay_out_for_decoding", "stream"]
