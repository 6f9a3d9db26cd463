r"""Find the number that an answer in words means.

Source: Wei et al. (2022) and Kojima et al. (2022), who read the number behind "The answer is", or the first or last one of a text.
"""

import re


def extract_answer(text: str, marker: str | None = None) -> float | None:
    """Find the last number of a text, or the first one behind a marker such as "the answer is".

    A number has digits, commas between groups of three, and decimals: "1,234.50", ".5". A dot or comma that ends a sentence is no
    part of it. A minus (- or −) or plus directly before the number, or before its $, € or £, is its sign, but not behind a letter,
    a digit or a closing bracket: 5-3 holds 5 and 3. Digits behind a letter, as in H2O, are no number.

    Args:
        text: an answer of a model.
        marker: words before the number, in small or capital letters. What stands behind its last occurrence is read as if
            the text began there. None: there is no marker.

    Returns:
        The number, or None: there is none, or the marker does not occur. (0.0 is a number: test with ``is None``.)

    Example:
        >>> extract_answer("5 + 6 = 11. The answer is 11.", "the answer is")
        11.0
    """
    sign = r"(?:(?<![\w)\]])([-−+])[$€£]?)?"
    whole = r"(?:[0-9]{1,3}(?:,[0-9]{3})+(?![0-9])|[0-9]+)"
    numbers = re.compile(rf"{sign}(?<!\w)({whole}(?:\.[0-9]+)?|\.[0-9]+)")
    pieces = re.split(re.escape(marker), text, flags=re.IGNORECASE) if marker else [text]
    if marker and len(pieces) == 1:
        return None
    found = numbers.findall(pieces[-1])
    if not found:
        return None
    plus_or_minus, digits = found[0 if marker else -1]
    return (-1 if plus_or_minus in ("-", "−") else 1) * float(digits.replace(",", ""))
