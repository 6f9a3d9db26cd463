"""Battles: who met whom, and who took the points; counted in one pass.

Axes: B battles, M models. A battle is worth two half points: model a takes 2 (wins), 1 (tie) or 0 (loses).
"""

import difflib
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import numpy as np

from lecture_lib.fields import chance, whole

WINNERS = {"model_a": 2, "model_b": 0, "tie": 1, "tie (bothbad)": 1, "both_bad": 1}


@dataclass(frozen=True)
class Battles:
    """Votes on pairs of answers; places out of range, a model against itself and weights that are no weights are refused.

    `a`, `b` (B,) are places in `models`, `half_points` (B,) what a took, `weight` (B,) how much each vote counts (None: one);
    `columns` holds further columns of B entries by name, such as a language.
    """

    models: tuple[str, ...]
    a: np.ndarray
    b: np.ndarray
    half_points: np.ndarray
    weight: np.ndarray | None = None
    columns: dict[str, np.ndarray] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for name in ("a", "b", "half_points"):
            object.__setattr__(self, name, np.asarray(getattr(self, name)))
        rows = [self.a, self.b, self.half_points, *self.columns.values()]
        rows += [] if self.weight is None else [self.weight]
        sizes = [np.shape(row) for row in rows]
        if len(set(sizes)) > 1 or len(sizes[0]) != 1:
            raise ValueError(f"the columns of battles must be equally long, got {sizes}")
        if len(self.a) and not self._fits():
            raise ValueError(
                f"a battle needs two different models, numbered 0 to {len(self.models) - 1}, 0, 1 or 2 half points, and a "
                "weight of 0 or more"
            )

    def _fits(self) -> bool:
        places = (self.a, self.b)
        inside = all(row.min() >= 0 and row.max() < len(self.models) for row in places)
        points = self.half_points.min() >= 0 and self.half_points.max() <= 2
        weights = self.weight is None or (np.isfinite(self.weight).all() and self.weight.min() >= 0)
        return bool(inside and points and weights and not (self.a == self.b).any())

    @classmethod
    def from_names(cls, model_a: Sequence[str], model_b: Sequence[str], winner: Sequence[str]) -> "Battles":
        """Make battles from names, (B,) each; `winner` is model_a, model_b, tie or both_bad, and another word is refused."""
        models = tuple(sorted({*model_a, *model_b}))
        place = {name: i for i, name in enumerate(models)}
        a, b = (np.array([place[name] for name in names], dtype=np.int64) for names in (model_a, model_b))
        if unknown := [word for word in winner if word not in WINNERS]:
            raise ValueError(f"a winner is one of {', '.join(WINNERS)}; got {unknown[0]!r}")
        return cls(models, a, b, np.array([WINNERS[word] for word in winner], dtype=np.int64))

    def __len__(self) -> int:
        return len(self.a)

    @property
    def points(self) -> np.ndarray:
        """Points of model a in each battle (B,): 1, 1/2 or 0."""
        return self.half_points / 2

    @cached_property
    def counts(self) -> np.ndarray:
        """Battles of i, as model a, against j, as model b, in which i took k half points: (M, M, 3), by weight."""
        return self.counted(self.weight)

    def counted(self, weight: np.ndarray | None) -> np.ndarray:
        """Count as `counts` does, with a weight for each battle: (M, M, 3)."""
        n = len(self.models)
        cells = (np.asarray(self.a, dtype=np.int64) * n + self.b) * 3 + self.half_points
        return np.bincount(cells, weight, minlength=3 * n * n).reshape(n, n, 3).astype(float)

    @property
    def wins(self) -> np.ndarray:
        """Points that i took off j, ties counted as half: (M, M)."""
        return wins_of(self.counts)

    @property
    def votes(self) -> np.ndarray:
        """Battles of each model (M,), by weight."""
        met = self.counts.sum(-1)
        return met.sum(0) + met.sum(1)

    def take(self, rows: np.ndarray) -> "Battles":
        """Keep some battles: a mask or places (the models keep their numbers)."""
        columns = {name: column[rows] for name, column in self.columns.items()}
        weight = None if self.weight is None else self.weight[rows]
        kept = {name: getattr(self, name)[rows] for name in ("a", "b", "half_points")}
        return replace(self, **kept, weight=weight, columns=columns)

    def where(self, column: str, value: Any) -> "Battles":
        """Keep the battles of a category, such as `where("language", "English")`; an unknown column is refused."""
        if column not in self.columns:
            raise ValueError(
                f"no column {column!r}; there are {', '.join(self.columns) or 'none'}: name it to read_battles"
            )
        return self.take(self.columns[column] == value)

    def without(self, *names: str) -> "Battles":
        """Leave models out, with their battles."""
        out = [self.place(name) for name in names]
        left = np.setdiff1d(np.arange(len(self.models)), out)
        number = np.full(len(self.models), -1)
        number[left] = np.arange(len(left))
        kept = self.take((number[self.a] >= 0) & (number[self.b] >= 0))
        return replace(kept, models=tuple(self.models[i] for i in left), a=number[kept.a], b=number[kept.b])

    def place(self, name: str) -> int:
        """The number of a model; an unknown name is refused with near ones."""
        if name in self.models:
            return self.models.index(name)
        near = difflib.get_close_matches(name, self.models, cutoff=0.3)
        raise ValueError(f"no model {name!r}; " + (f"near: {', '.join(near)}" if near else "see .models"))


def wins_of(counts: np.ndarray) -> np.ndarray:
    """Points that i took off j, (M, M), from counts (M, M, 3): a tie is half a point for each."""
    return counts @ (0, 0.5, 1) + (counts @ (1, 0.5, 0)).T


def draw_battles(
    scores: np.ndarray,
    n_battles: int,
    generator: np.random.Generator,
    ties: float = 0.0,
    models: Sequence[str] = (),
) -> Battles:
    """Draw battles of random pairs whose expected points are those of the scores; ties: their share among equals.

    Args:
        scores: (M,) scores in the arena's points.
        n_battles: how many.
        generator: source of all random numbers.
        ties: probability of a tie between equal models, 1/2 at most; between others it is smaller, ties * 4 p (1 - p).
        models: M names; empty: numbers.
    """
    from lecture_lib.arena.fit import win_probability

    n, ties = len(scores), chance("ties", ties)
    n_battles = whole("n_battles", n_battles)
    a = generator.integers(n, size=n_battles)
    b = (a + generator.integers(1, n, size=n_battles)) % n
    p = win_probability(np.asarray(scores)[a] - np.asarray(scores)[b])
    tie = min(ties, 0.5) * 4 * p * (1 - p)
    height = generator.random(n_battles)
    half_points = (height < p + tie / 2).astype(np.int64) + (height < p - tie / 2)
    return Battles(tuple(models) or tuple(f"model {i}" for i in range(n)), a, b, half_points)
