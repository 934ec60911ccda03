"""What an op is. The whole contract of a node's computation is this page.

An op is a frozen dataclass: its settings are its fields, what follows is the contract. One family a file. A person's
own op, and one that a language model writes, is the same thing in a file of its own.

    @op(family="state_space", mixes_time=True)
    @dataclass(frozen=True)
    class Decay(Op):
        "Exponential moving average: h_t = a h_{t-1} + (1-a) x_t, one learned a per feature."

        low: float = setting(0.5, low=0.0, high=1.0, help="the smallest initial a")

        def infer(self, x): return x
        def weights(self, x): return (param("logit", x.shape, uniform(...)),)
        def cost(self, x, *, time): return Cost(flops=3 * x.size, state_bytes=4 * x.size, span=time)
        def forward(self, w, x, *, ctx): ...                     # all time steps at once
        def start(self, w, batch, x): return {"h": zeros}        # the state before the first token
        def step(self, w, state, x, *, ctx): return y, {"h": h}  # one token

Legend of shapes: E copies, B batch, T time, D width; H heads, R rows, C columns of a state of matrices.
A value is `(E, B, T, *shape)` in `forward` and `(E, B, *shape)` in `step`. A weight is `(E, *shape)`; copy e of every
value depends on slice e of the weights alone. Numbers of one copy never reach another.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, TypeVar

import torch
from torch import Tensor

from archsearch.errors import RuleError
from archsearch.graph.opspec import Cost, OpSpec, Port, Setting
from archsearch.graph.types import ValueType

__all__ = [
    "Context",
    "Cost",
    "Initializer",
    "Op",
    "Port",
    "RuleError",
    "ValueType",
    "Weight",
    "constant",
    "kaiming_uniform",
    "normal",
    "op",
    "param",
    "setting",
    "uniform",
]

Draw = Callable[[torch.Generator, tuple[int, ...]], Tensor]


@dataclass(frozen=True, slots=True)
class Initializer:
    """Draws one copy of a weight, and says how.

    Args:
        says: the distribution in a few words, for `archsearch ops show`: `N(0, 0.02²)`.
        draw: `(generator, shape) -> float32 CPU tensor of that shape`.
    """

    says: str
    draw: Draw

    def __call__(self, generator: torch.Generator, shape: tuple[int, ...]) -> Tensor:
        return self.draw(generator, shape)


State = dict[str, Tensor]
Weights = Mapping[str, Tensor]


@dataclass(frozen=True, slots=True)
class Weight:
    """A tensor that an op owns; see `param`."""

    name: str
    shape: tuple[int, ...]
    init: Draw
    lr_mult: float = 1.0
    decay: bool = True
    trained: bool = True


def param(
    name: str, shape: tuple[int, ...], init: Draw, *, lr_mult: float = 1.0, decay: bool = True, trained: bool = True
) -> Weight:
    """Declares a tensor that an op owns.

    Args:
        shape: of one copy; storage puts the axis of copies in front.
        init: draws one copy.
        lr_mult: factor on the learning rate.
        decay: whether weight decay applies (not to biases, norms, gates' offsets, eigenvalues).
        trained: false for one that stays as it was drawn, as those of a reservoir do.
    """
    return Weight(name, tuple(shape), init, lr_mult, decay, trained)


def constant(value: float) -> Initializer:
    """Fills with `value`."""
    return Initializer(f"{value:g}", lambda generator, shape: torch.full(shape, float(value)))


def uniform(low: float, high: float) -> Initializer:
    """U(low, high)."""
    return Initializer(
        f"U({low:.4g}, {high:.4g})",
        lambda generator, shape: torch.empty(shape).uniform_(low, high, generator=generator),
    )


def normal(std: float) -> Initializer:
    """N(0, std²)."""
    return Initializer(
        f"N(0, {std:.4g}²)", lambda generator, shape: torch.empty(shape).normal_(0.0, std, generator=generator)
    )


def kaiming_uniform(fan_in: int) -> Initializer:
    """U(−1/√fan_in, 1/√fan_in), as `torch.nn.Linear` draws its weights."""
    bound = 1.0 / math.sqrt(max(fan_in, 1))
    return uniform(-bound, bound)


@dataclass(slots=True)
class Context:
    """What a forward pass knows beside its values.

    Args:
        training: whether dropout and the like are active.
        generators: one source of randomness per copy, on the device of the values; `None` outside training.
        losses: where an op puts what is added to the loss of each copy, `(E,)` in single precision; `None` outside
            training. On a cycle that runs step by step, the mean over its steps counts.
    """

    training: bool = False
    generators: list[torch.Generator] | None = None
    losses: list[Tensor] | None = None


def setting(
    default: Any = None,
    *,
    required: bool = False,
    low: float | None = None,
    high: float | None = None,
    options: tuple[str, ...] = (),
    help: str = "",
) -> Any:
    """A field of an op that a space may set and search over; see `archsearch.graph.opspec.Setting`."""
    meta = {"required": required, "low": low, "high": high, "options": options, "help": help}
    return field(default=default, metadata=meta)


class Op:
    """Base of all ops: the defaults are those of an op that treats every time step alone and has no weights.

    Class attributes:
        name: as YAML says it.
        ports: one port `x` unless the class says otherwise.
        outputs: names of the outputs; one output `out` unless the class says otherwise.
        mixes_time: whether output t may depend on other steps than t.
        commutative: whether the order of edges into the `many` port is free.
        linearity: how a step's output depends on its inputs; see `archsearch.graph.opspec.OpSpec`.
        native_copies: false where `forward_one` and `step_one` handle a single copy and the base loops over copies.
        equation, paper: for `archsearch ops show`.
    """

    name: ClassVar[str] = ""
    family: ClassVar[str] = ""
    ports: ClassVar[tuple[Port, ...]] = (Port("x"),)
    outputs: ClassVar[tuple[str, ...]] = ("out",)
    mixes_time: ClassVar[bool] = False
    commutative: ClassVar[bool] = False
    linearity: ClassVar[str] = "nonlinear"
    native_copies: ClassVar[bool] = True
    equation: ClassVar[str] = ""
    paper: ClassVar[str] = ""
    source: ClassVar[str | None] = None

    # ---- without tensors -------------------------------------------------------------------------------------------

    def infer(self, *types: Any) -> ValueType | tuple[ValueType, ...]:
        """The types of the outputs, given one type per port; raises `RuleError` where they do not fit."""
        raise NotImplementedError

    def weights(self, *types: Any) -> tuple[Weight, ...]:
        """The tensors that the op owns, given one type per port."""
        return ()

    def cost(self, *types: Any, time: int) -> Cost:
        """What one token costs in a sequence of `time` tokens."""
        return Cost()

    def is_causal(self) -> bool:
        """Whether output t depends on inputs up to t only."""
        return True

    def is_identity(self, *types: Any) -> bool:
        """Whether the op returns its single input unchanged."""
        return False

    def weight_shapes(self, *types: Any) -> dict[str, tuple[int, ...]]:
        """Names and shapes of `weights`."""
        return {w.name: w.shape for w in self.weights(*types)}

    def params(self, *types: Any) -> int:
        """The trained numbers of one copy; those that stay as they were drawn do not count."""
        return sum(math.prod(w.shape) for w in self.weights(*types) if w.trained)

    @classmethod
    def canonical(cls, settings: Mapping[str, Any]) -> Mapping[str, Any]:
        """Complete settings in one spelling, by which architectures are told apart."""
        return settings

    # ---- with tensors ----------------------------------------------------------------------------------------------

    def forward(self, w: Weights, *inputs: Any, ctx: Context) -> Any:
        """All time steps at once: `(E, B, T, *shape)` per port to one tensor per output (a tuple if several)."""
        if self.native_copies:
            raise NotImplementedError(f"op `{self.name}` has no parallel form")
        copies = _copies(ctx, w, *inputs)
        outs = [self.forward_one(*one, ctx=c) for *one, c in copies]
        _add_losses(ctx, copies)
        return _join(outs)

    def forward_one(self, w: Weights, *inputs: Any, ctx: Context) -> Any:
        """What `forward` does, for one copy and without its axis: `(B, T, *shape)`. For `native_copies = False`."""
        raise NotImplementedError

    def prefill(self, w: Weights, *inputs: Any, ctx: Context) -> tuple[Any, State] | None:
        """What `forward` gives, and the state after the last step, as `start` and then `step` would have left it.

        `None`, the default, where an op has no way to it but its steps: a prompt then runs through those. There is at
        least one step. For an op that does not mix time it is never asked.
        """
        return None

    def start(self, w: Weights, batch: int, *types: Any) -> State:
        """The state before the first token: tensors `(E, batch, ...)`, on the device and in the dtype of the weights.

        An op with state but without weights takes both from the inputs of its first `step` and starts empty here.
        """
        return {}

    def step(self, w: Weights, state: State, *inputs: Any, ctx: Context) -> tuple[Any, State]:
        """One token: `(E, B, *shape)` per port and the state, to the output and the next state.

        The default runs `forward` on a sequence of length one, which is right for an op that does not mix time.
        """
        if not self.native_copies:
            copies = _copies(ctx, w, state, *inputs)
            out, states = zip(*[self.step_one(*one, ctx=c) for *one, c in copies], strict=True)
            _add_losses(ctx, copies)
            return _join(out), {k: torch.stack([s[k] for s in states]) for k in states[0]}
        if self.mixes_time:
            raise NotImplementedError(f"op `{self.name}` mixes time and has no step form")
        long = [_map(lambda v: v.unsqueeze(2), v) for v in inputs]
        return _map(lambda v: v.squeeze(2), self.forward(w, *long, ctx=ctx)), state

    def step_one(self, w: Weights, state: State, *inputs: Any, ctx: Context) -> tuple[Any, State]:
        """What `step` does, for one copy and without its axis: `(B, *shape)`. For `native_copies = False`."""
        if self.mixes_time:
            raise NotImplementedError(f"op `{self.name}` mixes time and has no step form")
        long = [_map(lambda v: v.unsqueeze(1), v) for v in inputs]
        return _map(lambda v: v.squeeze(1), self.forward_one(w, *long, ctx=ctx)), state

    # ---- the spec --------------------------------------------------------------------------------------------------

    @classmethod
    def spec(cls) -> OpSpec:
        """What the language knows of this op."""
        hints = {f.name: f for f in dataclasses.fields(cls)}  # type: ignore[arg-type]
        return OpSpec(
            name=cls.name,
            summary=(cls.__doc__ or "").strip().split("\n")[0],
            family=cls.family,
            ports=cls.ports,
            outputs=cls.outputs,
            settings=tuple(_setting_of(cls, f) for f in hints.values()),
            make=cls,
            mixes_time=cls.mixes_time,
            commutative=cls.commutative,
            linearity=cls.linearity,
            paper=cls.paper,
            source=cls.source,
            canonical=cls.canonical,
        )


def _map(f: Callable[[Tensor], Tensor], v: Any) -> Any:
    if v is None:
        return None
    if isinstance(v, tuple | list):
        return tuple(_map(f, x) for x in v)
    return f(v)


def _copies(ctx: Context, *values: Any) -> list[tuple[Any, ...]]:
    """Everything split along its axis of copies, each copy with its own context."""
    parts = [_unbind(v) for v in values]
    n = next(len(p) for p in parts if isinstance(p, tuple | list))
    return [(*(None if p is None else p[e] for p in parts), _of_copy(ctx, e)) for e in range(n)]


def _of_copy(ctx: Context, e: int) -> Context:
    """What copy `e` alone knows; its losses are its own until `_add_losses`."""
    return Context(ctx.training, ctx.generators and ctx.generators[e : e + 1], None if ctx.losses is None else [])


def _add_losses(ctx: Context, copies: list[tuple[Any, ...]]) -> None:
    """Puts the losses of the copies, `(1,)` each, together: `(E,)` each."""
    if ctx.losses is not None:
        ctx.losses.extend(torch.cat(parts) for parts in zip(*(one[-1].losses for one in copies), strict=True))


def _unbind(v: Any) -> Any:
    """One entry per copy, by `unbind`: each `x[e]` would cost a full-size gradient. `None` if unconnected."""
    if isinstance(v, Tensor):
        return _parts(v)
    if not isinstance(v, Mapping):
        return None
    if not v:
        return _Empty()
    return [dict(zip(v, one, strict=True)) for one in zip(*map(_parts, v.values()), strict=True)]


def _parts(x: Tensor) -> tuple[Tensor, ...]:
    """The copies of a tensor; a single one is a view, whose gradient is one too."""
    return (x.squeeze(0),) if x.shape[0] == 1 else x.unbind(0)


class _Empty:
    """No weights or no state: an empty mapping for every copy."""

    def __getitem__(self, copy: int) -> dict[str, Tensor]:
        return {}


def _join(outs: Sequence[Any]) -> Any:
    """The copies of one output, or of a tuple of outputs, stacked again."""
    if isinstance(outs[0], tuple):
        return tuple(_join(o) for o in zip(*outs, strict=True))
    return outs[0].unsqueeze(0) if len(outs) == 1 else torch.stack(tuple(outs))


_KINDS = {"int": int, "float": float, "bool": bool, "str": str}


def _setting_of(cls: type, f: dataclasses.Field[Any]) -> Setting:
    annotation = f.type if isinstance(f.type, str) else getattr(f.type, "__name__", str(f.type))
    kind = _KINDS.get(annotation.split("|")[0].strip())
    if kind is None:
        raise TypeError(f"setting `{f.name}` of {cls.__name__} must be int, float, bool or str, but is {annotation}")
    meta = f.metadata
    return Setting(
        name=f.name,
        kind=kind,
        default=None if f.default is dataclasses.MISSING else f.default,
        required=meta.get("required", f.default is dataclasses.MISSING),
        low=meta.get("low"),
        high=meta.get("high"),
        options=meta.get("options", ()),
        help=meta.get("help", ""),
    )


C = TypeVar("C", bound=type[Op])


def op(
    name: str | None = None,
    *,
    family: str,
    ports: tuple[str | Port, ...] | None = None,
    outputs: tuple[str, ...] | None = None,
    mixes_time: bool = False,
    commutative: bool = False,
    linearity: str = "nonlinear",
    equation: str = "",
    paper: str = "",
) -> Callable[[C], C]:
    """Class decorator: names an op and states its flags. Without `name` it is the class name in snake case."""

    def mark(cls: C) -> C:
        cls.name = name or "".join("_" + c.lower() if c.isupper() else c for c in cls.__name__).lstrip("_")
        cls.family, cls.mixes_time, cls.commutative = family, mixes_time, commutative
        if ports is not None:
            cls.ports = tuple(Port(p) if isinstance(p, str) else p for p in ports)
        if outputs is not None:
            cls.outputs = outputs
        cls.linearity, cls.equation, cls.paper = linearity, equation, paper
        return cls

    return mark
