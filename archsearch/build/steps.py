"""An architecture a step at a time: its live nodes in an order without delays, and what has to be kept between steps.

In step form a delayed cycle is nothing special: a delayed edge reads what was kept, every other edge reads what stands
before it in the order of the architecture.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from archsearch.build.fast_weights import Pair, Writing
from archsearch.build.model import Model
from archsearch.build.scans import Scan
from archsearch.build.tree import Branch
from archsearch.errors import RuleError
from archsearch.graph.analysis import Component, components, live_nodes
from archsearch.graph.architecture import Node, Source
from archsearch.graph.types import ValueType
from archsearch.ops.base import Op

__all__ = ["Cell", "Line", "Steps", "period"]

NOTHING = 0
"""The slot that stays `None`: what an unconnected optional port reads."""


@dataclass(frozen=True, slots=True)
class Cell:
    """One live node.

    Args:
        weights: the mapping that the op is called with; it belongs to the model.
        reads, writes: slots of its inputs, one a port or edge, and of its outputs.
        types, outputs: of its inputs and outputs.
        period: ticks after tokens `period − 1`, `2 · period − 1`, ...
        several: whether the op answers with a tuple.
    """

    name: str
    op: Op
    weights: Mapping[str, Any]
    reads: tuple[int, ...]
    writes: tuple[int, ...]
    types: tuple[ValueType | None, ...]
    outputs: tuple[ValueType, ...]
    period: int
    several: bool


@dataclass(slots=True)
class Line:
    """A value that is read late: what is kept of it, the newest first.

    Attributes:
        now: its slot.
        period: of its ticks.
        names: what is kept, `h[t-1]`, `h[t-2]`, ... up to the longest delay.
        late: slots of the delays that something reads.
        start: the parameters and a name in them that give the value before the start; `None` for zero.
    """

    now: int
    kind: ValueType
    period: int
    start: tuple[Mapping[str, Any], str] | None
    names: list[str] = field(default_factory=list)
    late: dict[int, int] = field(default_factory=dict)

    def before(self, like: Tensor, copies: int, batch: int) -> Tensor:
        """The value before the start, `(copies, batch, *shape)`, in the dtype and on the device of `like`."""
        if self.start is None:
            return torch.zeros((), dtype=like.dtype, device=like.device).expand(copies, batch, *self.kind.shape)
        weights, name = self.start
        value: Tensor = weights[name].detach()
        return value.unsqueeze(1).expand(copies, batch, *self.kind.shape)


class Steps:
    """What `Decoder` runs: cells in order, lines of delayed values, and slots that values stand in during a step.

    Attributes:
        order: the components of the graph, for whoever runs many steps at once.
        plan: how the model runs all steps at once.
        sources: what stands in the slots of the plan.
        scans: the calls of the plan that run a cycle at once, by the first of its nodes.
        pairs: its calls that hand on the vectors of an outer product, by slot.
        unplanned: the nodes that it does without, since a cycle that runs at once does.
        size: how many slots there are.
        input, output: the slots of both ends.
    """

    def __init__(self, model: Model) -> None:
        """Raises `RuleError` where an op sees later steps or has no step form."""
        self.model = model
        self.architecture = a = model.folded
        self.nodes = {n.name: n for n in live_nodes(a)}
        self.order: tuple[Component, ...] = components(a)
        self.plan = model._plan
        self.sources = {slot: s for s, slot in self.plan.places.items()}
        calls: list[Any] = self.plan.calls
        self.scans = {self.sources[c.writes[0]].node: c for c in calls if isinstance(c, Scan | Writing)}
        self.pairs = {c.writes[0]: c for c in calls if isinstance(c, Pair)}
        self.unplanned = self.nodes.keys() - {s.node for s in self.plan.places}
        self.size = 1
        self.slots: dict[Source, int] = {}
        self.lines: dict[Source, Line] = {}
        self.input = self._slot(Source(next(iter(a.inputs))))
        for node in self.nodes.values():
            for k in range(len(node.types)):
                self._slot(Source(node.name, k))
        self.cells = {node.name: self._cell(node) for node in self.nodes.values()}
        self.output = self._read(a.output)

    @property
    def has_rates(self) -> bool:
        """Whether anything ticks slower than the input."""
        return any(cell.period > 1 for cell in self.cells.values())

    def _cell(self, node: Node) -> Cell:
        op = self.model.op_class(node.op)(**node.settings)
        if not op.is_causal():
            rule = "a graph that decodes step by step must see no later steps"
            raise RuleError(rule, value=f"`{node.op}`, which does", node=node.name)
        if op.mixes_time and not _steps(op):
            rule = "a graph that decodes step by step must have ops with a step form"
            raise RuleError(rule, value=f"`{node.op}`, which has none", node=node.name)
        sources = [s for port in node.inputs for s in (port or (None,))]
        types = tuple(None if s is None else self.architecture.type_of(s) for s in sources)
        return Cell(
            name=node.name,
            op=op,
            weights=self._weights(node),
            reads=tuple(NOTHING if s is None else self._read(s) for s in sources),
            writes=tuple(self.slots[Source(node.name, k)] for k in range(len(node.types))),
            types=types,
            outputs=node.types,
            period=min(period(t) for t in (*types, *node.types) if t is not None),
            several=isinstance(op.infer(*types), tuple),
        )

    def _slot(self, s: Source) -> int:
        self.slots[s] = self.size
        self.size += 1
        return self.slots[s]

    def _read(self, s: Source) -> int:
        """The slot of a source; a delayed one gets a line."""
        if not s.delay:
            return self.slots[s]
        origin = Source(s.node, s.output)
        if origin not in self.lines:
            kind = self.architecture.type_of(s)
            self.lines[origin] = Line(self.slots[origin], kind, period(kind), self._start(origin))
        line = self.lines[origin]
        line.names.extend(str(Source(*_place(origin), k)) for k in range(len(line.names) + 1, s.delay + 1))
        if s.delay not in line.late:
            line.late[s.delay] = self._slot(s)
        return line.late[s.delay]

    def _start(self, origin: Source) -> tuple[Mapping[str, Any], str] | None:
        node = self.nodes.get(origin.node)
        if node is None or node.initial != "learned":
            return None
        homes = self._homes(node)
        found = next(b for home in homes if (b := _branch(self.model.graph, f"{home}.initial")) is not None)
        return found._parameters, str(origin.output)

    def _weights(self, node: Node) -> Mapping[str, Any]:
        """The parameters of the node, which stand under its own name or under that of one it shares them with."""
        found = (_branch(self.model.graph, home) for home in self._homes(node))
        return next((b._parameters for b in found if b is not None), {})

    def _homes(self, node: Node) -> Iterator[str]:
        group = node.weights
        return (n.name for n in self.nodes.values() if n is node or (group is not None and n.weights == group))


def _place(s: Source) -> tuple[str, int]:
    return s.node, s.output


def period(t: ValueType) -> int:
    """How many tokens make one tick; raises `RuleError` where that is no whole number."""
    if t.rate.numerator != 1:
        raise RuleError("a graph that decodes step by step must have rates of 1/k", value=str(t))
    return t.rate.denominator


def _branch(root: Branch, path: str) -> Branch | None:
    """The branch at a dotted path that holds parameters."""
    at: Any = root
    for name in path.split("."):
        at = at._modules.get(name)
        if at is None:
            return None
    return at if at._parameters else None


def _steps(op: Op) -> bool:
    """Whether an op that mixes time says how it steps."""
    return type(op).step is not Op.step or (not op.native_copies and type(op).step_one is not Op.step_one)
