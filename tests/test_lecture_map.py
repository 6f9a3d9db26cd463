"""The lecture map is complete: every slide and every number of the lecture stands in it, and what it names exists."""

import importlib
import re
from pathlib import Path

import pytest

from lecture_lib import arena
from lecture_lib.encoder import Encoder
from lecture_lib.roofline import memory_budget
from lecture_lib.transformer import ModelConfig, parameter_count

ROOT = Path(__file__).resolve().parents[1]
MAP = (ROOT / "book" / "lecture_map.md").read_text(encoding="utf-8")
SLIDES, NUMBERS = (
    [
        [cell.strip() for cell in line.strip("|").split("|")]
        for line in part.splitlines()
        if line.startswith("| ")
    ][1:]
    for part in MAP.split("## Slide by slide")[1].split("## Number by number")
)
# The lecture's slides in their order, by a word of each name in the map.
NAMES = """title; recall; network parameters; softmax of the scores; multi-head; transformer layers; nlp; learned embeddings;
encoders, decoders; bert; pre-training; fine-tuning; text and word classification; autoregressive; gpt-3; masked self-attention;
sampling; machine translation; the transformer's paper; foundation models; lora; rlhf; steps 1 to 3; arena; online; the hub; vllm;
quantization; prompt engineering; chain of thought; few-shot; zero, one and few; multi-agent; reading"""
# Every number on them (of a table or a list of models the first row stands for all).
QUANTITIES = """12.1; 12.2; 12.3; 1607.06450; 1024; 30,000; 1810.04805; 24; 16; 1024 × 64; 340 million; E × 1; −∞; 171064; 11 pages; 2021;
GPT-3.5; 3; 1,000,000; 212; 2,768,389; 1407; +7/−7; 7580; 13; 3.3; 70B; 2048; 0.7; 50; 1; 13 IN; 387 OUT; 145.38; 1,500,036; 41,349; 24 GB; 7B;
2 byte; 14 GB; INT8, FP16, FP32; two or four times; 2201.11903; 11; 9; 2005.14165; 0, 1, 3; 2409.15254; 10 → 6"""
HOW = {"recomputed", "quoted", "a name"}


def listed(text: str) -> list[str]:
    return [each.strip() for each in text.replace("\n", " ").split(";")]


def test_every_slide_is_there_in_the_lectures_order():
    assert len(SLIDES) == len(listed(NAMES))
    for row, name in zip(SLIDES, listed(NAMES), strict=True):
        assert name in row[0].lower()
        assert row[1], f"{row[0]}: no chapter"


def test_every_number_is_there_and_recomputed_or_marked():
    assert [row[0] for row in NUMBERS] == listed(QUANTITIES)
    for number, _what, how, where in NUMBERS:
        assert how in HOW, number
        assert how != "recomputed" or where, f"{number}: where is it recomputed?"


@pytest.mark.parametrize("dotted", sorted(set(re.findall(r"`([a-z_]+(?:\.\w+)+)`", MAP))))
def test_every_function_exists(dotted):
    module, _, name = dotted.rpartition(".")
    assert hasattr(importlib.import_module(f"lecture_lib.{module}"), name)


def test_every_page_and_figure_exists():
    for page in re.findall(r"\]\((\w+\.md)\)", MAP):
        assert (ROOT / "book" / page).exists(), page
    pages = {path: path.read_text(encoding="utf-8") for path in (ROOT / "book").glob("*.md")}
    figures = {name for text in pages.values() for name in re.findall(r'name="(fig-[\w-]+)"', text)}
    assert set(re.findall(r"numref}`([\w-]+)`", MAP)) <= figures


def test_every_chapter_is_in_the_map():
    for path in (ROOT / "book").glob("[0-9][0-9]_*.md"):
        assert f"[{int(path.name[:2])}]({path.name})" in MAP, f"{path.name}: link it from its slides"


def test_the_numbers_are_what_the_library_gives():
    """Against arithmetic on paper, not against the page's own cell."""
    bert = ModelConfig(30_000, 1024, 16, 24, context_length=512, n_segments=2, embedding_norm=True)
    per_layer = 4 * 1025 * 1024 + (1025 * 4096 + 4097 * 1024) + 4 * 1024
    by_hand = (30_000 + 512 + 2) * 1024 + 2 * 1024 + 24 * per_layer
    assert parameter_count(Encoder, bert) == by_hand
    assert round((by_hand + 1025 * 1024) / 1e6, 1) == 334.6
    assert bert.d_head == 64
    budget = memory_budget(7e9, memory=24e9, token_bytes=524_288)
    assert (budget.weight_bytes, budget.tokens) == (14e9, (24 - 14) * 10**9 // 524_288)
    assert round(2 * 70e9 * 145.38 / 1e12, 1) == 20.4
    table = arena.lecture_leaderboard()
    assert (len(table.models), table.scores[0], table.votes[0]) == (13, 1407, 7580)
    assert sum(arena.rank_upper_bound(table.lower, table.upper) == table.ranks) == 12
