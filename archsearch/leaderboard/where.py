"""The expressions of `--where`: read with `ast`, and evaluated over a row without ever running code.

Python's comparisons, `and`, `or`, `not`, `in`, arithmetic and subscripts, over the names of `FIELDS`:

    score > 0.9 and params <= 1e5
    "attention" in families and status == "done"
    decisions["body.0.mix"] == "gru"

A value that a row does not have makes every comparison with it false, but for `== None` and `is None`.
"""

from __future__ import annotations

import ast
import operator
from collections.abc import Callable
from typing import Any

from archsearch.errors import ConfigError, nearest
from archsearch.leaderboard.fields import FIELDS, Row

__all__ = ["predicate"]

Value = Callable[[Row], Any]

_MATH: dict[type, Callable[[Any, Any], Any]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
}
_COMPARE: dict[type, Callable[[Any, Any], bool]] = {
    ast.Eq: operator.eq,
    ast.NotEq: operator.ne,
    ast.Lt: operator.lt,
    ast.LtE: operator.le,
    ast.Gt: operator.gt,
    ast.GtE: operator.ge,
    ast.Is: operator.is_,
    ast.IsNot: operator.is_not,
    ast.In: lambda a, b: a in b,
    ast.NotIn: lambda a, b: a not in b,
}
_WITH_NONE = (ast.Eq, ast.NotEq, ast.Is, ast.IsNot)


def predicate(text: str) -> Callable[[Row], bool]:
    """The test that `text` describes.

    Raises:
        ConfigError: it is no expression, names a field that does not exist, or uses what is not allowed here; the test
            raises it too where a row's values do not fit (`score > "a"`).
    """
    try:
        tree = ast.parse(text.strip(), mode="eval")
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        hint = " Write `==` to compare." if "=" in text.replace("==", "") and "==" not in text else ""
        place = f" at column {error.offset}" if isinstance(error, SyntaxError) and error.offset else ""
        raise ConfigError(
            f"`--where` must be an expression such as `score > 0.9`, but got {text!r}{place}.{hint}"
        ) from None
    value = _compile(tree.body, text)

    def test(row: Row) -> bool:
        try:
            return bool(value(row))
        except (TypeError, ArithmeticError) as error:
            raise ConfigError(f"`--where` must compare values that fit, but got {text!r}: {error}.") from None

    return test


def _compile(node: ast.expr, text: str) -> Value:
    """Turns an expression into a function of a row; whatever is not listed here is refused."""
    match node:
        case ast.Constant(value) if value is None or isinstance(value, bool | int | float | str):
            return lambda row: value
        case ast.Name(name):
            return _field(name, text)
        case ast.List(items) | ast.Tuple(items) | ast.Set(items):
            parts = [_compile(i, text) for i in items]
            return lambda row: [p(row) for p in parts]
        case ast.BoolOp(op, items):
            parts = [_compile(i, text) for i in items]
            every = all if isinstance(op, ast.And) else any
            return lambda row: every(p(row) for p in parts)
        case ast.UnaryOp(ast.Not(), operand):
            inner = _compile(operand, text)
            return lambda row: not inner(row)
        case ast.UnaryOp(ast.USub(), operand):
            inner = _compile(operand, text)
            return lambda row: None if (v := inner(row)) is None else -v
        case ast.BinOp(left, op, right) if type(op) in _MATH:
            return _arithmetic(_MATH[type(op)], _compile(left, text), _compile(right, text))
        case ast.Compare(left, ops, right_sides) if all(type(o) in _COMPARE for o in ops):
            return _comparison([type(o) for o in ops], [_compile(n, text) for n in (left, *right_sides)])
        case ast.Subscript(container, key):
            return _subscript(_compile(container, text), _compile(key, text))
    raise ConfigError(
        "`--where` allows fields, constants, comparisons, `and`, `or`, `not`, `in`, + - * / and subscripts, "
        f"but got `{ast.unparse(node)}`."
    )


def _field(name: str, text: str) -> Value:
    if name in FIELDS:
        return lambda row: row[name]
    near = nearest(name, FIELDS)
    guess = f" Did you mean {' or '.join(f'`{n}`' for n in near)}?" if near else ""
    raise ConfigError(
        f"Unknown field `{name}` in {text!r}.{guess} Text is written in quotes: '{name}'. Fields: {', '.join(FIELDS)}."
    )


def _arithmetic(op: Callable[[Any, Any], Any], left: Value, right: Value) -> Value:
    def value(row: Row) -> Any:
        a, b = left(row), right(row)
        return None if a is None or b is None else op(a, b)

    return value


def _comparison(ops: list[type], values: list[Value]) -> Value:
    def compare(op: type, a: Any, b: Any) -> bool:
        if (a is None or b is None) and op not in _WITH_NONE:
            return op is ast.In and a is None and b is not None and None in b
        return _COMPARE[op](a, b)

    def value(row: Row) -> bool:
        found = [v(row) for v in values]
        return all(compare(op, a, b) for op, a, b in zip(ops, found, found[1:], strict=False))

    return value


def _subscript(container: Value, key: Value) -> Value:
    def value(row: Row) -> Any:
        try:
            return container(row)[key(row)]
        except (KeyError, IndexError):
            return None  # a decision that this candidate did not have to take

    return value
