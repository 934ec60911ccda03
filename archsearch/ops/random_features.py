"""Random layers: weights that stay as they were drawn. What reads them is trained."""
# mypy: disable-error-code="override"
# An op names its ports as arguments, where the base class takes any number.

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from archsearch.kernels.linear import linear
from archsearch.kernels.reservoir import reservoir
from archsearch.ops.base import (
    Context,
    Cost,
    Initializer,
    Op,
    State,
    ValueType,
    Weight,
    Weights,
    normal,
    op,
    param,
    setting,
    uniform,
)
from archsearch.ops.rules import vector

__all__ = ["RandomFeatures", "ReservoirCore"]


@op(
    family="random",
    equation="y = √2 cos(W x + b), W ~ N(0, scale²/D), b ~ U(0, 2π); or y = √2 relu(W x)",
    paper="Rahimi and Recht 2007; relu: Cho and Saul 2009",
)
@dataclass(frozen=True)
class RandomFeatures(Op):
    """Frozen random projection and a nonlinearity, whose inner products approximate a kernel.

    With cosines the mean of y y' over the features tends to the Gaussian kernel exp(−scale² |x − x'|² / 2D), with relu
    to the arc-cosine kernel of order 1.
    """

    features: int | None = setting(None, low=1, help="random features; as many as the input has if not said")
    scale: float = setting(1.0, low=1e-6, help="how much the projections of an input with features of size 1 vary")
    kind: str = setting("cos", options=("cos", "relu"), help="the nonlinearity")

    def infer(self, x: ValueType) -> ValueType:
        width = vector(self.name, "x", x).width
        return ValueType((self.features or width,), x.rate)

    def weights(self, x: ValueType) -> tuple[Weight, ...]:
        n = self.features or x.width
        weight = param("weight", (n, x.width), normal(self.scale / math.sqrt(x.width)), trained=False)
        bias = param("bias", (n,), uniform(0.0, 2 * math.pi), trained=False)
        return (weight, bias) if self.kind == "cos" else (weight,)

    def cost(self, x: ValueType, *, time: int) -> Cost:
        return Cost(flops=2 * (x.width + 1) * (self.features or x.width))

    def forward(self, w: Weights, x: Tensor, *, ctx: Context) -> Tensor:
        if self.kind == "cos":
            return math.sqrt(2) * torch.cos(linear(x, w["weight"], w["bias"]))
        return math.sqrt(2) * torch.relu(linear(x, w["weight"]))


def _recurrent(radius: float, connections: int) -> Initializer:
    """Each unit reads `connections` others, by weights of U(−1, 1); all scaled to the spectral radius."""

    def draw(generator: torch.Generator, shape: tuple[int, ...]) -> Tensor:
        weight = torch.empty(shape).uniform_(-1.0, 1.0, generator=generator)
        order = torch.rand(shape, generator=generator).argsort(-1)
        weight = torch.where(order < connections, weight, torch.zeros_like(weight))
        largest: Tensor = torch.linalg.eigvals(weight.double()).abs().max().float()
        return weight * (radius / largest.clamp(min=1e-3))

    return Initializer(f"U(−1, 1) at {connections} places of a row, scaled to the spectral radius {radius:g}", draw)


@op(
    family="random",
    mixes_time=True,
    equation="h_t = (1 − a) h_{t−1} + a tanh(W h_{t−1} + U x_t + b), all drawn and left so; y = h",
    paper="Jaeger 2001, GMD Report 148; settings as in Lukoševičius 2012, A Practical Guide to Applying ESNs",
)
@dataclass(frozen=True)
class ReservoirCore(Op):
    """Echo state network: a frozen random recurrent network of leaky tanh units."""

    width: int | None = setting(None, low=1, help="units; as many as the input has features if not said")
    radius: float = setting(0.9, low=0.0, help="spectral radius of W: the higher, the longer the memory")
    leak: float = setting(0.3, low=1e-3, high=1.0, help="a, how fast the units change")
    input_scale: float = setting(1.0, low=1e-6, help="what enters a unit from an input with features of size 1")
    connections: int = setting(10, low=1, help="units that each unit reads")

    def infer(self, x: ValueType) -> ValueType:
        width = vector(self.name, "x", x).width
        return ValueType((self.width or width,), x.rate)

    def weights(self, x: ValueType) -> tuple[Weight, ...]:
        n = self.width or x.width
        entering = normal(self.input_scale / math.sqrt(x.width))
        return (
            param("input", (n, x.width), entering, trained=False),
            param("hidden", (n, n), _recurrent(self.radius, min(self.connections, n)), trained=False),
            param("bias", (n,), entering, trained=False),
        )

    def cost(self, x: ValueType, *, time: int) -> Cost:
        n = self.width or x.width
        return Cost(flops=2 * n * (x.width + n) + 4 * n, state_bytes=4 * n, span=time)

    def forward(self, w: Weights, x: Tensor, *, ctx: Context) -> Tensor:
        return reservoir(linear(x, w["input"], w["bias"]), w["hidden"], self.leak)

    def prefill(self, w: Weights, x: Tensor, *, ctx: Context) -> tuple[Tensor, State]:
        y = self.forward(w, x, ctx=ctx)
        return y, {"h": y[:, :, -1]}

    def start(self, w: Weights, batch: int, x: ValueType) -> State:
        bias = w["bias"]
        return {"h": bias.new_zeros(bias.shape[0], batch, bias.shape[1])}

    def step(self, w: Weights, state: State, x: Tensor, *, ctx: Context) -> tuple[Tensor, State]:
        active = torch.tanh(linear(x, w["input"], w["bias"]) + linear(state["h"], w["hidden"]))
        h = torch.lerp(state["h"], active, self.leak)
        return h, {"h": h}
