"""Fair timing for every benchmark here: the sides of a comparison take turns in one process, on one thread.

Import it before torch or tokenizers (it sets the thread counts they read when they start):

    from harness import Benchmark, median_ratio

    bench = Benchmark("lora")                       # reads --save and --rounds from the command line
    step = bench.measure(
        "training step, batch 4 x 64",              # a row of the table
        {"peft": step_peft, "own": step_own},       # functions of no arguments; what they return is compared
        tolerance=1e-5,                             # 0: equal; None: the sides are not meant to agree
        work=256, unit="tokens/s",                  # what one call does, for a rate beside the time
    )
    bench.goal("own / peft step time", median_ratio(step["own"], step["peft"]), at_most=0.95)
    bench.note("the dense products alone take 96 % of the step")
    bench.finish()                                  # goals, then one JSON line; --save: results/lora.json

Every round calls each side once, the first one rotating, so that a slow spell of a shared machine hits all
of them; `median_ratio` pairs the rounds. Process time counts what this process computed and is what the
ratios use; wall time stands beside it. On a GPU pass `synchronize=torch.cuda.synchronize, clock="wall"`. A
side that takes less than about 10 ms should loop inside and say so in `work`. A difference between the
sides ends the run: the time of another result is no comparison.
"""

import argparse
import gc
import importlib.metadata
import json
import os
import platform
import statistics
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

import numpy as np

from lecture_lib.files import write_text

for variable in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "RAYON_NUM_THREADS"):
    os.environ[variable] = "1"
# For `scripts`, whatever folder is the current one.
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
os.environ["TOKENIZERS_PARALLELISM"] = "false"
os.environ.setdefault("HF_HUB_OFFLINE", "1")

LIBRARIES = ("torch", "transformers", "tokenizers", "peft", "tiktoken", "numpy")
LIBRARIES += ("ctranslate2", "onnxruntime-genai")  # where they are installed


@dataclass
class Timing:
    """Seconds of every round of one side; the properties are medians."""

    process_rounds: list[float] = field(default_factory=list)
    wall_rounds: list[float] = field(default_factory=list)

    @property
    def process(self) -> float:
        return statistics.median(self.process_rounds)

    @property
    def wall(self) -> float:
        return statistics.median(self.wall_rounds)


def median_ratio(numerator: Timing, denominator: Timing, clock: str = "process") -> float:
    """Median over the rounds of the ratio of two times taken in the same round."""
    rounds = zip(getattr(numerator, f"{clock}_rounds"), getattr(denominator, f"{clock}_rounds"), strict=True)
    return statistics.median(above / below for above, below in rounds)


def time_once(side: Callable[[], object], synchronize: Callable[[], object]) -> tuple[object, float, float]:
    """One call: its result, process seconds, wall seconds; the garbage of the call before is not counted."""
    gc.collect()
    synchronize()
    wall, process = time.perf_counter(), time.process_time()
    result = side()
    synchronize()
    return result, time.process_time() - process, time.perf_counter() - wall


def largest_difference(left: object, right: object) -> float:
    """Largest absolute difference of numbers, tensors or nested lists; infinite if shapes differ."""
    if isinstance(left, (list, tuple)) and isinstance(right, (list, tuple)):
        if len(left) != len(right):
            return float("inf")
        if not all(isinstance(entry, int) for entry in (*left, *right)):
            return max(map(largest_difference, left, right), default=0.0)
    left, right = (
        x.detach().double().cpu().numpy() if hasattr(x, "detach") else np.asarray(x) for x in (left, right)
    )
    if left.shape != right.shape:
        return float("inf")
    if np.array_equal(left, right):
        return 0.0
    if left.dtype.kind not in "biuf" or right.dtype.kind not in "biuf":
        return float("inf")
    difference = np.abs(left.astype(float) - right.astype(float)).max(initial=0.0)
    return float("inf") if np.isnan(difference) else float(difference)


class Benchmark:
    """Rows and goals of one benchmark; see the top of the file for the use."""

    def __init__(
        self,
        name: str,
        arguments: Sequence[str] | None = None,
        folder: Path = Path(__file__).parent / "results",
    ):
        parser = argparse.ArgumentParser(description=f"benchmark {name}")
        parser.add_argument("--save", action="store_true", help=f"write results/{name}.json")
        parser.add_argument(
            "--rounds", type=int, default=7, help="rounds of each row, at least 5 (default 7)"
        )
        options = parser.parse_args(arguments)
        if options.rounds < 5:
            parser.error(f"a median needs at least 5 rounds: got {options.rounds}")
        self.name, self.save, self.rounds, self.folder = name, options.save, options.rounds, folder
        self.load_before = os.getloadavg()
        self.rows: list[dict] = []
        self.goals: list[dict] = []
        self.notes: list[str] = []

    def measure(
        self,
        row: str,
        sides: Mapping[str, Callable[[], object]],
        *,
        tolerance: float | None = 0.0,
        same: Sequence[str] | None = None,
        work: float | None = None,
        unit: str = "",
        rounds: int | None = None,
        warmup: int = 1,
        clock: str = "process",
        synchronize: Callable[[], object] = lambda: None,
    ) -> dict[str, Timing]:
        """Time the sides in turns, a printed line each; `same` names those that must agree (default: all).

        `work` is what one call does (256 tokens, 5.0 MB); `work / seconds` of `clock` is shown in `unit`.
        """
        if "torch" in sys.modules:
            sys.modules["torch"].set_num_threads(1)
        names, timings = list(sides), {name: Timing() for name in sides}
        compared = [] if tolerance is None else list(names if same is None else same)
        worst = 0.0
        gc.collect()
        gc.freeze()  # what is there already is no garbage of a call: not looked through again before each
        for turn in range(warmup + (rounds or self.rounds)):
            results = {}
            for name in names[turn % len(names) :] + names[: turn % len(names)]:
                results[name], process, wall = time_once(sides[name], synchronize)
                if turn >= warmup:
                    timings[name].process_rounds.append(process)
                    timings[name].wall_rounds.append(wall)
            for name in compared[1:]:
                worst = max(worst, largest_difference(results[compared[0]], results[name]))
                if worst > tolerance:
                    sys.exit(
                        f"{row}: {compared[0]} and {name} differ by {worst:.3g}; allowed {tolerance:.3g}"
                    )
        gc.unfreeze()
        self._record_row(row, timings, compared, worst, clock, work, unit)
        return timings

    def _record_row(self, row, timings, compared, worst, clock, work, unit) -> None:
        print(f"\n{row}")
        print(f"  {'':<28}{'process ms':>12}{'wall ms':>12}{unit:>14}{'relative':>10}")
        first = next(iter(timings.values()))
        difference = worst if len(compared) > 1 else None
        record = {"row": row, "compared": compared, "largest_difference": difference, "sides": {}}
        for name, timing in timings.items():
            side = {"process_s": timing.process, "wall_s": timing.wall, "rounds": len(timing.wall_rounds)}
            side["spread"] = (max(timing.process_rounds) - min(timing.process_rounds)) / timing.process
            side["relative"] = median_ratio(timing, first, clock)
            rate = ""
            if work is not None:
                side["rate"], side["unit"] = work / getattr(timing, clock), unit
                rate = f"{side['rate']:.4g}"
            record["sides"][name] = side
            times = f"{1e3 * timing.process:>12.2f}{1e3 * timing.wall:>12.2f}"
            print(f"  {name:<28}{times}{rate:>14}{side['relative']:>10.3f}")
        if len(compared) > 1:
            print(f"  same results: {', '.join(compared)} (largest difference {worst:.2g})")
        self.rows.append(record)

    def goal(
        self, name: str, value: float, *, at_most: float | None = None, at_least: float | None = None
    ) -> bool:
        """Record a measured ratio beside its goal; a miss is printed and does not stop the run."""
        if (at_most is None) == (at_least is None):
            raise ValueError(f"goal {name!r} needs either at_most or at_least")
        reached = value <= at_most if at_least is None else value >= at_least
        self.goals.append(
            {"goal": name, "value": value, "at_most": at_most, "at_least": at_least, "reached": bool(reached)}
        )
        return bool(reached)

    def note(self, text: str) -> None:
        """A line of explanation or arithmetic, printed and kept with the numbers."""
        print(f"  {text}")
        self.notes.append(text)

    def finish(self) -> dict:
        """Print the goals and one JSON line; with --save write results/<name>.json. Returns the record."""
        print()
        for goal in self.goals:
            bound = f"<= {goal['at_most']}" if goal["at_least"] is None else f">= {goal['at_least']}"
            verdict = "reached" if goal["reached"] else "MISSED"
            print(f"{verdict:<8} {goal['goal']}: {goal['value']:.3f} (goal {bound})")
        record = {
            "benchmark": self.name,
            "date": datetime.now(UTC).isoformat(timespec="seconds"),
            "machine": machine(),
            "load_average": {"before": self.load_before[0], "after": os.getloadavg()[0]},
            "threads": 1,
            "rows": self.rows,
            "goals": self.goals,
            "notes": self.notes,
        }
        if self.save:
            self.folder.mkdir(exist_ok=True)
            write_text(self.folder / f"{self.name}.json", json.dumps(rounded(record), indent=1) + "\n")
        print(json.dumps(rounded(record)))
        return record


def rounded(value):
    """The record with its floats to five digits: what is beyond them is noise."""
    if isinstance(value, dict):
        return {key: rounded(entry) for key, entry in value.items()}
    if isinstance(value, list):
        return [rounded(entry) for entry in value]
    return float(f"{value:.5g}") if isinstance(value, float) else value


def machine() -> dict:
    """Processor, cores, memory, GPU if torch sees one, and the versions of the libraries compared."""
    cpuinfo = Path("/proc/cpuinfo")
    lines = cpuinfo.read_text(encoding="utf-8").splitlines() if cpuinfo.exists() else []
    models = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    torch = sys.modules.get("torch")
    versions = {}
    for library in LIBRARIES:
        try:
            versions[library] = importlib.metadata.version(library)
        except importlib.metadata.PackageNotFoundError:
            continue
    return {
        "processor": models[0] if models else platform.processor() or platform.machine(),
        "cores": os.cpu_count(),
        "gpu": torch.cuda.get_device_name() if torch is not None and torch.cuda.is_available() else None,
        "python": platform.python_version(),
        "system": platform.system(),
        "libraries": versions,
    }
