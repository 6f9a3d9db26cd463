"""Corpora: real English from this installation, and made text whose statistics are known exactly."""

import re
import subprocess
import sys
import unicodedata

import pytest

from lecture_lib.corpora.english import english_paragraphs, english_text, is_prose, prose_paragraphs, split_of
from lecture_lib.corpora.samples import SAMPLES

# --- real English ---


def test_english_is_a_megabyte_of_distinct_prose():
    paragraphs = english_paragraphs()
    assert len(english_text().encode()) > 700_000
    assert len(set(paragraphs)) == len(paragraphs)
    assert all(is_prose(paragraph) and "\n" not in paragraph for paragraph in paragraphs)
    # In printed English "the" is 5 to 7 of 100 words; in code it is none.
    words = re.findall("[a-z]+", english_text().lower())
    assert 0.04 < words.count("the") / len(words) < 0.12


def test_english_splits_share_nothing_and_miss_nothing():
    train, validation = english_paragraphs(split="train"), english_paragraphs(split="validation")
    assert set(train).isdisjoint(validation)
    assert sorted(train + validation) == sorted(english_paragraphs())
    assert 0.03 < len(validation) / len(train) < 0.08
    assert all(split_of(paragraph) == "validation" for paragraph in validation)


def test_english_min_bytes_is_reached_and_is_a_beginning_of_the_whole():
    n_bytes = len(english_text(50_000).encode())
    assert 50_000 <= n_bytes < 60_000
    assert english_text().startswith(english_text(50_000))
    beyond = english_text(len(english_text().encode()) + 100_000)
    assert beyond.startswith(english_text()) and len(beyond) > len(english_text())


def test_english_is_the_same_in_another_process():
    code = "from lecture_lib.corpora.english import english_text; import zlib; print(zlib.crc32(english_text().encode()))"
    sums = {
        subprocess.run([sys.executable, "-c", code], capture_output=True, check=True).stdout for _ in range(2)
    }
    assert len(sums) == 1


def test_prose_is_told_from_code_and_markup_is_removed():
    text = """
    The method of :class:`~collections.Model` returns the *first* item that
    ``close()`` has left in the queue.

    def f(x): return x if the and of to is in that a

    x = 1 and y = 2 if the of to a in is.

    Too short a line.

    Raises: ValueError if the item is not in the list of items.
    """
    expected = "The method of collections.Model returns the first item that close has left in the queue."
    assert list(prose_paragraphs(text)) == [expected]
    assert list(prose_paragraphs("")) == []


def test_english_errors():
    with pytest.raises(ValueError, match="split must be 'train', 'validation' or None, got 'test'"):
        english_paragraphs(split="test")
    with pytest.raises(ValueError, match="at least 1, got 0"):
        english_paragraphs(0)


@pytest.mark.slow
def test_english_of_more_than_the_installation_holds():
    with pytest.raises(ValueError, match="fewer than the 1000000000000 asked for"):
        english_text(10**12)


# --- samples in many scripts ---


def test_samples_cover_the_scripts_they_name():
    first, last = {}, {}
    for name, text in SAMPLES.items():
        codes = sorted(ord(character) for character in text if character.isalpha())
        first[name], last[name] = codes[len(codes) // 10], codes[-1 - len(codes) // 10]
    blocks = {
        "greek": (0x370, 0x400),
        "russian": (0x400, 0x500),
        "arabic": (0x600, 0x700),
        "chinese": (0x4E00, 0xA000),
    }
    for name, (low, high) in blocks.items():
        assert low <= first[name] and last[name] < high
    compile(SAMPLES["code"], "sample", "exec")
    assert unicodedata.normalize("NFC", SAMPLES["emoji"]) != SAMPLES["emoji"]
    assert "\u200d" in SAMPLES["emoji"]  # emoji joined of several
