"""Arithmetic in a space: `"=2*expand*width"` of a setting, `params <= 1e6` of `require`.

The text is parsed with `ast`, and only what is listed here is accepted and computed; nothing is ever handed to `eval`.
"""

from __future__ import annotations

import ast
import math
import operator
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

from archsearch.errors import RuleError, nearest

__all__ = ["Expression", "parse_arithmetic", "parse_condition"]

Lookup = Callable[[str], Any]
Evaluate = Callable[[Lookup], Any]

_LARGEST = 1e18
_LONGEST = 1_000


def _divide(a: float, b: float) -> float:
    """True division that stays whole where it can, also for integers beyond 2**53."""
    if isinstance(a, int) and isinstance(b, int) and b and a % b == 0:
        return a // b
    return a / b


def _power(a: float, b: float) -> Any:
    if abs(b) > 64 or (a and abs(b) * abs(math.log2(abs(a))) > 64):
        raise OverflowError
    return a**b


_BINARY: dict[type[ast.operator], Callable[[Any, Any], Any]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: _divide,
    ast.FloorDiv: operator.floordiv,
    ast.Mod: operator.mod,
    ast.Pow: _power,
}
_COMPARE: dict[type[ast.cmpop], Callable[[Any, Any], bool]] = {
    ast.Lt: operator.lt,
    ast.LtE: operator.le,
    ast.Gt: operator.gt,
    ast.GtE: operator.ge,
    ast.Eq: operator.eq,
    ast.NotEq: operator.ne,
}
FUNCTIONS: dict[str, Callable[..., Any]] = {
    "min": min,
    "max": max,
    "round": round,
    "ceil": math.ceil,
    "floor": math.floor,
    "int": int,
}
"""What arithmetic may call."""


@dataclass(frozen=True, slots=True)
class Expression:
    """A parsed expression: its text, the names in it in order, and how to compute it."""

    text: str
    names: tuple[str, ...]
    _evaluate: Evaluate = field(compare=False, repr=False)

    def __call__(self, lookup: Lookup) -> Any:
        """The value, where `lookup` gives the value of a name.

        Raises:
            RuleError: division by zero, a number too large, or a value that is not a number.
        """
        try:
            value = self._evaluate(lookup)
        except ZeroDivisionError:
            raise RuleError("arithmetic must not divide by zero", value=f"`{self.text}`") from None
        except (OverflowError, ValueError):
            raise RuleError("arithmetic must stay below 1e18", value=f"`{self.text}`") from None
        except TypeError:
            values = ", ".join(f"{n}={lookup(n)!r}" for n in self.names)
            raise RuleError(f"arithmetic works on numbers: `{self.text}`", value=values) from None
        if isinstance(value, complex) or value != value or abs(value) > _LARGEST:
            raise RuleError("arithmetic must give a real number below 1e18", value=f"`{self.text}`")
        return value


def parse_arithmetic(text: str) -> Expression:
    """Reads `2*expand*width`: numbers, names, + - * / // % **, brackets and `min max round ceil floor int`.

    Raises:
        RuleError: anything else.
    """
    return _parse(text, condition=False)


def parse_condition(text: str) -> Expression:
    """Reads `params <= 1e6`: comparisons of arithmetic, `and`, `or`, `not`.

    Raises:
        RuleError: anything else.
    """
    return _parse(text, condition=True)


def _parse(text: str, *, condition: bool) -> Expression:
    rule = "a condition must compare numbers" if condition else "arithmetic must be an expression"
    if len(text) > _LONGEST:
        raise RuleError(f"an expression has at most {_LONGEST} characters", value=f"{len(text)}")
    try:
        tree = ast.parse(text.replace("$", ""), mode="eval").body
        names: dict[str, None] = {}
        evaluate = _condition(tree, names) if condition else _number(tree, names)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        raise RuleError(rule, value=f"`{text}`") from None
    return Expression(text, tuple(names), evaluate)


def _condition(tree: ast.expr, names: dict[str, None]) -> Evaluate:
    match tree:
        case ast.BoolOp(op, values):
            parts = [_condition(v, names) for v in values]
            every = isinstance(op, ast.And)
            return lambda look: all(p(look) for p in parts) if every else any(p(look) for p in parts)
        case ast.UnaryOp(ast.Not(), operand):
            inner = _condition(operand, names)
            return lambda look: not inner(look)
        case ast.Compare(left, ops, comparators):
            terms = [_number(t, names) for t in (left, *comparators)]
            tests = [_COMPARE[type(o)] for o in ops if type(o) in _COMPARE]
            if len(tests) != len(ops):
                raise RuleError("a condition compares with < <= > >= == !=", value=f"`{ast.unparse(tree)}`")
            return lambda look: _chain(tests, [t(look) for t in terms])
        case ast.Name(name):
            names[name] = None
            return lambda look: bool(look(name))
    raise RuleError("a condition must compare numbers, as in `params <= 1e6`", value=f"`{ast.unparse(tree)}`")


def _chain(tests: list[Callable[[Any, Any], bool]], values: list[Any]) -> bool:
    return all(test(a, b) for test, a, b in zip(tests, values, values[1:], strict=False))


def _number(tree: ast.expr, names: dict[str, None]) -> Evaluate:
    match tree:
        case ast.Constant(value) if isinstance(value, int | float) and not isinstance(value, bool):
            return lambda look: value
        case ast.Name(name):
            names[name] = None
            return lambda look: look(name)
        case ast.UnaryOp(ast.USub() | ast.UAdd() as op, operand):
            inner = _number(operand, names)
            return (lambda look: -inner(look)) if isinstance(op, ast.USub) else inner
        case ast.BinOp(left, op, right) if type(op) in _BINARY:
            a, b, apply = _number(left, names), _number(right, names), _BINARY[type(op)]
            return lambda look: apply(a(look), b(look))
        case ast.Call(ast.Name(name), arguments, []):
            return _call(name, [_number(a, names) for a in arguments])
    raise RuleError(
        "arithmetic has numbers, names, + - * / // % ** and " + ", ".join(FUNCTIONS), value=f"`{ast.unparse(tree)}`"
    )


def _call(name: str, arguments: list[Evaluate]) -> Evaluate:
    if name not in FUNCTIONS:
        raise RuleError(f"arithmetic may call {', '.join(FUNCTIONS)}", value=f"`{name}`", near=nearest(name, FUNCTIONS))
    wanted = "at least two numbers" if name in ("min", "max") else "one number"
    if (len(arguments) < 2) if name in ("min", "max") else (len(arguments) != 1):
        raise RuleError(f"`{name}` takes {wanted}", value=str(len(arguments)))
    function = FUNCTIONS[name]
    return lambda look: function(*(a(look) for a in arguments))


def unknown(names: Iterable[str], known: Iterable[str]) -> RuleError | None:
    """The error for the first of `names` that is not `known`, if there is one."""
    options = tuple(known)
    for name in names:
        if name not in options:
            visible = ", ".join(options) or "none"
            return RuleError(f"the names here are {visible}", value=f"`{name}`", near=nearest(name, options))
    return None
