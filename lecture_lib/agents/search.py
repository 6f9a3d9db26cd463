"""Search over architectures: all of them, or as many trials as one can pay for (Optuna)."""

import itertools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from lecture_lib.fields import choice, whole

Choice = Mapping[str, object]  # {"rule": "vote", "n": 5}
Score = Callable[[Choice], float | None]  # None: not within the budget


@dataclass(frozen=True)
class Found:
    """The best of a search."""

    best: dict[str, object]
    score: float
    history: tuple[float, ...]  # the best score after each trial

    @property
    def trials(self) -> int:
        """Architectures that were scored."""
        return len(self.history)


def every_architecture(space: Mapping[str, Sequence], score: Score) -> Found:
    """Score every combination that is within the budget; the first of equals is best, and a space without any is refused."""
    tried = []
    for values in itertools.product(*space.values()):
        one = dict(zip(space, values, strict=True))
        if (found := score(one)) is not None:
            tried.append((one, found))
    return _best_of(tried)


def search_architectures(
    space: Mapping[str, Sequence], score: Score, n_trials: int, seed: int = 0, sampler: str = "tpe"
) -> Found:
    """Score a number of combinations that an optimizer chooses; what is not within the budget is no trial, and costs nothing.

    Args:
        space: choices by name.
        score: gives the accuracy of a combination, or None if it is not within the budget.
        n_trials: different combinations within the budget that are scored, at most.
        seed: of the sampler.
        sampler: "tpe", the tree-structured Parzen estimator of Bergstra et al. (2011), or "random".

    Raises:
        ValueError: nothing that was proposed is within the budget.
    """
    import optuna

    n_trials = whole("n_trials", n_trials, 1)
    kinds = {"tpe": optuna.samplers.TPESampler, "random": optuna.samplers.RandomSampler}
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    study = optuna.create_study(
        direction="maximize", sampler=kinds[choice("sampler", sampler, kinds)](seed=seed)
    )
    tried: dict[tuple, tuple[dict, float]] = {}

    for _ in range(20 * n_trials):
        trial = study.ask()
        one = {name: _suggested(trial, name, values) for name, values in space.items()}
        key = tuple(one.values())
        if key not in tried and (found := score(one)) is not None:
            tried[key] = one, found
        if key in tried:
            study.tell(trial, tried[key][1])
        else:
            study.tell(trial, state=optuna.trial.TrialState.PRUNED)
        if len(tried) == n_trials:
            break
    return _best_of(list(tried.values()))


def _suggested(trial: object, name: str, values: Sequence) -> object:
    """Numbers are ordered, so that what is learned at one helps at its neighbours; names are not."""
    if all(isinstance(value, int | float) for value in values):
        return values[trial.suggest_int(name, 0, len(values) - 1)]
    return trial.suggest_categorical(name, values)


def _best_of(tried: Sequence[tuple[dict, float]]) -> Found:
    if not tried:
        raise ValueError("no architecture is within the budget: give more calls, or other choices")
    history = tuple(itertools.accumulate((score for _, score in tried), max))
    best, score = max(tried, key=lambda each: each[1])
    return Found(best, score, history)
