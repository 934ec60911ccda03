"""What a drawing of an architecture shows, before it is drawn: boxes, vertices and arrows, with repeats folded."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

from archsearch.graph.analysis import facts, input_types, live_nodes
from archsearch.graph.architecture import Architecture, Group, Node
from archsearch.graph.opspec import Registry
from archsearch.graph.outline import Outline, relative, setting_text, shown_text, telling_settings
from archsearch.graph.picture import title

__all__ = ["UNUSED", "Arrow", "Box", "Diagram", "Item", "Vertex", "diagram"]

OUTPUT = "output"
"""The name of the vertex that the readout reads; a node has a name without blanks, or this one with a blank behind."""
UNUSED = "unused"
"""The family of nodes that the output does not depend on, which are drawn and never built."""
LENGTH = 256


@dataclass(frozen=True, slots=True)
class Vertex:
    """One node, or an end of the graph.

    Args:
        name: unique; lines: what stands in it, its name first.
        family: of its op, `end`, or `UNUSED`.
        serial: whether it runs step by step.
    """

    name: str
    lines: tuple[str, ...]
    family: str
    serial: bool = False


@dataclass(frozen=True, slots=True)
class Box:
    """A definition, or a repeat with equal turns drawn once."""

    name: str
    title: str
    items: tuple[Item, ...]
    repeats: bool = False


Item = Vertex | Box


@dataclass(frozen=True, slots=True)
class Arrow:
    """An edge between two vertices.

    Args:
        delay: 0, or how many steps it looks back; label: port and output where they need saying, and the delay.
        serial: whether it lies on a cycle that runs step by step.
    """

    source: str
    target: str
    delay: int = 0
    label: str = ""
    serial: bool = False


@dataclass(frozen=True, slots=True)
class Diagram:
    """A drawing to be laid out; `reasons` say why what is marked as serial is."""

    title: str
    items: tuple[Item, ...]
    arrows: tuple[Arrow, ...]
    reasons: tuple[str, ...]


def diagram(architecture: Architecture, registry: Registry, *, fold: bool = True) -> Diagram:
    """The diagram of `architecture`, its nodes in their definitions.

    Args:
        fold: draw consecutive equal turns of a repeat once; an arrow to or from one of the others goes to that one.

    Raises:
        UnknownNameError, RuleError: an op or settings that `registry` does not have.
    """
    return _Making(architecture, registry, fold=fold).diagram()


class _Making:
    def __init__(self, architecture: Architecture, registry: Registry, *, fold: bool) -> None:
        self.architecture, self.registry, self.fold = architecture, registry, fold
        self.outline = Outline(architecture)
        self.why = facts(architecture, registry, LENGTH).serial
        self.serial = [set(names) for names, _ in self.why]
        self.live = {n.name for n in live_nodes(architecture)}
        self.alias: dict[str, str] = {}
        self.shared: dict[str, str] = {}

    def diagram(self) -> Diagram:
        a = self.architecture
        ends = [Vertex(name, (name, str(t)), "end") for name, t in a.inputs.items()]
        items = [*ends, *self.nodes("", ""), *self.groups(a.outline, "")]
        items.append(Vertex(OUTPUT + " ", (OUTPUT,), "end"))
        shown = (reason for names, reason in self.why if not all(name in self.alias for name in names))
        return Diagram(title(a), tuple(items), tuple(self.arrows()), tuple(dict.fromkeys(shown)))

    def groups(self, groups: Iterable[Group], base: str) -> Iterator[Item]:
        for group in groups:
            if group.kind == "op":
                yield from self.nodes(group.path, base)
                continue
            name = relative(group.path, base)
            if group.kind == "repeat":
                yield self.repeat(group, name)
            else:
                text = f"{name}: {group.label}{shown_text(group)}"
                yield Box(
                    group.path, text, (*self.nodes(group.path, group.path), *self.groups(group.children, group.path))
                )

    def repeat(self, group: Group, name: str) -> Box:
        """A box with the turns; turns that are all alike are the box itself."""
        runs = list(self.outline.runs(group.children, fold=self.fold))
        boxes = [self.turn(run, group.path) for run in runs]
        text = f"{name}: {len(group.children)} × {group.label}{shown_text(group)}"
        own = tuple(self.nodes(group.path, group.path))
        if len(boxes) == 1 and not own:
            return replace(boxes[0], title=text, repeats=len(group.children) > 1)
        return Box(group.path, text, (*own, *boxes))

    def turn(self, run: Sequence[Group], base: str) -> Box:
        first = run[0]
        for other in run[1:]:
            for node in self.outline.within[other.path]:
                self.alias[node.name] = first.path + node.name.removeprefix(other.path)
        number = relative(first.path, base)
        if len(run) > 1:
            number += f" … {relative(run[-1].path, base)}"
        inner = first.path if first.kind == "definition" else base
        items: list[Item] = list(self.nodes(first.path, inner))
        if first.kind == "definition":
            items += self.groups(first.children, first.path)
        elif first.kind == "repeat":
            items += [self.repeat(first, relative(first.path, base))]
        return Box(first.path, f"{number}: {first.label}{shown_text(first)}", tuple(items), len(run) > 1)

    def nodes(self, group: str, base: str) -> Iterator[Vertex]:
        for node in self.outline.own[group]:
            settings = "".join(f" {setting_text(k, v)}" for k, v in telling_settings(node, self.registry))
            lives = node.name in self.live
            size = self.params(node) if lives else "unused"
            types = ", ".join(dict.fromkeys(map(str, node.types)))
            lines = (relative(node.name, base), node.op + settings, f"{types} · {size}" if size else types)
            serial = any(node.name in names for names in self.serial)
            yield Vertex(node.name, lines, self.registry[node.op].family if lives else UNUSED, serial)

    def params(self, node: Node) -> str:
        rule = self.registry[node.op].bind(node.settings)
        n = rule.params(*input_types(node, self.registry, self.outline.types))
        if n and node.weights is not None and self.shared.setdefault(node.weights, node.name) != node.name:
            return "shared"
        return f"{n:,} params" if n else ""

    def arrows(self) -> Iterator[Arrow]:
        """One for each pair of vertices and delay, in the order of the nodes."""
        labels: dict[tuple[str, str, int], list[str]] = {}
        for node in self.architecture.nodes:
            if node.name in self.alias:
                continue
            ports = self.registry[node.op].ports
            for port, sources in zip(ports, node.inputs, strict=True):
                for s in sources:
                    says = [port.name] if len(ports) > 1 else []
                    says += [f"#{s.output}"] if s.output else []
                    key = (self.alias.get(s.node, s.node), node.name, s.delay)
                    labels.setdefault(key, []).append(" ".join(says))
        out = self.architecture.output
        labels[self.alias.get(out.node, out.node), OUTPUT + " ", out.delay] = [f"#{out.output}" if out.output else ""]
        for (source, target, delay), said in labels.items():
            texts = [t for t in said if t] + ([f"t-{delay}"] if delay else [])
            on_cycle = any(source in names and target in names for names in self.serial)
            yield Arrow(source, target, delay, ", ".join(dict.fromkeys(texts)), on_cycle)
