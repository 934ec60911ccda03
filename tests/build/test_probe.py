"""The probe catches ops that are less linear than they say, and lets every shipped one pass."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pytest
import torch
from torch import Tensor

from archsearch.build.model import build
from archsearch.build.plan import Cell
from archsearch.build.probe import probe
from archsearch.build.seeding import draw
from archsearch.errors import RuleError
from archsearch.graph.types import ValueType
from archsearch.ops.base import Context, Op, Weights, op
from archsearch.ops.registry import op_class, op_classes
from archsearch.tasks.base import InputKind, OutputKind
from tests.build.graphs import graph

MATRICES = {"outer": [(6,), (10,)], "matmul": [(2, 3, 5), (6,)], "split": [(8,)]}
SETTINGS: dict[str, dict[str, Any]] = {
    "outer": {"heads": 2},
    "split": {"parts": 2},
    "scale": {"learned": True, "by": 2.0},
}


def cell(made: Op, *shapes: tuple[int, ...]) -> Cell:
    types = tuple(ValueType(s) for s in shapes)
    weights = {w.name: draw(w, w.name, (1, 2)) for w in made.weights(*types)}
    outs = made.infer(*types)
    return Cell(made, weights, (), types, outs if isinstance(outs, tuple) else (outs,), (), (), isinstance(outs, tuple))


@pytest.mark.parametrize("name", [n for n, c in op_classes().items() if c.linearity != "nonlinear"])
def test_shipped_ops_are_as_linear_as_they_say(name: str) -> None:
    cls = op_class(name)
    made = cls(**cls.spec().complete(SETTINGS.get(name, {})))
    ports = 3 if cls.ports[-1].many else len(cls.ports)
    probe([cell(made, *MATRICES.get(name, [(8,)] * ports))])


class Unary(Op):
    """Keeps the type of its input."""

    def infer(self, x: ValueType) -> ValueType:
        return x


@op(family="plumbing", linearity="elementwise")
@dataclass(frozen=True)
class Flips(Unary):
    """Affine, but the features trade places."""

    def forward(self, w: Weights, x: Tensor, *, ctx: Context) -> Tensor:
        return x.flip(-1)


@op(family="plumbing", linearity="elementwise")
@dataclass(frozen=True)
class Averages(Unary):
    """A reduction that spreads again."""

    def forward(self, w: Weights, x: Tensor, *, ctx: Context) -> Tensor:
        return x + x.mean(-1, keepdim=True)


@op(family="plumbing", linearity="mixing")
@dataclass(frozen=True)
class Normalises(Unary):
    """Of degree zero, not one."""

    def forward(self, w: Weights, x: Tensor, *, ctx: Context) -> Tensor:
        return x / x.norm(dim=-1, keepdim=True)


@op(family="plumbing", linearity="elementwise")
@dataclass(frozen=True)
class Affine(Unary):
    """What an own op may say truly."""

    def forward(self, w: Weights, x: Tensor, *, ctx: Context) -> Tensor:
        return 0.5 * x - 1.0


@pytest.mark.parametrize(
    ("cls", "rule"),
    [
        (Flips, "says it is elementwise must keep the features apart, but got `flips`"),
        (Averages, "says it is elementwise must keep the features apart, but got `averages`"),
        (Normalises, "says it is mixing must be affine in its inputs, but got `normalises`"),
    ],
)
def test_a_false_word_is_found(cls: type[Op], rule: str) -> None:
    with pytest.raises(RuleError, match=rule):
        probe([cell(cls(), (8,))])


def test_an_own_op_that_is_affine_feature_by_feature_scans(monkeypatch: pytest.MonkeyPatch) -> None:
    kinds = InputKind("tokens", 3), OutputKind("steps", 3)
    a = graph(4, {"u": ("identity", {}, "h[t-1]"), "h": ("add", {}, ("in", "u"))}, known={"h": 4}, out="h")
    models = [build(a, *kinds, seeds=[1], ops={"identity": Affine}, loops=loops, check=True) for loops in (False, True)]
    x = torch.randn(1, 2, 9, 4)
    ours, loop = (m._plan.run({"in": x}, Context()) for m in models)
    assert torch.allclose(ours, loop, atol=1e-6)
    with pytest.raises(RuleError, match="keep the features apart"):
        build(a, *kinds, seeds=[1], ops={"identity": Flips}, check=True)
