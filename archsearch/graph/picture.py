"""An architecture as a drawing in text, for a terminal of 80 to 100 columns."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from archsearch.graph.analysis import input_types
from archsearch.graph.architecture import Architecture, Group, Node, Source
from archsearch.graph.opspec import Registry
from archsearch.graph.outline import Outline, relative, setting_text, shown_text, telling_settings

__all__ = ["WIDTH", "draw", "title"]

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
    return "\n".join([title(architecture), *_columns(rows)])


def title(architecture: Architecture) -> str:
    """Name, sizes and causality in one line."""
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
        self.outline = Outline(architecture)
        self.drawn_weights: dict[str, str] = {}

    def rows(self) -> Iterator[_Row]:
        """All of it, from the top."""
        yield from self._nodes("", "", "")
        yield from self._groups(self.architecture.outline, "", "")

    def _groups(self, groups: Iterable[Group], base: str, indent: str) -> Iterator[_Row]:
        for group in groups:
            if group.kind == "op":
                yield from self._nodes(group.path, base, indent)
                continue
            shown = shown_text(group)
            if group.kind == "repeat":
                yield _Row(indent, f"{relative(group.path, base)}: {len(group.children)} × {group.label}{shown}")
                yield from self._turns(group.children, group.path, indent + "  ")
            else:
                yield _Row(indent, f"{relative(group.path, base)}: {group.label}{shown}")
                yield from self._nodes(group.path, base, indent + "  ")
                yield from self._groups(group.children, group.path, indent + "  ")

    def _turns(self, turns: Sequence[Group], base: str, indent: str) -> Iterator[_Row]:
        yield from self._nodes(base, base, indent)
        for run in self.outline.runs(turns, fold=self.fold):
            turn = run[0]
            first, last = relative(turn.path, base), relative(run[-1].path, base)
            numbers = first if len(run) == 1 else f"{first} … {last}"
            yield _Row(indent, f"{numbers}: {turn.label}{shown_text(turn)}")
            if turn.kind == "definition":
                yield from self._nodes(turn.path, turn.path, indent + "  ")
                yield from self._groups(turn.children, turn.path, indent + "  ")
            else:
                yield from self._nodes(turn.path, base, indent + "  ")

    def _nodes(self, group: str, base: str, indent: str) -> Iterator[_Row]:
        for node in self.outline.own[group]:
            settings = "".join(f" {setting_text(k, v)}" for k, v in telling_settings(node, self.registry))
            types = ", ".join(dict.fromkeys(map(str, node.types)))
            what = node.op + settings + (" from a learned start" if node.initial == "learned" else "")
            types = f"{len(node.types)} of {types}" if len(node.types) > 1 else types
            yield _Row(indent, relative(node.name, base), what, types, self._params(node), self._reads(node, base))

    def _params(self, node: Node) -> str:
        if self.registry is None:
            return ""
        rule = self.registry[node.op].bind(node.settings)
        n = rule.params(*input_types(node, self.registry, self.outline.types))
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


def _source(source: Source, base: str) -> str:
    return str(Source(relative(source.node, base), source.output, source.delay))
