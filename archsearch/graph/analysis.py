"""What can be said of an architecture without running it: its size, its cost, its span, and why it is serial.

Only live nodes count, those that the output depends on: they are what a builder builds.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from archsearch.graph.architecture import Architecture, Node, Source
from archsearch.graph.components import Component, components, live_nodes
from archsearch.graph.opspec import Cost, OpRule, Registry
from archsearch.graph.recurrence import Recurrence, recurrences
from archsearch.graph.regions import applications
from archsearch.graph.types import ValueType

__all__ = ["Component", "Facts", "components", "facts", "input_types", "live_nodes", "output_types", "params"]

FLOAT32 = 4  # bytes
_PLAIN = {"norm", "plumbing"}
_LONG = 1 << 16  # steps at which the span of a scan, about 2 log2, cannot be taken for that of a loop

Types = Mapping[str, Sequence[ValueType]]
Cycles = Mapping[tuple[str, ...], Recurrence]


@dataclass(frozen=True, slots=True)
class Facts:
    """What an architecture is and costs, at a sequence length of `time` tokens; stem and readout not included.

    Args:
        params: trained numbers of one copy; shared weights count once, and a learned initial value counts too.
        flops_per_token: forward floating point operations, averaged over the sequence (a multiply-add is two). What is
            inside of a fixed point counts as often as it may be applied at most, here and in `span`.
        state_bytes: what decoding one stream carries from token to token at the end of the sequence, in float32: the
            states of the ops, and each delayed value as many times as its longest delay.
        span: the longest chain of steps along time that follow each other in training: 1 plus, along the worst path,
            the sum of what each op's own span exceeds 1 by and, for a cycle that runs as a loop, of its steps less 1.
            So 1 is fully parallel, and two GRUs in a row have 2 × time − 1.
        nodes: live nodes.
        depth: nodes on the longest path without a delay.
        families: of its ops, in alphabetical order, but for norms and plumbing.
        parallel_in_time: whether nothing in it runs step by step.
        serial: what runs step by step: the names of the nodes, and why, in words.
        recurrences: how each cycle runs, in the order of computation.
    """

    params: int
    flops_per_token: float
    state_bytes: float
    span: float
    nodes: int
    depth: int
    families: tuple[str, ...]
    parallel_in_time: bool
    serial: tuple[tuple[tuple[str, ...], str], ...]
    recurrences: tuple[Recurrence, ...] = ()


def facts(architecture: Architecture, registry: Registry, time: int) -> Facts:
    """The facts of `architecture` at a sequence length of `time` tokens.

    Raises:
        UnknownNameError: an op that `registry` does not have.
        RuleError: settings or types that an op refuses.
    """
    types = output_types(architecture)
    often = applications(architecture)
    bound = [_Bound.of(n, registry, types, time, often.get(n.name, 1)) for n in live_nodes(architecture)]
    by_name = {b.node.name: b for b in bound}
    delayed = _longest_delays(architecture)
    order = components(architecture)
    cycles = {r.nodes: r for r in recurrences(architecture, registry, order)}
    serial = tuple((c.nodes, why) for c in order if (why := _why_serial(c, by_name, cycles)))
    buffers = sum(FLOAT32 * types[name][output].size * delay for (name, output), delay in delayed.items())
    return Facts(
        params=params(architecture, registry),
        flops_per_token=sum(b.cost.flops * b.rate for b in bound),
        state_bytes=sum(b.cost.state_bytes for b in bound) + buffers,
        span=_span(order, by_name, cycles),
        nodes=len(bound),
        depth=_depth(b.node for b in bound),
        families=tuple(sorted({registry[b.node.op].family for b in bound} - _PLAIN)),
        parallel_in_time=not serial,
        serial=serial,
        recurrences=tuple(cycles.values()),
    )


def params(architecture: Architecture, registry: Registry) -> int:
    """The trained numbers in the body of one copy: every weight group once, learned initial values included."""
    types = output_types(architecture)
    late = {name for name, _ in _longest_delays(architecture)}
    sizes: dict[tuple[bool, str], int] = {}
    for node in live_nodes(architecture):
        rule = registry[node.op].bind(node.settings)
        size = rule.params(*input_types(node, registry, types))
        if node.initial == "learned" and node.name in late:
            size += sum(t.size for t in node.types)
        own = node.weights is None
        key = (own, node.name if node.weights is None else node.weights)
        sizes[key] = max(size, sizes.get(key, 0))
    return sum(sizes.values())


def input_types(node: Node, registry: Registry, types: Types) -> list[ValueType | None]:
    """What an op's rules are called with: one type a port, all of them for the port that takes many.

    Args:
        types: the types of the outputs of every node and input by name, as `output_types` gives them.
    """
    found: list[ValueType | None] = []
    for port, sources in zip(registry[node.op].ports, node.inputs, strict=True):
        here = [types[s.node][s.output] for s in sources]
        found += here if port.many else here or [None]
    return found


def output_types(architecture: Architecture) -> dict[str, Sequence[ValueType]]:
    """The types of the outputs of every node and input, by name."""
    found: dict[str, Sequence[ValueType]] = {name: (t,) for name, t in architecture.inputs.items()}
    return found | {n.name: n.types for n in architecture.nodes}


@dataclass(frozen=True, slots=True)
class _Bound:
    """A node with its cost.

    Args:
        steps: how often it ticks in a sequence.
        rate: how often it ticks a token.
        is_loop: whether the op itself takes its steps one after another.
    """

    node: Node
    cost: Cost
    steps: int
    rate: float
    is_loop: bool

    @staticmethod
    def of(node: Node, registry: Registry, types: Types, time: int, often: int = 1) -> _Bound:
        ins = input_types(node, registry, types)
        rate = next((t.rate for t in ins if t is not None), node.types[0].rate)
        steps = max(1, int(time * rate))
        rule: OpRule = registry[node.op].bind(node.settings)
        loop = rule.cost(*ins, time=_LONG).span >= _LONG
        cost = rule.cost(*ins, time=steps)
        if often > 1:
            cost = replace(cost, flops=cost.flops * often, span=1 + (max(cost.span, 1) - 1) * often)
        return _Bound(node, cost, steps, float(rate), loop)


def _why_serial(component: Component, by_name: Mapping[str, _Bound], cycles: Cycles) -> str | None:
    """Why the component runs step by step, in words; `None` if it does not."""
    if component.cyclic:
        return cycles[component.nodes].reason or None
    (bound,) = (by_name[name] for name in component.nodes)
    return f"{bound.node.op} is nonlinear in its past" if bound.is_loop else None


def _span(order: Iterable[Component], by_name: Mapping[str, _Bound], cycles: Cycles) -> float:
    excess: dict[str, float] = {}
    for component in order:
        members = [by_name[name] for name in component.nodes]
        before = max((excess.get(s.node, 0.0) for b in members for s in b.node.sources), default=0.0)
        cycle = cycles.get(component.nodes)
        own = cycle.span(max(b.steps for b in members)) if cycle else members[0].cost.span
        excess |= dict.fromkeys(component.nodes, before + max(own, 1.0) - 1.0)
    return 1.0 + max(excess.values(), default=0.0)


def _depth(nodes: Iterable[Node]) -> int:
    depth: dict[str, int] = {}
    for node in nodes:
        depth[node.name] = 1 + max((depth.get(s.node, 0) for s in node.sources if not s.delay), default=0)
    return max(depth.values(), default=0)


def _longest_delays(architecture: Architecture) -> dict[tuple[str, int], int]:
    """The longest delay at which each output of a node or an input is read, where it is read late at all."""
    edges: list[Source] = [s for n in live_nodes(architecture) for s in n.sources]
    found: dict[tuple[str, int], int] = {}
    for s in [*edges, architecture.output]:
        if s.delay:
            found[s.node, s.output] = max(s.delay, found.get((s.node, s.output), 0))
    return found
