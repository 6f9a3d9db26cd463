"""Tokenization: text to token ids and back (chapter 1).

`merges` holds byte-pair encoding as it is taught (`pair_counts`, `merge`, `learn_merges`, `encode_word`),
`word_piece` the longest match of BERT; the two classes read and write the tokenizer.json of the `tokenizers`
library and give its ids. A text is a `str`, ids are a list of `int`; torch is not needed.
"""

from lecture_lib.tokenization.added_tokens import AddedToken
from lecture_lib.tokenization.base import Tokenizer
from lecture_lib.tokenization.byte_level import (
    GPT2_PATTERN,
    LLAMA3_PATTERN,
    QWEN_PATTERN,
    byte_alphabet,
    decode_tokens,
    spell,
    unspell,
)
from lecture_lib.tokenization.byte_pair import BytePairTokenizer
from lecture_lib.tokenization.fast_encoding import encode_long_word
from lecture_lib.tokenization.fast_training import learn_merges_incrementally
from lecture_lib.tokenization.measures import bytes_per_token, fertility
from lecture_lib.tokenization.merges import encode_word, learn_merges, merge, pair_counts
from lecture_lib.tokenization.protocol import TextTokenizer
from lecture_lib.tokenization.unigram import best_cut
from lecture_lib.tokenization.word_piece import WordPieceTokenizer, longest_match

__all__ = [
    "GPT2_PATTERN",
    "LLAMA3_PATTERN",
    "QWEN_PATTERN",
    "AddedToken",
    "BytePairTokenizer",
    "TextTokenizer",
    "Tokenizer",
    "WordPieceTokenizer",
    "best_cut",
    "byte_alphabet",
    "bytes_per_token",
    "decode_tokens",
    "encode_long_word",
    "encode_word",
    "fertility",
    "learn_merges",
    "learn_merges_incrementally",
    "longest_match",
    "merge",
    "pair_counts",
    "spell",
    "unspell",
]
