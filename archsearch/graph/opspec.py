"""What the language knows of an op, without torch: ports, settings with ranges, type rule, flags, cost rule.

An `OpSpec` is read off an op class of `archsearch.ops` (see `archsearch.ops.base.Op.spec`). The graph layer is handed a
registry of them and never imports an op itself.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol, cast

from archsearch.errors import RuleError, UnknownNameError, nearest
from archsearch.graph.types import ValueType

__all__ = ["FAMILY_TEXTS", "Cost", "OpRule", "OpSpec", "Port", "Registry", "Setting"]

Scalar = bool | int | float | str | None

FAMILY_TEXTS: Mapping[str, str] = {
    "perceptron": "Every step alone: products with learned matrices and nonlinearities between them.",
    "attention": "A step looks at those before it and weighs them by how well their keys answer its query.",
    "recurrence": "A state of fixed size is carried from step to step; a nonlinear one has to be taken in order.",
    "state_space": "Linear systems along time, whose states are found for all steps at once.",
    "fast_weight": "The state is a matrix that every step writes to, as to the weights of a small network, and reads.",
    "convolution": "A step is a weighted sum of those before it, the weights going by distance alone.",
    "memory": "Keys and values are kept as they came, and read by likeness.",
    "implicit": "The output is defined by an equation that it satisfies.",
    "solved": "The output is the solution of a problem that the input poses: least squares, a quadratic program.",
    "random": "Weights that stay as they were drawn; only what reads them is trained.",
    "shells": "Blocks around a core of any kind, projections, gates and convolutions, or two side by side.",
    "norm": "Values brought to one size.",
    "plumbing": "What cells and blocks are put together from: sums, products, cuts, delays and changes of rate.",
}
"""What the ops of each family have in common."""


@dataclass(frozen=True, slots=True)
class Port:
    """A named input of an op.

    Args:
        many: takes any number (at least one) of edges, as `add` does.
        optional: may be left unconnected; the op then receives `None`.
        help: what comes in and of which width, in a few words.
    """

    name: str
    many: bool = False
    optional: bool = False
    help: str = ""


@dataclass(frozen=True, slots=True)
class Setting:
    """A setting of an op: what stands beside `op:` in YAML.

    Args:
        kind: `int`, `float`, `bool` or `str`. An int is accepted where a float is asked for.
        default: used where nothing is said. `None` with `required=False` means that the type rule decides (a `linear`
            without `width` keeps the width of its input).
        low, high: inclusive bounds of a number.
        options: the names that a string may be.
    """

    name: str
    kind: type
    default: Scalar = None
    required: bool = False
    low: float | None = None
    high: float | None = None
    options: tuple[str, ...] = ()
    help: str = ""

    def check(self, value: Any) -> Scalar:
        """`value` in the setting's kind.

        Raises:
            RuleError: wrong kind, out of range, or not one of the options.
        """
        if value is None and not self.required:
            return None
        if self.kind is float and isinstance(value, int) and not isinstance(value, bool):
            value = float(value)
        if self.kind is int and isinstance(value, float) and value.is_integer():
            value = int(value)
        if not isinstance(value, self.kind) or (isinstance(value, bool) and self.kind is not bool):
            raise RuleError(f"`{self.name}` must be {_KINDS[self.kind]}", value=repr(value), setting=self.name)
        if isinstance(value, int | float) and not isinstance(value, bool):
            low_ok = self.low is None or value >= self.low
            high_ok = self.high is None or value <= self.high
            if not (low_ok and high_ok):
                limits = (("at least", self.low), ("at most", self.high))
                bounds = " and ".join(f"{word} {bound:g}" for word, bound in limits if bound is not None)
                raise RuleError(f"`{self.name}` must be {bounds}", value=repr(value), setting=self.name)
        if self.options and value not in self.options:
            raise RuleError(
                f"`{self.name}` must be one of {', '.join(self.options)}",
                value=repr(value),
                near=nearest(str(value), self.options),
                setting=self.name,
            )
        return cast(Scalar, value)


_KINDS = {int: "a whole number", float: "a number", bool: "true or false", str: "a name"}


@dataclass(frozen=True, slots=True)
class Cost:
    """What one op costs, analytically.

    Args:
        flops: forward floating point operations a token (one multiply-add is two), averaged over a sequence of the
            stated length.
        state_bytes: bytes of state that decoding one stream carries from token to token at the end of that sequence
            (float32).
        span: the longest serial chain of dependent steps along time, in the form that training uses: 1 for what runs
            over all steps at once, about log2 of the length for a scan, the length for a loop.
    """

    flops: float = 0.0
    state_bytes: float = 0.0
    span: float = 1.0


class OpRule(Protocol):
    """An op with its settings bound, as far as the graph layer needs it.

    `types` come one per port in the order of the spec's ports; a port with `many` is last and gives any number of
    types; an unconnected optional port gives `None`.
    """

    def infer(self, *types: Any) -> ValueType | tuple[ValueType, ...]:
        """The types of the outputs; raises `RuleError` where the inputs do not fit."""
        ...

    def cost(self, *types: Any, time: int) -> Cost:
        """The cost at a sequence length of `time` tokens."""
        ...

    def weight_shapes(self, *types: Any) -> Mapping[str, tuple[int, ...]]:
        """The tensors that the op owns by name, trained or not, without the axis of copies."""
        ...

    def params(self, *types: Any) -> int:
        """The trained numbers of one copy; those that stay as they were drawn do not count."""
        ...

    def is_causal(self) -> bool:
        """Whether output t depends on inputs up to t only, with these settings."""
        ...

    def is_identity(self, *types: Any) -> bool:
        """Whether the op returns its (single) input unchanged, so that the normal form may drop it."""
        ...


@dataclass(frozen=True, slots=True)
class OpSpec:
    """Everything that the language knows of one op.

    Args:
        make: binds settings (already checked and complete) to a rule.
        family: one of `FAMILY_TEXTS`.
        mixes_time: an output may depend on other time steps. Such an op is refused on a cycle.
        commutative: the order of the edges into the `many` port does not matter.
        linearity: how the output depends on the inputs, step by step; what the compiler of recurrences goes by.
            `elementwise`: affine in all inputs together, feature i of i alone (`add`, `one_minus`, `scale`).
            `product`: feature by feature the product of the inputs (`multiply`).
            `mixing`: affine in all inputs together, but features meet or move (`linear`, `concat`, `split`).
            `bilinear`: affine in each input while the others stand still, and features meet (`matmul`, `outer`).
            `nonlinear`: anything else; always safe to say.
        source: the text of the op's file if a person or a language model wrote it; part of the hash.
        canonical: complete settings to those by which they are known: one spelling of what can be said in several ways.
    """

    name: str
    summary: str
    family: str
    ports: tuple[Port, ...]
    outputs: tuple[str, ...]
    settings: tuple[Setting, ...]
    make: Callable[..., OpRule] = field(compare=False)
    mixes_time: bool = False
    commutative: bool = False
    linearity: str = "nonlinear"
    paper: str = ""
    source: str | None = None
    canonical: Callable[[Mapping[str, Scalar]], Mapping[str, Scalar]] = field(default=dict, compare=False)

    def bind(self, settings: Mapping[str, Any]) -> OpRule:
        """The op with `settings`; missing ones take their defaults.

        Raises:
            RuleError: unknown, missing or ill-valued setting.
        """
        return self.make(**self.complete(settings))

    def complete(self, settings: Mapping[str, Any]) -> dict[str, Scalar]:
        """All settings in order, checked, with defaults filled in."""
        known = {s.name: s for s in self.settings}
        for name in settings:
            if name not in known:
                raise RuleError(
                    f"op `{self.name}` has the settings {', '.join(known) or 'none'}",
                    value=f"`{name}`",
                    near=nearest(name, known),
                    setting=name,
                )
        out: dict[str, Scalar] = {}
        for name, setting in known.items():
            if name in settings:
                out[name] = setting.check(settings[name])
            elif setting.required:
                raise RuleError(f"op `{self.name}` needs the setting `{name}`", setting=name)
            else:
                out[name] = setting.default
        return out


class Registry(Mapping[str, OpSpec]):
    """Ops by name. `registry["x"]` raises `UnknownNameError` with the nearest names.

    Args:
        load: reads the ops of a Python file, for spaces that name such files; see `archsearch.ops.own`.
    """

    def __init__(self, specs: Iterable[OpSpec] = (), load: Callable[[Path], Iterable[OpSpec]] | None = None) -> None:
        self._specs = {s.name: s for s in specs}
        self.load = load

    def __getitem__(self, name: str) -> OpSpec:
        try:
            return self._specs[name]
        except KeyError:
            raise UnknownNameError("op", name, self._specs) from None

    def __contains__(self, name: object) -> bool:
        return name in self._specs

    def __iter__(self) -> Iterator[str]:
        return iter(self._specs)

    def __len__(self) -> int:
        return len(self._specs)

    def with_ops(self, specs: Iterable[OpSpec]) -> Registry:
        """A registry that also holds `specs`."""
        return Registry([*self._specs.values(), *specs], self.load)
