"""The arena: scores from votes, their errors, what follows for the order, and what no score can hold."""

import csv
import itertools
import json
import math

import numpy as np
import pytest
import scipy.optimize
import scipy.stats
from hypothesis import given, settings
from hypothesis import strategies as st

from lecture_lib import arena
from lecture_lib.arena import Battles
from lecture_lib.arena.cycles import log_odds
from lecture_lib.arena.leaderboard import LECTURE_DATE, LECTURE_ROWS


def drawn(M=6, n=4000, seed=0, ties=0.2, spread=150.0):
    generator = np.random.default_rng(seed)
    scores = 1000 + spread * generator.normal(size=M)
    return scores, arena.draw_battles(scores, n, generator, ties)


# --- the lecture's table ---


def test_the_lectures_table():
    table = arena.lecture_leaderboard()
    assert LECTURE_DATE == "2025-03-10" and len(table.models) == 13
    assert table.models[0] == "Grok-3-Preview-02-24" and table.votes.sum() == 204_434
    assert list(table.scores) == sorted(table.scores, reverse=True)
    assert (table.lower[1], table.upper[1]) == (1395, 1411)  # 1404 +7/-9
    assert [line.split()[1] for line in LECTURE_ROWS.strip().splitlines()[:3]] == ["2", "1", "6"]
    assert "Grok-3" in str(table).splitlines()[1]


def test_twelve_of_thirteen_ranks_come_out_and_the_last_is_a_rounding_tie():
    table = arena.lecture_leaderboard()
    ranks = arena.rank_upper_bound(table.lower, table.upper)
    assert list(np.flatnonzero(ranks != table.ranks)) == [12] and ranks[12] == 12
    assert table.lower[11] == table.upper[12] == 1323  # o3-mini-high begins where DeepSeek-V3 ends
    lower = table.lower + 0.4 * (np.arange(13) == 11)  # what rounding may have taken away
    assert (arena.rank_upper_bound(lower, table.upper) == table.ranks).all()


def test_the_best_wins_62_of_100_against_the_last():
    assert arena.win_probability(1407 - 1319) == pytest.approx(0.624, abs=5e-4)
    assert arena.win_probability(400) == pytest.approx(10 / 11)


def test_the_lectures_intervals_shrink_with_the_root_of_the_votes():
    table = arena.lecture_leaderboard()
    half = (table.upper - table.lower) / 2
    slope, _ = np.polyfit(np.log(table.votes), np.log(half), 1)
    assert slope == pytest.approx(-0.465, abs=0.001)
    fisher = scipy.stats.norm.ppf(0.975) * arena.SCALE / math.sqrt(1 / 4)  # one vote, equal models
    offset = np.exp(np.mean(np.log(half * np.sqrt(table.votes))))
    assert fisher == pytest.approx(681, abs=0.5) and 600 < offset < 625


# --- the fit, against other ways to the same maximum ---


def by_rows(battles, X=None):
    """Logistic regression on one row a battle, by scipy."""
    n = len(battles.models)
    design = np.zeros((len(battles), n))
    rows = np.arange(len(battles))
    design[rows, battles.a], design[rows, battles.b] = 1, -1
    design = design if X is None else np.hstack([design, X])
    weight = np.ones(len(battles)) if battles.weight is None else battles.weight

    def loss(theta):
        z = design @ theta
        value = weight @ (np.logaddexp(0, z) - battles.points * z)
        return value, design.T @ (weight * (1 / (1 + np.exp(-z)) - battles.points))

    options = {"maxiter": 5000, "ftol": 1e-15, "gtol": 1e-9}
    theta = scipy.optimize.minimize(
        loss, np.zeros(design.shape[1]), jac=True, method="L-BFGS-B", options=options
    ).x
    scores = arena.SCALE * theta[:n]
    return scores - scores.mean() + 1000, theta[n:]


def by_mm(wins, rounds=5000):
    """Hunter's MM algorithm: strengths as wins over a sum of 1 / (strength + strength)."""
    met, strength = wins + wins.T, np.ones(len(wins))
    for _ in range(rounds):
        strength = wins.sum(1) / (met / np.add.outer(strength, strength)).sum(1)
        strength /= np.exp(np.log(strength).mean())
    return 1000 + arena.SCALE * np.log(strength)


def by_scikit_learn(wins):
    """A row for each pair and each of its two ends, weighted by how often it happened; no penalty."""
    from sklearn.linear_model import LogisticRegression

    first, second = np.triu_indices(len(wins), 1)
    design = np.eye(len(wins))[first] - np.eye(len(wins))[second]
    fit = LogisticRegression(
        C=np.inf, fit_intercept=False, solver="newton-cholesky", tol=1e-10, max_iter=1000
    )
    weights = np.concatenate([wins[first, second], wins[second, first]])
    design = np.vstack([design, design])[:, 1:]  # the first score is 0: only differences count
    fit.fit(design, np.repeat([1, 0], len(first)), sample_weight=weights)
    theta = np.append(0, fit.coef_[0])
    return 1000 + arena.SCALE * (theta - theta.mean())


@pytest.mark.parametrize("seed", range(4))
def test_the_fit_is_that_of_scikit_learn(seed):
    _, battles = drawn(M=5 + seed, seed=seed)
    assert np.abs(arena.fit_bradley_terry(battles.wins) - by_scikit_learn(battles.wins)).max() < 1e-3


@pytest.mark.parametrize("seed", range(4))
def test_the_fit_is_that_of_logistic_regression_and_of_mm(seed):
    _, battles = drawn(M=5 + seed, seed=seed)
    scores = arena.fit_bradley_terry(battles.wins)
    assert np.abs(scores - by_rows(battles)[0]).max() < 1e-2
    assert np.abs(scores - by_mm(battles.wins)).max() < 1e-8


def test_the_fit_with_weights_is_that_of_logistic_regression():
    _, battles = drawn(seed=7)
    weight = np.random.default_rng(1).uniform(0, 3, len(battles))
    battles = Battles(battles.models, battles.a, battles.b, battles.half_points, weight)
    assert np.abs(arena.fit_bradley_terry(battles.wins) - by_rows(battles)[0]).max() < 1e-2
    twice = Battles(battles.models, battles.a, battles.b, battles.half_points, np.full(len(battles), 2.0))
    once = Battles(battles.models, battles.a, battles.b, battles.half_points)
    assert arena.fit_bradley_terry(twice.wins) == pytest.approx(arena.fit_bradley_terry(once.wins))


@given(st.integers(2, 12), st.integers(0, 10**6), st.floats(0, 3000))
@settings(max_examples=60, deadline=None)
def test_expected_points_are_the_points_that_were_won_however_uneven(M, seed, spread):
    generator = np.random.default_rng(seed)
    wins = generator.integers(0, 1 + int(10 ** generator.uniform(0, 6)), (M, M)) * (
        generator.random((M, M)) < 0.6
    )
    ring = np.roll(np.eye(M, dtype=int), 1, axis=1)
    wins = (wins + ring * (1 + generator.integers(0, 5, (M, M)))) * (1 - np.eye(M, dtype=int))
    scores = arena.fit_bradley_terry(wins, start=generator.uniform(-spread, spread, M))
    expected = (wins + wins.T) * arena.expected_points(scores)
    assert np.abs(expected.sum(1) - wins.sum(1)).max() < 1e-6 * wins.sum()
    order = generator.permutation(M)
    again = arena.fit_bradley_terry(wins[np.ix_(order, order)])
    assert again == pytest.approx(arena.fit_bradley_terry(wins)[order], abs=1e-4)


def test_the_anchor_moves_all_scores_alike():
    _, battles = drawn()
    free = arena.fit_bradley_terry(battles.wins)
    held = arena.fit_bradley_terry(battles.wins, anchor=2, at=1114.0)
    assert free.mean() == pytest.approx(1000) and held[2] == pytest.approx(1114)
    assert held - held[0] == pytest.approx(free - free[0])


def test_two_levels_are_a_fermi_function():
    energies = np.array([0.3, -1.1])
    boltzmann = np.exp(-energies) / np.exp(-energies).sum()
    assert arena.win_probability(arena.SCALE * (energies[1] - energies[0])) == pytest.approx(boltzmann[0])
    assert arena.win_probability(1e6) == 1.0 and arena.win_probability(-1e6) == 0.0


def test_a_million_battles_are_counted_as_a_few_are():
    _, battles = drawn(M=4, n=300)
    counts = np.zeros((4, 4, 3))
    for i, j, k in zip(battles.a, battles.b, battles.half_points, strict=True):
        counts[i, j, k] += 1
    assert (battles.counts == counts).all() and battles.wins.sum() == 300
    assert (battles.votes == np.bincount(battles.a, minlength=4) + np.bincount(battles.b, minlength=4)).all()


# --- Elo ---


def test_elo_depends_on_the_order_and_moves_no_points_in_all():
    _, battles = drawn(n=500)
    there = arena.elo(battles.a, battles.b, battles.points, 6)
    back = arena.elo(battles.a[::-1], battles.b[::-1], battles.points[::-1], 6)
    assert there.mean() == pytest.approx(1000) == back.mean()
    assert np.abs(there - back).max() > 1


def test_elo_with_a_small_stake_is_one_step_up_the_likelihood():
    _, battles = drawn(n=400)
    gradient = np.zeros(6)
    for i, j, s in zip(battles.a, battles.b, battles.points, strict=True):
        gradient[i] += s - 0.5
        gradient[j] -= s - 0.5
    moved = arena.elo(battles.a, battles.b, battles.points, 6, k=1e-6) - 1000
    assert moved / 1e-6 == pytest.approx(gradient, abs=1e-3)


# --- intervals ---


def log_likelihood(wins, scores):
    return (wins * np.log(arena.expected_points(scores) + np.eye(len(wins)))).sum()


def test_fishers_matrix_is_the_second_derivative_of_the_likelihood():
    _, battles = drawn(M=4, ties=0)
    wins, scores, h = battles.wins, arena.fit_bradley_terry(battles.wins), 0.5
    steps = h * np.eye(4)
    H = np.array(
        [
            [
                sum(s * t * log_likelihood(wins, scores + s * u + t * v) for s in (1, -1) for t in (1, -1))
                for v in steps
            ]
            for u in steps
        ]
    ) / (4 * h**2)
    covariance = arena.fisher_covariance(wins, scores)
    centre = np.eye(4) - 1 / 4
    assert -H @ covariance == pytest.approx(centre, abs=1e-4)


def test_the_variance_of_a_difference_is_a_resistance():
    """Two models alone: 1 / (n p (1 - p)); a chain of three: resistances in a row add."""
    wins = np.array([[0, 30, 0], [20, 0, 40], [0, 10, 0]])
    scores = arena.fit_bradley_terry(wins)
    C = arena.fisher_covariance(wins, scores) / arena.SCALE**2
    ends = C[0, 0] + C[2, 2] - 2 * C[0, 2]
    assert ends == pytest.approx(1 / (50 * 0.6 * 0.4) + 1 / (50 * 0.8 * 0.2))


@pytest.mark.parametrize("ties", [0.0, 0.243, 0.5])
def test_with_ties_as_halves_fishers_intervals_are_too_wide_by_the_root_of_the_rest(ties):
    """Expected counts in place of drawn ones: the ratio is exact. 24.3 % ties give 0.87."""
    scores = np.array([900.0, 1000.0, 1150.0, 1010.0])
    p = arena.expected_points(scores)
    tie = ties * 4 * p * (1 - p)
    counts = 100 * np.stack([1 - p - tie / 2, tie, p - tie / 2], axis=-1) * (1 - np.eye(4)[..., None])
    fitted = arena.fit_bradley_terry(_wins(counts))
    assert fitted - fitted[0] == pytest.approx(scores - scores[0], abs=1e-6)
    wide = np.sqrt(arena.fisher_covariance(_wins(counts), fitted).diagonal())
    right = np.sqrt(arena.sandwich_covariance(counts, fitted).diagonal())
    assert right / wide == pytest.approx(np.full(4, math.sqrt(1 - ties)))
    assert math.sqrt(1 - 0.243) == pytest.approx(0.87, abs=1e-3)


def _wins(counts):
    return counts[..., 2] + counts[..., 0].T + (counts[..., 1] + counts[..., 1].T) / 2


def test_the_sandwich_is_that_of_the_rows():
    """H⁻¹ (Σ g gᵀ) H⁻¹ with the gradient g of every single vote, weights and all."""
    _, battles = drawn(M=5, n=700)
    for weight in (None, np.random.default_rng(2).uniform(0.2, 3, 700)):
        battles = Battles(battles.models, battles.a, battles.b, battles.half_points, weight)
        scores = arena.fit_bradley_terry(battles.wins)
        w = np.ones(700) if weight is None else weight
        p = 1 / (1 + np.exp(-(scores[battles.a] - scores[battles.b]) / arena.SCALE))
        design = np.eye(5)[battles.a] - np.eye(5)[battles.b]
        bread = np.linalg.pinv(design.T @ (design * (w * p * (1 - p))[:, None]))
        g = design * (w * (battles.points - p))[:, None]
        squares = None if weight is None else battles.counted(weight**2)
        found = arena.sandwich_covariance(battles.counts, scores, squares)
        assert found == pytest.approx(arena.SCALE**2 * bread @ g.T @ g @ bread)


def test_the_sandwich_and_the_bootstrap_agree_and_fisher_does_not():
    _, battles = drawn(n=6000, ties=0.4)
    scores = arena.fit_bradley_terry(battles.wins)
    spread = arena.bootstrap(battles, 400, np.random.default_rng(0)).std(0)
    sandwich = np.sqrt(arena.sandwich_covariance(battles.counts, scores).diagonal())
    fisher = np.sqrt(arena.fisher_covariance(battles.wins, scores).diagonal())
    assert spread / sandwich == pytest.approx(np.ones(6), abs=0.15)  # 400 rounds: 3.5 % each
    assert (fisher / sandwich).min() > 1.2


def test_the_bootstrap_of_cells_has_the_law_of_the_bootstrap_of_votes():
    _, battles = drawn(M=4, n=900)
    ones = Battles(battles.models, battles.a, battles.b, battles.half_points, np.ones(900))
    cells, rows = (arena.bootstrap(each, 300, np.random.default_rng(5)) for each in (battles, ones))
    assert cells.std(0) / rows.std(0) == pytest.approx(np.ones(4), abs=0.2)
    assert np.abs(cells.mean(0) - rows.mean(0)).max() < 4 * cells.std(0).max() / math.sqrt(150)
    again = arena.bootstrap(battles, 300, np.random.default_rng(5), anchor=1, at=0)
    assert again[:, 1] == pytest.approx(0, abs=1e-9) and (again - again[:, :1]) == pytest.approx(
        cells - cells[:, :1]
    )


@pytest.mark.parametrize("ties", [0.0, 0.4])
def test_intervals_hold_the_truth_as_often_as_they_say(ties):
    inside = []
    for seed in range(120):
        scores, battles = drawn(M=5, n=1500, seed=seed, ties=ties)
        table = arena.leaderboard(battles)
        truth = dict(zip(battles.models, scores - scores.mean() + 1000, strict=True))
        truth = np.array([truth[name] for name in table.models])
        inside.append((table.lower <= truth) & (truth <= table.upper))
    assert np.mean(inside) == pytest.approx(0.95, abs=0.03)  # 600 intervals, correlated: 1 % a standard error


def test_votes_to_tell_two_models_apart():
    assert arena.votes_to_tell_apart(3) == pytest.approx(105_270, rel=1e-4)
    assert arena.votes_to_tell_apart(10) == pytest.approx(9472, rel=1e-3)
    n = round(arena.votes_to_tell_apart(20))
    p = arena.win_probability(20)
    wins = np.arange(n + 1)
    share = np.clip(wins / n, 1e-9, 1 - 1e-9)
    z = np.log(share / (1 - share)) * np.sqrt(n * share * (1 - share))
    power = scipy.stats.binom.pmf(wins, n, p)[z > 1.959964].sum()
    assert power == pytest.approx(0.8, abs=0.02)
    assert arena.votes_to_tell_apart(20, ties=0.25) == pytest.approx(0.75 * arena.votes_to_tell_apart(20))


# --- ranks ---


def test_the_distribution_of_ranks_is_that_of_drawn_scores():
    table = arena.lecture_leaderboard()
    errors = (table.upper - table.lower) / (2 * 1.96)
    exact = arena.rank_distribution(table.scores, errors)
    draws = table.scores + errors * np.random.default_rng(0).normal(size=(200_000, 13))
    places = (-draws).argsort(1).argsort(1)
    seen = np.stack([(places == k).mean(0) for k in range(13)], axis=1)
    assert np.abs(seen - exact).max() < 0.005
    assert exact[0, 0] == pytest.approx(0.710, abs=0.001)
    assert (places == np.arange(13)).all(1).mean() == pytest.approx(0.17, abs=0.01)
    assert exact.sum(0) == pytest.approx(np.ones(13)) and exact.sum(1) == pytest.approx(np.ones(13))


@given(st.integers(2, 5), st.integers(0, 10**6))
@settings(max_examples=25, deadline=None)
def test_the_distribution_of_ranks_by_enumeration(M, seed):
    generator = np.random.default_rng(seed)
    scores, errors = generator.normal(0, 2, M), generator.uniform(0.5, 2, M)
    x = np.linspace(-9, 9, 1201)
    table = np.zeros((M, M))
    for i in range(M):
        others = [j for j in range(M) if j != i]
        own = scipy.stats.norm.pdf(x) * (x[1] - x[0])
        above = [scipy.stats.norm.sf(scores[i] + errors[i] * x, scores[j], errors[j]) for j in others]
        for who in itertools.product((0, 1), repeat=M - 1):
            chance = np.prod([q if k else 1 - q for q, k in zip(above, who, strict=True)], axis=0)
            table[i, sum(who)] += own @ chance
    assert arena.rank_distribution(scores, errors) == pytest.approx(table, abs=1e-4)


# --- style ---


def with_style(M=5, n=3000, seed=0, beta=(0.8, -0.3)):
    generator = np.random.default_rng(seed)
    scores, battles = drawn(M, n, seed, ties=0)
    habits = generator.normal(size=(M, len(beta)))
    X = habits[battles.a] - habits[battles.b] + generator.normal(size=(n, len(beta)))
    p = arena.win_probability(scores[battles.a] - scores[battles.b] + arena.SCALE * X @ np.array(beta))
    half = 2 * (generator.random(n) < p).astype(int)
    return scores - scores.mean() + 1000, X, Battles(battles.models, battles.a, battles.b, half)


@pytest.mark.parametrize("seed", range(3))
def test_style_control_is_logistic_regression_with_more_columns(seed):
    scores, X, battles = with_style(seed=seed)
    found, beta = arena.fit_style(battles.a, battles.b, battles.points, X, 5)
    rows, their_beta = by_rows(battles, X)
    assert np.abs(found - rows).max() < 1e-2 and np.abs(beta - their_beta).max() < 1e-4
    assert np.abs(found - scores).max() < 60 and beta == pytest.approx([0.8, -0.3], abs=0.15)
    plain, none = arena.fit_style(battles.a, battles.b, battles.points, X[:, :0], 5)
    assert plain == pytest.approx(arena.fit_bradley_terry(battles.wins)) and none.shape == (0,)


def test_style_differences():
    found = arena.style_difference([300, 0, 5], [100, 0, 15])
    assert found == pytest.approx([0.5, 0, -0.5])


def test_style_that_the_votes_do_not_fix_is_refused():
    _, X, battles = with_style()
    own = np.arange(5.0)
    for columns in (np.hstack([X, X[:, :1]]), (own[battles.a] - own[battles.b])[:, None]):
        with pytest.raises(ValueError, match="is a feature made of the others"):
            arena.fit_style(battles.a, battles.b, battles.points, columns, 5)
    with pytest.raises(ValueError, match="do not fix"):
        arena.fit_style(battles.a, battles.b, battles.points, (battles.points - 0.5)[:, None], 5)


# --- curl ---


def loops_of(pairs, M):
    """A row for each loop of three and of four: +1, -1 at the pairs (i < j) that it runs along."""
    rows = []
    for length in (3, 4):
        for loop in itertools.permutations(range(M), length):
            if loop[0] != min(loop):
                continue
            steps = list(zip(loop, loop[1:] + loop[:1], strict=True))
            if all(tuple(sorted(step)) in pairs for step in steps):
                row = np.zeros(len(pairs))
                for i, j in steps:
                    row[pairs.index((min(i, j), max(i, j)))] += 1 if i < j else -1
                rows.append(row)
    return np.array(rows).reshape(-1, len(pairs))


def by_triangles(wins):
    """χ² as the part of the log-odds along all loops, in the metric of the weights."""
    Y, w = log_odds(wins)
    M = len(wins)
    pairs = [(i, j) for i in range(M) for j in range(i + 1, M) if wins[i, j] + wins[j, i] > 0]
    y, v = (np.array([table[pair] for pair in pairs]) for table in (Y, w))
    loops = loops_of(pairs, M)
    along = loops @ y
    chi2 = along @ np.linalg.pinv(loops @ (loops / v).T, 1e-10) @ along
    return chi2 / (v @ y**2), chi2, np.linalg.matrix_rank(loops) if len(loops) else 0


@pytest.mark.parametrize("seed", range(6))
def test_the_curl_is_the_projection_onto_all_loops(seed):
    generator = np.random.default_rng(seed)
    M = 4 + seed % 3
    wins = generator.integers(1, 60, (M, M)) * (1 - np.eye(M, dtype=int))
    if seed % 2:
        wins[0, 2] = wins[2, 0] = 0  # a pair that never met
    assert arena.curl_share(wins) == pytest.approx(by_triangles(wins))


def test_rock_paper_scissors_is_all_curl_and_a_ladder_has_none():
    rock = np.array([[0, 90, 10], [10, 0, 90], [90, 10, 0]])
    share, chi2, freedom = arena.curl_share(rock)
    assert share == pytest.approx(1) and freedom == 1
    assert chi2 == pytest.approx(9 * math.log(90.5 / 10.5) ** 2 / 3 / (1 / 90.5 + 1 / 10.5))
    assert arena.curl_share(np.array([[0, 3], [5, 0]]))[2] == 0
    odds = np.exp(np.subtract.outer([0.0, 1.0, 2.5], [0.0, 1.0, 2.5]))
    ladder = 1000 * odds / (1 + odds) - 0.5
    assert arena.curl_share(ladder * (1 - np.eye(3)))[1] == pytest.approx(0, abs=1e-9)
    apart = np.zeros((5, 5))
    apart[:3, :3], apart[3, 4], apart[4, 3] = rock, 2, 5
    assert arena.curl_share(apart)[2] == 1


def test_without_a_cycle_chi_squared_is_as_large_as_its_degrees_of_freedom():
    scores = np.linspace(1200, 800, 6)
    found = []
    for seed in range(200):
        generator = np.random.default_rng(seed)
        wins = generator.binomial(500, np.triu(arena.expected_points(scores), 1))
        wins = wins + np.triu(500 - wins, 1).T
        found.append(arena.curl_share(wins))
    chi2 = np.array(found)[:, 1]
    assert {freedom for *_, freedom in found} == {10}
    assert chi2.mean() == pytest.approx(10, abs=1.0) and chi2.var() == pytest.approx(20, abs=7)


# --- tables, files ---


def test_a_leaderboard_from_a_file(tmp_path):
    _, battles = drawn(M=4, n=800)
    words = np.array(["model_b", "tie", "model_a"])[battles.half_points]
    rows = [
        {
            "model_a": battles.models[i],
            "model_b": battles.models[j],
            "winner": w,
            "language": "English" if n % 3 else "French",
        }
        for n, (i, j, w) in enumerate(zip(battles.a, battles.b, words, strict=True))
    ]
    rows[0]["winner"] = rows[0]["winner"].replace("tie", "tie (bothbad)")
    with open(tmp_path / "a.csv", "w", newline="") as file:
        writer = csv.DictWriter(file, rows[0])
        writer.writeheader()
        writer.writerows(rows)
    (tmp_path / "b.jsonl").write_text("\n".join(map(json.dumps, rows)) + "\n")
    (tmp_path / "c.json").write_text(json.dumps(rows))
    tables = []
    for name in ("a.csv", "b.jsonl", "c.json"):
        read = arena.read_battles(tmp_path / name, columns=["language"])
        assert (read.counts == battles.counts).all() and read.models == battles.models
        tables.append(str(arena.leaderboard(read)))
        assert len(read.where("language", "French")) == math.ceil(800 / 3)
    assert len(set(tables)) == 1
    with pytest.raises(ValueError, match="no column 'lang'; there are language"):
        read.where("lang", "French")


def test_a_leaderboard_is_in_order_and_anchored():
    _, battles = drawn(M=4, ties=0.3)
    battles = Battles((*battles.models, "idle"), battles.a, battles.b, battles.half_points)
    table = arena.leaderboard(battles, anchor="model 2", at=1114)
    assert (np.diff(table.scores) < 0).all() and len(table.models) == 4
    place = table.models.index("model 2")
    assert table.scores[place] == table.lower[place] == table.upper[place] == pytest.approx(1114)
    wide = arena.leaderboard(battles, interval="fisher")
    narrow = arena.leaderboard(battles)
    assert ((wide.upper - wide.lower) > (narrow.upper - narrow.lower)).all()
    assert arena.leaderboard(battles.without("model 2")).models == tuple(
        name for name in table.models if name != "model 2"
    )
    with pytest.raises(ValueError, match="interval must be one of sandwich, fisher"):
        arena.leaderboard(battles, interval="exact")


# --- what cannot be fitted ---


def fought(*rows):
    return Battles.from_names(*zip(*rows, strict=True))


DEGENERATE = {
    "ann never lost, so its score has no upper bound": [("ann", "bob", "model_a"), ("bob", "eve", "model_a"), ("eve", "bob", "tie")],
    "eve never won, so its score has no lower bound": [("ann", "bob", "model_a"), ("bob", "ann", "tie"), ("bob", "eve", "model_a")],
    "ann and bob never met dan": [("ann", "bob", "tie"), ("dan", "eve", "tie")],
    "dan and eve never won against the other models": [("ann", "bob", "tie"), ("dan", "eve", "tie"), ("ann", "eve", "model_a")],
    "ann never lost": [("bob", "ann", "model_b")],  # one vote
}  # fmt: skip


@pytest.mark.parametrize("words", DEGENERATE)
def test_votes_that_fix_no_scores_are_refused_by_name(words):
    with pytest.raises(ValueError, match=words):
        arena.leaderboard(fought(*DEGENERATE[words]))
    with pytest.raises(ValueError, match="model 0|model 2"):
        arena.fit_bradley_terry(fought(*DEGENERATE[words]).wins)


def test_one_tie_is_enough_for_two():
    assert list(arena.leaderboard(fought(("ann", "bob", "tie"))).scores) == [1000, 1000]


def test_a_fit_exists_exactly_if_everyone_is_reached():
    """Ford's condition, by a search along wins, on all tables of three and many of four."""
    tables = [np.array(bits).reshape(3, 3) for bits in itertools.product((0, 1), repeat=9)]
    tables += [
        np.random.default_rng(s).integers(0, 2, (4, 4)) * (np.random.default_rng(s + 9).random((4, 4)) < 0.7)
        for s in range(60)
    ]
    for wins in tables:
        wins = wins * (1 - np.eye(len(wins), dtype=int))
        reached = [{i} for i in range(len(wins))]
        for _ in wins:
            reached = [group | {j for i in group for j in np.flatnonzero(wins[i])} for group in reached]
        if all(len(group) == len(wins) for group in reached):
            assert np.isfinite(arena.fit_bradley_terry(wins)).all()
        else:
            with pytest.raises(ValueError, match="never|no battle"):
                arena.fit_bradley_terry(wins)


@pytest.mark.parametrize(
    ("wins", "words"),
    [
        (np.ones((2, 3)), "square table"),
        (np.array([[0, -1], [1, 0]]), "0 or more"),
        (np.array([[0, np.nan], [1, 0]]), "0 or more"),
        (np.eye(2), "no model meets itself"),
        (np.zeros((0, 0)), "two models or more"),
        (np.array([[0, 0, 1], [0, 0, 0], [1, 0, 0]]), "model 1 has no battle"),
    ],
)
def test_tables_that_are_none_are_refused(wins, words):
    with pytest.raises(ValueError, match=words):
        arena.fit_bradley_terry(wins)


def test_too_few_votes_for_a_bootstrap():
    battles = fought(*[("ann", "bob", "model_a")] * 3, ("ann", "bob", "model_b"))
    with pytest.raises(ValueError, match="too few votes for a bootstrap, use the sandwich: .* never"):
        arena.bootstrap(battles, 50, np.random.default_rng(0))


def test_names_and_rows_are_checked():
    battles = fought(("gpt-4", "claude", "tie"))
    with pytest.raises(ValueError, match="no model 'gtp-4'; near: gpt-4"):
        arena.leaderboard(battles, anchor="gtp-4")
    with pytest.raises(ValueError, match="two different models"):
        Battles(("a", "b"), [0], [0], [1])
    with pytest.raises(ValueError, match="numbered 0 to 1"):
        Battles(("a", "b"), [0], [2], [1])
    with pytest.raises(ValueError, match="weight"):
        Battles(("a", "b"), [0], [1], [1], np.array([-1.0]))
    with pytest.raises(ValueError, match="equally long"):
        Battles(("a", "b"), [0, 1], [1], [1])
    with pytest.raises(ValueError, match="a winner is one of model_a"):
        fought(("a", "b", "a"))
    with pytest.raises(ValueError, match="an error above 0"):
        arena.rank_distribution(np.ones(3), np.zeros(3))


FILES = {
    "model_a,model_b,winner\n": "holds no battle",
    "": "holds no battle",
    "model_a,winner\nx,tie\n": "battle 1: no model_b",
    "model_a,model_b,winner\nx,,tie\n": "battle 1: no model_b",
    "model_a,model_b,winner\nx,y,tie\nx,y,draw\n": "battle 2: winner is 'draw'",
    "model_a,model_b,winner\nx,x,tie\n": "battle 1: x meets itself",
    '{"model_a": "x", "model_b": "y", "winner": "tie"}\n{"model_a"': "line 2 is not valid JSON",
    "[1, 2]": "must hold objects",
}


@pytest.mark.parametrize("text", FILES)
def test_files_that_cannot_be_read_say_where(tmp_path, text):
    path = tmp_path / "battles"
    path.write_text(text)
    with pytest.raises(ValueError, match=FILES[text]):
        arena.read_battles(path)
    with pytest.raises(FileNotFoundError):
        arena.read_battles(tmp_path / "nowhere")
