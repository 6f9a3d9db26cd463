"""The benchmark harness: turns, agreement of the sides, medians, the record it leaves."""

import json
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

sys.path.append(str(Path(__file__).parents[1] / "benchmarks"))
from harness import Benchmark, Timing, largest_difference, median_ratio  # noqa: E402


@pytest.fixture
def bench(tmp_path):
    return Benchmark("demo", ["--save", "--rounds", "5"], folder=tmp_path / "results")


@pytest.mark.slow
def test_sides_take_turns_and_the_first_rotates(bench):
    calls = []
    bench.measure(
        "row", {name: lambda name=name: calls.append(name) for name in "abc"}, tolerance=None, warmup=1
    )
    assert "".join(calls) == "abcbcacababcbcacab"


def test_the_median_ratio_pairs_the_rounds():
    slow, fast = Timing([2.0, 40.0, 2.2], [1, 1, 1]), Timing([1.0, 20.0, 1.0], [1, 1, 1])
    assert median_ratio(slow, fast) == 2.0
    assert median_ratio(slow, fast, clock="wall") == 1.0
    assert slow.process == 2.2


@pytest.mark.parametrize(
    ("left", "right", "difference"),
    [
        ([1, 2, 3], [1, 2, 3], 0.0),
        ([1, 2, 3], [1, 2], np.inf),
        (torch.tensor([1.0, -torch.inf]), np.array([1.0, -np.inf]), 0.0),
        (torch.ones(2, 3), torch.ones(3, 2), np.inf),
        (1.0, float("nan"), np.inf),
        ([torch.zeros(2), 1.0], (torch.full((2,), 0.25), 1.5), 0.5),
        ("same", "same", 0.0),
        ("same", "other", np.inf),
        ([], [], 0.0),
    ],
)
def test_largest_difference(left, right, difference):
    assert largest_difference(left, right) == difference


@pytest.mark.slow
def test_sides_that_differ_end_the_run(bench):
    sides = {"one": lambda: 1.0, "other": lambda: 1.1, "third": lambda: 5.0}
    bench.measure("row", sides, tolerance=0.2, same=("one", "other"))
    with pytest.raises(SystemExit, match="row: one and other differ by 0.1; allowed 0.05"):
        bench.measure("row", sides, tolerance=0.05, same=("one", "other"))


def test_the_record_is_saved_and_the_last_line_printed(bench, capsys):
    timing = bench.measure(
        "row", {"one": lambda: sum(range(20000)), "other": lambda: sum(range(20000))}, work=2
    )
    assert timing["one"].process > 0
    assert not bench.goal("too slow", 1.2, at_most=1.0)
    assert bench.goal("fast enough", 1.2, at_least=1.0)
    bench.note("a remark")
    bench.finish()
    saved = json.loads((bench.folder / "demo.json").read_text(encoding="utf-8"))
    assert saved == json.loads(capsys.readouterr().out.splitlines()[-1])
    assert [entry["reached"] for entry in saved["goals"]] == [False, True]
    assert saved["machine"]["cores"] >= 1 and saved["notes"] == ["a remark"]
    assert sorted(saved["rows"][0]["sides"]) == ["one", "other"]
    assert list(bench.folder.iterdir()) == [bench.folder / "demo.json"]


def test_errors(tmp_path, bench):
    with pytest.raises(SystemExit):
        Benchmark("demo", ["--rounds", "4"], folder=tmp_path)
    with pytest.raises(ValueError, match="needs either at_most or at_least"):
        bench.goal("no bound", 1.0)
