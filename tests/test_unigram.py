"""The likeliest cut of Unigram, held against all cuts and against the tokenizers library."""

import math
from itertools import combinations

import pytest
import tokenizers
from hypothesis import given, settings
from hypothesis import strategies as st

from lecture_lib.tokenization import best_cut


def by_enumeration(text, log_probs):
    """The largest ln p over all cuts, -inf if there is none."""
    inner = range(1, len(text))
    cuts = (at for k in range(len(text)) for at in combinations(inner, k))
    pieces = ([text[a:b] for a, b in zip((0, *at), (*at, len(text)), strict=True)] for at in cuts)
    return max((sum(log_probs.get(piece, -math.inf) for piece in each) for each in pieces), default=-math.inf)


def test_the_page():
    probs = {"low": 0.10, "er": 0.08, "lowe": 0.02, "r": 0.05}
    assert best_cut("lower", {piece: math.log(p) for piece, p in probs.items()}) == ["low", "er"]


@settings(max_examples=200)
@given(
    st.text("ab", min_size=1, max_size=9),
    st.dictionaries(st.text("ab", min_size=1, max_size=4), st.floats(-9, -0.1), max_size=8),
)
def test_no_cut_is_likelier(text, log_probs):
    likeliest = by_enumeration(text, log_probs)
    if likeliest == -math.inf:
        with pytest.raises(ValueError, match="cannot be cut"):
            best_cut(text, log_probs)
    else:
        pieces = best_cut(text, log_probs)
        assert "".join(pieces) == text
        assert sum(log_probs[piece] for piece in pieces) == pytest.approx(likeliest)


def test_the_tokenizers_library():
    pieces = [
        ("a", -3.1),
        ("b", -3.3),
        ("ab", -5.0),
        ("ba", -4.7),
        ("aab", -6.1),
        ("abb", -7.2),
        ("bbab", -8.9),
    ]
    text = "abbabaabbbabaabbabab" * 5
    library = tokenizers.models.Unigram(pieces, None, False)
    assert best_cut(text, dict(pieces)) == [token.value for token in library.tokenize(text)]


def test_nothing_to_cut():
    assert best_cut("", {"a": -1.0}) == []
