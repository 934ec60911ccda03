"""A walked space before types: flat nodes, every decision made, sizes still to be inferred.

The plan of one set of decisions serves any width: `match` infers its types several times over.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from archsearch.graph.architecture import Group
from archsearch.graph.binding import Bound
from archsearch.graph.expr import Expression
from archsearch.graph.reader import Mark
from archsearch.graph.template import Graph, Member, Name, OpApply, Value

__all__ = ["Deferred", "FlatNode", "Frame", "Pending", "Plan", "Val", "at_home"]


class Pending:
    """What a member will give that has not been walked yet: a delayed edge, or one against the order of writing."""

    __slots__ = ("frame", "mark", "output", "slot")

    def __init__(self, frame: Frame, slot: int, output: int, mark: Mark) -> None:
        self.frame, self.slot, self.output, self.mark = frame, slot, output, mark


Val = tuple[Any, int, int]
"""An edge: node number (input `-1 - n`; or a `Pending`), output, delay."""


class Frame:
    """One instance of a graph.

    Args:
        name: path of its nodes; path: of its decisions; weights: of its shared weights (`None`: not shared).
        inputs: what goes in.
        parent: where `$names` that it does not have itself are looked up.
        tied: whether its decisions are those of another turn.
        caller: the frame of the node that it is an instance for; at: the place of that node; given: its arguments.
    """

    __slots__ = (
        "at", "caller", "given", "graph", "inputs", "name", "outputs", "parent", "path", "tied", "values", "weights"
    )  # fmt: skip

    def __init__(
        self,
        graph: Graph,
        name: str,
        path: str,
        weights: str | None,
        inputs: tuple[Val, ...],
        parent: Frame | None,
        tied: bool,
    ) -> None:
        self.graph, self.name, self.path, self.weights = graph, name, path, weights
        self.inputs, self.parent, self.tied = inputs, parent, tied
        self.values: dict[str, Any] = {}
        self.outputs: list[tuple[Val, ...] | None] = [None] * len(graph.members)
        self.caller: Frame | None = None
        self.at = graph.mark
        self.given: Mapping[str, Value] = {}


@dataclass(frozen=True, slots=True)
class Deferred:
    """A value that depends on a width or on `scale`: computed when types are inferred.

    Args:
        expression: `None` for the width of `frame`, or the name of `scale` in `name`.
    """

    frame: Frame
    mark: Mark | None = None
    expression: Expression | None = None
    names: dict[str, Any] = field(default_factory=dict)
    name: str = ""


class FlatNode:
    """One node of the flat graph.

    Args:
        deferred: settings of which some are `Deferred`; `bound` is `None` then.
        inputs: the edges into each port.
    """

    __slots__ = ("apply", "bound", "deferred", "frame", "initial", "inputs", "member", "name", "weights")

    def __init__(
        self,
        name: str,
        member: Member,
        apply: OpApply,
        frame: Frame,
        inputs: tuple[tuple[Val, ...], ...],
        weights: str | None,
    ) -> None:
        self.name, self.member, self.apply, self.frame = name, member, apply, frame
        self.inputs, self.weights = inputs, weights
        self.bound: Bound | None = apply.bound
        self.deferred: dict[str, Any] | None = None
        self.initial = "zero"

    def mark(self, setting: str | None = None) -> Mark:
        """The place of a setting, or of the node, in the file of the space.

        A setting that is a parameter of the definition has its place where the parameter was given, and what stands in
        a shipped definition has the place of the node that uses it.
        """
        frame: Frame | None = self.frame
        mark = self.apply.marks.get(setting or "", self.member.mark)
        value = self.apply.settings.get(setting or "")
        while isinstance(value, Name) and frame is not None:
            holder: Frame | None = frame
            while holder is not None and value.name not in holder.graph.params:
                holder = holder.parent
            if holder is None or value.name not in holder.given:
                break
            value, frame = holder.given[value.name], holder.caller
            mark = value.mark
        return at_home(mark, frame)


def at_home(mark: Mark, frame: Frame | None) -> Mark:
    """`mark`, or where its file is not that of the space, the place that led there."""
    home, frames = mark.file, []
    while frame is not None:
        frames.append(frame)
        home, frame = frame.graph.mark.file, frame.caller
    for inner in frames:
        if mark.file == home:
            break
        mark = inner.at
    return mark


@dataclass(slots=True)
class Plan:
    """A flat graph without types.

    Args:
        output: what the graph gives; input: the name of its one input.
        delayed: whether any edge has a delay.
        decisions: flat, in the order in which they were asked.
        frames: all bodies, also those that hold no node themselves.
        counted: which nodes have weights of their own that the output depends on; see `count`.
    """

    nodes: list[FlatNode]
    input: str
    output: Val
    outline: tuple[Group, ...]
    decisions: dict[str, Any]
    frames: list[Frame]
    delayed: bool = False
    counted: tuple[int, ...] | None = None

    def count(self) -> tuple[int, ...]:
        """The nodes that the output depends on, of those with shared weights the first."""
        if self.counted is None:
            shared: set[str | None] = set()
            found = []
            for i, lives in enumerate(self.alive()):
                weights = self.nodes[i].weights
                if lives and (weights is None or weights not in shared):
                    shared.add(weights)
                    found.append(i)
            self.counted = tuple(found)
        return self.counted

    def alive(self) -> list[bool]:
        """Which nodes the output depends on."""
        seen = [False] * len(self.nodes)
        stack = [self.output[0]]
        while stack:
            n = stack.pop()
            if n >= 0 and not seen[n]:
                seen[n] = True
                stack.extend(v[0] for port in self.nodes[n].inputs for v in port)
        return seen

    def late(self) -> frozenset[int]:
        """Nodes that something alive reads with a delay."""
        alive = self.alive()
        ends = [v for n, lives in zip(self.nodes, alive, strict=True) if lives for port in n.inputs for v in port]
        return frozenset(v[0] for v in [*ends, self.output] if v[2])
