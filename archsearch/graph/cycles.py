"""How the cycles of an architecture run, in words."""

from __future__ import annotations

from collections.abc import Mapping

from archsearch.graph.architecture import Architecture
from archsearch.graph.opspec import OpSpec
from archsearch.graph.recurrence import Recurrence, recurrences

__all__ = ["cycles"]


def cycles(architecture: Architecture, ops: Mapping[str, OpSpec]) -> str:
    """A line for each cycle, by the states it carries, and one for each kind of step among them; empty without any.

    Args:
        ops: the specs of all ops in it.
    """
    found = recurrences(architecture, ops)
    if not found:
        return ""
    names = [_states(r) for r in found]
    wide = max(map(len, names))
    lines = [f"  {name:<{wide}}  {r}" for name, r in zip(names, found, strict=True)]
    kinds = {r.transition.kind: r.transition for r in found}
    return "\n".join(["cycles", *lines, *(f"  {t}" for t in kinds.values())])


def _states(r: Recurrence) -> str:
    return ", ".join(name if not output else f"{name}#{output}" for (name, output), _ in r.states)
