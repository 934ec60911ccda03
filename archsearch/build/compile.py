"""Architecture → plan: what is on no cycle runs over all steps at once, each cycle as `graph.recurrence` decides."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from fractions import Fraction
from typing import Any

from archsearch.build.fast_weights import Pair, Reading, Writing
from archsearch.build.plan import Call, Cell, Edge, Every, Linears, Loop, Plan, Shift, Start
from archsearch.build.probe import probe
from archsearch.build.scans import Scan
from archsearch.build.tree import Branch, Plot, plant
from archsearch.errors import RuleError
from archsearch.graph.architecture import Architecture, Node, Source
from archsearch.graph.components import components, live_nodes
from archsearch.graph.recurrence import recurrences
from archsearch.graph.types import ValueType
from archsearch.ops.base import Op, constant, param
from archsearch.ops.perceptron import Linear

__all__ = ["compile_graph"]


def compile_graph(
    architecture: Architecture,
    op_class: Callable[[str], type[Op]],
    plot: Plot,
    *,
    loops: bool = False,
    check: bool = False,
) -> Plan:
    """Plants the parameters of every node in `plot` and lays out the calls.

    Args:
        loops: runs every cycle as a loop, for comparison.
        check: tries out what the ops on cycles say of their linearity; see `archsearch.build.probe`.

    Raises:
        RuleError: an op that is not causal or mixes time stands on a cycle, or shared weights differ in shape.
        UnknownNameError: an op that does not exist.
    """
    compiler = _Compiler(architecture, op_class, plot, loops)
    plan = compiler.compile()
    if check:
        probe(compiler.cells)
    return plan


class _Compiler:
    """The state of one compilation: slots given so far, calls laid out so far."""

    def __init__(
        self, architecture: Architecture, op_class: Callable[[str], type[Op]], plot: Plot, loops: bool
    ) -> None:
        self.architecture, self.op_class, self.plot, self.loops = architecture, op_class, plot, loops
        self.nodes = {n.name: n for n in architecture.nodes}
        self.homes: dict[str, str] = {}
        self.specs = {op: op_class(op).spec() for op in sorted({n.op for n in architecture.nodes})}
        self.calls: list[Any] = []
        self.cells: list[Cell] = []
        self.slots: dict[Source, int] = {}
        self.size = 1  # slot 0 stays empty
        self.readers: dict[tuple[str, int], set[str]] = {(architecture.output.node, architecture.output.output): {""}}
        for node in live_nodes(architecture):
            for source in node.sources:
                self.readers.setdefault((source.node, source.output), set()).add(node.name)
        self.order = components(architecture)
        found = () if loops else recurrences(architecture, self.specs, self.order)
        self.cycles = {r.nodes: r for r in found}
        self.held = {c.weights.state: nodes for nodes, c in self.cycles.items() if c.weights}
        self.folded = {name for r in found if r.gate for name in r.gate.folded}
        self.linears: dict[int, Linears] = {}
        self.pairs: dict[str, int] = {}
        self.clocks: dict[Fraction, int] = {}
        self.inputs = {name: self._slot(Source(name)) for name in architecture.inputs}

    def compile(self) -> Plan:
        self._plant_starts()
        for component in self.order:
            nodes = [self.nodes[n] for n in component.nodes]
            if component.cyclic:
                self._cycle(nodes)
            else:
                for node in nodes:
                    self._call(node)
        output = self._read(self.architecture.output)
        return Plan(self.calls, self.size, self.inputs, output, _spent(self.calls, keep=output), self.slots)

    def _plant_starts(self) -> None:
        """Plants all trained values before the start, so that parameters stand in one order however a cycle runs."""
        live = [[self.nodes[n] for n in component.nodes] for component in self.order]
        late = {(s.node, s.output) for nodes in live for node in nodes for s in node.sources if s.delay}
        for nodes, component in zip(live, self.order, strict=True):
            for node in nodes:
                if node.weights:
                    self.homes.setdefault(node.weights, node.name)
                for k in range(len(node.types)):
                    if component.cyclic or (node.name, k) in late:
                        self._start(Source(node.name, k))

    def _call(self, node: Node) -> None:
        if node.name in self.folded or self._only_written(node):
            return
        op, leaf, several = self._op(node)
        reads = tuple(self._read(s) for s in _flat(node))
        if any(s.node in self.held for s in node.sources):
            ordered = reads if node.sources[0].node in self.held else reads[::-1]
            self.calls.append(Reading(ordered, self._write(node)))
            return
        if type(op) is Linear:
            if reads[0] not in self.linears:
                self.linears[reads[0]] = Linears(reads)
                self.calls.append(self.linears[reads[0]])
            self.linears[reads[0]].join(leaf._parameters, *self._write(node))
            return
        self.calls.append(Call(op.forward, leaf._parameters, reads, self._write(node), several))

    def _cycle(self, nodes: list[Node]) -> None:
        index = {n.name: i for i, n in enumerate(nodes)}
        how = self.cycles.get(tuple(n.name for n in nodes))
        gate = (self._read(how.gate.gate), self._read(how.gate.new)) if how and how.gate else None
        cells = tuple(self._cell(node, index, chunks=how is not None and how.weights is not None) for node in nodes)
        clock = self._clock(nodes[0].types[0])
        reads = tuple(sorted({e.slot for c in cells for e in c.edges if e.cell < 0}.union(gate or ())))
        writes = tuple(i for c in cells for i in c.writes)
        if how is None or not how.is_parallel:
            self.calls.append(Loop(cells, clock, reads, writes))
            return
        if how.weights:
            self.calls.append(Writing(cells, clock, reads, writes, index[how.weights.state], how.weights))
            return
        gone = tuple((index[name], k) for name, k in how.eliminated)
        lags = {((index[name], k)): lag for (name, k), lag in how.lags}
        wanted = tuple(((c, k), cells[c].writes[k]) for c, n in enumerate(nodes) for k in self._read_outside(n, index))
        self.calls.append(Scan(cells, clock, reads, writes, tuple(lags.items()), gone, how.stride, wanted, gate))

    def _clock(self, kind: ValueType) -> int:
        """The slot of a value that has as many steps as `kind`: the input, or every k-th step of it."""
        start = next(iter(self.inputs.values()))
        if kind.rate == 1:
            return start
        if kind.rate not in self.clocks:
            self.clocks[kind.rate] = self.size
            self.size += 1
            every = kind.rate.denominator
            self.calls.append(Every((start,), (self.clocks[kind.rate],), every))
        return self.clocks[kind.rate]

    def _only_written(self, node: Node) -> bool:
        """Whether a node is an outer product that goes to cycles in chunks alone, and so need not be formed."""
        cycles = {name for nodes in self.held.values() for name in nodes}
        return node.op == "outer" and self.readers.get((node.name, 0), {""}) <= cycles

    def _pair(self, node: Node) -> int:
        """The slot of the two vectors of an outer product off a cycle."""
        if node.name not in self.pairs:
            reads = tuple(self._read(s) for s in _flat(node))
            self.pairs[node.name] = self.size
            self.size += 1
            self.calls.append(Pair(reads, (self.pairs[node.name],)))
        return self.pairs[node.name]

    def _cell(self, node: Node, index: dict[str, int], chunks: bool) -> Cell:
        op, leaf, several = self._op(node)
        if op.mixes_time:
            raise RuleError("an op on a cycle must not mix time", value=f"`{node.op}`", node=node.name)
        edges = tuple(self._edge(s, index, chunks) for s in _flat(node))
        starts = tuple(self._start(Source(node.name, k)) for k in range(len(node.types)))
        cell = Cell(op, leaf._parameters, edges, self._types(node), node.types, self._write(node), starts, several)
        self.cells.append(cell)
        return cell

    def _read_outside(self, node: Node, inside: dict[str, int]) -> list[int]:
        """The outputs of a node on a cycle that something off it reads."""
        return [k for k in range(len(node.types)) if self.readers.get((node.name, k), set()) - inside.keys()]

    def _op(self, node: Node) -> tuple[Op, Branch, bool]:
        """The op with its settings, the branch of its own or shared parameters, and whether it answers with a tuple."""
        op, types = self.op_class(node.op)(**node.settings), self._types(node)
        outputs = op.infer(*types)
        several = isinstance(outputs, tuple)
        if (outputs if several else (outputs,)) != node.types:
            raise RuleError("a node must have the types that its op infers", value=str(node.types), node=node.name)
        home = self.homes.setdefault(node.weights, node.name) if node.weights else node.name
        return op, plant(self.plot, home, op.weights(*types)), several

    def _types(self, node: Node) -> tuple[ValueType | None, ...]:
        return tuple(None if s is None else self._type(s) for s in _flat(node))

    def _type(self, s: Source) -> ValueType:
        return self.architecture.inputs[s.node] if s.node in self.inputs else self.nodes[s.node].types[s.output]

    def _edge(self, s: Source | None, index: dict[str, int], chunks: bool) -> Edge:
        """One input of a cell; where it runs in `chunks`, outer products from outside come as two vectors."""
        if s is not None and s.node in self.folded:
            return Edge()
        if s is None or s.node not in index:
            node = self.nodes.get(s.node) if chunks and s else None
            return Edge(slot=self._pair(node) if node and node.op == "outer" else self._read(s))
        return Edge(cell=index[s.node], output=s.output, delay=s.delay)

    def _start(self, s: Source) -> Start:
        """The trained value before the start; `None` where it is zero."""
        node = self.nodes.get(s.node)
        if node is None or node.initial != "learned":
            return None
        home = self.homes.get(node.weights, node.name) if node.weights else node.name
        weights = [param(str(k), t.shape, constant(0.0), decay=False) for k, t in enumerate(node.types)]
        return plant(self.plot, f"{home}.initial", weights)._parameters, str(s.output)

    def _slot(self, s: Source) -> int:
        self.slots[s] = self.size
        self.size += 1
        return self.slots[s]

    def _write(self, node: Node) -> tuple[int, ...]:
        return tuple(self._slot(Source(node.name, k)) for k in range(len(node.types)))

    def _read(self, s: Source | None) -> int:
        """The slot of a source; a delayed one gets a shift in front of whoever reads it first."""
        if s is None:
            return 0
        if s not in self.slots and s.delay:
            now = self.slots[Source(s.node, s.output)]
            start = self._start(Source(s.node, s.output))
            self.calls.append(Shift((now,), (self._slot(s),), s.delay, start))
        return self.slots[s]


def _flat(node: Node) -> list[Source | None]:
    """The sources port by port; an unconnected optional port gives `None`."""
    return [s for port in node.inputs for s in (port or (None,))]


def _spent(calls: Iterable[Any], keep: int) -> list[tuple[int, ...]]:
    """For each call the slots it is the last to read (or that nobody reads)."""
    last: dict[int, int] = {}
    clocks = [c.clock for c in calls if hasattr(c, "clock")]
    for i, call in enumerate(calls):
        for slot in (*call.reads, *call.writes):
            last[slot] = i
    free = {slot: i for slot, i in last.items() if slot not in (0, keep, *clocks)}
    by_call: dict[int, list[int]] = {}
    for slot, i in free.items():
        by_call.setdefault(i, []).append(slot)
    return [tuple(by_call.get(i, ())) for i, _ in enumerate(calls)]
