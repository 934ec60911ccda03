"""A small registry of ops without torch, and a way to read a space with them."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from textwrap import dedent
from typing import Any

from archsearch.errors import RuleError
from archsearch.graph.opspec import Cost, OpSpec, Port, Registry, Setting
from archsearch.graph.space import SearchSpace
from archsearch.graph.types import ValueType


class Rule:
    """What all toys share: one input, unchanged, no weights."""

    def infer(self, *types: Any) -> Any:
        return types[0]

    def cost(self, *types: Any, time: int) -> Cost:
        return Cost(flops=1.0)

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
    width: int | None = None

    def infer(self, x: ValueType) -> ValueType:
        return ValueType((self.width or x.width,))

    def weight_shapes(self, x: ValueType) -> Mapping[str, tuple[int, ...]]:
        return {"w": (self.width or x.width, x.width)}


@dataclass(frozen=True)
class Mlp(Rule):
    expand: int = 4
    activation: str = "gelu"

    def weight_shapes(self, x: ValueType) -> Mapping[str, tuple[int, ...]]:
        return {"up": (self.expand * x.width, x.width), "down": (x.width, self.expand * x.width)}


class Same(Rule):
    def infer(self, *types: ValueType | None) -> ValueType | None:
        if any(t != types[0] for t in types if t is not None):
            raise RuleError("all inputs must have one type", value=", ".join(map(str, types)))
        return types[0]


class Concat(Rule):
    def infer(self, *types: ValueType) -> ValueType:
        return ValueType((sum(t.width for t in types),))


@dataclass(frozen=True)
class Split(Rule):
    parts: int = 2

    def infer(self, x: ValueType) -> tuple[ValueType, ...]:
        if x.width % self.parts:
            raise RuleError("`parts` must divide the width", value=f"{self.parts}", setting="parts")
        return (ValueType((x.width // self.parts,)),) * self.parts


@dataclass(frozen=True)
class Attention(Rule):
    heads: int = 1
    causal: bool = True

    def infer(self, q: ValueType, k: ValueType, v: ValueType) -> ValueType:
        if q.width % self.heads:
            value = f"heads={self.heads}, width={q.width}"
            raise RuleError("`heads` must divide the width", value=value, setting="heads")
        return v

    def is_causal(self) -> bool:
        return self.causal


class Gru(Rule):
    def weight_shapes(self, x: ValueType) -> Mapping[str, tuple[int, ...]]:
        return {"w": (3 * x.width, x.width), "u": (3 * x.width, x.width)}


class Norm(Rule):
    def weight_shapes(self, x: ValueType) -> Mapping[str, tuple[int, ...]]:
        return {"scale": (x.width,)}


@dataclass(frozen=True)
class Scaled(Rule):
    by: float = 1.0


def spec(name: str, make: Any, family: str = "plumbing", ports: Any = ("x",), **more: Any) -> OpSpec:
    settings = more.pop("settings", ())
    ports = tuple(Port(p) if isinstance(p, str) else p for p in ports)
    return OpSpec(name, name, family, ports, ("out",), settings, make, **more)


MANY = (Port("x", many=True),)
REGISTRY = Registry(
    [
        spec("linear", Linear, "perceptron", settings=(Setting("width", int, low=1),)),
        spec(
            "mlp",
            Mlp,
            "perceptron",
            settings=(
                Setting("expand", int, 4, low=1, high=16),
                Setting("activation", str, "gelu", options=("gelu", "relu", "tanh")),
            ),
        ),
        spec("add", Same, ports=MANY, commutative=True),
        spec("multiply", Same, ports=MANY, commutative=True),
        spec("concat", Concat, ports=MANY),
        spec("identity", Rule),
        spec("tanh", Rule),
        spec("sigmoid", Rule),
        spec("split", Split, settings=(Setting("parts", int, 2, low=1),)),
        spec("scaled", Scaled, settings=(Setting("by", float, required=True),)),
        spec("gated", Same, ports=("x", Port("gate", optional=True))),
        spec(
            "softmax_attention",
            Attention,
            "attention",
            ports=("q", "k", "v"),
            mixes_time=True,
            settings=(Setting("heads", int, 1, low=1), Setting("causal", bool, True)),
        ),
        spec("gru_core", Gru, "recurrence", mixes_time=True),
        spec("rms_norm", Norm, "norm"),
    ]
)

BLOCKS = """
define:
  attention:
    params: {heads: 4}
    nodes:
      qkv: {op: linear, width: "=3*width", from: in}
      s: {op: split, into: [q, k, v], from: qkv}
      mix: {op: softmax_attention, heads: $heads, from: {q: s.q, k: s.k, v: s.v}}
      out: {op: linear, from: mix}
  gru: {nodes: {core: {op: gru_core, from: in}, out: {op: linear, from: core}}}
"""


def read(text: str, definitions: tuple[Path, ...] = ()) -> SearchSpace:
    """The space that `text` describes, dedented, with the toys."""
    return SearchSpace.parse(dedent(text), REGISTRY, path="space.yaml", definitions=definitions)


def nodes(text: str) -> SearchSpace:
    """A space of which `text` is the inside of the graph's `nodes`."""
    lines = "\n".join("    " + line for line in dedent(text).strip().splitlines())
    return SearchSpace.parse(f"graph:\n  nodes:\n{lines}\n", REGISTRY, path="space.yaml")
