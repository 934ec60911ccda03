"""Reads `repeat:`: a definition, a body or a pattern of them, in turns."""

from __future__ import annotations

from collections.abc import Callable

from archsearch.errors import nearest
from archsearch.graph.domain import Categorical, Integer, Real
from archsearch.graph.reader import Items, Leaf, Located, Table
from archsearch.graph.template import Const, Graph, Pick, Repeat, Value
from archsearch.graph.values import IDENTIFIER, Scope, name_of, value_of

__all__ = ["MAX_TIMES", "read_repeat"]

MAX_TIMES = 100_000
TIES = ("none", "choices", "weights")

MakeGraph = Callable[[Located, str], Graph]


def read_repeat(node: Table, path: str, scope: Scope, make: MakeGraph) -> Repeat:
    """The repeat that `node` describes.

    Args:
        make: compiles what is repeated, given a label for a body without a name.

    Raises:
        FileError: no `times`, a repeat of 0, an unknown `tie`, graphs that do not fit one another.
    """
    patterns, domain = _patterns(node.entries["repeat"], path, make)
    carried, outputs = _carried(patterns, node, path)
    return Repeat(patterns, domain, _times(node, path, scope), _tie(node, path), carried, outputs)


def _patterns(value: Located, path: str, make: MakeGraph) -> tuple[dict[str, tuple[Graph, ...]], Categorical | None]:
    if not (isinstance(value, Table) and "choose" in value and set(value.keys) == {"choose"}):
        return {"": _pattern(value, path, make)}, None
    options = value.entries["choose"]
    found: dict[str, Located] = {}
    if isinstance(options, Table):
        found = dict(options.entries)
    elif isinstance(options, Items):
        found = {name_of(item, "an option of `repeat`"): item for item in options}
        if len(found) != len(options):
            raise options.mark.error("the options of a choice must differ", value="one twice", node=path)
    if not found:
        raise options.mark.error("`choose` must have at least one alternative", value="none", node=path)
    for name in found:
        if not IDENTIFIER.fullmatch(name):
            rule = "the name of an alternative has letters, digits and _"
            raise options.mark.error(rule, value=f"`{name}`", node=path)
    return {name: _pattern(v, path, make, name) for name, v in found.items()}, Categorical(tuple(found))


def _pattern(value: Located, path: str, make: MakeGraph, label: str = "") -> tuple[Graph, ...]:
    name = label or path.rpartition(".")[2] or "graph"
    if not isinstance(value, Items):
        return (make(value, name),)
    if not len(value):
        raise value.mark.error("a pattern must list at least one definition", value="an empty list", node=path)
    return tuple(make(item, f"{name}{i}") for i, item in enumerate(value))


def _carried(
    patterns: dict[str, tuple[Graph, ...]], node: Table, path: str
) -> tuple[tuple[int | None, ...], tuple[str, ...]]:
    """Which output goes into which input of the next turn."""
    graphs = [g for pattern in patterns.values() for g in pattern]
    first = graphs[0]
    for g in graphs:
        if (g.inputs, g.output_names) != (first.inputs, first.output_names):
            rule = f"what is repeated in turns must have the inputs and outputs of `{first.label}`"
            raise node.keys["repeat"].error(rule, value=f"`{g.label}`", node=path)
    inputs, outputs = first.inputs, first.output_names
    if len(outputs) == 1 and outputs[0] not in inputs:
        return (0, *[None] * (len(inputs) - 1)), outputs
    carried = tuple(outputs.index(i) if i in outputs else None for i in inputs)
    if all(c is None for c in carried):
        rule = f"a repeat of `{first.label}` must carry an output: name one like an input ({', '.join(inputs)})"
        raise node.keys["repeat"].error(rule, value=", ".join(outputs), node=path)
    return carried, outputs


def _times(node: Table, path: str, scope: Scope) -> Value:
    located = node.get("times")
    if located is None:
        near = [n for k in node.keys for n in nearest(k, ("times",))]
        raise node.keys["repeat"].error("a repeat needs `times`", value="none", near=near, node=path)
    value = value_of(located, scope, "`times`", dynamic=False)
    probes: tuple[object, ...] = ()
    if isinstance(value, Const):
        probes = (value.value,)
    elif isinstance(value, Pick):
        match value.domain:
            case Categorical(options):
                probes = options
            case Integer(low, high):
                probes = (low, high)
            case Real():
                probes = ("a range of floats",)
    for probe in probes:
        if not is_count(probe):
            rule = f"`times` must be a whole number from 1 to {MAX_TIMES:,}: a repeat of 0 is no repeat"
            raise value.mark.error(rule, value=f"{probe}", node=path)
    return value


def is_count(value: object) -> bool:
    """Whether a repeat can have so many turns."""
    whole = isinstance(value, int) or (isinstance(value, float) and value.is_integer())
    return whole and not isinstance(value, bool) and 1 <= value <= MAX_TIMES  # type: ignore[operator]


def _tie(node: Table, path: str) -> str:
    value = node.get("tie")
    if value is None or (isinstance(value, Leaf) and value.value is None):
        return "none"
    name = name_of(value, "`tie`")
    if name not in TIES:
        raise value.mark.error(
            f"`tie` must be one of {', '.join(TIES)}", value=f"`{name}`", near=nearest(name, TIES), node=path
        )
    return name
