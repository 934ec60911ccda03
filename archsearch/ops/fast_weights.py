"""Fast weights: a state of matrices that every step writes to with a key and reads with a query.

The matrices of the H heads are R rows (features of a key) by C columns (features of a value); a decode step carries
them as `S`, `(E, B, H, R, C)`. All cores run over a whole sequence in chunks. Decays come as logarithms: a decay near
one, which is what a long memory needs, has few digits left in single precision, and its logarithm has all of them.
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
from archsearch.kernels import backends
from archsearch.kernels.delta_rule import delta_rule
from archsearch.kernels.dispatch import chunk_length, scaled_chunk, system_chunk
from archsearch.kernels.gated import at_most_zero
from archsearch.kernels.linear_attention import chunked, read, states
from archsearch.kernels.precision import exact, single
from archsearch.kernels.scaled_attention import fits, scaled_attention
from archsearch.kernels.scaled_delta_rule import scaled_delta_rule
from archsearch.ops.base import Context, Cost, Op, Port, State, ValueType, Weights, op, setting
from archsearch.ops.rules import divides, vector

__all__ = ["DeltaRuleCore", "LinearAttentionCore", "chunks_of", "keys_and_values", "one_a_head"]

FLOAT32 = 4  # bytes
_CHUNK = 32


def chunks_of(time: int) -> int:
    """The states that follow each other in a sequence of `time` steps, a chunk after the other."""
    return math.ceil(time / _CHUNK)


def keys_and_values(op: str, heads: int, **ports: ValueType) -> tuple[int, int]:
    """R and C, given the types of `v` and of what is as wide as a key.

    Raises:
        RuleError: not a vector, unequal rates, keys of unequal widths, or a width that `heads` does not divide.
    """
    for port, x in ports.items():
        vector(op, port, x)
    keys = [x for port, x in ports.items() if port != "v"]
    if len({x.rate for x in ports.values()}) > 1:
        raise RuleError(f"the inputs of `{op}` must have equal rates", value=_said(ports))
    if len({x.width for x in keys}) > 1:
        names = " and ".join(f"`{port}`" for port in ports if port != "v")
        raise RuleError(f"{names} of `{op}` must have equal widths", value=_said(ports))
    return divides("heads", heads, keys[0].width), divides("heads", heads, ports["v"].width)


def _said(ports: dict[str, ValueType]) -> str:
    return ", ".join(f"{port}: {x}" for port, x in ports.items())


def one_a_head(op: str, port: str, x: ValueType, heads: int) -> None:
    """Raises `RuleError` unless `x` has one feature a head."""
    if vector(op, port, x).width != heads:
        raise RuleError(f"`{port}` of `{op}` must have one feature a head, {heads}", value=str(x))


def _logarithms(decay: Tensor | None, heads: int) -> Tensor | None:
    """`(E, B, T, H, 1)` or `(E, B, T, H, R)`; what is above zero would let a state grow without end."""
    return None if decay is None else at_most_zero(decay).unflatten(3, (heads, -1))


class _Matrices(Op):
    """What the cores share."""

    heads: int

    def _run(self, *inputs: Tensor | None, last: bool) -> tuple[Tensor, Tensor]:
        """Readings `(E, B, T, H, ·)`, and the state after the last step, `(E, B, H, R, ·)`, or if not `last` any."""
        raise NotImplementedError

    def _sequences(self, *inputs: Tensor, last: bool) -> list[Tensor]:
        """`(E, B, T, H, ·)` to `(N, T, ·)`; if `last`, and steps that change nothing behind, a chunk of them."""
        gap = chunk_length(inputs[0].device, inputs[0].shape[4]) if last else 0
        return [F.pad(x.transpose(2, 3).flatten(0, 2), (0, 0, 0, gap)) for x in inputs]

    def _whole_of(self, y: Tensor, state: Tensor, like: Tensor | None) -> tuple[Tensor, Tensor]:
        """What `_run` gives, of readings `(N, T or more, ·)` and a state `(N, R, ·)`."""
        assert like is not None
        outer = (like.shape[0], like.shape[1], self.heads)
        return y[:, : like.shape[2]].unflatten(0, outer).transpose(2, 3), state.unflatten(0, outer)

    def _whole(self, *inputs: Tensor | None, last: bool = False) -> tuple[Tensor, Tensor]:
        """Readings `(E, B, T, H, ·)` and the state, `(E, B, H, R, ·)`."""
        first = inputs[0]
        assert first is not None
        fast = None if getattr(self, "normalise", False) else backends.find(self.name, first)
        if fast is not None:
            return fast(self.heads, *inputs)  # type: ignore[no-any-return]
        with exact(first.device):
            y, state = self._run(*(None if x is None else single(x) for x in inputs), last=last)
        return y.to(first.dtype), state


@op(
    family="fast_weight",
    ports=(
        Port("q", help="queries, heads × rows features"),
        Port("k", help="keys, as wide"),
        Port("v", help="values, heads × columns features"),
        Port("decay", optional=True, help="logarithm, at most 0, of what is kept, one a head or one a row"),
    ),
    mixes_time=True,
    equation="S_t = g_t ⊙ S_{t−1} + k_t v_tᵀ; y_t = S_tᵀ q_t, over q_t · Σ_{s≤t} (g_t … g_{s+1}) ⊙ k_s if normalised",
    paper="Katharopoulos et al. 2020, arXiv:2006.16236; Yang et al. 2023, arXiv:2312.06635",
)
@dataclass(frozen=True)
class LinearAttentionCore(_Matrices):
    """Linear attention: sums of outer products of keys and values, with or without decay.

    The decay is a logarithm; one above zero counts as zero.
    """

    heads: int = setting(4, low=1, help="matrices; the widths are cut into as many parts")
    normalise: bool = setting(False, help="whether a reading is divided by the sum of its weights; for positive keys")
    eps: float = setting(1e-6, low=1e-12, help="the least size of that sum")

    def infer(self, q: ValueType, k: ValueType, v: ValueType, decay: ValueType | None = None) -> ValueType:
        rows, _ = keys_and_values(self.name, self.heads, q=q, k=k, v=v)
        if decay is not None and vector(self.name, "decay", decay).width not in (self.heads, self.heads * rows):
            rule = f"`decay` of `{self.name}` must have one feature a head or one a row, {self.heads} or {k.width}"
            raise RuleError(rule, value=str(decay))
        if decay is not None and decay.rate != q.rate:
            raise RuleError(f"the inputs of `{self.name}` must have equal rates", value=f"{q}, {decay}")
        return v

    def cost(self, q: ValueType, k: ValueType, v: ValueType, decay: ValueType | None = None, *, time: int) -> Cost:
        """A step's update and reading; a chunk's products of queries and keys are left out, as they are a choice."""
        columns = v.width + (self.heads if self.normalise else 0)
        state = q.width * columns // self.heads
        flops = (4 if decay is None else 5) * state + (v.width if self.normalise else 0)
        return Cost(flops=flops, state_bytes=FLOAT32 * state, span=max(1, math.ceil(math.log2(time))))

    def forward(
        self, w: Weights, q: Tensor, k: Tensor, v: Tensor, decay: Tensor | None = None, *, ctx: Context
    ) -> Tensor:
        return self._read(self._whole(q, k, v, decay)[0])

    def prefill(
        self, w: Weights, q: Tensor, k: Tensor, v: Tensor, decay: Tensor | None = None, *, ctx: Context
    ) -> tuple[Tensor, State]:
        y, state = self._whole(q, k, v, decay, last=True)
        return self._read(y), {"S": state}

    def step(
        self, w: Weights, state: State, q: Tensor, k: Tensor, v: Tensor, decay: Tensor | None = None, *, ctx: Context
    ) -> tuple[Tensor, State]:
        """One token; with `normalise`, z is one more column of S."""
        q, k, v = (x.unflatten(-1, (self.heads, -1)) for x in (q, k, v))
        new = k.unsqueeze(-1) * self._beside_one(v).unsqueeze(-2)
        if state and decay is None:
            new = new + state["S"]
        elif state and decay is not None:
            kept = decay.clamp(max=0.0).exp().unflatten(-1, (self.heads, -1, 1))
            new = torch.addcmul(new, state["S"], kept.expand_as(k.unsqueeze(-1)))
        return self._read((q.unsqueeze(-2) @ new).squeeze(-2)), {"S": new}

    def _beside_one(self, v: Tensor) -> Tensor:
        return torch.cat([v, torch.ones_like(v[..., :1])], -1) if self.normalise else v

    def _run(self, *inputs: Tensor | None, last: bool) -> tuple[Tensor, Tensor]:
        q, k, v = (x.unflatten(3, (self.heads, -1)) for x in inputs[:3] if x is not None)
        v, log_g = self._beside_one(v), _logarithms(inputs[3], self.heads)
        length = scaled_chunk(q.device, q.shape[4], q.shape[2])
        if log_g is None or fits(log_g, length):
            return scaled_attention(q, k, v, log_g, length)
        # Decays too strong for their quotients: products of them, which cannot leave any range, take longer.
        q, k, v, log_g = self._sequences(q, k, v, log_g, last=last)
        chunks = chunked(k, v, log_g.exp())
        before = states(chunks)
        return self._whole_of(read(q, chunks, before), before[:, -1], inputs[0])

    def _read(self, y: Tensor) -> Tensor:
        """`(..., H, C)` or, with the sum beside them, `(..., H, C + 1)`, to `(..., H · C)`."""
        if not self.normalise:
            return y.flatten(-2)
        size = y[..., -1:]
        size = torch.where(size < 0.0, -1.0, 1.0).to(size) * size.abs().clamp(min=self.eps)
        return (y[..., :-1] / size).flatten(-2)


@op(
    family="fast_weight",
    ports=(
        Port("q", help="queries, heads × rows features"),
        Port("k", help="keys, as wide; of length one in each head, or a state may grow"),
        Port("v", help="values, heads × columns features"),
        Port("beta", help="one a head: how much of what a key held gives way, from 0 to 1, or to 2"),
        Port("decay", optional=True, help="logarithm, at most 0, of what is kept, one a head"),
    ),
    mixes_time=True,
    equation="S_t = g_t S_{t−1} + β_t k_t (v_t − g_t S_{t−1}ᵀ k_t)ᵀ; y_t = S_tᵀ q_t",
    paper="Schlag et al. 2021, arXiv:2102.11174; Yang et al. 2024, arXiv:2406.06484 and arXiv:2412.06464",
)
@dataclass(frozen=True)
class DeltaRuleCore(_Matrices):
    """Delta rule: what a key held gives way to the new value, with or without decay.

    The decay is a logarithm; one above zero counts as zero.
    """

    heads: int = setting(4, low=1, help="matrices; the widths are cut into as many parts")

    def infer(
        self, q: ValueType, k: ValueType, v: ValueType, beta: ValueType, decay: ValueType | None = None
    ) -> ValueType:
        keys_and_values(self.name, self.heads, q=q, k=k, v=v)
        for port, x in (("beta", beta), ("decay", decay)):
            if x is not None:
                one_a_head(self.name, port, x, self.heads)
                if x.rate != q.rate:
                    raise RuleError(f"the inputs of `{self.name}` must have equal rates", value=f"{q}, {x}")
        return v

    def cost(
        self,
        q: ValueType,
        k: ValueType,
        v: ValueType,
        beta: ValueType,
        decay: ValueType | None = None,
        *,
        time: int,
    ) -> Cost:
        """A step's two readings and its update."""
        state = q.width * v.width // self.heads
        flops = (6 if decay is None else 7) * state + 2 * v.width
        return Cost(flops=flops, state_bytes=FLOAT32 * state, span=chunks_of(time))

    def forward(
        self, w: Weights, q: Tensor, k: Tensor, v: Tensor, beta: Tensor, decay: Tensor | None = None, *, ctx: Context
    ) -> Tensor:
        return self._whole(q, k, v, beta, decay)[0].flatten(-2)

    def prefill(
        self, w: Weights, q: Tensor, k: Tensor, v: Tensor, beta: Tensor, decay: Tensor | None = None, *, ctx: Context
    ) -> tuple[Tensor, State]:
        y, state = self._whole(q, k, v, beta, decay, last=True)
        return y.flatten(-2), {"S": state}

    def step(
        self,
        w: Weights,
        state: State,
        q: Tensor,
        k: Tensor,
        v: Tensor,
        beta: Tensor,
        decay: Tensor | None = None,
        *,
        ctx: Context,
    ) -> tuple[Tensor, State]:
        q, k, v = (x.unflatten(-1, (self.heads, -1)) for x in (q, k, v))
        old = state["S"] if state else k.new_zeros(*k.shape, v.shape[-1])
        if decay is not None:
            old = old * decay.clamp(max=0.0).exp()[..., None, None]
        held = (k.unsqueeze(-2) @ old).squeeze(-2)
        new = old + k.unsqueeze(-1) * (beta.unsqueeze(-1) * (v - held)).unsqueeze(-2)
        return (q.unsqueeze(-2) @ new).flatten(-3), {"S": new}

    def _run(self, *inputs: Tensor | None, last: bool) -> tuple[Tensor, Tensor]:
        q, k, v, beta = (x.unflatten(3, (self.heads, -1)) for x in inputs[:4] if x is not None)
        log_g = _logarithms(inputs[4], self.heads)
        length = system_chunk(q.device, q.shape[4], q.shape[2])
        if log_g is None or fits(log_g, length):
            return scaled_delta_rule(q, -beta * k, k, beta * v, log_g, length)
        q, k, v, beta, log_g = self._sequences(q, k, v, beta, log_g, last=last)
        decay = log_g.exp()
        chunks, before = delta_rule(-beta * decay * k, chunked(k, beta * v, decay))
        return self._whole_of(read(q, chunks, before), before[:, -1], inputs[0])
