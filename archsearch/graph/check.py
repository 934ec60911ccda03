"""Looks for mistakes that a sample might miss: every alternative of every choice is walked at least once.

What can be seen without a walk was refused when the space was read. Here walks are planned so that each takes as many
alternatives with it as fit together; whatever failed in company is then tried alone, and random walks look for mistakes
that need two choices at once.
"""

from __future__ import annotations

import random
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from archsearch.errors import FileError, RuleError
from archsearch.graph.domain import Categorical, Chooser, Domain, Integer, Real, Subset, random_chooser

if TYPE_CHECKING:
    from archsearch.graph.options import OpenChoice
    from archsearch.graph.space import SearchSpace

__all__ = ["CheckReport", "check"]

MAX_ALONE = 2_000
"""Alternatives that failed in company are tried alone up to this number."""

Pair = tuple[str, Any]


@dataclass(frozen=True, slots=True)
class CheckReport:
    """What a check found.

    Args:
        mistakes: one for each place and rule, in the order of the file.
        walks: how often the space was walked; refused: how many of the walks missed `require` or `match`.
        alternatives: of all choices, with both ends standing for a range; covered: how many a walk reached.
        combinations: how many different ones the walks met; combinations_refused: how many of these were refused.
        unread: nodes that no alternative reads, each with its place; no mistake, yet seldom meant.
    """

    mistakes: tuple[FileError, ...]
    walks: int
    refused: int
    alternatives: int
    covered: int
    combinations: int
    combinations_refused: int
    unread: tuple[str, ...] = ()

    @property
    def ok(self) -> bool:
        """Whether no mistake was found."""
        return not self.mistakes


def check(space: SearchSpace, samples: int = 100, seed: int = 0) -> CheckReport:
    """Covers every alternative of `space`, then walks `samples` random combinations."""
    return _Check(space).run(samples, random.Random(seed))


class _Check:
    def __init__(self, space: SearchSpace) -> None:
        self.space = space
        self.mistakes: dict[tuple[Any, ...], FileError] = {}
        self.walks = self.passed = self.refused = 0
        self.last_refusal: RuleError | None = None
        self.covered: set[tuple[str, str]] = set()
        self.met: dict[tuple[tuple[str, str], ...], bool] = {}  # each combination, and whether it was refused

    def run(self, samples: int, rng: random.Random) -> CheckReport:
        choices = self.space.choices()
        pairs = [(c, probe) for c in choices for probe in probes(c.domain)]
        alone = self._together(pairs)
        for choice, probe in alone[:MAX_ALONE]:
            self._walk({**choice.condition, choice.path: probe}, None)
        for _ in range(samples if choices else 0):
            self._walk({}, random_chooser(rng))
        if self.last_refusal and not self.passed and not self.mistakes:
            error = self.space.refusal(self.last_refusal, self.walks)
            self.mistakes[error.path, error.line, error.rule] = error
        found = sorted(self.mistakes.values(), key=lambda e: (e.path, e.line or 0, e.column or 0))
        covered = sum((c.path, repr(p)) in self.covered for c, p in pairs)
        met, refused = len(self.met), sum(self.met.values())
        dropped = tuple(f"{mark.file}:{mark.line}: `{name}`" for name, mark in self.space.unread())
        return CheckReport(tuple(found), self.walks, self.refused, len(pairs), covered, met, refused, dropped)

    def _together(self, pairs: list[tuple[OpenChoice, Any]]) -> list[tuple[OpenChoice, Any]]:
        """Walks with as many alternatives at once as fit together; gives those that failed in company."""
        waiting, alone = list(pairs), []
        while waiting or not self.walks:
            wanted: dict[str, Any] = {}
            taken, rest = [], []
            for choice, probe in waiting:
                need = {**choice.condition, choice.path: probe}
                if all(wanted.get(k, v) == v for k, v in need.items()):
                    wanted.update(need)
                    taken.append((choice, probe))
                else:
                    rest.append((choice, probe))
            if not self._walk(wanted, None) and len(taken) > 1:
                alone += taken
            waiting = rest
        return alone

    def _walk(self, wanted: Mapping[str, Any], otherwise: Chooser | None) -> bool:
        """One walk; false if it found a mistake."""
        made: list[tuple[str, str]] = []

        def choose(path: str, domain: Domain) -> Any:
            value = wanted[path] if path in wanted else (otherwise or _first)(path, domain)
            made.append((path, repr(list(value) if isinstance(value, tuple) else value)))
            return value

        self.walks += 1
        try:
            self.space.walk(choose)
        except RuleError as error:
            self.refused += 1
            self.last_refusal = error
            self.met[tuple(made)] = True
        except FileError as error:
            self.mistakes.setdefault((error.path, error.line, error.column, error.rule), error)
            self.covered.update(made)
            self.met[tuple(made)] = False
            return False
        else:
            self.passed += 1
            self.met[tuple(made)] = False
        self.covered.update(made)
        return True


def probes(domain: Domain) -> list[Any]:
    """The values of a domain that a check tries: all of a choice, the ends and the middle of a range."""
    match domain:
        case Categorical(options):
            return list(options)
        case Integer(low, high, step):
            count = (high - low) // step
            return [low + step * i for i in dict.fromkeys((0, count // 2, count))]
        case Real(low, high):
            return list(dict.fromkeys((low, high)))
        case Subset(options, at_least):
            windows = [[options[(i + j) % len(options)] for j in range(at_least)] for i in range(len(options))]
            ordered = [[o for o in options if o in w] for w in [*windows, list(options)]]
            return [w for i, w in enumerate(ordered) if w not in ordered[:i]]


def _first(path: str, domain: Domain) -> Any:
    """The chooser of walks that ask for something else."""
    return probes(domain)[0]
