"""An architecture as a drawing in text, for a terminal of 80 to 100 columns."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from archsearch.graph.analysis import input_types, output_types
from archsearch.graph.architecture import Architecture, Group, Node, Source
from archsearch.graph.opspec import Registry

__all__ = ["WIDTH", "draw"]

WIDTH = 100
"""Columns; a longer line is cut, with an ellipsis."""


def draw(architecture: Architecture, registry: Registry | None = None, *, fold: bool = True) -> str:
    """One line a node: name, op with settings, type, parameters, and after `←` what it reads.

    Nodes stand under the definition or repeat that they were written in, with names as seen from there. A delayed edge
    is `h[t-1]`.

    Args:
        registry: for parameters, for the names of ports, and to leave out settings that have their default.
        fold: draw consecutive equal turns of a repeat once.
    """
    rows = [_Row("", name, "input", str(t)) for name, t in architecture.inputs.items()]
    rows += _Drawing(architecture, registry, fold=fold).rows()
    rows.append(_Row("", "output", reads=f"← {architecture.output}"))
    return "\n".join([_title(architecture), *_columns(rows)])


def _title(architecture: Architecture) -> str:
    scale = [f"{k} {v:g}" for k, v in architecture.scale.items()]
    return f"{architecture.name}: " + ", ".join([*scale, "causal" if architecture.causal else "not causal"])


@dataclass(frozen=True, slots=True)
class _Row:
    """A line; a heading has a name only."""

    indent: str
    name: str
    what: str = ""
    type: str = ""
    params: str = ""
    reads: str = ""


class _Drawing:
    """The rows of one architecture."""

    def __init__(self, architecture: Architecture, registry: Registry | None, *, fold: bool) -> None:
        self.architecture, self.registry, self.fold = architecture, registry, fold
        self.types = output_types(architecture)
        self.own: defaultdict[str, list[Node]] = defaultdict(list)
        self.within: defaultdict[str, list[Node]] = defaultdict(list)
        self.drawn_weights: dict[str, str] = {}
        groups = set(_paths(architecture.outline))
        for node in architecture.nodes:
            prefixes = _prefixes(node.name)
            self.own[next((p for p in reversed(prefixes) if p in groups), "")].append(node)
            for prefix in prefixes:
                self.within[prefix].append(node)

    def rows(self) -> Iterator[_Row]:
        """All of it, from the top."""
        yield from self._nodes("", "", "")
        yield from self._groups(self.architecture.outline, "", "")

    def _groups(self, groups: Iterable[Group], base: str, indent: str) -> Iterator[_Row]:
        for group in groups:
            if group.kind == "op":
                yield from self._nodes(group.path, base, indent)
                continue
            shown = "".join(f" {k}={_value(v)}" for k, v in group.shown)
            if group.kind == "repeat":
                yield _Row(indent, f"{_relative(group.path, base)}: {len(group.children)} × {group.label}{shown}")
                yield from self._turns(group.children, group.path, indent + "  ")
            else:
                yield _Row(indent, f"{_relative(group.path, base)}: {group.label}{shown}")
                yield from self._nodes(group.path, base, indent + "  ")
                yield from self._groups(group.children, group.path, indent + "  ")

    def _turns(self, turns: Sequence[Group], base: str, indent: str) -> Iterator[_Row]:
        yield from self._nodes(base, base, indent)
        at = 0
        while at < len(turns):
            end = at + 1
            if self.fold:
                shape = self._shape(turns[at])
                while end < len(turns) and self._shape(turns[end]) == shape:
                    end += 1
            turn = turns[at]
            first = _relative(turn.path, base)
            last = _relative(turns[end - 1].path, base)
            numbers = first if end == at + 1 else f"{first} … {last}"
            yield _Row(indent, f"{numbers}: {turn.label}" + "".join(f" {k}={_value(v)}" for k, v in turn.shown))
            if turn.kind == "definition":
                yield from self._nodes(turn.path, turn.path, indent + "  ")
                yield from self._groups(turn.children, turn.path, indent + "  ")
            else:
                yield from self._nodes(turn.path, base, indent + "  ")
            at = end

    def _shape(self, turn: Group) -> list[object]:
        """What two turns have to have in common to be drawn as one: all but their names and where they read from."""
        outside: dict[Source, int] = {}
        shape: list[object] = [turn.label]
        for node in self.within[turn.path]:
            reads = [
                [
                    (s.node.removeprefix(turn.path), s.output, s.delay)
                    if (s.node + ".").startswith(turn.path + ".")
                    else outside.setdefault(s, len(outside))
                    for s in port
                ]
                for port in node.inputs
            ]
            name = node.name.removeprefix(turn.path)
            shape.append((name, node.op, sorted(node.settings.items()), reads, node.types, node.initial))
            shape.append(node.weights is None)
        return shape

    def _nodes(self, group: str, base: str, indent: str) -> Iterator[_Row]:
        for node in self.own[group]:
            settings = "".join(f" {_setting(k, v)}" for k, v in self._telling_settings(node) if v is not None)
            types = ", ".join(dict.fromkeys(map(str, node.types)))
            what = node.op + settings + (" from a learned start" if node.initial == "learned" else "")
            types = f"{len(node.types)} of {types}" if len(node.types) > 1 else types
            yield _Row(indent, _relative(node.name, base), what, types, self._params(node), self._reads(node, base))

    def _telling_settings(self, node: Node) -> list[tuple[str, object]]:
        usual = {s.name: s.default for s in self.registry[node.op].settings} if self.registry is not None else {}
        return [(k, v) for k, v in node.settings.items() if k not in usual or usual[k] != v]

    def _params(self, node: Node) -> str:
        if self.registry is None:
            return ""
        rule = self.registry[node.op].bind(node.settings)
        shapes = rule.weight_shapes(*input_types(node, self.registry, self.types))
        n = sum(math.prod(s) for s in shapes.values())
        if n and node.weights is not None and self.drawn_weights.setdefault(node.weights, node.name) != node.name:
            return "shared"
        return f"{n:,}" if n else ""

    def _reads(self, node: Node, base: str) -> str:
        texts = [", ".join(_source(s, base) for s in port) for port in node.inputs]
        names = [p.name for p in self.registry[node.op].ports] if self.registry is not None else []
        if len(names) > 1:
            texts = [f"{name}: {text}" for name, text in zip(names, texts, strict=True) if text]
        return "← " + ", ".join(t for t in texts if t) if any(texts) else ""


def _columns(rows: Sequence[_Row]) -> Iterator[str]:
    """The rows with the columns below each other."""
    lines = [r for r in rows if r.what]
    name = min(28, max((len(r.indent + r.name) for r in lines), default=0))
    what = min(34, max((len(r.what) for r in lines), default=0))
    kind = min(16, max((len(r.type) for r in lines), default=0))
    params = max((len(r.params) for r in lines), default=0)
    for r in rows:
        head = _clip(r.indent + r.name, name)
        if not r.what:
            text = f"{r.indent}{r.name}  {r.reads}"
        else:
            text = f"{head:<{name}}  {_clip(r.what, what):<{what}}  {_clip(r.type, kind):<{kind}}"
            text += f"  {r.params:>{params}}" if params else ""
            text += f"  {r.reads}"
        yield _clip(text.rstrip(), WIDTH)


def _clip(text: str, width: int) -> str:
    return text if len(text) <= width else text[: width - 1] + "…"


def _paths(groups: Iterable[Group]) -> Iterator[str]:
    for group in groups:
        yield group.path
        yield from _paths(group.children)


def _prefixes(name: str) -> list[str]:
    """`a`, `a.b` and `a.b.c` of `a.b.c`."""
    return [name[:i] for i, c in enumerate(name) if c == "."] + [name]


def _relative(path: str, base: str) -> str:
    """`path` as seen from the group `base`; in full from outside."""
    return path[len(base) + 1 :] if base and path.startswith(base + ".") else path


def _source(source: Source, base: str) -> str:
    return str(Source(_relative(source.node, base), source.output, source.delay))


def _setting(name: str, value: object) -> str:
    if isinstance(value, bool):
        return name if value else f"no {name}"
    return f"{name}={_value(value)}"


def _value(value: object) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value).lower() if isinstance(value, bool) else str(value)
