"""Reads the top of a space: everything beside the graph itself."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from archsearch.errors import RuleError, nearest
from archsearch.graph.expr import Expression, parse_condition, unknown
from archsearch.graph.fits import GRADIENT, fit_of
from archsearch.graph.reader import Document, Items, Leaf, Located, Mark, Table, plain
from archsearch.graph.template import Pick
from archsearch.graph.values import WIDTH, at, name_of, named_values, pick_of

__all__ = ["FACTS", "Header", "Match", "Requirement", "read_header"]

KEYS = (
    "version", "name", "summary", "define", "choices", "graph", "scale", "require", "match", "campaign", "causal",
    "ops", "stem", "readout", "fit"
)  # fmt: skip
FACTS = ("params", "flops_per_token", "state_bytes", "span", "nodes", "depth", "parallel_in_time")
"""What `require` may ask of an architecture, beside the names of `scale`."""
DEFAULT_WIDTH = 64
LARGEST = 10**12
"""The largest number in `scale`; more is a slip of the keyboard, and no tensor has so many rows."""
ENDS = ("stem", "readout")
"""The ops between a task and the graph, which a space may name."""


@dataclass(frozen=True, slots=True)
class Requirement:
    """One line of `require`."""

    condition: Expression
    mark: Mark


@dataclass(frozen=True, slots=True)
class Match:
    """`match: {params: 100_000, by: width}`."""

    params: int
    by: str
    mark: Mark


@dataclass(frozen=True, slots=True)
class Header:
    """A space without its graph."""

    name: str
    summary: str
    causal: bool
    scale: Mapping[str, int | float]
    choices: Mapping[str, Pick]
    requirements: tuple[Requirement, ...]
    match: Match | None
    campaign: Mapping[str, Any]
    ops: tuple[Leaf, ...]
    ends: Mapping[str, str]
    fit: str | Pick
    define: Mapping[str, Located] = field(repr=False)
    keys: Mapping[str, Mark] = field(repr=False)
    graph: Located = field(repr=False)


def read_header(document: Document, default_name: str) -> Header:
    """The top of a space; raises `FileError`."""
    root = document.root
    if not isinstance(root, Table):
        found = "a list" if isinstance(root, Items) else f"`{root.text[:40]}`"
        raise root.mark.error("a space must be a YAML mapping", value=found)
    root.only(KEYS, "a space")
    _version(root)
    graph = root.get("graph")
    if graph is None:
        near = [n for k in root.keys for n in nearest(k, ("graph",))]
        raise root.mark.error("a space needs a `graph`", value="none", near=near)
    scale = _scale(root.get("scale"))
    define = named_values(root.get("define"), "define")
    define_table = root.get("define")
    fit = fit_of(root.get("fit"))
    if fit != GRADIENT and "readout" in root:
        hint = "Leave out `readout`, or `fit`."
        raise root.keys["readout"].error("`fit` solves for the usual readout", value="a `readout`", hint=hint)
    keys = define_table.keys if isinstance(define_table, Table) else {}
    return Header(
        name=_text(root, "name") or default_name,
        summary=_text(root, "summary"),
        causal=_flag(root, "causal", True),
        scale=scale,
        choices=_choices(root, scale),
        requirements=_requirements(root.get("require"), scale),
        match=_match(root.get("match"), scale),
        campaign=_campaign(root),
        ops=_ops(root.get("ops")),
        ends={end: name_of(value, f"`{end}`") for end in ENDS if (value := root.get(end)) is not None},
        fit=fit,
        define=define,
        keys=keys,
        graph=graph,
    )


def _version(root: Table) -> None:
    value = root.get("version")
    if value is not None and (not isinstance(value, Leaf) or value.value is True or value.value != 1):
        text = f"`{value.text}`" if isinstance(value, Leaf) else "a list or a mapping"
        raise value.mark.error("`version` of the language must be 1", value=text)


def _text(root: Table, key: str) -> str:
    value = root.get(key)
    if value is None:
        return ""
    if not isinstance(value, Leaf):
        raise value.mark.error(f"`{key}` must be text", value="a list or a mapping")
    return value.text.strip()


def _flag(root: Table, key: str, default: bool) -> bool:
    value = root.get(key)
    if value is None:
        return default
    if not isinstance(value, Leaf) or not isinstance(value.value, bool):
        text = f"`{value.text}`" if isinstance(value, Leaf) else "a list or a mapping"
        raise value.mark.error(f"`{key}` must be true or false", value=text)
    return value.value


def _scale(value: Located | None) -> Mapping[str, int | float]:
    out: dict[str, int | float] = {}
    for name, located in named_values(value, "scale").items():
        number = located.value if isinstance(located, Leaf) else None
        if isinstance(number, bool) or not isinstance(number, int | float) or not math.isfinite(number) or number <= 0:
            text = f"`{located.text}`" if isinstance(located, Leaf) else "a list or a mapping"
            raise located.mark.error(f"`scale.{name}` must be a number above 0", value=text)
        if name == WIDTH and not isinstance(number, int):
            if not number.is_integer():
                raise located.mark.error("`scale.width` must be a whole number", value=f"`{number}`")
            number = int(number)
        if number > LARGEST:
            raise located.mark.error(f"`scale.{name}` is at most {LARGEST:,}", value=f"`{number}`")
        out[name] = number
    return out if WIDTH in out else {WIDTH: DEFAULT_WIDTH, **out}


def _choices(root: Table, scale: Mapping[str, Any]) -> Mapping[str, Pick]:
    table = root.get("choices")
    out: dict[str, Pick] = {}
    for name, value in named_values(table, "choices").items():
        assert isinstance(table, Table)
        if name in scale:
            raise table.keys[name].error("a choice needs a name that `scale` does not have", value=f"`{name}`")
        if not isinstance(value, Table):
            raise value.mark.error(f"`choices` holds open choices, as {name}: {{choose: [1, 2]}}")
        out[name] = pick_of(value, f"`{name}`")
    return out


def _requirements(value: Located | None, scale: Mapping[str, Any]) -> tuple[Requirement, ...]:
    if value is None:
        return ()
    if not isinstance(value, Items):
        raise value.mark.error("`require` must be a list, as [params <= 1e6]", value="no list")
    out = []
    for item in value:
        text = item.value if isinstance(item, Leaf) else None
        if not isinstance(text, str):
            raise item.mark.error("`require` must list conditions, as params <= 1e6", value="something else")
        try:
            condition = parse_condition(text)
            wrong = unknown(condition.names, (*FACTS, *scale))
        except RuleError as error:
            raise at(item.mark, error) from None
        if wrong:
            raise at(item.mark, wrong)
        out.append(Requirement(condition, item.mark))
    return tuple(out)


def _match(value: Located | None, scale: Mapping[str, Any]) -> Match | None:
    if value is None:
        return None
    if not isinstance(value, Table):
        raise value.mark.error("`match` must be {params: 100_000, by: width}", value="no mapping")
    value.only(("params", "by"), "`match`")
    for key in ("params", "by"):
        if key not in value:
            raise value.mark.error("`match` must be {params: 100_000, by: width}", value=f"no `{key}`")
    params = value.entries["params"]
    number = params.value if isinstance(params, Leaf) else None
    if isinstance(number, float) and number.is_integer():
        number = int(number)
    if isinstance(number, bool) or not isinstance(number, int) or number < 1:
        text = f"`{params.text}`" if isinstance(params, Leaf) else "a list or a mapping"
        raise params.mark.error("`match.params` must be a whole number above 0", value=text)
    by = name_of(value.entries["by"], "`match.by`")
    if by not in scale:
        rule = f"`match.by` must be a name of `scale` ({', '.join(scale)})"
        raise value.entries["by"].mark.error(rule, value=f"`{by}`", near=nearest(by, scale))
    return Match(number, by, value.mark)


def _ops(value: Located | None) -> tuple[Leaf, ...]:
    """The files of a person's own ops."""
    if value is None:
        return ()
    items = tuple(value) if isinstance(value, Items) else (value,)
    for item in items:
        if not isinstance(item, Leaf) or not isinstance(item.value, str):
            text = f"`{item.text}`" if isinstance(item, Leaf) else "a list or a mapping"
            raise item.mark.error("`ops` must list Python files, as [my_mixer.py]", value=text)
    return tuple(item for item in items if isinstance(item, Leaf))


def _campaign(root: Table) -> Mapping[str, Any]:
    value = root.get("campaign")
    if value is None:
        return {}
    if not isinstance(value, Table):
        raise value.mark.error("`campaign` must be a mapping", value="no mapping")
    return plain(value)  # type: ignore[no-any-return]
