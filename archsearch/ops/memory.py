"""Memory that keeps what it saw as it came and answers by likeness.

Legend of shapes: E copies, B batch, T time; N copies × batch, H heads, C features of a head.
"""
# mypy: disable-error-code="override"
# An op names its ports as arguments, where the base class takes any number.

from __future__ import annotations

import math
from dataclasses import dataclass

from torch import Tensor

from archsearch.errors import RuleError
from archsearch.kernels.kernel_regression import regress, regress_last
from archsearch.kernels.precision import exact, single
from archsearch.ops.base import Context, Cost, Op, Port, State, ValueType, Weight, Weights, constant, op, param, setting
from archsearch.ops.cache import appended
from archsearch.ops.rules import divides, vector

__all__ = ["KernelRegression"]

FLOAT32 = 4  # bytes
_POINTWISE = 5  # of each weight: scale, subtract the largest, exponentiate, sum, divide


@op(
    family="memory",
    ports=(
        Port("q", help="where the regression is asked, heads × C features"),
        Port("k", help="where it was observed, as wide"),
        Port("v", help="what was observed there"),
    ),
    mixes_time=True,
    equation="y_t = Σ_s K(q_t, k_s) v_s / Σ_s K(q_t, k_s), K(q, k) = exp(−|q − k|² / 2σ²), s ≤ t, in each head",
    paper="Nadaraya 1964; Watson 1964",
)
@dataclass(frozen=True)
class KernelRegression(Op):
    """Kernel regression on all that was seen, with Gaussian kernels whose bandwidth σ each head learns."""

    heads: int = setting(4, low=1, help="parts of the width that are asked independently")
    bandwidth: float | None = setting(None, low=1e-3, help="the initial σ; as sharp as attention if not said, ⁴√C")

    def infer(self, q: ValueType, k: ValueType, v: ValueType) -> ValueType:
        for port, x in zip("qkv", (q, k, v), strict=True):
            vector(self.name, port, x)
        if q.width != k.width or not q.rate == k.rate == v.rate:
            raise RuleError("`q` and `k` must have equal widths, and all ports one rate", value=f"{q}, {k} and {v}")
        divides("heads", self.heads, q.width)
        divides("heads", self.heads, v.width)
        return v

    def weights(self, q: ValueType, k: ValueType, v: ValueType) -> tuple[Weight, ...]:
        sigma = self.bandwidth or (q.width / self.heads) ** 0.25
        return (param("log_bandwidth", (self.heads,), constant(math.log(sigma)), decay=False),)

    def cost(self, q: ValueType, k: ValueType, v: ValueType, *, time: int) -> Cost:
        keys = (time + 1) / 2
        flops = keys * (2 * (q.width + self.heads) + 2 * v.width + _POINTWISE * self.heads) + 2 * k.width + q.width
        return Cost(flops=flops, state_bytes=FLOAT32 * time * (k.width + v.width))

    def forward(self, w: Weights, q: Tensor, k: Tensor, v: Tensor, *, ctx: Context) -> Tensor:
        with exact(q.device):
            return regress(single(q), single(k), single(v), w["log_bandwidth"]).to(v.dtype)

    def prefill(self, w: Weights, q: Tensor, k: Tensor, v: Tensor, *, ctx: Context) -> tuple[Tensor, State]:
        return self.forward(w, q, k, v, ctx=ctx), {"k": k, "v": v}

    def step(self, w: Weights, state: State, q: Tensor, k: Tensor, v: Tensor, *, ctx: Context) -> tuple[Tensor, State]:
        """One token; the state is the cache of keys and values, `(E, B, T, H·C)`."""
        cache = appended(state, {"k": k.unsqueeze(2), "v": v.unsqueeze(2)})
        with exact(q.device):
            y = regress_last(single(q), single(cache["k"]), single(cache["v"]), w["log_bandwidth"])
        return y.to(v.dtype), cache
