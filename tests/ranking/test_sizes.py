import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from archsearch.ranking import size_report, spearman


@given(st.lists(st.tuples(st.integers(0, 5), st.integers(0, 5)), min_size=3, max_size=20))
def test_spearman_agrees_with_scipy(pairs):
    x, y = zip(*pairs, strict=True)
    if len(set(x)) == 1 or len(set(y)) == 1:
        assert spearman(x, y) is None
    else:
        assert spearman(x, y) == pytest.approx(stats.spearmanr(x, y).statistic, abs=1e-12)


@pytest.mark.parametrize(("sizes", "matched"), [([97, 103], True), ([96, 104], False), ([100, 100], True)])
def test_sizes_within_three_percent_of_a_target_are_matched(sizes, matched):
    assert size_report([0.1, 0.2], sizes).matched is matched


def test_no_candidates_no_report():
    assert size_report([], []) is None


def test_two_candidates_have_no_correlation():
    assert size_report([0.1, 0.2], [1, 2]).correlation is None
