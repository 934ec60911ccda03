"""What the ops of attention share: which keys a query sees, and the cache of what earlier steps left.

Legend of shapes: E copies, B batch, T time, D width.
"""

from __future__ import annotations

from torch import Tensor

from archsearch.errors import RuleError
from archsearch.graph.types import ValueType
from archsearch.kernels.growing import longer
from archsearch.ops.base import State
from archsearch.ops.rules import vector

__all__ = ["POINTWISE", "appended", "keys_seen", "need_causal", "vectors_of_one_rate"]

POINTWISE = 5  # operations of each score: scale, subtract the largest, exponentiate, sum, divide


def keys_seen(time: int, *, causal: bool = True, window: int | None = None) -> float:
    """How many keys a query sees, on average over a sequence of `time` steps."""
    if not causal:
        return float(time)
    reach = min(time, window or time)
    return reach - reach * (reach - 1) / (2 * time)


def appended(state: State, new: dict[str, Tensor], window: int | None = None) -> State:
    """The cache with one step more; the old one stays as it was.

    Args:
        state: `(E, B, T, D)` each; empty before the first step.
        new: `(E, B, 1, D)` each, under the names of the state.
        window: how many steps are kept, the new one included; all of them unless said.
    """
    if not state:
        return new
    first = max(0, next(iter(state.values())).shape[2] + 1 - window) if window else 0
    return {name: longer(state[name], x, first) for name, x in new.items()}


def need_causal(name: str, causal: bool) -> None:
    """Raises where a step is asked of attention that sees later ones."""
    if not causal:
        raise NotImplementedError(f"`{name}` that is not causal cannot decode step by step")


def vectors_of_one_rate(op: str, **ports: ValueType) -> None:
    """Raises `RuleError` unless all ports have vectors, of one rate."""
    for port, x in ports.items():
        vector(op, port, x)
    if len({x.rate for x in ports.values()}) > 1:
        raise RuleError(f"all ports of `{op}` must have one rate", value=", ".join(map(str, ports.values())))
