"""WordPiece: the tokenizer of BERT (Schuster & Nakajima, 2012; Devlin et al., 2019).

A word is cut greedily: the longest piece of the vocabulary that begins it, then the longest that continues it
(pieces inside a word are written `##piece`). The clean-up before that (white space, accents, case, Chinese
characters, punctuation) is not the subject of the course; the `tokenizers` library does it.
"""

import json
import os
from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from typing import Any, ClassVar, Self

from lecture_lib.files import read_text
from lecture_lib.tokenization.added_tokens import check_special_tokens, check_vocab_size
from lecture_lib.tokenization.base import Tokenizer
from lecture_lib.tokenization.byte_level import WHITE_SPACE, check_text
from lecture_lib.tokenization.chunks import EMPTY_CORPUS, as_texts
from lecture_lib.tokenization.descriptions import describe_word_piece
from lecture_lib.tokenization.fast_training import learn_merges_incrementally
from lecture_lib.tokenization.files import tokenizer_file
from lecture_lib.tokenization.pipeline import Normalizer

BERT_TOKENS = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")


def longest_match(
    word: str, vocabulary: Collection[str], prefix: str = "##", unknown: str = "[UNK]"
) -> list[str]:
    """Cut a word into pieces, each the longest that fits where the last one ended.

    Args:
        word: a word without white space.
        vocabulary: the pieces; those inside a word begin with `prefix`.
        prefix: mark of a piece that continues a word.
        unknown: what the whole word becomes when some part of it has no piece.

    Returns:
        The pieces in order.

    Example:
        >>> longest_match("unaffable", {"un", "una", "##aff", "##able", "##ffable"})
        ['una', '##ffable']
        >>> longest_match("unhappy", {"un", "##able"})
        ['[UNK]']

    Source: Devlin et al. (2019); the algorithm of its published tokenizer.
    """
    pieces: list[str] = []
    start = 0
    while start < len(word):
        mark = prefix if start else ""
        ends = range(len(word), start, -1)
        end = next((end for end in ends if mark + word[start:end] in vocabulary), None)
        if end is None:
            return [unknown]
        pieces.append(mark + word[start:end])
        start = end
    return pieces


class WordPieceTokenizer(Tokenizer):
    """WordPiece: `train`, `encode`, `decode`, `save`, `load`.

    Example:
        >>> tokenizer = WordPieceTokenizer.train(["low lower lowest"], vocab_size=30)
        >>> [tokenizer.id_to_token(i) for i in tokenizer.encode("Slow!", add_special_tokens=False)]
        ['[UNK]', '[UNK]']

    Source: Schuster & Nakajima (2012); Devlin et al. (2019), section 3.
    """

    kind: ClassVar[str] = "WordPiece"

    def __init__(self, description: dict[str, Any]) -> None:
        super().__init__(description)
        self.unknown = self.model.get("unk_token", "[UNK]")
        self.prefix = self.model.get("continuing_subword_prefix", "##")
        self.longest_word = self.model.get("max_input_chars_per_word", 100)
        if self.unknown not in self.model["vocab"]:
            raise ValueError(f"the vocabulary lacks the token for unknown words, {self.unknown!r}")
        self._pieces = self.model["vocab"].keys() - self.special_tokens.keys()

    @classmethod
    def load(cls, path: str | os.PathLike[str], lowercase: bool = True) -> Self:
        """Read a tokenizer.json, or the vocab.txt of BERT (one token a line).

        Args:
            path: the file; the ending `.txt` says that it is a vocab.txt.
            lowercase: for a vocab.txt, whether the model is uncased; a tokenizer.json says so itself.

        Raises:
            FileNotFoundError, ValueError: as `Tokenizer.load`.
        """
        if not os.fspath(path).endswith(".txt"):
            return super().load(path)
        text = read_text(tokenizer_file(path)).removesuffix("\n")
        lines = [line.rstrip(WHITE_SPACE) for line in text.split("\n")]
        try:
            return cls(
                describe_word_piece({token: i for i, token in enumerate(lines)}, BERT_TOKENS, lowercase)
            )
        except ValueError as error:
            raise ValueError(f"{path}: {error}") from None

    @classmethod
    def train(
        cls,
        texts: Iterable[str],
        vocab_size: int,
        special_tokens: Sequence[str] = BERT_TOKENS,
        min_frequency: int = 0,
        lowercase: bool = True,
        progress: bool = False,
    ) -> Self:
        """Learn pieces as `tokenizers` does: byte-pair merges over characters, `##` before those inside a word.

        The result is the vocabulary of its `WordPieceTrainer` but for ties: there, of equally frequent pairs
        the one with the lowest ids goes first too, but the ids of the pieces `##a` follow the random order of
        a hash table, so that two runs on the same text differ. Here they are sorted.

        Arguments and errors (ValueError) are those of `BytePairTokenizer.train`; [UNK] must be one of the special
        tokens, and `lowercase` makes the tokenizer uncased and strips accents.
        """
        special_tokens = check_special_tokens(special_tokens)
        untrained = cls(
            describe_word_piece(
                {token: i for i, token in enumerate(special_tokens)}, special_tokens, lowercase
            )
        )
        counts: Counter[str] = Counter()
        for text in as_texts(texts):
            counts.update(untrained.split_words(untrained._normalize(check_text(text))))
        if not counts:
            raise ValueError(EMPTY_CORPUS)
        spelled = {word: [word[0], *("##" + c for c in word[1:])] for word in counts}
        characters = sorted({c for word in counts for c in word})
        inside = sorted({piece for pieces in spelled.values() for piece in pieces[1:]})
        tokens = list(dict.fromkeys([*special_tokens, *characters, *inside]))
        vocab_size = check_vocab_size(
            vocab_size, len(tokens), "the characters of the corpus and the special tokens"
        )
        ids = {token: chr(i) for i, token in enumerate(tokens)}
        words = {"".join(map(ids.__getitem__, spelled[word])): n for word, n in counts.items()}
        learn_merges_incrementally(
            words,
            tokens,
            vocab_size,
            min_frequency,
            lambda left, right: left + right.removeprefix("##"),
            progress,
        )
        return cls(
            describe_word_piece({token: i for i, token in enumerate(tokens)}, special_tokens, lowercase)
        )

    def split_words(self, text: str) -> list[str]:
        """Cut normalized text into words, punctuation marks apart."""
        pre_tokenizer = self._library.pre_tokenizer
        return [word for word, _ in pre_tokenizer.pre_tokenize_str(text)] if pre_tokenizer else [text]

    def decode(self, ids: Iterable[int], skip_special_tokens: bool = False) -> str:
        """As `TextTokenizer.decode`, as far as the clean-up has left the text."""
        tokens = self._tokens_of(ids, skip_special_tokens)
        decoder = self._library.decoder
        return decoder.decode(tokens) if decoder else " ".join(tokens)

    def _build_normalizer(self) -> Normalizer:
        import tokenizers  # not needed to cut a word, and slow to import

        try:
            self._library = tokenizers.Tokenizer.from_str(json.dumps(self.description))
        except Exception as error:  # the library raises nothing narrower
            raise ValueError(f"the tokenizers library cannot read it: {error}") from None
        return self._normalize

    def _normalize(self, text: str) -> str:
        normalizer = self._library.normalizer
        return normalizer.normalize_str(text) if normalizer else text

    def _encode_word(self, word: str) -> list[int]:
        too_long = len(word) > self.longest_word
        pieces = [self.unknown] if too_long else longest_match(word, self._pieces, self.prefix, self.unknown)
        return [self.model["vocab"][piece] for piece in pieces]
