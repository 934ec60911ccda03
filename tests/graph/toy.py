"""A registry of small ops without tensors, and a pen to write architectures with."""

from __future__ import annotations

import dataclasses
import math
import random
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from archsearch.errors import RuleError
from archsearch.graph.architecture import Architecture, Group, Node, Source
from archsearch.graph.opspec import Cost, OpSpec, Port, Registry, Setting
from archsearch.graph.types import ValueType


class Rule:
    """Keeps the type of its first input, costs nothing."""

    def infer(self, *types: Any) -> Any:
        return types[0]

    def cost(self, *types: Any, time: int) -> Cost:
        return Cost()

    def weight_shapes(self, *types: Any) -> Mapping[str, tuple[int, ...]]:
        return {}

    def params(self, *types: Any) -> int:
        return sum(math.prod(s) for s in self.weight_shapes(*types).values())

    def is_causal(self) -> bool:
        return True

    def is_identity(self, *types: Any) -> bool:
        return False


@dataclass(frozen=True)
class Linear(Rule):
    width: int | None
    bias: bool

    def infer(self, x: ValueType) -> ValueType:
        return ValueType((self.width or x.width,), x.rate)

    def cost(self, x: ValueType, *, time: int) -> Cost:
        return Cost(flops=2 * x.width * (self.width or x.width))

    def weight_shapes(self, x: ValueType) -> Mapping[str, tuple[int, ...]]:
        out = self.width or x.width
        return {"weight": (out, x.width)} | ({"bias": (out,)} if self.bias else {})


class Norm(Rule):
    def weight_shapes(self, x: ValueType) -> Mapping[str, tuple[int, ...]]:
        return {"weight": (x.width,)}


class Join(Rule):
    """`add` and `multiply`."""

    def infer(self, *xs: ValueType) -> ValueType:
        if any(x != xs[0] for x in xs):
            raise RuleError("inputs must have equal types", value=", ".join(map(str, xs)))
        return xs[0]

    def is_identity(self, *xs: ValueType) -> bool:
        return len(xs) == 1


class Concat(Rule):
    def infer(self, *xs: ValueType) -> ValueType:
        return ValueType((sum(x.width for x in xs),))


@dataclass(frozen=True)
class Split(Rule):
    parts: int

    def infer(self, x: ValueType) -> tuple[ValueType, ...]:
        return (ValueType((x.width // self.parts,)),) * self.parts


@dataclass(frozen=True)
class Dropout(Rule):
    rate: float

    def is_identity(self, x: ValueType) -> bool:
        return self.rate == 0.0


class Identity(Rule):
    def is_identity(self, x: ValueType) -> bool:
        return True


class Gru(Rule):
    def cost(self, x: ValueType, *, time: int) -> Cost:
        return Cost(flops=12 * x.width**2, state_bytes=4 * x.width, span=time)

    def weight_shapes(self, x: ValueType) -> Mapping[str, tuple[int, ...]]:
        return {"input": (3 * x.width, x.width), "hidden": (3 * x.width, x.width)}


class Scan(Rule):
    def cost(self, x: ValueType, *, time: int) -> Cost:
        return Cost(flops=10 * x.width, state_bytes=8 * x.width, span=2 * math.ceil(math.log2(time)))


@dataclass(frozen=True)
class Attention(Rule):
    heads: int

    def infer(self, q: ValueType, k: ValueType, v: ValueType, mask: ValueType | None) -> ValueType:
        return v


def _spec(name: str, family: str, make: Any, settings: tuple[Setting, ...] = (), **more: Any) -> OpSpec:
    full = {"ports": (Port("x"),), "outputs": ("out",)} | more
    return OpSpec(name, name, family, settings=settings, make=make, **full)


MANY = (Port("x", many=True),)

REGISTRY = Registry(
    [
        _spec(
            "linear",
            "perceptron",
            Linear,
            (Setting("width", int, low=1), Setting("bias", bool, True)),
            linearity="mixing",
        ),
        _spec("rms_norm", "norm", Norm),
        _spec("add", "plumbing", Join, ports=MANY, commutative=True, linearity="elementwise"),
        _spec("multiply", "plumbing", Join, ports=MANY, commutative=True, linearity="product"),
        _spec("concat", "plumbing", Concat, ports=MANY, linearity="mixing"),
        _spec("subtract", "plumbing", Rule, ports=(Port("x"), Port("y")), linearity="elementwise"),
        _spec("split", "plumbing", Split, (Setting("parts", int, required=True),), linearity="mixing"),
        _spec("identity", "plumbing", Identity, linearity="elementwise"),
        _spec("dropout", "plumbing", Dropout, (Setting("rate", float, 0.1),)),
        _spec("tanh", "plumbing", Rule),
        _spec("gru_core", "recurrence", Gru, mixes_time=True),
        _spec("s4d_core", "state_space", Scan, mixes_time=True),
        _spec(
            "softmax_attention",
            "attention",
            Attention,
            (Setting("heads", int, 4),),
            ports=(Port("q"), Port("k"), Port("v"), Port("mask", optional=True)),
            mixes_time=True,
        ),
    ]
)


def source(text: str) -> Source:
    """`x`, `s#1`, `h[t-2]`."""
    name, _, delay = text.removesuffix("]").partition("[t-")
    name, _, output = name.partition("#")
    return Source(name, int(output or 0), int(delay or 0))


class Pen:
    """Writes a graph node by node: `pen("h", "linear", "in")`; a port with several edges is a list."""

    def __init__(self, width: int = 8, registry: Registry = REGISTRY) -> None:
        self.inputs = {"in": ValueType((width,))}
        self.registry = registry
        self.nodes: dict[str, Node] = {}

    def __call__(
        self,
        name: str,
        op: str,
        *ports: str | list[str],
        weights: str | None = None,
        initial: str = "zero",
        like: str = "in",
        **settings: Any,
    ) -> str:
        """Adds a node and gives its name; a source that is not there yet has the type of `like`."""
        spec = self.registry[op]
        inputs = tuple(tuple(source(s) for s in ([p] if isinstance(p, str) and p else p)) for p in ports)
        inputs += ((),) * (len(spec.ports) - len(inputs))
        full = spec.complete(settings)
        types = [self._type(s, like) for port in inputs for s in (port or (None,))]
        made = spec.bind(full).infer(*types)
        self.nodes[name] = Node(name, op, full, inputs, made if isinstance(made, tuple) else (made,), weights, initial)
        return name

    def _type(self, s: Source | None, like: str) -> ValueType | None:
        if s is None:
            return None
        if s.node in self.inputs:
            return self.inputs[s.node]
        return self.nodes[s.node].types[s.output] if s.node in self.nodes else self.inputs[like]

    def done(self, output: str, outline: tuple[Group, ...] = (), **fields: Any) -> Architecture:
        """The architecture whose output is `output`."""
        full = {"name": "toy", "scale": {"width": self.inputs["in"].width}} | fields
        return Architecture(
            inputs=self.inputs, nodes=tuple(self.nodes.values()), output=source(output), outline=outline, **full
        )


def shuffled(architecture: Architecture, rng: random.Random) -> Architecture:
    """The same graph with other names, another topological order, and commutative edges in another order."""
    names = {n.name: f"n{i}" for i, n in enumerate(rng.sample(architecture.nodes, len(architecture.nodes)))}
    groups = {n.weights: f"w{rng.random()}" for n in architecture.nodes if n.weights}
    left = list(architecture.nodes)
    order: list[Node] = []
    placed = set(architecture.inputs)
    while left:
        ready = [n for n in left if all(s.delay or s.node in placed for s in n.sources)]
        node = rng.choice(ready)
        left.remove(node)
        placed.add(node.name)
        order.append(node)

    def moved(s: Source) -> Source:
        return dataclasses.replace(s, node=names.get(s.node, s.node))

    def rewritten(node: Node) -> Node:
        ports = [[moved(s) for s in port] for port in node.inputs]
        if node.op in ("add", "multiply"):
            rng.shuffle(ports[0])
        weights = groups[node.weights] if node.weights else None
        return dataclasses.replace(
            node, name=names[node.name], inputs=tuple(map(tuple, ports)), weights=weights, settings=dict(node.settings)
        )

    return dataclasses.replace(
        architecture, name="other", nodes=tuple(map(rewritten, order)), output=moved(architecture.output), outline=()
    )


def random_graph(
    rng: random.Random, most: int = 10, ops: str = "linear add multiply subtract identity tanh"
) -> Architecture:
    """A random graph of some of `ops`, with delays, cycles, learned starts, shared weights and dead nodes.

    Without `identity` among the ops nothing in it returns its input unchanged.
    """
    pen = Pen()
    names = ["in"]
    fewest = 1 if "identity" in ops else 2
    for i in range(rng.randint(1, most)):
        op = rng.choice(ops.split())
        pool = [*names, *(f"n{j}[t-{rng.randint(1, 2)}]" for j in range(i) if rng.random() < 0.1)]
        if op in ("add", "multiply"):
            ports: list[Any] = [[rng.choice(pool) for _ in range(rng.randint(fewest, 3))]]
        else:
            ports = [rng.choice(pool) for _ in range(2 if op == "subtract" else 1)]
        settings = {"bias": rng.random() < 0.7} if op == "linear" else {}
        weights = f"{settings}{rng.randint(0, 1)}" if op == "linear" and rng.random() < 0.5 else None
        initial = rng.choice(["zero", "zero", "learned"])
        names.append(pen(f"n{i}", op, *ports, weights=weights, initial=initial, **settings))
    return _with_cycles(pen.done(rng.choice(names[1:])), rng)


def _with_cycles(architecture: Architecture, rng: random.Random) -> Architecture:
    """A few edges bent back in time."""
    nodes = []
    for node in architecture.nodes:
        ports = [list(p) for p in node.inputs]
        if rng.random() < 0.2:
            ports[0][0] = Source(rng.choice(architecture.nodes).name, 0, rng.randint(1, 2))
        nodes.append(dataclasses.replace(node, inputs=tuple(map(tuple, ports))))
    return dataclasses.replace(architecture, nodes=tuple(nodes))
