"""A space after reading: definitions, nodes, wiring and values, every reference resolved, choices still open.

The compiler makes these once; the walk, the size and the list of choices only read them.

    Graph           a body: siblings that see its inputs and each other
    └── Member      one node of it: what is applied (Apply), to which edges (Input)
        └── Apply   OpApply     a primitive or core of the registry
                    Use         another Graph: a definition, or nodes written in place
                    Choose      one of several Applies
                    Repeat      a pattern of Graphs, in turns
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NamedTuple

from archsearch.graph.binding import Bound
from archsearch.graph.domain import Categorical, Domain, Subset
from archsearch.graph.expr import Expression
from archsearch.graph.opspec import OpSpec
from archsearch.graph.reader import Mark

__all__ = [
    "Apply",
    "Choose",
    "Const",
    "EdgeChoice",
    "Formula",
    "Graph",
    "Input",
    "Member",
    "Name",
    "OpApply",
    "Option",
    "Pick",
    "Ref",
    "Repeat",
    "Use",
    "Value",
]


@dataclass(frozen=True, slots=True)
class Const:
    """A scalar as it was written."""

    value: bool | int | float | str | None
    mark: Mark


@dataclass(frozen=True, slots=True)
class Pick:
    """An open choice of a scalar."""

    domain: Domain
    mark: Mark


@dataclass(frozen=True, slots=True)
class Name:
    """`$name`: a parameter, a named choice or a name of `scale`."""

    name: str
    mark: Mark


@dataclass(frozen=True, slots=True)
class Formula:
    """`"=2*expand*width"`."""

    expression: Expression
    mark: Mark


Value = Const | Pick | Name | Formula


class Ref(NamedTuple):
    """An edge's origin in a body: member `target`, or the body's input `-1 - target`; which output; the delay."""

    target: int
    output: int
    delay: int


@dataclass(frozen=True, slots=True)
class EdgeChoice:
    """Open edges: `{choose: [a, b]}` (one of them) or `{any_of: [a, b, c]}` (some of them)."""

    domain: Categorical | Subset
    refs: dict[str, Ref]
    path: str
    mark: Mark


@dataclass(frozen=True, slots=True)
class Input:
    """What goes into one port of an op, or one input of a graph."""

    port: str
    edges: tuple[Ref | EdgeChoice, ...]


@dataclass(frozen=True, slots=True)
class OpApply:
    """A primitive. `bound` is there if no choice or formula decides a setting.

    Args:
        shown: settings that a choice decides.
        marks: the places of the settings that were written.
    """

    spec: OpSpec
    settings: dict[str, Value]
    bound: Bound | None
    outputs: tuple[str, ...]
    shown: tuple[str, ...]
    marks: dict[str, Mark]


@dataclass(frozen=True, slots=True)
class Use:
    """A graph in a graph. `arguments` are those that the instance gives; the graph's `params` have the others."""

    graph: Graph
    arguments: dict[str, Value]
    shown: tuple[str, ...]

    @property
    def outputs(self) -> tuple[str, ...]:
        """Names of the outputs."""
        return self.graph.output_names


@dataclass(frozen=True, slots=True)
class Option:
    """One alternative of a Choose, wired on its own since its ports may differ from its neighbours'."""

    apply: Apply
    inputs: tuple[Input, ...]


@dataclass(frozen=True, slots=True)
class Choose:
    """One of several. `suffix` is `.op` where the choice stands at `op:`."""

    domain: Categorical
    options: dict[str, Option]
    suffix: str
    outputs: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Repeat:
    """A pattern of graphs, cycled for a number of turns.

    Args:
        patterns: by name; one named "" if the pattern is not open.
        carried: for each input of the graphs, the output that goes into it in the next turn (`None`: unchanged).
        tie: `none`, `choices` or `weights`.
    """

    patterns: dict[str, tuple[Graph, ...]]
    domain: Categorical | None
    times: Value
    tie: str
    carried: tuple[int | None, ...]
    outputs: tuple[str, ...]


Apply = OpApply | Use | Choose | Repeat


@dataclass(slots=True)
class Member:
    """One node of a body. Its name is empty where the body is a single op, choice or repeat.

    Args:
        ports: the edges into each port, where nothing about the node is open.
    """

    name: str
    mark: Mark
    apply: Apply
    inputs: tuple[Input, ...]
    merge: str | None = None
    weights: str | None = None
    initial: str | None = None
    ports: tuple[tuple[Ref, ...], ...] | None = None

    def settle(self) -> None:
        """Sets `ports` where nothing about the node is open: an op with its settings, and edges, all fixed."""
        edges = [e for i in self.inputs for e in i.edges]
        words = (self.merge, self.weights, self.initial)
        fixed = isinstance(self.apply, OpApply) and self.apply.bound is not None
        if fixed and words == (None, None, None) and not any(isinstance(e, EdgeChoice) for e in edges):
            self.ports = tuple(tuple(e for e in i.edges if isinstance(e, Ref)) for i in self.inputs)


@dataclass(slots=True)
class Graph:
    """A body.

    Args:
        label: the definition's name, the alternative's, or the node's.
        outputs: name and origin of each.
        params: defaults; choices: named ones, one for each instance.
        bodies: parameters that hold a body; each is in `members` already, wherever a node asks for it.
        scope: false where the body is written in place and sees the parameters around it.
        depth: how deep graphs nest in it.
    """

    label: str
    mark: Mark
    inputs: tuple[str, ...]
    outputs: tuple[tuple[str, Ref], ...] = ()
    members: tuple[Member, ...] = ()
    params: dict[str, Value] = field(default_factory=dict)
    choices: dict[str, Pick] = field(default_factory=dict)
    scope: bool = True
    depth: int = 1
    bodies: tuple[str, ...] = ()

    @property
    def output_names(self) -> tuple[str, ...]:
        """Names of the outputs, in order."""
        return tuple(name for name, _ in self.outputs)


def join(path: str, name: str | int) -> str:
    """`name` below `path`; an empty one of the two is left out."""
    if name == "":
        return path
    return f"{path}.{name}" if path else str(name)
