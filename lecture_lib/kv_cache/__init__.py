"""Cached inference: keys and values that stay (`cache`), a model that uses them (`reader`), faster steps.

`graph` records a step, `layout` puts weights into the order that suits a machine. `generate` and `stream` are
those of `lecture_lib.generation`, with each token computed once.
"""

from lecture_lib.kv_cache.cache import KVCache
from lecture_lib.kv_cache.layout import lay_out_for_decoding
from lecture_lib.kv_cache.reader import Cached, generate, stream

__all__ = ["Cached", "KVCache", "generate", "lay_out_for_decoding", "stream"]
