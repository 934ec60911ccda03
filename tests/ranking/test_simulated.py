"""The promises of the ranking, by simulation: what is equal shares its ranks, and what differs does not.

    python -m pytest -q tests/ranking/test_simulated.py

`python -m tests.benchmarks.bench_twins` asks the same of networks that are really trained.
"""

import random
from collections.abc import Sequence

import pytest

from archsearch.ranking import Entry, RankSet, rank

SEEDS = 5


def board(means: Sequence[float], rng: random.Random, *, spread: float = 1.0, high: float | None = None):
    """The rank sets of candidates with these means, each with `SEEDS` scores, in the order of the means."""
    entries = []
    for i, mean in enumerate(means):
        samples = tuple(rng.gauss(mean, spread) for _ in range(SEEDS))
        samples = samples if high is None else tuple(min(s, high) for s in samples)
        entries.append(Entry(str(i), "finals", "same", sum(samples) / SEEDS, samples))
    sets = {r.entry.key: r.ranks for r in rank(entries)}
    return [sets[str(i)] for i in range(len(means))]


def test_of_200_pairs_of_identical_candidates_at_most_8_percent_are_ranked_apart():
    rng = random.Random(0)
    apart = sum(RankSet(1, 1) in board([0.0, 0.0], rng) for _ in range(200))
    assert 0 < apart <= 0.08 * 200, "a test that never tells apart would say nothing"


@pytest.mark.parametrize("spread", [0.01, 1.0])
def test_fifty_clones_are_one_group_in_95_percent_of_campaigns(spread):
    rng = random.Random(1)
    everyone = [RankSet(1, 50)] * 50
    runs = 60
    assert sum(board([0.5] * 50, rng, spread=spread) == everyone for _ in range(runs)) >= 0.95 * runs


@pytest.mark.parametrize("others", [0, 8, 24])
def test_four_deviations_of_a_seed_are_told_apart_in_80_percent(others):
    """Alone, and among as many others whose comparisons have to be paid for."""
    rng = random.Random(2)
    runs = 40
    told = 0
    for _ in range(runs):
        first, second = board([4.0, 0.0, *(-6.0 - i for i in range(others))], rng)[:2]
        told += first.high < second.low
    assert told >= 0.8 * runs


def test_clones_that_touch_a_ceiling_are_one_group_too():
    rng = random.Random(3)
    everyone = [RankSet(1, 10)] * 10
    runs = 200
    assert sum(board([1.0] * 10, rng, high=1.0) == everyone for _ in range(runs)) >= 0.9 * runs
