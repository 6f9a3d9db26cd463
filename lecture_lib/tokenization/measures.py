"""Numbers that compare tokenizers on a text."""

from lecture_lib.tokenization.base import Tokenizer


def fertility(tokenizer: Tokenizer, text: str) -> float:
    """Tokens per word: tokens of the text / words between white space.

    Args:
        tokenizer: any tokenizer.
        text: a text with at least one word.

    Returns:
        Tokens per word; 1 if every word is one token.

    Raises:
        ValueError: the text holds no word.

    Example:
        >>> from lecture_lib.tokenization import BytePairTokenizer
        >>> tokenizer = BytePairTokenizer.train(["low low"], vocab_size=259)
        >>> fertility(tokenizer, "low slow")  # low, Ġ, s, low
        2.0

    Source: Rust et al. (2021), section 3.2.
    """
    words = text.split()
    if not words:
        raise ValueError("fertility needs a text with at least one word")
    return len(tokenizer.encode(text, add_special_tokens=False)) / len(words)


def bytes_per_token(tokenizer: Tokenizer, text: str) -> float:
    """Compression: UTF-8 bytes of the text / tokens of the text.

    Args:
        tokenizer: any tokenizer.
        text: a text that is not empty.

    Returns:
        Bytes per token; 1 before any merge of a byte-level tokenizer.

    Raises:
        ValueError: the text gives no token.
    """
    ids = tokenizer.encode(text, add_special_tokens=False)
    if not ids:
        raise ValueError("bytes_per_token needs a text that gives at least one token")
    return len(text.encode()) / len(ids)
