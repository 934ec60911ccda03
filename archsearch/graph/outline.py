"""Which nodes stand in which definition or repeat, and which turns of a repeat can be drawn as one."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence

from archsearch.graph.analysis import output_types
from archsearch.graph.architecture import Architecture, Group, Node, Source
from archsearch.graph.opspec import Registry

__all__ = ["Outline", "relative", "setting_text", "shown_text", "telling_settings", "value_text"]


class Outline:
    """The nodes of an architecture under the groups of its outline.

    Attributes:
        types: of the outputs of every node and input.
        own: the nodes of which a group is the innermost, by path; "" holds those outside all groups.
        within: all nodes of a group.
    """

    def __init__(self, architecture: Architecture) -> None:
        self.types = output_types(architecture)
        self.own: defaultdict[str, list[Node]] = defaultdict(list)
        self.within: defaultdict[str, list[Node]] = defaultdict(list)
        groups = set(_paths(architecture.outline))
        for node in architecture.nodes:
            prefixes = _prefixes(node.name)
            self.own[next((p for p in reversed(prefixes) if p in groups), "")].append(node)
            for prefix in prefixes:
                self.within[prefix].append(node)

    def runs(self, turns: Sequence[Group], *, fold: bool = True) -> Iterator[Sequence[Group]]:
        """The turns of a repeat, consecutive ones that look alike together."""
        at = 0
        while at < len(turns):
            end = at + 1
            if fold:
                shape = self._shape(turns[at])
                while end < len(turns) and self._shape(turns[end]) == shape:
                    end += 1
            yield turns[at:end]
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


def telling_settings(node: Node, registry: Registry | None) -> list[tuple[str, object]]:
    """The settings of a node that a drawing shows: those that have another value than their default."""
    usual = {s.name: s.default for s in registry[node.op].settings} if registry is not None else {}
    told = [(k, v) for k, v in node.settings.items() if k not in usual or usual[k] != v]
    return [(k, v) for k, v in told if v is not None]


def shown_text(group: Group) -> str:
    """The settings of a group that a choice decided, each with a space before it."""
    return "".join(f" {k}={value_text(v)}" for k, v in group.shown)


def setting_text(name: str, value: object) -> str:
    """`heads=4`, `bias`, `no bias`."""
    if isinstance(value, bool):
        return name if value else f"no {name}"
    return f"{name}={value_text(value)}"


def value_text(value: object) -> str:
    """A setting's value as YAML has it, floats short."""
    return f"{value:g}" if isinstance(value, float) else str(value).lower() if isinstance(value, bool) else str(value)


def relative(path: str, base: str) -> str:
    """`path` as seen from the group `base`; in full from outside."""
    return path[len(base) + 1 :] if base and path.startswith(base + ".") else path


def _paths(groups: Iterable[Group]) -> Iterator[str]:
    for group in groups:
        yield group.path
        yield from _paths(group.children)


def _prefixes(name: str) -> list[str]:
    """`a`, `a.b` and `a.b.c` of `a.b.c`."""
    return [name[:i] for i, c in enumerate(name) if c == "."] + [name]
