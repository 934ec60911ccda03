"""Reads scalars of a space: constants, `$names`, `"=arithmetic"` and open choices."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from archsearch.errors import FileError, RuleError, nearest
from archsearch.graph.domain import Categorical, Domain, Integer, Real
from archsearch.graph.expr import parse_arithmetic, unknown
from archsearch.graph.opspec import Setting
from archsearch.graph.reader import Items, Leaf, Located, Mark, Table
from archsearch.graph.template import Const, Formula, Name, Pick, Value

__all__ = ["IDENTIFIER", "Scope", "at", "fits_setting", "is_choice", "name_of", "pick_of", "value_of"]

IDENTIFIER = re.compile(r"[A-Za-z_]\w*", re.ASCII)
WIDTH = "width"
_RANGES = ("int", "float")


@dataclass(slots=True)
class Scope:
    """The names that arithmetic and `$` may use in a body.

    Args:
        params: with their own defaults; choices: named choices, theirs is true where a choice decides.
        parent: the body around, where this one is written in place; the whole space otherwise.
    """

    names: dict[str, bool] = field(default_factory=dict)
    parent: Scope | None = None

    def all(self) -> dict[str, bool]:
        """Every visible name, inner ones first; the value says whether a choice decides it."""
        outer = self.parent.all() if self.parent else {}
        return {**self.names, **{k: v for k, v in outer.items() if k not in self.names}}


def at(mark: Mark, error: RuleError, node: str | None = None) -> FileError:
    """The same mistake, with its place."""
    return mark.error(error.rule, value=error.value, near=error.near, hint=error.hint, node=node or None)


def name_of(value: Located, what: str) -> str:
    """The name that a scalar holds; raises `FileError` unless letters, digits and `_`."""
    if not isinstance(value, Leaf) or not isinstance(value.value, str) or not IDENTIFIER.fullmatch(value.value):
        text = value.text if isinstance(value, Leaf) else "a list or a mapping"
        raise value.mark.error(f"{what} must be a name (letters, digits, _)", value=f"`{text}`")
    return value.value


def is_choice(value: Located) -> bool:
    """Whether a mapping is an open choice of a scalar."""
    return isinstance(value, Table) and any(k in value for k in ("choose", *_RANGES))


def value_of(value: Located, scope: Scope, what: str, *, dynamic: bool = True) -> Value:
    """A setting's value.

    Args:
        what: how an error calls it.
        dynamic: whether it may depend on the width.

    Raises:
        FileError: a list, a mapping that is no choice, or arithmetic on an unknown name.
    """
    if isinstance(value, Table):
        return pick_of(value, what)
    if isinstance(value, Items):
        raise value.mark.error(f"{what} must be a scalar or a choice", value="a list", hint="Write {choose: [...]}.")
    text = value.value
    if not isinstance(text, str) or text[:1] not in ("=", "$"):
        if isinstance(text, float) and not math.isfinite(text):
            raise value.mark.error(f"{what} must be finite", value=value.text)
        return Const(text, value.mark)
    visible = {**scope.all(), WIDTH: False} if dynamic else scope.all()
    if text[0] == "$" and IDENTIFIER.fullmatch(text[1:]):
        if error := unknown([text[1:]], visible):
            raise at(value.mark, error)
        return Name(text[1:], value.mark)
    try:
        expression = parse_arithmetic(text.removeprefix("="))
    except RuleError as error:
        raise at(value.mark, error) from None
    if not dynamic and WIDTH in expression.names and WIDTH not in visible:
        raise value.mark.error(f"{what} must not depend on the width", value=f"`{text}`")
    if wrong := unknown(expression.names, visible):
        raise at(value.mark, wrong)
    return Formula(expression, value.mark)


def pick_of(table: Table, what: str) -> Pick:
    """An open choice: `{choose: [...]}`, `{int: [lo, hi], step:, log:}` or `{float: [lo, hi], log:}`."""
    kinds = [k for k in ("choose", *_RANGES) if k in table]
    if len(kinds) != 1:
        near = [n for k in table.keys for n in nearest(k, ("choose", "int", "float"))]
        keys = ", ".join(table.keys) or "nothing"
        raise table.mark.error(f"{what} must be a scalar or one of choose, int, float", value=f"`{keys}`", near=near)
    kind = kinds[0]
    if kind == "choose":
        table.only(("choose",), "a choice of scalars")
        return Pick(Categorical(_options(table.entries["choose"], what)), table.mark)
    table.only((kind, "log", "step") if kind == "int" else (kind, "log"), f"a range of `{kind}`")
    return Pick(_range(kind, table), table.mark)


def _options(value: Located, what: str) -> tuple[object, ...]:
    if not isinstance(value, Items) or not len(value):
        found = "an empty list" if isinstance(value, Items) else "no list"
        raise value.mark.error(f"`choose` at {what} must list at least one scalar", value=found)
    seen: dict[tuple[type, object], None] = {}
    for item in value:
        if not isinstance(item, Leaf):
            raise item.mark.error(f"`choose` at {what} must list scalars", value="a list or a mapping")
        if isinstance(item.value, str) and item.value[:1] in ("=", "$"):
            raise item.mark.error(f"`choose` at {what} must list constants", value=f"`{item.value}`")
        if (type(item.value), item.value) in seen:
            raise item.mark.error("the options of a choice must differ", value=f"`{item.text}` twice")
        seen[(type(item.value), item.value)] = None
    return tuple(v for _, v in seen)


def _range(kind: str, table: Table) -> Domain:
    bounds = table.entries[kind]
    numbers = [_number(b, kind) for b in bounds] if isinstance(bounds, Items) else []
    if len(numbers) != 2:
        raise bounds.mark.error(f"`{kind}` must be [low, high]", value=_text(bounds))
    low, high = numbers
    log = _flag(table, "log")
    if low > high:
        raise bounds.mark.error("`low <= high` must hold", value=f"low={low:g}, high={high:g}")
    if log and low <= 0:
        raise bounds.mark.error("`low > 0` must hold where `log: true`", value=f"low={low:g}")
    if kind == "float":
        return Real(float(low), float(high), log)
    step = table.get("step")
    size = 1 if step is None else _number(step, "int")
    if step is not None and size < 1:
        raise step.mark.error("`step` must be at least 1", value=f"{size}")
    return Integer(int(low), int(high), int(size), log)


def _number(value: Located, kind: str) -> float:
    wanted = (int,) if kind == "int" else (int, float)
    number = value.value if isinstance(value, Leaf) else None
    if isinstance(number, float) and kind == "int" and math.isfinite(number) and number.is_integer():
        number = int(number)
    if isinstance(number, bool) or not isinstance(number, wanted) or not math.isfinite(number):
        raise value.mark.error(f"a range of `{kind}` has finite {_KINDS[kind]} as bounds", value=_text(value))
    return number


_KINDS = {"int": "whole numbers", "float": "numbers"}


def _flag(table: Table, key: str) -> bool:
    value = table.get(key)
    if value is None:
        return False
    if not isinstance(value, Leaf) or not isinstance(value.value, bool):
        raise value.mark.error(f"`{key}` must be true or false", value=_text(value))
    return value.value


def _text(value: Located) -> str:
    if isinstance(value, Leaf):
        return f"`{value.text}`"
    return f"a list of {len(value)}" if isinstance(value, Items) else "a mapping"


def fits_setting(value: Value, setting: Setting, node: str) -> None:
    """Holds every value that a constant or a choice can take against the setting; raises `FileError`."""
    if isinstance(value, Const):
        probes: Iterable[object] = (value.value,)
    elif isinstance(value, Pick):
        domain = value.domain
        probes = domain.options if isinstance(domain, Categorical) else _ends(domain)
    else:
        return
    for probe in probes:
        try:
            setting.check(probe)
        except RuleError as error:
            raise at(value.mark, error, node) from None


def _ends(domain: Domain) -> tuple[float, ...]:
    assert isinstance(domain, Integer | Real)
    if isinstance(domain, Real):
        return (domain.low, domain.high)
    return (domain.low, domain.low + (domain.high - domain.low) // domain.step * domain.step)


def named_values(value: Located | None, what: str) -> Mapping[str, Located]:
    """The entries of an optional mapping of names; raises `FileError`."""
    if value is None or (isinstance(value, Leaf) and value.value is None):
        return {}
    if not isinstance(value, Table):
        raise value.mark.error(f"`{what}` must be a mapping of names", value=_text(value))
    for key, mark in value.keys.items():
        if not IDENTIFIER.fullmatch(key):
            raise mark.error(f"a name in `{what}` has letters, digits and _", value=f"`{key}`")
    return value.entries
