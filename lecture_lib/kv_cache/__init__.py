"""Cached inference: keys and values that stay (`cache`), a model that uses them (`runner`), the `loop`.

`step` is one decoding step without the calls between its products (its pieces are in `flat`, what it needs
of a model in `parts`), `layout` the order of the weights that suits it.
"""

from lecture_lib.kv_cache.cache import KVCache
from lecture_lib.kv_cache.layout import lay_out_for_decoding
from lecture_lib.kv_cache.loop import generate, stream
from lecture_lib.kv_cache.runner import Runner

__all__ = ["KVCache", "Runner", "generate", "lay_out_for_decoding", "stream"]
