"""States of matrices: an outer product writes one, a product with a vector reads it.

A value of type (heads, rows, columns) holds one matrix a head. `outer(k, v)` puts keys along the rows and values along
the columns; `matmul(S, q)` looks `q` up among the keys and answers with values. So linear attention and the delta rule
are

    S = g * S[t-1] + outer(k, v, heads=4)                                    y = matmul(S, q)
    S = S[t-1] + outer(k, beta * (v - matmul(S[t-1], k)), heads=4)           y = matmul(S, q)

with a scalar, per-head or per-row decay `g`; see `archsearch.ops.plumbing.Multiply` for what may multiply a state.
"""
# mypy: disable-error-code="override"
# An op names its ports as arguments, where the base class takes any number.

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from archsearch.errors import RuleError
from archsearch.ops.base import Context, Cost, Op, State, ValueType, Weights, op, setting
from archsearch.ops.rules import divides, vector

__all__ = ["Matmul", "Outer"]


@op(family="plumbing", ports=("x", "y"), linearity="bilinear", equation="S_h = x_h y_hᵀ")
@dataclass(frozen=True)
class Outer(Op):
    """Outer product of two vectors, one matrix a head: features of `x` along the rows, of `y` along the columns."""

    heads: int = setting(1, low=1, help="matrices; both widths are cut into as many parts")

    def infer(self, x: ValueType, y: ValueType) -> ValueType:
        vector(self.name, "x", x)
        vector(self.name, "y", y)
        if x.rate != y.rate:
            raise RuleError("the inputs of `outer` must have equal rates", value=f"{x}, {y}")
        rows, columns = (divides("heads", self.heads, v.width) for v in (x, y))
        return ValueType((self.heads, rows, columns), x.rate)

    def cost(self, x: ValueType, y: ValueType, *, time: int) -> Cost:
        return Cost(flops=x.width * y.width / self.heads)

    def forward(self, w: Weights, x: Tensor, y: Tensor, *, ctx: Context) -> Tensor:
        out: Tensor = x.unflatten(-1, (self.heads, -1, 1)) * y.unflatten(-1, (self.heads, 1, -1))
        return out

    def step(self, w: Weights, state: State, x: Tensor, y: Tensor, *, ctx: Context) -> tuple[Tensor, State]:
        return self.forward(w, x, y, ctx=ctx), state


@op(family="plumbing", ports=("state", "x"), linearity="bilinear", equation="y_h = S_hᵀ x_h, or S_h x_h")
@dataclass(frozen=True)
class Matmul(Op):
    """Product of a state of matrices with a vector, or with other matrices, head by head.

    As a rule the state is read by key, `y = Sᵀ x`: `x` has heads × rows features and `y` heads × columns. With
    `transpose: false` it is `S x` as mathematics writes it (`S @ x` in equations), and `x` may then be the state and
    `state` the vector (`x @ S`), a row vector times matrices.
    """

    transpose: bool = setting(True, help="whether the state is read by its rows, Sᵀ x, rather than by columns, S x")

    def infer(self, state: ValueType, x: ValueType) -> ValueType:
        if state.rate != x.rate:
            raise RuleError("the inputs of `matmul` must have equal rates", value=f"{state}, {x}")
        if len(state.shape) == 1 and len(x.shape) == 3 and not self.transpose:
            return self._read(x, state, by_rows=True)
        if len(state.shape) != 3:
            raise RuleError("`state` of `matmul` must be matrices, (heads, rows, columns)", value=str(state))
        if len(x.shape) == 1:
            return self._read(state, x, by_rows=self.transpose)
        return self._matrices(state, x)

    def _read(self, state: ValueType, x: ValueType, *, by_rows: bool) -> ValueType:
        heads, rows, columns = state.shape
        met, left, word = (rows, columns, "rows") if by_rows else (columns, rows, "columns")
        if x.width != heads * met:
            rule = f"a vector that `matmul` takes must have heads × {word} of the state as its width, {heads * met}"
            raise RuleError(rule, value=f"{x.width} beside {state}")
        return ValueType((heads * left,), x.rate)

    def _matrices(self, a: ValueType, b: ValueType) -> ValueType:
        heads, rows, columns = a.shape
        met, left, word = (rows, columns, "rows") if self.transpose else (columns, rows, "columns")
        if len(b.shape) != 3 or b.shape[:2] != (heads, met):
            rule = f"matrices that `matmul` takes must have the heads of the state and, as rows, its {word}"
            raise RuleError(rule, value=f"{a}, {b}")
        return ValueType((heads, left, b.width), a.rate)

    def cost(self, state: ValueType, x: ValueType, *, time: int) -> Cost:
        if len(state.shape) == len(x.shape):
            return Cost(flops=2 * state.size * x.width)
        return Cost(flops=2 * max(state.size, x.size))

    def forward(self, w: Weights, state: Tensor, x: Tensor, *, ctx: Context) -> Tensor:
        return self._product(state, x, lead=3)

    def step(self, w: Weights, state: State, s: Tensor, x: Tensor, *, ctx: Context) -> tuple[Tensor, State]:
        return self._product(s, x, lead=2), state

    def _product(self, s: Tensor, x: Tensor, lead: int) -> Tensor:
        """The product; `lead` axes of copies, batch and time come before the features."""
        if s.ndim == lead + 1:  # a row vector times matrices
            return _rows(x, s)
        if x.ndim == lead + 1:
            return _rows(s if self.transpose else s.mT, x)
        return (s.mT if self.transpose else s) @ x


def _rows(s: Tensor, x: Tensor) -> Tensor:
    """`(..., H*C)`: Σ_r x[h, r] S[h, r, c]."""
    out: Tensor = x.unflatten(-1, (s.shape[-3], 1, s.shape[-2])) @ s
    return out.flatten(-3)
