"""Brings decisions of an older version of a space to the present one, and says what had to change."""

from __future__ import annotations

import random
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from archsearch.graph.domain import Domain
from archsearch.graph.points import closest, draw, first, holds

if TYPE_CHECKING:
    from archsearch.graph.space import Sample, SearchSpace

__all__ = ["Change", "Repair", "repair"]

WORDS = {"kept": "kept", "moved": "moved to the nearest value", "filled": "filled in", "dropped": "dropped"}


@dataclass(frozen=True, slots=True)
class Change:
    """What became of one decision.

    Args:
        kind: `kept`; `moved` to the nearest value of its domain; `filled` in, since there was none or none that is
            near; `dropped`, since the space does not ask for it.
        before, after: the values; `None` where there was or is none.
    """

    path: str
    kind: str
    before: Any = None
    after: Any = None

    def __str__(self) -> str:
        if self.kind == "kept":
            return f"{self.path}: {self.after} kept"
        if self.kind == "dropped":
            return f"{self.path}: {self.before} dropped, the space does not ask for it"
        if self.kind == "filled" and self.before is None:
            return f"{self.path}: filled in with {self.after}"
        return f"{self.path}: {self.before} is not possible, {WORDS[self.kind]}: {self.after}"


@dataclass(frozen=True, slots=True)
class Repair:
    """A repaired sample and what changed, in the order in which the space asks; what was dropped comes last."""

    sample: Sample
    changes: tuple[Change, ...]

    @property
    def is_whole(self) -> bool:
        """Whether every decision was kept."""
        return all(c.kind == "kept" for c in self.changes)

    def of(self, kind: str) -> dict[str, tuple[Any, Any]]:
        """The changes of one kind: path to values before and after."""
        return {c.path: (c.before, c.after) for c in self.changes if c.kind == kind}

    def __str__(self) -> str:
        kept = len(self.of("kept"))
        return "\n".join([f"{kept} decisions kept", *(str(c) for c in self.changes if c.kind != "kept")])


def repair(space: SearchSpace, decisions: Mapping[str, Any], rng: random.Random | None = None) -> Repair:
    """The sample of `space` that is nearest to `decisions`, decision by decision.

    Args:
        rng: draws what has to be filled in; without it that is the first value of its domain.

    Raises:
        RuleError: `require` or `match` refuses what came out.
    """
    changes: dict[str, Change] = {}

    def choose(path: str, domain: Domain) -> Any:
        before = decisions.get(path)
        kind, after = "kept", before
        if path not in decisions or not holds(domain, before):
            near = closest(domain, before) if path in decisions else None
            kind = "filled" if near is None else "moved"
            after = near if near is not None else first(domain) if rng is None else draw(domain, rng)
        changes[path] = Change(path, kind, before, list(after) if isinstance(after, tuple) else after)
        return after

    sample = space.walk(choose)
    dropped = [Change(p, "dropped", v) for p, v in decisions.items() if p not in changes]
    return Repair(sample, (*changes.values(), *dropped))
