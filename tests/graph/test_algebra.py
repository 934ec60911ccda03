"""The algebra of spaces, against brute force on small ones."""

from __future__ import annotations

import itertools
import json
import math
import random
from collections import Counter
from typing import Any

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from archsearch.errors import FileError, RuleError
from archsearch.graph.domain import Categorical, Integer, Real, Subset
from archsearch.graph.points import another, closest, first, holds, others, points
from archsearch.graph.space import SearchSpace
from tests.graph.language_toys import nodes, read
from tests.graph.spaces import random_space

SEEDS = st.integers(0, 10**9)

NESTED = """
choices: {heads: {choose: [2, 4]}}
define:
  mixer:
    choose:
      attention: {nodes: {n: {op: rms_norm, from: in}, out: {op: mlp, expand: $heads, from: n}}}
      wide: {op: mlp, expand: {int: [1, 8]}}
      plain: {op: tanh}
graph:
  nodes:
    body: {repeat: mixer, times: {int: [1, 2]}, from: in}
    out: {op: {choose: [tanh, rms_norm]}, from: body}
"""


def key(decisions: Any) -> str:
    return json.dumps(dict(decisions), sort_keys=True)


@pytest.fixture(scope="module")
def nested() -> SearchSpace:
    return read(NESTED)


# ---- enumeration -----------------------------------------------------------------------------------------------------


@settings(max_examples=60, deadline=None)
@given(SEEDS)
def test_every_point_once_as_many_as_the_size(seed: int) -> None:
    space = random_space(random.Random(seed), 300)
    found = list(space.enumerate())
    assert len(found) == len({key(s.decisions) for s in found}) == space.size().exact
    assert [s.decisions for s in found] == [s.decisions for s in space.enumerate()]
    assert all(space.decide(s.decisions) == s for s in found[:20])


def test_points_come_in_the_order_of_counting(nested: SearchSpace) -> None:
    found = [list(s.decisions.values()) for s in nested.enumerate()]
    assert found[:4] == [[1, "attention", 2, "tanh"], [1, "attention", 2, "rms_norm"],
                         [1, "attention", 4, "tanh"], [1, "attention", 4, "rms_norm"]]  # fmt: skip
    assert len(found) == nested.size().exact


def test_refused_points_are_left_out() -> None:
    space = read("require: [params <= 300]\ngraph: {op: linear, width: {choose: [1, 2, 4, 8]}}\nscale: {width: 64}")
    assert [s.decisions for s in space.enumerate()] == [{"width": 1}, {"width": 2}, {"width": 4}]


@pytest.mark.parametrize("by", ["{int: [1, 11]}", "{float: [1, 2]}"])
def test_a_large_space_is_not_enumerated(by: str) -> None:
    space = nodes(f"out: {{op: scaled, by: {by}, from: in}}")
    with pytest.raises(RuleError, match=r"at most 10 combinations of decisions, but got (11|infinite)"):
        space.enumerate(10)


# ---- neighbours and distance -----------------------------------------------------------------------------------------


@settings(max_examples=40, deadline=None)
@given(SEEDS)
def test_neighbours_change_one_decision_and_what_hangs_on_it(seed: int) -> None:
    rng = random.Random(seed)
    space = random_space(rng, 300)
    here = space.sample(rng).decisions
    found = [s.decisions for s in space.neighbours(here)]
    everything = [s.decisions for s in space.enumerate()]
    assert len({key(f) for f in found}) == len(found)
    for there in found:
        assert key(there) in {key(e) for e in everything}
        assert sum(here[p] != there[p] for p in here.keys() & there.keys()) == 1
    # All that differ in exactly one decision, opening and closing none, are among them.
    near = {key(e) for e in everything if e.keys() == here.keys() and space.distance(e, here) == 1}
    assert near <= {key(f) for f in found}
    assert len(found) == sum(len(list(points(d))) - 1 for d in space.domains_of(here).values())


def test_what_a_change_opens_is_the_first_or_drawn(nested: SearchSpace) -> None:
    here = next(s.decisions for s in nested.enumerate() if "plain" in s.decisions.values())
    wide = [s.decisions for s in nested.neighbours(here) if "wide" in s.decisions.values()]
    assert [d["body.0.wide.expand"] for d in wide] == [1]
    drawn = {
        d["body.0.wide.expand"]
        for seed in range(60)
        for s in nested.neighbours(here, random.Random(seed))
        if "wide" in (d := s.decisions).values() and "body.0.wide.expand" in d
    }
    assert drawn == set(range(1, 9))


def test_neighbours_of_a_real_lie_on_both_sides() -> None:
    space = nodes("out: {op: scaled, by: {float: [1e-4, 1], log: true}, from: in}")
    low, high = (s.decisions["out.by"] for s in space.neighbours({"out.by": 1e-2}))
    assert math.isclose(low, 10**-2.4)
    assert math.isclose(high, 10**-1.6)
    assert [s.decisions["out.by"] for s in space.neighbours({"out.by": 1.0})] == [pytest.approx(10**-0.4)]


@settings(max_examples=30, deadline=None)
@given(SEEDS)
def test_distance_is_a_metric(seed: int) -> None:
    rng = random.Random(seed)
    space = random_space(rng)
    a, b, c = (space.sample(rng).decisions for _ in range(3))
    assert space.distance(a, a) == 0
    assert space.distance(a, b) == space.distance(b, a)
    assert (space.distance(a, b) == 0) == (a == b)
    assert space.distance(a, c) <= space.distance(a, b) + space.distance(b, c)


def test_distance_counts_what_only_one_side_decided(nested: SearchSpace) -> None:
    a = {"x": "gru"}
    assert nested.distance(a, {"x": "attention", "x.heads": 2}) == 2
    assert nested.distance({"x": ["a", "b"]}, {"x": ("a", "b")}) == 0
    assert nested.distance({"x": 1}, {"x": True}) == 1


# ---- mutation and crossover ------------------------------------------------------------------------------------------


@settings(max_examples=60, deadline=None)
@given(SEEDS, st.integers(1, 4))
def test_a_mutation_changes_n_of_the_decisions_that_stay(seed: int, n: int) -> None:
    rng = random.Random(seed)
    space = random_space(rng)
    here = space.sample(rng).decisions
    assume(here)
    there = space.mutate(here, rng, n)
    assert space.decide(there.decisions) == there
    changed = [p for p in here.keys() & there.decisions.keys() if here[p] != there.decisions[p]]
    assert space.distance(here, there.decisions) >= 1
    assert len(changed) <= n
    if n == 1:
        assert len(changed) == 1


def test_mutations_reach_every_decision(nested: SearchSpace) -> None:
    here = nested.sample(random.Random(1)).decisions
    changed = Counter(
        p
        for seed in range(200)
        for p, v in nested.mutate(here, random.Random(seed)).decisions.items()
        if p in here and here[p] != v
    )
    assert set(changed) == set(here)
    assert min(changed.values()) > 200 / len(here) / 2


def test_a_point_without_another_cannot_be_mutated() -> None:
    with pytest.raises(RuleError, match="must have a decision with two values"):
        nodes("out: {op: tanh, from: in}").mutate({}, random.Random(0))


def test_a_mutation_that_is_always_refused_says_so() -> None:
    space = read("require: [params <= 100]\ngraph: {op: linear, width: {choose: [1, 64]}}\nscale: {width: 64}")
    with pytest.raises(FileError, match="`require` must be met by some architecture, and none of 5 was"):
        space.mutate({"width": 1}, random.Random(0), tries=5)


@settings(max_examples=60, deadline=None)
@given(SEEDS)
def test_a_crossover_takes_every_decision_from_a_parent_that_made_it(seed: int) -> None:
    rng = random.Random(seed)
    space = random_space(rng)
    a, b = space.sample(rng).decisions, space.sample(rng).decisions
    child = space.crossover(a, b, rng)
    assert space.decide(child.decisions) == child
    for path, value in child.decisions.items():
        if path in a or path in b:
            assert any(path in p and p[path] == value for p in (a, b))
    assert space.crossover(a, a, rng).decisions == a


def test_a_crossover_mixes_both(nested: SearchSpace) -> None:
    a, b = (s.decisions for s in itertools.islice(nested.enumerate(), 0, 40, 39))
    children = {key(nested.crossover(a, b, random.Random(i)).decisions) for i in range(50)}
    assert children - {key(a), key(b)}


# ---- uniform sampling ------------------------------------------------------------------------------------------------


def chi_square(counts: Counter[str], cells: int) -> float:
    """How far `counts` are from even, in standard deviations of the chi-square distribution."""
    mean = counts.total() / cells
    found = sum((n - mean) ** 2 / mean for n in counts.values()) + (cells - len(counts)) * mean
    return (found - (cells - 1)) / math.sqrt(2 * max(cells - 1, 1))


@settings(max_examples=25, deadline=None, derandomize=True)
@given(SEEDS)
def test_each_point_is_as_likely_as_any_other(seed: int) -> None:
    rng = random.Random(seed)
    space = random_space(rng, 60)
    every = {key(s.decisions) for s in space.enumerate()}
    drawn = Counter(key(space.sample(rng, uniform="architectures").decisions) for _ in range(20 * len(every)))
    assert set(drawn) <= every
    assert abs(chi_square(drawn, len(every))) < 5


def test_uniform_over_decisions_is_something_else(nested: SearchSpace) -> None:
    rng = random.Random(0)
    size = nested.size().count
    over = {
        how: Counter(key(nested.sample(rng, uniform=how).decisions) for _ in range(10 * size))
        for how in ("architectures", "decisions")
    }
    assert abs(chi_square(over["architectures"], size)) < 4
    assert chi_square(over["decisions"], size) > 20
    with pytest.raises(ValueError, match="`uniform` must be decisions or architectures, but got 'points'"):
        nested.sample(rng, uniform="points")


def test_uniform_sampling_of_a_space_beyond_counting() -> None:
    space = nodes("out: {repeat: {op: mlp, expand: {int: [1, 10]}}, times: {int: [1, 300]}, from: in}")
    drawn = [space.sample(random.Random(i), uniform="architectures").decisions for i in range(10)]
    # 9 of 10 points have the largest number of turns.
    assert sum(d["out.times"] == 300 for d in drawn) >= 6


def test_uniform_sampling_draws_reals_and_minds_require() -> None:
    space = read("""
        require: [params <= 300]
        graph:
          nodes:
            s: {op: scaled, by: {float: [1, 2]}, from: in}
            out: {op: linear, width: {choose: [1, 2, 64]}, from: s}
        scale: {width: 64}
        """)
    drawn = [space.sample(random.Random(i), uniform="architectures").decisions for i in range(40)]
    assert {d["out.width"] for d in drawn} == {1, 2}
    assert len({d["s.by"] for d in drawn}) == 40


# ---- repair ----------------------------------------------------------------------------------------------------------


def test_repair_reports_what_changed() -> None:
    space = nodes("""
        a: {op: mlp, expand: {int: [2, 8]}, activation: {choose: [gelu, relu]}, from: in}
        b: {op: scaled, by: {float: [0, 1]}, from: {choose: [in, a]}}
        out: {op: add, from: {any_of: [in, a, b], at_least: 2}}
    """)
    old = {"a.expand": 16, "a.activation": "relu", "b.by": -2.5, "b.from": "h", "out.from": ["a", "gone"], "c.k": 3}
    fixed = space.repair(old)
    assert fixed.sample == space.decide(fixed.sample.decisions)
    assert {kind: fixed.of(kind) for kind in ("kept", "moved", "filled", "dropped")} == {
        "kept": {"a.activation": ("relu", "relu")},
        "moved": {"a.expand": (16, 8), "b.by": (-2.5, 0.0), "out.from": (["a", "gone"], ["in", "a"])},
        "filled": {"b.from": ("h", "in")},
        "dropped": {"c.k": (3, None)},
    }
    assert str(fixed).splitlines() == [
        "1 decisions kept",
        "a.expand: 16 is not possible, moved to the nearest value: 8",
        "b.by: -2.5 is not possible, moved to the nearest value: 0.0",
        "b.from: h is not possible, filled in: in",
        "out.from: ['a', 'gone'] is not possible, moved to the nearest value: ['in', 'a']",
        "c.k: 3 dropped, the space does not ask for it",
    ]
    assert not fixed.is_whole


@settings(max_examples=60, deadline=None)
@given(SEEDS, SEEDS)
def test_repair_keeps_its_own_and_brings_over_the_rest(seed: int, other: int) -> None:
    rng = random.Random(seed)
    space, older = random_space(rng), random_space(random.Random(other))
    own = space.sample(rng)
    assert space.repair(own.decisions).is_whole
    assert space.repair(own.decisions).sample == own
    foreign = older.sample(rng).decisions
    fixed = space.repair(foreign, rng)
    assert space.decide(fixed.sample.decisions) == fixed.sample
    for path, (before, after) in fixed.of("kept").items():
        assert before == after == foreign[path] == fixed.sample.decisions[path]
    assert fixed.of("dropped").keys() == foreign.keys() - fixed.sample.decisions.keys()
    assert {c.path for c in fixed.changes} == foreign.keys() | fixed.sample.decisions.keys()


@pytest.mark.parametrize(
    ("domain", "value", "expected"),
    [
        (Integer(1, 9, 4), 6, 5), (Integer(1, 9, 4), 100, 9), (Integer(2, 4), 2.6, 3), (Integer(2, 4), "x", None),
        (Integer(2, 4), True, None), (Real(0.5, 1), 3, 1.0), (Real(0.5, 1), float("nan"), None),
        (Categorical((8, 16, 64)), 20, 16), (Categorical((8, 16, 64)), "16", None),
        (Categorical(("relu", "gelu")), "rellu", "relu"), (Categorical(("relu", "gelu")), 3, None),
        (Categorical((True, False)), 1, None), (Subset(("a", "b", "c"), 2), ["c", "x"], ("a", "c")),
        (Subset(("a", "b"), 1), ["x"], None), (Subset(("a", "b"), 1), "a", None),
    ],
)  # fmt: skip
def test_the_nearest_value(domain: Any, value: Any, expected: Any) -> None:
    found = closest(domain, value)
    assert found == expected
    assert found is None or (type(found) is type(expected) and holds(domain, found))


@pytest.mark.parametrize(
    "domain",
    [Categorical((1, True, "1")), Integer(1, 7, 3), Integer(1, 10**6, log=True), Subset(("a", "b", "c"), 2)],
)
def test_another_is_never_the_same(domain: Any) -> None:
    for value in itertools.islice(points(domain), 5):
        for seed in range(20):
            found = another(domain, value, random.Random(seed))
            assert (type(found), found) != (type(value), value)
            assert holds(domain, found)
    some = list(itertools.islice(points(domain), 50))
    assert len(list(itertools.islice(others(domain, some[0]), 49))) == len(some) - 1
    assert holds(domain, first(domain))


# ---- decisions that do not belong ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"body.time": 2, "body.times": None}, r"decision `body.times` must be there.*Did you mean `body.time`\?"),
        ({"bodi.3.mix": "plain"}, r"must all belong to the architecture, but got `bodi.3.mix`"),
        ({"out.opp": "tanh"}, r"`out.opp`. Did you mean `out.op`"),
        ({"body.1": "plain"}, r"`body.1`. It is asked for `body.times: 2`, for example\."),
        ({"body.0": "attenton"}, r"one of attention, wide, plain, but got 'attenton'. Did you mean `attention`\?"),
        ({"out.op": ["tanh"]}, r"`out.op` must be one of tanh, rms_norm, but got \['tanh'\]"),
        ({"body.times": "2"}, r"`body.times` must be a whole number from 1 to 2, but got '2'"),
    ],
)
@pytest.mark.parametrize(
    "use",
    [SearchSpace.decide, lambda s, d: s.mutate(d, random.Random(0)), lambda s, d: list(s.neighbours(d))],
    ids=["decide", "mutate", "neighbours"],
)
def test_decisions_of_another_space(nested: SearchSpace, change: dict[str, Any], message: str, use: Any) -> None:
    good = {"body.times": 1, "body.0": "plain", "out.op": "tanh"}
    assert nested.decide(good)
    bad = {k: v for k, v in {**good, **change}.items() if v is not None}
    with pytest.raises(RuleError, match=message):
        use(nested, bad)
