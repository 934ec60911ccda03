"""How an architecture decodes step by step: what of a stream it keeps, and whether that grows with the context."""

from __future__ import annotations

from dataclasses import dataclass

from archsearch.graph.analysis import facts, input_types, output_types
from archsearch.graph.architecture import Architecture
from archsearch.graph.components import live_nodes
from archsearch.graph.opspec import Registry

__all__ = ["Decoding", "decoding"]

_LONG = 1 << 16  # steps, beyond every window


@dataclass(frozen=True, slots=True)
class Decoding:
    """What step-by-step decoding keeps.

    Args:
        time: the steps after which it is counted.
        state_bytes: of one stream, in float32.
        grows: the nodes that keep more the more they have seen.
        ahead: the nodes that see later steps. With one of them nothing decodes step by step.
    """

    time: int
    state_bytes: float
    grows: tuple[str, ...] = ()
    ahead: tuple[str, ...] = ()

    @property
    def is_constant(self) -> bool:
        """Whether it decodes with as much state after a million steps as after a thousand."""
        return not (self.grows or self.ahead)

    def __str__(self) -> str:
        if self.ahead:
            return f"not step by step: {_listed(self.ahead)} {_verb(self.ahead, 'see')} later steps"
        if self.grows:
            why = f"{_listed(self.grows)} {_verb(self.grows, 'keep')} every step"
            return f"{self.state_bytes:,.0f} bytes of state a stream at {self.time:,} steps, growing: {why}"
        if not self.state_bytes:
            return "without state: no step depends on another"
        return f"{self.state_bytes:,.0f} bytes of state a stream, constant in time"


def decoding(architecture: Architecture, registry: Registry, time: int) -> Decoding:
    """How `architecture` decodes, counted after `time` steps.

    Raises:
        UnknownNameError: an op that `registry` does not have.
        RuleError: settings or types that an op refuses.
    """
    types, grows, ahead = output_types(architecture), [], []
    for node in live_nodes(architecture):
        rule, into = registry[node.op].bind(node.settings), input_types(node, registry, types)
        if not rule.is_causal():
            ahead.append(node.name)
        elif rule.cost(*into, time=2 * _LONG).state_bytes > rule.cost(*into, time=_LONG).state_bytes:
            grows.append(node.name)
    return Decoding(time, facts(architecture, registry, time).state_bytes, tuple(grows), tuple(ahead))


def _listed(names: tuple[str, ...]) -> str:
    """The first two names, and how many more there are."""
    shown = [f"`{n}`" for n in names[:2]]
    more = len(names) - len(shown)
    return ", ".join(shown) + f" and {more} more" if more else " and ".join(shown)


def _verb(names: tuple[str, ...], verb: str) -> str:
    return verb + "s" if len(names) == 1 else verb
