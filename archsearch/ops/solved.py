"""Cores whose output solves a problem that their input poses: least squares on all that was seen, a quadratic program.

Legend of shapes: E copies, B batch, T time; H heads, R features of a key, C of a value or of a program.
"""
# mypy: disable-error-code="override"
# An op names its ports as arguments, where the base class takes any number.

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from archsearch.errors import RuleError
from archsearch.kernels.dispatch import chunk_length
from archsearch.kernels.heads import fold_heads, unfold_heads
from archsearch.kernels.implicit import solve_positive
from archsearch.kernels.linear_attention import chunked, read, states
from archsearch.kernels.precision import exact, single
from archsearch.kernels.quadratic import Programs, minimise
from archsearch.kernels.ridge import ridge
from archsearch.ops.base import (
    Context,
    Cost,
    Initializer,
    Op,
    Port,
    State,
    ValueType,
    Weight,
    Weights,
    constant,
    normal,
    op,
    param,
    setting,
)
from archsearch.ops.rules import divides, vector

__all__ = ["MesaCore", "QuadraticLayer"]

FLOAT32 = 4  # bytes


@op(
    name="mesa_core",
    family="solved",
    ports=(
        Port("q", help="queries, heads × R features"),
        Port("k", help="keys, as wide; of length one in each head, as a rule"),
        Port("v", help="values, heads × C features"),
        Port("beta", optional=True, help="weight of the present example, at least 0, one a head; 1 if not connected"),
        Port("decay", optional=True, help="logarithm, at most 0, of what is kept of earlier examples, one a head"),
    ),
    mixes_time=True,
    equation="y_t = G_t (H_t + Λ)⁻¹ q_t; G_t = g_t G_{t−1} + β_t v_t k_tᵀ; H_t = g_t H_{t−1} + β_t k_t k_tᵀ",
    paper="von Oswald et al. 2023, arXiv:2309.05858; von Oswald et al. 2025, arXiv:2506.05233",
)
@dataclass(frozen=True)
class MesaCore(Op):
    """Mesa layer: the linear map that fits all pairs of keys and values so far best, applied to the query.

    The fit is ridge regression with a learned penalty a feature, solved exactly, by Cholesky factors. A weight below
    zero counts as zero, and so does a logarithm of what is kept above zero.
    """

    heads: int = setting(4, low=1, help="regressions; the widths are cut into as many parts")
    floor: float = setting(0.25, low=1e-4, help="the least penalty")

    def infer(
        self,
        q: ValueType,
        k: ValueType,
        v: ValueType,
        beta: ValueType | None = None,
        decay: ValueType | None = None,
    ) -> ValueType:
        there = {"q": q, "k": k, "v": v, "beta": beta, "decay": decay}
        given = {name: x for name, x in there.items() if x is not None}
        for name, x in given.items():
            vector(self.name, name, x)
            if name in ("beta", "decay") and x.width != self.heads:
                raise RuleError(f"`{name}` of `{self.name}` must have one feature a head, {self.heads}", value=str(x))
        if q.width != k.width or len({x.rate for x in given.values()}) > 1:
            said = ", ".join(f"{name}: {x}" for name, x in given.items())
            raise RuleError(f"`q` and `k` of `{self.name}` must have equal widths, and all ports one rate", value=said)
        divides("heads", self.heads, q.width)
        divides("heads", self.heads, v.width)
        return v

    def weights(self, q: ValueType, *others: ValueType | None) -> tuple[Weight, ...]:
        """Λ is softplus(penalty) + floor, and one at the start where the floor is below that."""
        raw = math.log(math.expm1(max(1.0 - self.floor, 1e-2)))
        return (param("penalty", (self.heads, q.width // self.heads), constant(raw), decay=False),)

    def cost(self, q: ValueType, k: ValueType, v: ValueType, *others: ValueType | None, time: int) -> Cost:
        """A factor, its two triangular solves, what is written and read; not what is formed twice over."""
        rows, columns = q.width // self.heads, v.width // self.heads
        solve = rows**3 / 3 + 2 * rows * rows
        written = (3 if others[1:2] != (None,) and len(others) > 1 else 2) * rows * (rows + columns)
        flops = self.heads * (solve + written + 2 * rows * columns)
        state = FLOAT32 * self.heads * rows * (rows + columns)
        return Cost(flops=flops, state_bytes=state, span=max(1, math.ceil(math.log2(time))))

    def forward(
        self,
        w: Weights,
        q: Tensor,
        k: Tensor,
        v: Tensor,
        beta: Tensor | None = None,
        decay: Tensor | None = None,
        *,
        ctx: Context,
    ) -> Tensor:
        with exact(q.device):
            keys, written, g = self._written(k, v, beta, decay)
            rows = keys.shape[-1]
            q_ntr = fold_heads(single(q), self.heads)
            x = ridge(q_ntr, keys, written[..., :rows], self._penalty(w, q.shape[1]), g)
            chunks = chunked(keys, written[..., rows:], g)
            y = read(x, chunks, states(chunks))
        return unfold_heads(y, q.shape[0], self.heads).to(v.dtype)

    def prefill(
        self,
        w: Weights,
        q: Tensor,
        k: Tensor,
        v: Tensor,
        beta: Tensor | None = None,
        decay: Tensor | None = None,
        *,
        ctx: Context,
    ) -> tuple[Tensor, State]:
        y = self.forward(w, q, k, v, beta, decay, ctx=ctx)
        with exact(q.device):
            keys, written, g = self._written(k, v, beta, decay)
            gap = (0, 0, 0, chunk_length(k.device, keys.shape[2]))  # so that the last chunk only hands the state on
            kept = None if g is None else F.pad(g, gap, value=1.0)
            last = states(chunked(F.pad(keys, gap), F.pad(written, gap), kept))[:, -1]
        return y, {"S": last.unflatten(0, (*q.shape[:2], self.heads))}

    def start(self, w: Weights, batch: int, q: ValueType, k: ValueType, v: ValueType, *others: ValueType) -> State:
        penalty = w["penalty"]
        rows, columns = penalty.shape[2], v.width // self.heads
        return {"S": penalty.new_zeros(penalty.shape[0], batch, self.heads, rows, rows + columns)}

    def step(
        self,
        w: Weights,
        state: State,
        q: Tensor,
        k: Tensor,
        v: Tensor,
        beta: Tensor | None = None,
        decay: Tensor | None = None,
        *,
        ctx: Context,
    ) -> tuple[Tensor, State]:
        """One token; S holds H and, beside it, Gᵀ, `(E, B, H, R, R + C)`."""
        with exact(q.device):
            query, key, value = (single(x).unflatten(-1, (self.heads, -1)) for x in (q, k, v))
            written = torch.cat([key, value], -1)
            if beta is not None:
                written = written * single(beta).clamp(min=0.0).unsqueeze(-1)
            kept = state["S"]
            if decay is not None:
                kept = kept * single(decay).clamp(max=0.0).exp()[..., None, None]
            new = kept + key.unsqueeze(-1) * written.unsqueeze(-2)
            squares, cross = new.split([key.shape[-1], value.shape[-1]], -1)
            x = solve_positive(squares + torch.diag_embed(self._ridge(w)).unsqueeze(1), query)
            y = (x.unsqueeze(-2) @ cross).flatten(-3)
        return y.to(v.dtype), {"S": new}

    def _written(
        self, k: Tensor, v: Tensor, beta: Tensor | None, decay: Tensor | None
    ) -> tuple[Tensor, Tensor, Tensor | None]:
        """Keys `(N, T, R)`, what is written under them `(N, T, R + C)`, and what is kept `(N, T, 1)`."""
        keys, values = (fold_heads(single(x), self.heads) for x in (k, v))
        written = torch.cat([keys, values], -1)
        if beta is not None:
            written = written * fold_heads(single(beta).clamp(min=0.0), self.heads)
        kept = None if decay is None else fold_heads(single(decay).clamp(max=0.0), self.heads).exp()
        return keys, written, kept

    def _ridge(self, w: Weights) -> Tensor:
        """The diagonal of Λ, `(E, H, R)`."""
        return F.softplus(w["penalty"]) + self.floor

    def _penalty(self, w: Weights, batch: int) -> Tensor:
        """The same for every sequence, `(N, R)`."""
        return self._ridge(w).unsqueeze(1).expand(-1, batch, -1, -1).flatten(0, 2)


def _one(generator: torch.Generator, shape: tuple[int, ...]) -> Tensor:
    return torch.eye(shape[-1]).expand(shape).clone()


_PRECISE = "cpu", "cuda"  # devices with double precision
_LEAST = 0.1  # added to the diagonal of Q, which so stays positive definite


@op(
    family="solved",
    equation="y = argmin_z ½ zᵀ Q z − xᵀ z so that G z ≤ h, Q = L Lᵀ + 0.1, h = G z₀ + exp(r)",
    paper="Amos and Kolter 2017, arXiv:1703.00443",
)
@dataclass(frozen=True)
class QuadraticLayer(Op):
    """Optimisation layer: the solution of a small quadratic program whose linear term is the input.

    L, G, z₀ and r are learned, and z₀ is a feasible point at all times. The solver works in double precision.
    """

    heads: int = setting(8, low=1, help="programs; the width is cut into as many parts, the variables of each")
    constraints: int = setting(8, low=1, help="inequalities of each program")
    iterations: int = setting(16, low=1, high=100, help="steps of the interior point method")

    def infer(self, x: ValueType) -> ValueType:
        vector(self.name, "x", x)
        divides("heads", self.heads, x.width)
        return x

    def weights(self, x: ValueType) -> tuple[Weight, ...]:
        c, k = x.width // self.heads, self.constraints
        return (
            param("factor", (self.heads, c, c), Initializer("the identity", _one)),
            param("bounds", (self.heads, k, c), normal(1.0 / math.sqrt(c))),
            param("inside", (self.heads, c), constant(0.0), decay=False),
            param("room", (self.heads, k), constant(0.0), decay=False),
        )

    def cost(self, x: ValueType, *, time: int) -> Cost:
        """Of an iteration: the factor of its matrix, two solves, products with Q, Q⁻¹ and G; the conditions, once."""
        c, k = x.width // self.heads, self.constraints
        iteration = k**3 / 3 + 4 * k * k + 16 * k * c + 6 * c * c
        return Cost(flops=self.heads * (self.iterations * iteration + 4 * k * c + 2 * c * c))

    def forward(self, w: Weights, x: Tensor, *, ctx: Context) -> Tensor:
        precise = torch.float64 if x.device.type in _PRECISE else torch.float32
        p = -fold_heads(x.flatten(1, 2).unsqueeze(1), self.heads).to(precise)
        with exact(x.device):
            z = minimise(p, self._programs({k: v.to(precise) for k, v in w.items()}), self.iterations)
        out: Tensor = unfold_heads(z, x.shape[0], self.heads).view(x.shape)
        return out.to(x.dtype)

    def _programs(self, w: Weights) -> Programs:
        """The programs of all copies and heads, N = E · H."""
        factor, bounds, inside, room = (w[name].flatten(0, 1) for name in ("factor", "bounds", "inside", "room"))
        q = factor @ factor.mT + _LEAST * torch.eye(factor.shape[-1], dtype=factor.dtype, device=factor.device)
        return Programs(q, bounds, inside, room.exp())
