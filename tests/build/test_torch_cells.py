"""Cells written in YAML, as equations and as nodes, with the weights of torch's own: the same outputs and gradients."""

from __future__ import annotations

import random
from textwrap import indent
from types import SimpleNamespace

import pytest
import torch
from torch import Tensor, nn

from archsearch.build.model import Model, build
from archsearch.graph.space import SearchSpace
from archsearch.ops.registry import registry

WIDTH, BATCH, TIME = 8, 3, 37
TOLERANCE = 1e-5  # of the largest magnitude

LSTM = """
equations: |
  i = sigmoid(linear(x) + linear(h[t-1]))
  f = sigmoid(linear(x) + linear(h[t-1]))
  g = tanh(linear(x) + linear(h[t-1]))
  o = sigmoid(linear(x) + linear(h[t-1]))
  c = f * c[t-1] + i * g
  h = o * tanh(c)
"""
GRU = """
equations: |
  r = sigmoid(linear(x) + linear(h[t-1]))
  z = sigmoid(linear(x) + linear(h[t-1]))
  n = tanh(linear(x) + r * linear(h[t-1]))
  h = (1 - z) * n + z * h[t-1]
"""
RNN = """
equations: |
  h = tanh(linear(x) + linear(h[t-1]))
"""


def gate(name: str, op: str) -> str:
    return f"""
  {name}_linear: {{op: linear, from: in}}
  {name}_linear2: {{op: linear, from: "h[t-1]"}}
  {name}_sum: {{op: add, from: [{name}_linear, {name}_linear2]}}
  {name}: {{op: {op}, from: {name}_sum}}"""


LSTM_NODES = f"""
nodes:{gate("i", "sigmoid")}{gate("f", "sigmoid")}{gate("g", "tanh")}{gate("o", "sigmoid")}
  kept: {{op: multiply, from: [f, "c[t-1]"]}}
  new: {{op: multiply, from: [i, g]}}
  c: {{op: add, from: [kept, new]}}
  shown: {{op: tanh, from: c}}
  h: {{op: multiply, from: [o, shown]}}
out: h
"""
GRU_NODES = f"""
nodes:{gate("r", "sigmoid")}{gate("z", "sigmoid")}
  n_linear: {{op: linear, from: in}}
  n_linear2: {{op: linear, from: "h[t-1]"}}
  reset: {{op: multiply, from: [r, n_linear2]}}
  n_sum: {{op: add, from: [n_linear, reset]}}
  n: {{op: tanh, from: n_sum}}
  keep: {{op: one_minus, from: z}}
  new: {{op: multiply, from: [keep, n]}}
  kept: {{op: multiply, from: [z, "h[t-1]"]}}
  h: {{op: add, from: [new, kept]}}
out: h
"""

CELLS = {
    "LSTM, equations": (LSTM, nn.LSTM, "ifgo"),
    "LSTM, nodes": (LSTM_NODES, nn.LSTM, "ifgo"),
    "GRU, equations": (GRU, nn.GRU, "rzn"),
    "GRU, nodes": (GRU_NODES, nn.GRU, "rzn"),
    "RNN, equations": (RNN, nn.RNN, "h"),
}


def model_of(cell: str) -> Model:
    """The cell between a stem and a readout that change nothing."""
    text = f"scale: {{width: {WIDTH}}}\ndefine:\n  cell:\n{indent(cell, '    ')}\ngraph: {{op: cell}}\n"
    architecture = SearchSpace.parse(text, registry()).sample(random.Random(0)).architecture
    ends = SimpleNamespace(kind="vectors", size=WIDTH), SimpleNamespace(per="steps", size=WIDTH)
    model = build(architecture, *ends, seeds=[0])
    with torch.no_grad():
        for end in (model.stem, model.readout):
            end.weight.copy_(torch.eye(WIDTH)[None])  # type: ignore[operator]
            end.bias.zero_()  # type: ignore[operator]
    return model


def pairs(model: Model, theirs: nn.Module, gates: str) -> list[tuple[Tensor, Tensor, int]]:
    """Our parameter, torch's stacked one, and which of its parts ours is."""
    ours = dict(model.named_parameters())
    found = []
    for k, name in enumerate(gates):
        for node, kind in (("linear", "ih"), ("linear2", "hh")):
            for part in ("weight", "bias"):
                stacked = getattr(theirs, f"{part}_{kind}_l0")
                found.append((ours[f"graph.{name}_{node}.{part}"], stacked, k))
    return found


def close(a: Tensor, b: Tensor) -> None:
    assert a.shape == b.shape
    assert (a - b).abs().max() <= TOLERANCE * b.abs().max()


@pytest.mark.parametrize("name", CELLS)
def test_a_cell_equals_torch(name: str) -> None:
    cell, kind, gates = CELLS[name]
    torch.manual_seed(1)
    theirs = kind(WIDTH, WIDTH, batch_first=True)
    model = model_of(cell)
    weights = pairs(model, theirs, gates)
    assert len(weights) == len(list(model.body_parameters())) == 4 * len(gates)
    with torch.no_grad():
        for ours, stacked, k in weights:
            ours.copy_(stacked.chunk(len(gates))[k])
    x = torch.randn(BATCH, TIME, WIDTH, requires_grad=True)
    x2 = x.detach().clone().requires_grad_()
    y, y2 = model(x)[0], theirs(x2)[0]
    pull = torch.randn(y.shape)
    (y * pull).sum().backward()
    (y2 * pull).sum().backward()
    close(y, y2)
    close(x.grad, x2.grad)  # type: ignore[arg-type]
    for ours, stacked, k in weights:
        close(ours.grad[0], stacked.grad.chunk(len(gates))[k])  # type: ignore[index, union-attr]


def test_a_gate_the_other_way_round_is_noticed() -> None:
    """The comparison can fail: a GRU whose update gate is turned round is not torch's."""
    turned = GRU.replace("(1 - z) * n + z * h[t-1]", "z * n + (1 - z) * h[t-1]")
    torch.manual_seed(1)
    theirs, model = nn.GRU(WIDTH, WIDTH, batch_first=True), model_of(turned)
    with torch.no_grad():
        for ours, stacked, k in pairs(model, theirs, "rzn"):
            ours.copy_(stacked.chunk(3)[k])
    x = torch.randn(BATCH, TIME, WIDTH)
    with pytest.raises(AssertionError):
        close(model(x)[0], theirs(x)[0])
