r"""Find the number that an answer in words means.

Source: Wei et al. (2022) and Kojima et al. (2022), who read the number behind "The answer is" or the last one.
"""

import re

NUMBER = re.compile(
    r"""(?:(?<![\w)\]])(?P<sign>[-−+])[$€£]?)?   # a sign is one only if no number or bracket ends before it: 5-3
        (?<!\w)                                  # no number inside a word: H2O
        (?P<digits>
            (?: [0-9]{1,3}(?:,[0-9]{3})+(?![0-9])   # 1,234,567
              | [0-9]+ )
            (?:\.[0-9]+)?
          | \.[0-9]+ )
    """,
    re.VERBOSE,
)


def extract_answer(text: str, marker: str | None = None) -> float | None:
    """Find the last number of a text, or the first one behind a marker such as "the answer is".

    A number may have a sign, commas between groups of three digits, and decimals: "-1,234.50". A dot or comma that ends a
    sentence is no part of it, a minus between two numbers is no sign, and digits inside a word are no number. Exponents and
    numbers in words are not read.

    Args:
        text: an answer of a model.
        marker: words before the number, in small or capital letters; where they occur several times, the last time counts.

    Returns:
        The number, or None: there is none, or the marker does not occur. (0.0 is a number: test with ``is None``.)

    Raises:
        ValueError: the marker is empty.

    Example:
        >>> extract_answer("5 + 6 = 11. The answer is 11.", "the answer is")
        11.0
    """
    if marker is None:
        found = list(NUMBER.finditer(text))[-1:]
    elif not marker:
        raise ValueError("the marker must have a character at least; without one give None")
    else:
        places = list(re.finditer(re.escape(marker), text, re.IGNORECASE))
        first = NUMBER.search(text, places[-1].end()) if places else None
        found = [first] if first else []
    return as_number(found[0]) if found else None


def as_number(found: re.Match) -> float:
    """Give the value of a number that `NUMBER` has found."""
    value = float(found["digits"].replace(",", ""))
    return -value if found["sign"] in ("-", "−") else value
