"""Solving a width for a number of parameters."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from archsearch.errors import RuleError
from archsearch.graph.match import solve


class Counter:
    """`a w² + b w` at multiples of `unit`; notes how often it is asked."""

    def __init__(self, unit: int, a: int, b: int = 0, low: int = 1) -> None:
        self.unit, self.a, self.b, self.low, self.asked = unit, a, b, low, 0

    def at(self, width: int) -> int:
        return self.a * width**2 + self.b * width

    def __call__(self, width: int) -> int:
        self.asked += 1
        if width % self.unit or width < self.low:
            raise RuleError("`heads` must divide the width", value=f"heads={self.unit}, width={width}")
        return self.at(width)


UNITS = st.sampled_from([1, 2, 3, 4, 5, 6, 7, 8, 12, 16, 24, 32, 48, 64])


@given(UNITS, st.integers(2, 60), st.integers(0, 300), st.integers(1_000, 3_000_000), st.integers(8, 200))
def test_finds_the_nearest_width_or_says_that_none_is_near(unit: int, a: int, b: int, target: int, start: int) -> None:
    count = Counter(unit, a, b)
    gap, best = min((abs(count.at(w) - target), w) for w in range(unit, 1500 + unit, unit))
    if gap <= 0.03 * target:
        assert solve(count, target, start=start) == best
    else:
        with pytest.raises(RuleError, match=f"within 3% of {target:,}"):
            solve(count, target, start=start)


@pytest.mark.parametrize(("unit", "most"), [(1, 6), (2, 7), (4, 7), (8, 8), (16, 10), (24, 12)])
@pytest.mark.parametrize("target", [10_000, 100_000, 1_000_000])
def test_asks_few_times_from_a_start_that_fits(unit: int, most: int, target: int) -> None:
    for a in range(3, 60, 4):
        count = Counter(unit, a, 100)
        with contextlib.suppress(RuleError):
            solve(count, target, start=96)
        assert count.asked <= most


def test_error_names_the_neighbours() -> None:
    with pytest.raises(RuleError) as caught:
        solve(Counter(8, 30), 107_000, start=64)
    assert caught.value.rule == "no width brings the parameters within 3% of 107,000"
    assert caught.value.value == "width 56 gives 94,080, width 64 gives 122,880"


def test_smallest_width_too_large() -> None:
    with pytest.raises(RuleError) as caught:
        solve(Counter(16, 1000), 1000, start=64, name="size")
    assert caught.value.value == "size 16 gives 256,000"
    assert "make the architecture smaller" in str(caught.value.hint)


def test_count_that_does_not_grow() -> None:
    with pytest.raises(RuleError, match="no width brings the parameters within 3% of 1,000"):
        solve(lambda width: 12, 1000, start=64)


def test_no_width_fits() -> None:
    def count(width: int) -> int:
        raise RuleError("`parts` must divide the width", value=f"width={width}")

    with pytest.raises(RuleError, match="no width fits: `parts` must divide the width, but got width=64"):
        solve(count, 1000, start=64)


def test_start_that_does_not_fit_is_no_obstacle() -> None:
    assert solve(Counter(16, 10), 10 * 80**2, start=63) == 80


def test_widths_below_a_bound_do_not_fit() -> None:
    assert solve(Counter(4, 10, low=32), 10 * 40**2, start=64) == 40
