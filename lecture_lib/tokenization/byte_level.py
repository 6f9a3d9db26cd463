"""Bytes as an alphabet that can be written down, and the cut of a text into words (Radford et al., 2019).

Every text is bytes (UTF-8), so 256 tokens suffice for all languages and nothing is ever unknown. A vocabulary
file holds text, though, and not every byte is a visible character; GPT-2 therefore gives each byte one.
No axes: strings and lists.
"""

from collections.abc import Iterable, Sequence

PRINTABLE = [*range(ord("!"), ord("~") + 1), *range(ord("¡"), ord("¬") + 1), *range(ord("®"), ord("ÿ") + 1)]

# A word carries the space before it; letters, digits and the rest never share a word; English contractions apart.
GPT2_PATTERN = r"'(?:[sdmt]|ll|ve|re)| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"
# GPT-4's and Llama 3's: any one character may begin a word, contractions in either case, at most three digits, line
# breaks end what they follow; Qwen's: every digit by itself.
LLAMA3_PATTERN = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*"
    r"|\s*[\r\n]+|\s+(?!\S)|\s+"
)
QWEN_PATTERN = LLAMA3_PATTERN.replace("{1,3}", "")
PATTERNS = {"gpt2": GPT2_PATTERN, "gpt4": LLAMA3_PATTERN, "llama3": LLAMA3_PATTERN, "qwen": QWEN_PATTERN}

# Unicode's White_Space, as the tokenizer files mean it; str.strip() would take U+001C to U+001F as well.
WHITE_SPACE = "\t\n\v\f\r \x85\xa0\u1680\u2028\u2029\u202f\u205f\u3000" + "".join(
    map(chr, range(0x2000, 0x200B))
)


def byte_alphabet() -> dict[int, str]:
    """Give every byte one visible character: itself where it is printable Latin-1, else `chr(256 + k)`.

    Returns:
        The character of each byte, in the order of GPT-2's ids: `!` is 0, the space (written `Ġ`) 220.

    Example:
        >>> byte_alphabet()[ord("a")], byte_alphabet()[ord(" ")]
        ('a', 'Ġ')
    """
    others = [byte for byte in range(256) if byte not in PRINTABLE]
    return {byte: chr(byte) for byte in PRINTABLE} | {byte: chr(256 + k) for k, byte in enumerate(others)}


BYTE_TO_CHARACTER = byte_alphabet()
CHARACTER_TO_BYTE = {character: byte for byte, character in BYTE_TO_CHARACTER.items()}
BYTE_ORDER = list(BYTE_TO_CHARACTER)  # BYTE_ORDER[k] is the byte of the k-th token of the alphabet


def spell(data: bytes) -> str:
    """Write bytes in the visible alphabet, one character a byte.

    Example:
        >>> spell(" café".encode())
        'ĠcafÃ©'
    """
    return "".join(map(BYTE_TO_CHARACTER.__getitem__, data))


def unspell(token: str) -> bytes:
    """Read bytes back from the visible alphabet; a token with any other character stands for its own UTF-8.

    Example:
        >>> unspell("ĠcafÃ©").decode()
        ' café'
    """
    try:
        return bytes(map(CHARACTER_TO_BYTE.__getitem__, token))
    except KeyError:
        return token.encode()


def check_text(text: str, wanted: str = "a text must be a str") -> str:
    """Give back a text; ValueError for what is no string, or holds half of a surrogate pair."""
    if not isinstance(text, str):
        raise ValueError(f"{wanted}, not {type(text).__name__}: {text!r:.60}")
    if not text.isascii():
        to_bytes(text, "strict")
    return text


def to_text(data: str | bytes) -> str:
    """Take text as it is and bytes as UTF-8, each invalid byte kept as a surrogate (PEP 383) that `to_bytes` reads."""
    if isinstance(data, bytes):
        return data.decode("utf-8", "surrogateescape")
    return check_text(data, "a text must be a str (or bytes)")


def to_bytes(text: str, errors: str = "surrogateescape") -> bytes:
    """Give the UTF-8 bytes of a text, surrogates of `to_text` turned back unless `errors` is "strict"."""
    try:
        return text.encode("utf-8", errors)
    except UnicodeEncodeError as error:
        code = ord(text[error.start])
        raise ValueError(f"the text holds the lone surrogate U+{code:04X}, which is no character") from None


def decode_tokens(ids: Iterable[int], tokens: Sequence[bytes]) -> str:
    r"""Join the bytes of the tokens and read them as UTF-8; U+FFFD for what is none.

    A character can be spread over several tokens: only the whole is text. Of broken bytes each longest
    run that could begin a character becomes one U+FFFD, as with Python's errors="replace".

    Args:
        ids: (N,) token ids, in a list or a tuple.
        tokens: the bytes of each token of the vocabulary, in the order of the ids.

    Returns:
        The text.

    Raises:
        ValueError: an id is negative or beyond the vocabulary.

    Example:
        >>> decode_tokens([0, 2, 1], [b"caf", b"\xa9", b"\xc3", b" "])
        'café'
        >>> decode_tokens([0, 2], [b"caf", b"\xa9", b"\xc3", b" "])
        'caf\ufffd'
    """
    ids = list(ids)
    if outside := [i for i in ids if not 0 <= i < len(tokens)]:
        raise ValueError(f"token id {outside[0]} is outside the vocabulary of {len(tokens)} tokens")
    return b"".join(tokens[i] for i in ids).decode("utf-8", errors="replace")
