import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from archsearch.ranking import RankSet, rank_sets
from archsearch.ranking.sets import holm, pooled_variance

SAMPLES = st.lists(st.lists(st.floats(0, 1), min_size=1, max_size=4), min_size=1, max_size=6)


def draw(rng, spreads, seeds, shifts=None):
    shifts = shifts or [0.0] * len(spreads)
    return [[rng.gauss(m, s) for _ in range(seeds)] for m, s in zip(shifts, spreads, strict=True)]


def false_difference_rate(spreads, seeds, runs=400):
    rng = random.Random(0)
    everyone = RankSet(1, len(spreads))
    return sum(any(r != everyone for r in rank_sets(draw(rng, spreads, seeds))) for _ in range(runs)) / runs


@pytest.mark.parametrize("count", [3, 6, 10])
@pytest.mark.parametrize("seeds", [2, 3, 5])
def test_equal_candidates_are_rarely_told_apart(count, seeds):
    assert false_difference_rate([1.0] * count, seeds) <= 0.05


@pytest.mark.parametrize("spreads", [[10.0] + [0.1] * 5, [10.0, 10.0] + [0.01] * 4, [1.0, 3.0, 9.0, 27.0, 81.0]])
def test_unequal_spreads_at_three_seeds_cost_little(spreads):
    assert false_difference_rate(spreads, 3) <= 0.09  # 6 % nominally, and 400 runs


def test_true_ranks_lie_in_their_sets():
    rng = random.Random(1)
    hits = 0
    for _ in range(300):
        sets = rank_sets(draw(rng, [1.0] * 5, 3, shifts=[4.0, 3.0, 2.0, 1.0, 0.0]))
        hits += all(s.low <= i <= s.high for i, s in enumerate(sets, start=1))
    assert hits / 300 >= 0.95


def test_distant_candidates_are_told_apart_at_three_seeds():
    rng = random.Random(2)
    sets = rank_sets(draw(rng, [0.02, 0.02, 0.02], 3, shifts=[0.9, 0.6, 0.3]))
    assert [str(s) for s in sets] == ["1", "2", "3"]


def test_close_candidates_share_their_ranks_and_a_far_one_does_not():
    sets = rank_sets([[0.90, 0.92, 0.91], [0.91, 0.90, 0.92], [0.30, 0.31, 0.29]])
    assert [str(s) for s in sets] == ["1–2", "1–2", "3"]


def test_single_seeds_give_no_sets():
    assert rank_sets([[0.9], [0.1]]) is None


def test_a_single_seed_borrows_the_pooled_spread():
    assert [str(s) for s in rank_sets([[0.9, 0.91, 0.9], [0.1]])] == ["1", "2"]


def test_identical_scores_are_a_tie_even_without_any_spread():
    assert [str(s) for s in rank_sets([[1.0, 1.0], [1.0, 1.0], [0.5, 0.5]])] == ["1–2", "1–2", "3"]


def test_holm_stops_at_the_first_failure():
    assert holm([0.01, 0.04, 0.03], 0.05) == [True, False, False]
    assert holm([0.01, 0.02, 0.04], 0.05) == [True, True, True]


def test_pooling_weighs_by_degrees_of_freedom():
    variance, df = pooled_variance([[0.0, 2.0], [0.0, 0.0, 0.0], [7.0]])
    assert (variance, df) == (pytest.approx(2.0 / 3), 3)


@given(SAMPLES)
def test_sets_are_possible_ranks_and_follow_the_means(samples):
    sets = rank_sets(samples)
    if all(len(s) == 1 for s in samples):
        assert sets is None
        return
    assert all(1 <= s.low <= s.high <= len(samples) for s in sets)
    best = max(range(len(samples)), key=lambda i: sum(samples[i]) / len(samples[i]))
    assert sets[best].low == 1


def test_a_score_that_no_seed_changes_has_no_spread_and_lends_none():
    others = [[0.50, 0.52, 0.51], [0.60, 0.62, 0.61]]
    close = [[0.535], *others]
    assert rank_sets(close)[0] == RankSet(2, 3), "one sample with the spread of a seed"
    assert rank_sets(close, exact=[True, False, False]) == [RankSet(2, 2), RankSet(3, 3), RankSet(1, 1)]
    many = [[0.535] * 30, *others]
    assert rank_sets(many, exact=[True, False, False])[1:] == rank_sets(close, exact=[True, False, False])[1:]
    assert rank_sets([[0.5, 0.5], [0.6]], exact=[True, False]) is None, "nothing is known of the other's spread"
    assert rank_sets([[0.45], [0.45], *others], exact=[True, True, False, False])[:2] == [RankSet(3, 4)] * 2
