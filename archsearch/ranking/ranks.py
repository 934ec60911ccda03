"""From measured candidates to ranks, without ever comparing what cannot be compared."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

from archsearch.ranking.pareto import pareto_layers
from archsearch.ranking.sets import RankSet, rank_sets

__all__ = ["SECTIONS", "Entry", "Ranked", "Section", "rank"]

Section = Literal["finals", "search", "unfinished"]
SECTIONS: tuple[Section, ...] = ("finals", "search", "unfinished")
"""In the order of the board. Nothing of a later section outranks anything of an earlier one."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One candidate as the ranking sees it.

    Args:
        key: whatever the caller knows it by.
        section: `finals` (fresh seeds, sealed test), `search` (validation only) or `unfinished` (failed, stopped,
            running, pending).
        fidelity: what makes scores comparable; entries of different fidelities are never ranked together.
        score: `None` if there is none.
        samples: the scores per seed behind `score`.
        tiebreak: decides between equal scores, smaller first.
        cost: what the Pareto layers weigh against the score; `None` if unknown.
        exact: whether the score is the same for every seed.
    """

    key: str
    section: Section
    fidelity: Hashable
    score: float | None
    samples: tuple[float, ...] = ()
    tiebreak: tuple[float, ...] = ()
    cost: float | None = None
    exact: bool = False


@dataclass(frozen=True, slots=True)
class Ranked:
    """An entry in its place.

    Args:
        section: of the entry; an entry of `finals` or `search` without a score is moved to `unfinished`.
        group: which ranking it belongs to, 0 for the first fidelity of its section; ranks start at 1 in each.
        place: its place by score in that ranking; `None` in `unfinished`.
        ranks: the ranks it may have; `None` where there is a single seed, so that `place` is only an estimate.
        layer: Pareto layer among its ranking; `None` without a cost.
    """

    entry: Entry
    section: Section
    group: int
    place: int | None
    ranks: RankSet | None
    layer: int | None


def rank(entries: Iterable[Entry], *, maximize: bool = True, alpha: float = 0.05) -> list[Ranked]:
    """Ranks entries, best first: finals, then searched, then unfinished; within a section fidelity by fidelity.

    Fidelities come in the order of their number of entries, the largest first. Unfinished entries have no rank; those
    with a score come first, but among different fidelities a score says nothing, so that order is for reading only.

    Args:
        maximize: whether a larger score is better.
        alpha: the probability with which any confidence set of a ranking may miss its rank.
    """
    sign = 1.0 if maximize else -1.0
    sections: dict[Section, list[Entry]] = {s: [] for s in SECTIONS}
    for entry in entries:
        sections["unfinished" if entry.score is None else entry.section].append(entry)
    ranked: list[Ranked] = []
    for section in ("finals", "search"):
        for group, members in enumerate(_by_fidelity(sections[section])):
            ranked += _rank_group(members, section, group, sign, alpha)
    unfinished = sorted(sections["unfinished"], key=lambda e: _order(e, sign))
    return ranked + [Ranked(e, "unfinished", 0, None, None, None) for e in unfinished]


def _by_fidelity(entries: Sequence[Entry]) -> list[list[Entry]]:
    groups: dict[Hashable, list[Entry]] = {}
    for entry in entries:
        groups.setdefault(entry.fidelity, []).append(entry)
    return sorted(groups.values(), key=len, reverse=True)


def _rank_group(members: Sequence[Entry], section: Section, group: int, sign: float, alpha: float) -> list[Ranked]:
    ordered = sorted(members, key=lambda e: _order(e, sign))
    samples = [[sign * x for x in e.samples or (e.score,) if x is not None] for e in ordered]
    exact = [e.exact for e in ordered]
    sets: Sequence[RankSet | None] = rank_sets(samples, exact=exact, alpha=alpha) or [None] * len(ordered)
    layers = _layers(ordered, sign)
    return [
        Ranked(e, section, group, place, ranks, layer)
        for place, (e, ranks, layer) in enumerate(zip(ordered, sets, layers, strict=True), start=1)
    ]


def _layers(entries: Sequence[Entry], sign: float) -> list[int | None]:
    known = [(sign * e.score, e.cost) for e in entries if e.score is not None and e.cost is not None]
    layers = iter(pareto_layers([s for s, _ in known], [c for _, c in known]))
    return [next(layers) if e.score is not None and e.cost is not None else None for e in entries]


def _order(entry: Entry, sign: float) -> tuple[bool, float, tuple[float, ...]]:
    if entry.score is None:
        return (True, 0.0, entry.tiebreak)
    return (False, -sign * entry.score, entry.tiebreak)
