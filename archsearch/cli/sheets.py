"""Everything that can be said of an op or a block without training it, as plain data: what `ops show` prints.

Figures are taken at one width and several lengths, so that what grows with the length is seen to grow.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

from archsearch.cli.definitions import Definition, equations

if TYPE_CHECKING:
    from archsearch.graph.architecture import Architecture, Node
    from archsearch.graph.opspec import OpSpec, Port, Setting
    from archsearch.graph.types import ValueType
    from archsearch.ops.base import Op, Weight

__all__ = ["LENGTHS", "WIDTH", "block_sheet", "growth", "op_sheet", "setting_data", "spec_data"]

WIDTH: Final = 64
"""The width of the inputs that figures are given for."""

LENGTHS: Final = (128, 1024, 8192)
"""The lengths that costs are given for, in tokens."""

_OTHER_PORTS = 3  # at most so many inputs are tried with another type than a vector of WIDTH


def op_sheet(name: str) -> dict[str, Any]:
    """Ports, settings, equation, paper; and for an example of its inputs its weights and costs.

    Raises:
        UnknownNameError: no shipped op has this name.
    """
    from archsearch.ops.registry import op_class, registry

    cls, spec = op_class(name), registry()[name]
    about = {**spec_data(spec), "equation": cls.equation}
    settings, op, types = _example(cls, spec)
    costs = [op.cost(*types, time=max(1, int(t * _rate(types)))) for t in LENGTHS]
    inferred = op.infer(*types)
    outputs = inferred if isinstance(inferred, tuple) else (inferred,)
    example = {
        "settings": settings,
        "inputs": [None if t is None else str(t) for t in types],
        "outputs": list(map(str, outputs)),
    }
    figures = _costs([c.flops for c in costs], [c.state_bytes for c in costs], [c.span for c in costs])
    return {**about, "example": example, "weights": [_weight(w) for w in op.weights(*types)], "costs": figures}


def block_sheet(block: Definition) -> dict[str, Any]:
    """Settings, text and equations of a block; and at `WIDTH` its weights and costs, in all and by node."""
    from archsearch.graph.analysis import facts
    from archsearch.ops.registry import registry

    about: dict[str, Any] = {
        "name": block.name,
        "kind": "block",
        "family": block.family,
        "summary": block.summary,
        "path": str(block.path),
        "settings": [{"name": k, "default": v} for k, v in block.params.items()],
        "text": block.text,
        "equations": equations(block.body),
    }
    architecture = _architecture(block.name)
    if architecture is None:
        return {**about, "nodes": [], "params": None, "costs": None}
    found = [facts(architecture, registry(), t) for t in LENGTHS]
    figures = _costs([f.flops_per_token for f in found], [f.state_bytes for f in found], [f.span for f in found])
    return {**about, "nodes": list(_nodes(architecture)), "params": found[0].params, "costs": figures}


def spec_data(spec: OpSpec) -> dict[str, Any]:
    """What the language knows of an op, as plain data."""
    return {
        "name": spec.name,
        "kind": "op",
        "summary": spec.summary,
        "family": spec.family,
        "inputs": [_port(p) for p in spec.ports],
        "outputs": list(spec.outputs),
        "mixes_time": spec.mixes_time,
        "commutative": spec.commutative,
        "paper": spec.paper,
        "settings": [setting_data(s) for s in spec.settings],
    }


def setting_data(s: Setting) -> dict[str, Any]:
    """A setting as plain data."""
    bounds = {"low": s.low, "high": s.high, "options": list(s.options)}
    kind = s.kind.__name__
    return {"name": s.name, "kind": kind, "default": s.default, "required": s.required, **bounds, "help": s.help}


def growth(values: Sequence[float]) -> str:
    """How figures at `LENGTHS` grow, in words: by the exponent between the last two."""
    if values[-1] <= 1.001 * values[-2]:
        return "constant"
    exponent = math.log(values[-1] / max(values[-2], 1e-9)) / math.log(LENGTHS[-1] / LENGTHS[-2])
    return "grows with T" if exponent > 0.75 else "grows with √T" if exponent > 0.4 else "grows with log T"


def _port(p: Port) -> dict[str, Any]:
    return {"name": p.name, "many": p.many, "optional": p.optional, "help": p.help}


def _costs(flops: list[float], state: list[float], span: list[float]) -> dict[str, Any]:
    figures = {"flops_per_token": flops, "state_bytes": state, "span": span}
    words = {name: growth(values) if any(values) else "none" for name, values in figures.items()}
    return {"time": list(LENGTHS), **figures, "growth": words}


def _weight(w: Weight) -> dict[str, Any]:
    init = getattr(w.init, "says", None) or getattr(w.init, "__name__", "drawn").strip("_")
    about = {"name": w.name, "shape": list(w.shape), "init": init}
    return {**about, "lr_mult": w.lr_mult, "decay": w.decay, "trained": w.trained}


def _rate(types: Sequence[ValueType | None]) -> float:
    """How often the first input ticks."""
    return float(next((t.rate for t in types if t is not None), 1))


def _example(cls: type[Op], spec: OpSpec) -> tuple[dict[str, Any], Op, list[ValueType | None]]:
    """Settings and input types that the op takes, as near to its defaults and to vectors of `WIDTH` as may be."""
    from archsearch.errors import RuleError

    for settings in _settings(spec):
        op: Any = cls(**spec.complete(settings))
        for types in _types(spec, op):
            try:
                op.infer(*types)
            except RuleError:
                continue
            return settings, op, types
    raise AssertionError(f"no example of `{spec.name}` was found")


def _settings(spec: OpSpec) -> Iterator[dict[str, Any]]:
    """The defaults; then whole numbers set to 2, all that are required and one that is not."""
    needed = {s.name: s.options[0] if s.options else s.kind(2) for s in spec.settings if s.required}
    yield needed
    yield from ({**needed, s.name: 2} for s in spec.settings if s.kind is int and not s.required)


def _types(spec: OpSpec, op: Op) -> Iterator[list[ValueType | None]]:
    """Types of the inputs, those first that differ from a vector of `WIDTH` at few ports."""
    from archsearch.graph.types import ValueType

    ports = [p for p in spec.ports for _ in range(2 if p.many else 1)]
    plain = ValueType((WIDTH,))
    others = _other_types(op)
    for count in range(min(len(ports), _OTHER_PORTS) + 1):
        for where in itertools.combinations(range(len(ports)), count):
            for chosen in itertools.product(others, repeat=count):
                found: list[ValueType | None] = [plain] * len(ports)
                for i, kind in zip(where, chosen, strict=True):
                    found[i] = kind
                if all(kind is not None or p.optional for kind, p in zip(found, ports, strict=True)):
                    yield found


def _other_types(op: Op) -> list[ValueType | None]:
    """A number a head or a state, matrices, a slower input, none."""
    from fractions import Fraction

    from archsearch.graph.types import ValueType

    numbers = [v for v in vars(op).values() if isinstance(v, int) and not isinstance(v, bool) and v > 0]
    products = [a * b for a, b in itertools.combinations(numbers, 2)]
    widths = dict.fromkeys([*numbers, 1, *products])
    heads = numbers[0] if numbers and WIDTH % numbers[0] == 0 else 1
    part = WIDTH // heads
    slower = ValueType((WIDTH,), Fraction(1, 2))
    return [*(ValueType((w,)) for w in widths if w != WIDTH), ValueType((heads, part, part)), slower, None]


def _architecture(name: str) -> Architecture | None:
    """The block between input and output at `WIDTH`; `None` if it cannot stand alone with its defaults."""
    import random

    from archsearch.content import block_files
    from archsearch.errors import UserError
    from archsearch.graph.space import SearchSpace
    from archsearch.ops.registry import registry

    for causal in ("true", "false"):
        text = (
            f"version: 1\nname: one\ncausal: {causal}\nscale: {{width: {WIDTH}}}\n"
            f"graph:\n  nodes:\n    out: {{op: {name}, from: in}}\n"
        )
        try:
            space = SearchSpace.parse(text, registry(), definitions=block_files())
            return space.sample(random.Random(0)).architecture
        except UserError:
            continue
    return None


def _nodes(architecture: Architecture) -> Iterator[dict[str, Any]]:
    """What each node of a block is, holds and costs, the costs in the block's own tokens."""
    from archsearch.graph.analysis import input_types, live_nodes, output_types
    from archsearch.ops.registry import registry

    types = output_types(architecture)
    for node in live_nodes(architecture):
        ins = input_types(node, registry(), types)
        rule: Any = registry()[node.op].bind(node.settings)
        rate = _rate(ins)
        flops = [rule.cost(*ins, time=max(1, int(t * rate))).flops * rate for t in LENGTHS]
        yield {
            "name": node.name.removeprefix("out."),
            "op": node.op,
            "inputs": _sources(node),
            "outputs": [str(t) for t in node.types],
            "weights": [_weight(w) for w in rule.weights(*ins)],
            "flops_per_token": flops,
        }


def _sources(node: Node) -> list[str]:
    return [s.node.removeprefix("out.") + (f"[t-{s.delay}]" if s.delay else "") for s in node.sources]


def shape_text(weight: Mapping[str, Any]) -> str:
    """`64×16`."""
    return "×".join(map(str, weight["shape"])) or "1"
