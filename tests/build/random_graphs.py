"""Random architectures of primitives with random cycles, as data and as YAML.

    random_graph(random.Random(7))            one architecture
    graphs()                                  a hypothesis strategy over them, which shrinks
    as_yaml(architecture)                     the same graph in the language

A graph is built in stages. A stage has a few states, known by name before they stand there, so that its nodes may read
them late; each state then gets an update: gated, diagonal, dense, a swap of halves, a norm, a squeeze through one
feature, a nonlinear cell, or whatever two nodes give. States of one stage may read each other, so that cycles nest and
cross. Values that may grow are never multiplied with each other: nothing explodes within some dozens of steps.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import yaml
from hypothesis import strategies as st

from archsearch.graph.architecture import Architecture, Node, Source
from archsearch.graph.types import ValueType
from archsearch.ops.registry import registry

__all__ = ["as_yaml", "graphs", "random_graph"]

SQUASHES = ("tanh", "sigmoid", "rms_norm", "layer_norm", "softmax")
"""What gives bounded values, whatever it is given."""

KEEPS = ("relu", "gelu", "silu", "softplus", "one_minus", "neg", "identity", "dropout")
"""What gives values about as large as it is given."""

MIXERS = ("short_conv", "gru_core", "lstm_core", "s4d_core", "softmax_attention", "shift", "cumsum")
"""What mixes time, and so stands on no cycle."""


@dataclass(frozen=True)
class Value:
    """Something to read: a source, its width, and whether it stays within bounds however long the sequence is."""

    source: Source
    width: int
    bounded: bool


def random_graph(
    rng: random.Random,
    *,
    width: int = 4,
    stages: int = 2,
    size: int = 4,
    states: int = 2,
    mixers: bool = False,
    matrices: bool = False,
    rates: bool = False,
    learned: bool = True,
) -> Architecture:
    """A random graph from `in` to `out`, both vectors of `width`, which has to be even.

    Args:
        rng: any source of randomness; the same one gives the same graph.
        stages: one after the other, each with cycles of its own.
        size: at most so many free nodes a stage, beside the nodes of its updates.
        states: at most so many states a stage.
        mixers: whether ops that mix time stand between the stages.
        matrices: whether states of matrices that outer products write stand between them.
        rates: whether a stage may be at a rate of 1/2 or 1/3, between a pool and what brings it back.
        learned: whether some states start from a learned value.
    """
    between = {"mixer": mixers, "memory": matrices}
    return _Writer(rng, width, learned).write(stages, size, states, [k for k, v in between.items() if v], rates)


def graphs(**options: Any) -> st.SearchStrategy[Architecture]:
    """Random graphs whose every draw is hypothesis' own; `options` as for `random_graph`."""
    return st.randoms(use_true_random=False).map(lambda rng: random_graph(rng, **options))


class _Writer:
    """The nodes so far, and what of them can be read."""

    def __init__(self, rng: random.Random, width: int, learned: bool) -> None:
        self.rng, self.width, self.learned = rng, width, learned
        self.registry = registry()
        self.nodes: list[Node] = []
        self.types: dict[str, tuple[ValueType, ...]] = {"in": (ValueType((width,)),)}
        self.base = Value(Source("in"), width, bounded=True)  # something at the rate of the stage
        self.values = [self.base]

    def write(self, stages: int, size: int, states: int, between: list[str], rates: bool) -> Architecture:
        for stage in range(stages):
            if between and self.rng.random() < 0.5:
                getattr(self, self.rng.choice(between))()
            sizes = stage, self.rng.randint(0, size), self.rng.randint(1, states)
            if rates and self.rng.random() < 0.6:
                self.slowly(lambda sizes=sizes: self.stage(*sizes), between)
            else:
                self.stage(*sizes)
        if between:
            getattr(self, self.rng.choice(between))()
        parts = [self.wide(v) for v in self.values[-3:]]
        self.add("out", "add", {}, [p.source for p in parts])
        return Architecture("random", {"in": ValueType((self.width,))}, tuple(self.nodes), Source("out"))

    # ---- a node ----------------------------------------------------------------------------------------------------

    def add(self, name: str, op: str, settings: Mapping[str, Any], *ports: Any, initial: str = "zero") -> None:
        """Appends a node; a list of sources goes to a port that takes many."""
        spec = self.registry[op]
        inputs = tuple(tuple(p) if isinstance(p, list) else (p,) for p in ports)
        found = spec.bind(settings).infer(*(self.types[s.node][s.output] for port in inputs for s in port))
        self.types[name] = found if isinstance(found, tuple) else (found,)
        self.nodes.append(Node(name, op, spec.complete(settings), inputs, self.types[name], initial=initial))

    def put(self, op: str, settings: Mapping[str, Any], *ports: Any, bounded: bool) -> Value:
        """A node under a new name, as a value."""
        name = f"n{len(self.nodes)}"
        self.add(name, op, settings, *ports, initial=self.start(0.1))
        return Value(Source(name), self.types[name][0].width, bounded)

    def start(self, chance: float) -> str:
        return "learned" if self.learned and self.rng.random() < chance else "zero"

    def read(self, late: bool = True) -> Value:
        """Any value, now and then from some steps ago."""
        v = self.rng.choice(self.values)
        if late and not v.source.delay and self.rng.random() < 0.15:
            return Value(Source(v.source.node, v.source.output, self.rng.randint(1, 3)), v.width, v.bounded)
        return v

    def wide(self, v: Value) -> Value:
        """The value at the width of the graph."""
        if v.width == self.width:
            return v
        return self.put("linear", {"width": self.width, "bias": self.rng.random() < 0.5}, v.source, bounded=v.bounded)

    def gate(self) -> Value:
        """Something between 0 and 1, of the width of the graph."""
        return self.put("sigmoid", {}, self.wide(self.read()).source, bounded=True)

    def known(self, names: tuple[str, ...]) -> list[str]:
        return [n for n in names if n in self.registry]

    # ---- free nodes ------------------------------------------------------------------------------------------------

    def free(self) -> None:
        """Some node of what can be read."""
        kinds = (self.one, self.one, self.linear, self.several, self.product, self.parts)
        self.values.append(self.rng.choice(kinds)())

    def one(self) -> Value:
        v = self.read()
        op = self.rng.choice([*self.known(SQUASHES), *self.known(KEEPS)])
        if op.endswith("norm") and v.width < 2:
            v = self.wide(v)  # the norm of one feature is its sign, which jumps
        return self.put(op, {}, v.source, bounded=v.bounded or op in SQUASHES)

    def linear(self) -> Value:
        v = self.read()
        settings = {"width": self.rng.choice([1, 2, self.width, self.width, 6]), "bias": self.rng.random() < 0.5}
        return self.put("linear", settings, v.source, bounded=v.bounded)

    def several(self) -> Value:
        vs = [self.wide(self.read()) for _ in range(self.rng.randint(2, 3))]
        bounded = all(v.bounded for v in vs)
        if self.rng.random() < 0.3:
            return self.put("subtract", {}, vs[0].source, vs[1].source, bounded=bounded)
        return self.put("add", {}, [v.source for v in vs], bounded=bounded)

    def product(self) -> Value:
        a, b = self.wide(self.read()), self.wide(self.read())
        if not (a.bounded or b.bounded):
            a = self.put("tanh", {}, a.source, bounded=True)
        return self.put("multiply", {}, [a.source, b.source], bounded=a.bounded and b.bounded)

    def parts(self) -> Value:
        v, w = self.wide(self.read()), self.read()
        cut = self.put("split", {"parts": 2}, v.source, bounded=v.bounded)
        half = Source(cut.source.node, self.rng.randint(0, 1))
        return self.put("concat", {}, [half, w.source], bounded=v.bounded and w.bounded)

    def mixer(self) -> None:
        """An op that mixes time; what comes after it is never read by what came before."""
        op, v = self.rng.choice(self.known(MIXERS)), self.wide(self.read())
        if op == "softmax_attention":
            self.values.append(self.put(op, {"heads": 2}, v.source, v.source, v.source, bounded=v.bounded))
        else:
            self.values.append(self.put(op, {}, v.source, bounded=v.bounded and op != "cumsum"))

    def memory(self) -> None:
        """Matrices that outer products write, as linear attention or, with what is read taken off, the delta rule."""
        heads, name = self.rng.choice([1, 2]), f"m{len(self.nodes)}"
        past, rows = Source(name, delay=1), self.rng.choice([2, 4]) * heads
        self.types[name] = (ValueType((heads, rows // heads, self.width // heads), self.rate),)
        k = self.put("linear", {"width": rows, "bias": False}, self.read().source, bounded=True).source
        k = self.put("norm", {"heads": heads}, k, bounded=True).source
        v = self.wide(self.read()).source
        if self.rng.random() < 0.6:
            logit = self.put("linear", {"width": self.rng.choice([1, heads, rows])}, self.base.source, bounded=True)
            past = self.times(past, self.put("sigmoid", {}, logit.source, bounded=True).source)
        if self.rng.random() < 0.5:
            v = self.put("subtract", {}, v, self.put("matmul", {}, past, k, bounded=False).source, bounded=False).source
        self.add(name, "add", {}, [past, self.put("outer", {"heads": heads}, k, v, bounded=False).source])
        self.values.append(self.put("matmul", {}, Source(name), k, bounded=False))

    def slowly(self, stage: Callable[[], None], between: list[str]) -> None:
        """A stage at a lower rate; afterwards some of its values at the rate of before."""
        by, how = self.rng.choice([2, 3]), self.rng.choice(["mean", "last", "max"])
        before, clock = self.values, self.base
        self.base = self.put("pool", {"by": by, "how": how}, self.wide(self.read()).source, bounded=False)
        self.values = [self.base]
        stage()
        if between and self.rng.random() < 0.5:
            getattr(self, self.rng.choice(between))()
        slow, self.values, self.base = self.values[-2:], before, clock
        for v in slow:
            self.values.append(self.put("upsample", {"by": by}, v.source, clock.source, bounded=v.bounded))

    @property
    def rate(self) -> Fraction:
        """Of the stage."""
        return self.types[self.base.source.node][0].rate

    # ---- cycles ----------------------------------------------------------------------------------------------------

    def stage(self, number: int, size: int, states: int) -> None:
        names = [f"h{number}{'abcdef'[i]}" for i in range(states)]
        before = list(self.values)
        for name in names:
            self.types[name] = (ValueType((self.width,), self.rate),)
            self.values.append(Value(Source(name, delay=self.rng.choice([1, 1, 1, 2, 3])), self.width, bounded=False))
        for _ in range(size):
            self.free()
        for name in names:
            self.update(name)
        late = [v for v in self.values if v not in before and not v.source.delay]
        self.values = [*before, *late, *(Value(Source(name), self.width, bounded=False) for name in names)]

    def update(self, name: str) -> None:
        """The node that the state `name` stands for."""
        past = Source(name, delay=self.rng.choice([1, 1, 1, 2, 3]))
        make: Callable[[str, Source], tuple[str, Mapping[str, Any], tuple[Any, ...]]]
        make = self.rng.choice(
            [self.gated, self.diagonal, self.dense, self.swap, self.normed, self.squeezed, self.cell, self.anything]
        )
        op, settings, ports = make(name, past)
        self.add(name, op, settings, *ports, initial=self.start(0.3))

    def new(self) -> Source:
        return self.wide(self.read()).source

    def times(self, a: Source, b: Source) -> Source:
        return self.put("multiply", {}, [a, b], bounded=False).source

    def gated(self, name: str, past: Source) -> tuple[str, Mapping[str, Any], tuple[Any, ...]]:
        z = self.gate().source
        rest = self.put("one_minus", {}, z, bounded=True).source
        return "add", {}, ([self.times(z, past), self.times(rest, self.new())],)

    def diagonal(self, name: str, past: Source) -> tuple[str, Mapping[str, Any], tuple[Any, ...]]:
        z = self.put("sigmoid", {}, self.base.source, bounded=True).source
        return "add", {}, ([self.times(z, past), self.new()],)

    def dense(self, name: str, past: Source) -> tuple[str, Mapping[str, Any], tuple[Any, ...]]:
        moved = self.put("linear", {"bias": self.rng.random() < 0.5}, past, bounded=False).source
        return "add", {}, ([moved, self.new()],)

    def swap(self, name: str, past: Source) -> tuple[str, Mapping[str, Any], tuple[Any, ...]]:
        cut = self.put("split", {"parts": 2}, past, bounded=False).source.node
        turned = self.put("concat", {}, [Source(cut, 1), Source(cut, 0)], bounded=False).source
        return "add", {}, ([self.times(self.gate().source, turned), self.new()],)

    def normed(self, name: str, past: Source) -> tuple[str, Mapping[str, Any], tuple[Any, ...]]:
        both = self.put("add", {}, [past, self.new()], bounded=False).source
        return self.rng.choice(["rms_norm", "layer_norm"]), {}, (both,)

    def squeezed(self, name: str, past: Source) -> tuple[str, Mapping[str, Any], tuple[Any, ...]]:
        one = self.put("linear", {"width": 1, "bias": False}, past, bounded=False).source
        back = self.put("linear", {"width": self.width, "bias": False}, one, bounded=False).source
        return "subtract", {}, (self.new(), back)

    def cell(self, name: str, past: Source) -> tuple[str, Mapping[str, Any], tuple[Any, ...]]:
        moved = self.put("linear", {}, past, bounded=False).source
        both = self.put("add", {}, [moved, self.new()], bounded=False).source
        return self.rng.choice(["tanh", "sigmoid", "silu"]), {}, (both,)

    def anything(self, name: str, past: Source) -> tuple[str, Mapping[str, Any], tuple[Any, ...]]:
        a, b = self.new(), self.new()
        return ("add", {}, ([a, b],)) if self.rng.random() < 0.5 else ("subtract", {}, (a, b))


def as_yaml(architecture: Architecture) -> str:
    """The space with this graph as its one point; outputs of a node that has several are called `o0`, `o1`, ..."""
    nodes = {n.name: _said(n, architecture) for n in architecture.nodes}
    width = next(iter(architecture.inputs.values())).width
    space = {"version": 1, "name": architecture.name, "scale": {"width": width}, "graph": {"nodes": nodes}}
    return yaml.safe_dump(space, sort_keys=False)


def _said(n: Node, architecture: Architecture) -> dict[str, Any]:
    spec = registry()[n.op]
    several = len(n.types) > 1
    hidden = {"parts"} if several else set()
    said = {
        s.name: n.settings[s.name] for s in spec.settings if n.settings[s.name] != s.default and s.name not in hidden
    }
    into = {"into": [f"o{i}" for i in range(len(n.types))]} if several else {}
    start = {} if n.initial == "zero" else {"init": n.initial}
    share = {} if n.weights is None else {"weights": n.weights}
    ports = [[_edge(s, architecture) for s in given] for given in n.inputs]
    short = {p.name: g if p.many else g[0] for p, g in zip(spec.ports, ports, strict=True) if g}
    edges = next(iter(short.values())) if len(spec.ports) == 1 else short
    return {"op": n.op, **said, **into, **start, **share, "from": edges}


def _edge(s: Source, architecture: Architecture) -> str:
    several = s.node not in architecture.inputs and len(architecture.node(s.node).types) > 1
    name = f"{s.node}.o{s.output}" if several else s.node
    return f"{name}[t-{s.delay}]" if s.delay else name
