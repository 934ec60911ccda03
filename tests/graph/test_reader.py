"""YAML with places, its scalars, and arithmetic."""

from __future__ import annotations

import math
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from archsearch.errors import FileError, RuleError
from archsearch.graph.expr import parse_arithmetic, parse_condition
from archsearch.graph.reader import Table, parse, plain
from archsearch.graph.scalars import plain_scalar

SCALARS: list[tuple[str, Any]] = [
    ("1e-4", 1e-4),
    ("1E5", 1e5),
    ("100_000", 100_000),
    ("1_0.5", 10.5),
    ("-3", -3),
    ("+3", 3),
    ("012", 12),
    ("0x1F", 31),
    ("0o17", 15),
    (".5", 0.5),
    ("5.", 5.0),
    ("-.inf", -math.inf),
    ("+.INF", math.inf),
    ("true", True),
    ("False", False),
    ("null", None),
    ("~", None),
    ("no", "no"),
    ("yes", "yes"),
    ("on", "on"),
    ("Off", "Off"),
    ("y", "y"),
    ("12:30", "12:30"),
    ("1_", "1_"),
    ("_1", "_1"),
    ("1e", "1e"),
    ("e5", "e5"),
    ("-", "-"),
    (".", "."),
    ("2026-01-01", "2026-01-01"),
    ("9" * 500, "9" * 500),
]


@pytest.mark.parametrize(("text", "value"), SCALARS)
def test_scalars_of_yaml_1_2(text: str, value: Any) -> None:
    found = plain_scalar(text)
    assert found == value
    assert type(found) is type(value)


def test_nan() -> None:
    found = plain_scalar(".nan")
    assert isinstance(found, float) and math.isnan(found)


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_any_float_survives(x: float) -> None:
    assert plain_scalar(repr(x)) == x


@given(st.integers(-(10**30), 10**30))
def test_any_integer_survives(n: int) -> None:
    assert plain_scalar(f"{n}") == n
    assert plain_scalar(f"{n:_}") == n


@given(st.text(max_size=20))
def test_any_quoted_text_survives(text: str) -> None:
    quoted = yaml.safe_dump({"k": text}, default_style='"', allow_unicode=False, width=10**6)
    assert plain(parse(quoted).root) == {"k": text}


NAMES = st.text("abcdefgh", min_size=1, max_size=3)
DATA = st.recursive(
    st.none() | st.booleans() | st.integers(-1000, 1000) | st.floats(-1e6, 1e6) | NAMES,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(NAMES, inner, max_size=4),
    max_leaves=20,
)


@settings(deadline=None)
@given(st.dictionaries(NAMES, DATA, min_size=1, max_size=4), st.sampled_from([True, False, None]))
def test_data_survives_in_block_and_flow_style(data: dict[str, Any], flow: bool | None) -> None:
    text = yaml.safe_dump(data, default_flow_style=flow)
    # PyYAML writes 1e16 as `1.0e+16`, which both versions of YAML read as that number.
    assert plain(parse(text).root) == data


@settings(deadline=None, max_examples=300)
@given(st.text(alphabet="ab:-[]{}#&*!|>'\"%@`,\n \t?~.0", max_size=40))
def test_no_text_breaks_the_reader(text: str) -> None:
    try:
        parse(text)
    except FileError as error:
        assert error.path == "<string>"  # noqa: PT017


def test_half_a_character_is_refused() -> None:
    with pytest.raises(FileError, match=r"<string>:2: the file must be YAML text in UTF-8"):
        parse("a: 1\nb: \ud800")


def test_places() -> None:
    document = parse("a: 1\nb:\n  c: [x, {d: 2}]\n", "f.yaml")
    assert isinstance(document.root, Table)
    mark = document.find("b", "c")
    assert (mark.file, mark.line, mark.column) == ("f.yaml", 3, 3)
    assert document.find("b", "nothing", "more").line == 2
    assert document.root.entries["b"].entries["c"].items[1].entries["d"].mark.column == 14  # type: ignore[union-attr]


def test_aliases_are_values() -> None:
    assert plain(parse("a: &x [1, 2]\nb: *x\nc: *x").root) == {"a": [1, 2], "b": [1, 2], "c": [1, 2]}


ARITHMETIC: list[tuple[str, Any]] = [
    ("2*expand*width", 384),
    ("width/3", 64 / 3),
    ("width/4", 16),
    ("width//5 + width%5", 16),
    ("2**3 - -1", 9),
    ("max(1, expand, 2.5)", 3),
    ("round(2.6) + ceil(0.2) + floor(1.9) + int(7.9)", 12),
    ("$expand + 1", 4),
]


@pytest.mark.parametrize(("text", "value"), ARITHMETIC)
def test_arithmetic(text: str, value: Any) -> None:
    found = parse_arithmetic(text)({"expand": 3, "width": 64}.__getitem__)
    assert found == value
    assert type(found) is type(value)


REFUSED = [
    "",
    "2 +",
    "a.b",
    "a[0]",
    "lambda: 1",
    "'x'",
    "True",
    "a if b else c",
    "a < b",
    "open(1)",
    "max(1)",
    "round(1, 2)",
    "max(*a)",
    "[1]",
    "__import__('os')",
    "1j",
    "(" * 500 + ")" * 500,
    "1+" * 600 + "1",
]


@pytest.mark.parametrize("text", REFUSED)
def test_arithmetic_that_is_refused(text: str) -> None:
    with pytest.raises(RuleError):
        parse_arithmetic(text)


@pytest.mark.parametrize("text", ["1/0", "1//0", "1%0", "9**9**9", "(-8)**0.5", "1e308*10", "0**-1", "10**30"])
def test_arithmetic_without_a_value(text: str) -> None:
    with pytest.raises(RuleError, match="arithmetic must"):
        parse_arithmetic(text)({}.__getitem__)


def test_arithmetic_on_what_is_no_number() -> None:
    with pytest.raises(RuleError, match=r"works on numbers: `2\*a - 1`, but got a='x'"):
        parse_arithmetic("2*a - 1")({"a": "x"}.__getitem__)


@pytest.mark.parametrize(
    ("text", "holds"),
    [
        ("params <= 1e6", True),
        ("1 < params < 10", False),
        ("params > 5 and not parallel", False),
        ("params > 5 and parallel or params == 3", True),
        ("2*params != 200", False),
    ],
)
def test_conditions(text: str, holds: bool) -> None:
    assert parse_condition(text)({"params": 100, "parallel": True}.__getitem__) is holds


@pytest.mark.parametrize("text", ["params + 1", "params in [1]", "'a' < 'b'", "params <", "params is 3"])
def test_conditions_that_are_refused(text: str) -> None:
    with pytest.raises(RuleError):
        parse_condition(text)
