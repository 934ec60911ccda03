"""The type rules that several ops share."""

from __future__ import annotations

from typing import Any

from archsearch.errors import RuleError
from archsearch.graph.types import ValueType

__all__ = ["divides", "same", "vector"]


def vector(op: str, port: str, x: Any) -> ValueType:
    """`x`, if it is a vector at every step; raises `RuleError` naming op and port otherwise."""
    if not isinstance(x, ValueType) or len(x.shape) != 1:
        raise RuleError(f"`{port}` of `{op}` must be a vector", value=str(x))
    return x


def same(op: str, *types: ValueType) -> ValueType:
    """The one type of all inputs; raises `RuleError` where two differ."""
    if any(t != types[0] for t in types):
        raise RuleError(f"the inputs of `{op}` must have equal widths and rates", value=", ".join(map(str, types)))
    return types[0]


def divides(setting: str, part: int, width: int) -> int:
    """`width // part`; raises `RuleError` naming both where something is left over."""
    if width % part:
        raise RuleError(f"`{setting}` must divide the width", value=f"{setting}={part}, width={width}", setting=setting)
    return width // part
