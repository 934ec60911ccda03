import pytest
from scipy import stats

from archsearch.ranking import two_sided_p


@pytest.mark.parametrize("df", [1, 2, 3, 5.5, 12, 100, 2000])
@pytest.mark.parametrize("t", [0.0, 0.01, 0.1, 0.5, 1.0, 2.0, 5.0, 20.0, 300.0])
def test_tail_agrees_with_scipy(t, df):
    assert two_sided_p(t, df) == pytest.approx(2 * stats.t.sf(t, df), rel=1e-9)
    assert two_sided_p(-t, df) == two_sided_p(t, df)


def test_an_infinite_statistic_leaves_no_doubt():
    assert two_sided_p(float("inf"), 3) == 0.0
