"""How a cycle depends on its own past, and so how it can run: as a scan, in chunks, or as a loop.

Every value on a cycle depends on the delayed values in one of four ways, the lattice

    constant  <  diagonal (a ⊙ h + b)  <  affine (A h + b)  <  nonlinear

What an op does to a level follows from its `linearity`; see `archsearch.graph.opspec.OpSpec`. A cycle whose states are
all diagonal scans: in d interleaved scans where its delays are multiples of d, in k×k blocks where k values have to be
carried. Matrices that outer products are added to, and that are read by `matmul` alone, run in chunks
(`archsearch.graph.fast_weights`). Everything else is a loop, and `Recurrence.reason` says why, in words.
"""

from __future__ import annotations

import enum
import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace

from archsearch.graph.architecture import Architecture, Node, Source
from archsearch.graph.components import Component, components
from archsearch.graph.fast_weights import Around, FastWeights, fast_weights
from archsearch.graph.gates import Gate, find_gate
from archsearch.graph.opspec import OpSpec
from archsearch.graph.transition import KINDS, Bounds, Transition, bounds, may_be_negative
from archsearch.graph.types import ValueType

__all__ = ["BLOCK", "Level", "Recurrence", "recurrences"]

BLOCK = 4
"""Values that a block scan carries at most: its work grows with their cube."""

_MOST = 64  # states that are told apart: more are taken for one
_MANY = f"values feed each other feature by feature, more than the {BLOCK} that a block scan carries"

State = tuple[str, int]
"""A node and the number of one of its outputs, read late on the cycle."""

Reads = dict[tuple[State, int], "Level"]
"""The delayed values that a value depends on, by state and delay, and in which way."""


class Level(enum.IntEnum):
    """How a value depends on a delayed one."""

    CONSTANT = 0
    DIAGONAL = 1
    AFFINE = 2
    NONLINEAR = 3


@dataclass(frozen=True, slots=True)
class Recurrence:
    """How a cyclic component runs.

    Args:
        nodes: of the component, in an order in which every undelayed edge points forward.
        kind: `scan`, `interleaved scan`, `block scan`, `linear attention`, `delta rule` or `loop`.
        level: the highest at which a state depends on the past.
        states: what is read late on the cycle, each with the delays at which it is read.
        eliminated: the states that the scan does without, since they are given by others; in the order of elimination.
        stride: the greatest common divisor of the delays that are left: as many scans are interleaved.
        lags: the states that are left, each with how many strides back it is read.
        reason: why it is a loop, in words; empty where it is none.
        weights: the roles of the nodes where it runs in chunks.
        gate: the gate that fills the one state of a scan, where there is one.
        transition: what a step does to the state, and what that can and cannot solve.
    """

    nodes: tuple[str, ...]
    kind: str
    level: Level
    states: tuple[tuple[State, tuple[int, ...]], ...]
    eliminated: tuple[State, ...] = ()
    stride: int = 1
    lags: tuple[tuple[State, int], ...] = ()
    reason: str = ""
    weights: FastWeights | None = None
    gate: Gate | None = None
    transition: Transition = KINDS["nonlinear"]

    @property
    def block(self) -> int:
        """The values that a scan carries, k."""
        return sum(lag for _, lag in self.lags)

    @property
    def is_parallel(self) -> bool:
        """Whether it runs over all steps at once."""
        return self.kind != "loop"

    def span(self, steps: int) -> int:
        """The longest chain of steps along time: all of them in a loop, about log₂ of them in a scan."""
        if not self.is_parallel:
            return steps
        return max(1, math.ceil(math.log2(max(1, steps // self.stride))))

    def __str__(self) -> str:
        if self.kind == "interleaved scan":
            blocks = f" in {self.block}×{self.block} blocks" if self.block > 1 else ""
            return f"{self.stride} interleaved scans{blocks}"
        if self.kind == "block scan":
            return f"scan in {self.block}×{self.block} blocks"
        return f"loop: {self.reason}" if self.kind == "loop" else self.kind


def recurrences(
    architecture: Architecture, ops: Mapping[str, OpSpec], order: Iterable[Component] | None = None
) -> tuple[Recurrence, ...]:
    """How each cyclic component of the live nodes runs, in the order of computation.

    Args:
        ops: the specs of all ops in it.
        order: its components, where they are known already.

    Raises:
        UnknownNameError: an op that `ops` does not have.
    """
    cyclic = [c for c in (components(architecture) if order is None else order) if c.cyclic]
    if not cyclic:
        return ()
    around, known = Around.of(architecture), bounds(architecture)
    return tuple(_recurrence(c, around, known, ops) for c in cyclic)


def _recurrence(component: Component, around: Around, known: Bounds, ops: Mapping[str, OpSpec]) -> Recurrence:
    nodes = [around.nodes[name] for name in component.nodes]
    walk = _Walk(nodes, ops)
    states = tuple((s, tuple(sorted(d))) for s, d in walk.states.items())
    found = Recurrence(component.nodes, "loop", walk.level, states)
    roles = fast_weights(nodes, around)
    if isinstance(roles, FastWeights):
        kind = "Householder product" if roles.kind == "delta rule" else _diagonal(nodes, known)
        return replace(found, kind=roles.kind, weights=roles, transition=KINDS[kind])
    if walk.level > Level.DIAGONAL:
        matrices = any(len(around.types[s].shape) > 1 for s, _ in walk.states)
        reason = f"{walk.reason}, and {roles}" if matrices and walk.level is Level.AFFINE else walk.reason
        return replace(found, reason=reason, transition=KINDS["nonlinear" if walk.level > Level.AFFINE else "dense"])
    if walk.merged:
        return replace(found, reason=f"{len(walk.states)} {_MANY}", transition=KINDS["blocks"])
    eliminated, reads = _eliminate({s: set(walk.values[s]) for s in walk.states})
    stride, longest = _size(reads)
    found = replace(found, eliminated=eliminated, stride=stride, lags=tuple(longest.items()))
    found = replace(found, transition=KINDS[_diagonal(nodes, known) if found.block == 1 else "blocks"])
    if found.block > BLOCK:
        return replace(found, reason=f"{found.block} {_MANY}")
    if found.block == 1 and len(states) == 1:
        found = replace(found, gate=find_gate(nodes, around))
    return replace(found, kind="interleaved scan" if stride > 1 else "block scan" if found.block > 1 else "scan")


def _diagonal(nodes: list[Node], known: Bounds) -> str:
    return "signed diagonal" if may_be_negative(nodes, known) else "positive diagonal"


class _Walk:
    """The reads of every value of a component, and the first words for what is above diagonal.

    Attributes:
        values: by node and output.
        states: what is read late, with its delays.
        merged: whether there are so many states that all are taken for one.
        level: the highest at which a state depends on a state.
        reason: where the highest level comes from.
    """

    def __init__(self, nodes: list[Node], ops: Mapping[str, OpSpec]) -> None:
        self.inside = {n.name: n for n in nodes}
        self.values: dict[State, Reads] = {}
        self.states: dict[State, set[int]] = {}
        self.reasons: dict[Level, str] = {}
        for node in nodes:
            for s in node.sources:
                if s.delay and s.node in self.inside:
                    self.states.setdefault((s.node, s.output), set()).add(s.delay)
        self.merged = len(self.states) > _MOST
        self.anchor = next(iter(self.states))
        for node in nodes:
            reads = self._apply(node, ops[node.op].linearity)
            for k, kind in enumerate(node.types):
                self.values[node.name, k] = self._shaped(node, reads, kind)
        self.level = max(level for s in self.states for level in self.values[s].values())
        self.reason = self.reasons.get(self.level, "")

    def _source(self, s: Source) -> tuple[Reads, ValueType | None]:
        """What a source reads, and its type; nothing where it comes from outside."""
        if s.node not in self.inside:
            return {}, None
        state = (s.node, s.output)
        kind = self.inside[s.node].types[s.output]
        if not s.delay:
            return self.values[state], kind
        return {((self.anchor, 0) if self.merged else (state, s.delay)): Level.DIAGONAL}, kind

    def _apply(self, node: Node, linearity: str) -> Reads:
        """The reads of the outputs of an op, before their shapes are looked at."""
        ins = [self._source(s) for s in node.sources]
        moving = [(reads, kind) for reads, kind in ins if reads]
        floor = Level.DIAGONAL
        if linearity == "nonlinear":
            floor = self._note(Level.NONLINEAR, f"{node.op} makes {self._past(moving)} nonlinear in its past")
        elif linearity in ("product", "bilinear") and len(moving) > 1:
            floor = self._note(Level.NONLINEAR, f"{node.op} multiplies what depends on {self._past(moving)} by itself")
        elif linearity in ("mixing", "bilinear"):
            floor = self._note(Level.AFFINE, f"{node.op} mixes the features of {self._past(moving)}")
        reads: Reads = {}
        for one, _ in moving:
            for key, level in one.items():
                reads[key] = max(level, floor, reads.get(key, floor))
        return reads

    def _shaped(self, node: Node, reads: Reads, kind: ValueType) -> Reads:
        """Diagonal is only what keeps the shape of the state: a factor that spreads over features mixes them."""
        found: Reads = {}
        for (state, delay), level in reads.items():
            if level is Level.DIAGONAL and self.inside[state[0]].types[state[1]].shape != kind.shape:
                level = self._note(Level.AFFINE, f"{node.op} spreads the features of `{state[0]}` over others")
            found[state, delay] = level
        return found

    def _note(self, level: Level, words: str) -> Level:
        self.reasons.setdefault(level, words)
        return level

    @staticmethod
    def _past(moving: list[tuple[Reads, ValueType | None]]) -> str:
        names = sorted({state[0] for reads, _ in moving for state, _ in reads})
        return " and ".join(f"`{n}`" for n in names[:3])


def _eliminate(
    reads: dict[State, set[tuple[State, int]]],
) -> tuple[tuple[State, ...], dict[State, set[tuple[State, int]]]]:
    """Does without states that do not read themselves, as long as no more values have to be carried for it.

    A ring of states, each reading the next, becomes one state with the sum of the delays.
    """
    gone: list[State] = []
    while candidate := next(_without(reads), None):
        state, reads = candidate
        gone.append(state)
    return tuple(gone), reads


def _without(
    reads: dict[State, set[tuple[State, int]]],
) -> Iterator[tuple[State, dict[State, set[tuple[State, int]]]]]:
    before = sum(_size(reads)[1].values())
    for state, own in reads.items():
        if any(s == state for s, _ in own):
            continue
        rest = {
            other: {r for r in its if r[0] != state} | {(s, d + late) for p, late in its if p == state for s, d in own}
            for other, its in reads.items()
            if other != state
        }
        if sum(_size(rest)[1].values()) <= before:
            yield state, rest


def _size(reads: dict[State, set[tuple[State, int]]]) -> tuple[int, dict[State, int]]:
    """The common divisor of all delays, and how many of it back each state is read."""
    delays = [r for its in reads.values() for r in its]
    stride = math.gcd(*(d for _, d in delays)) or 1
    longest: dict[State, int] = {}
    for state, delay in delays:
        longest[state] = max(delay // stride, longest.get(state, 0))
    return stride, longest
