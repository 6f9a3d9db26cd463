"""The former name of `Cached`, for programs that were written for it."""

from lecture_lib.kv_cache.reader import Cached as Runner

__all__ = ["Runner"]
