"""What can be done with the points of a space: list them, go to their neighbours, cross two, bring old ones over.

Each operation is a chooser: the walk asks, and the operation answers from one point, from two, or from the random
generator. So conditions take care of themselves: a choice that an answer opens is asked, one that it closes is not.
"""

from __future__ import annotations

import random
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

from archsearch.errors import FileError, RuleError
from archsearch.graph.domain import Chooser, Domain, Real
from archsearch.graph.enumeration import every_point
from archsearch.graph.points import another, draw, first, holds, others, same
from archsearch.graph.repair import Repair, repair
from archsearch.graph.replay import Replay
from archsearch.graph.statics import domain_size

if TYPE_CHECKING:
    from archsearch.graph.options import OpenChoice
    from archsearch.graph.size import SpaceSize
    from archsearch.graph.space import Sample

__all__ = ["Algebra"]

TRIES = 100


class Algebra(ABC):
    """The algebra of a space, as methods of `SearchSpace`. Decisions are those of `Sample.decisions`."""

    @abstractmethod
    def walk(self, chooser: Chooser) -> Sample:
        """The sample that `chooser` leads to."""

    @abstractmethod
    def ask(self, chooser: Chooser) -> dict[str, Any]:
        """The decisions that `chooser` makes, without the architecture that they lead to."""

    @abstractmethod
    def choices(self) -> tuple[OpenChoice, ...]:
        """All open choices."""

    @abstractmethod
    def size(self) -> SpaceSize:
        """How many points there are."""

    @abstractmethod
    def refusal(self, error: RuleError, tries: int) -> FileError:
        """What to say where `require` or `match` refused everything."""

    def enumerate(self, limit: int = 10_000) -> Iterator[Sample]:
        """Every point once, in a fixed order; points that `require` or `match` refuses are left out.

        Raises:
            RuleError: the space has more than `limit` points, or ranges of reals.
        """
        return every_point(self, limit)  # type: ignore[arg-type]

    def neighbours(self, decisions: Mapping[str, Any], rng: random.Random | None = None) -> Iterator[Sample]:
        """All samples one decision away, in the order of the choices; refused ones are left out.

        A range of reals has two neighbours, a tenth of the range below and above.

        Args:
            rng: draws the decisions that a change opens; without it they take the first value of their domain.

        Raises:
            RuleError: `decisions` do not belong to the space.
        """
        domains = self.domains_of(decisions)
        for path, domain in domains.items():
            for value in others(domain, decisions[path]):
                try:
                    yield self.walk(_changed(decisions, path, value, rng))
                except RuleError:
                    continue

    def mutate(self, decisions: Mapping[str, Any], rng: random.Random, n: int = 1, tries: int = TRIES) -> Sample:
        """A sample in which `n` random decisions are others; what they open is drawn.

        Fewer than `n` change where there are no more to change.

        Raises:
            RuleError: `decisions` do not belong to the space, or none of them can be another.
            FileError: `tries` mutations in a row were refused by `require` or `match`.
        """
        if n < 1:
            raise ValueError(f"`n` must be at least 1, but got {n}")
        self.domains_of(decisions)
        return self.first_accepted(lambda: Replay(self._mutated(decisions, rng, n)), tries)

    def _mutated(self, decisions: Mapping[str, Any], rng: random.Random, n: int) -> dict[str, Any]:
        """One change after another, each of a decision that no earlier one opened or made."""
        here, kept = dict(decisions), set(decisions)
        for turn in range(n):
            domains = self.domains_of(here)
            kept &= set(domains)
            movable = [p for p in domains if p in kept and _can_move(domains[p])]
            if not movable and turn == 0:
                rule = "a sample that is mutated must have a decision with two values"
                raise RuleError(rule, value=f"{len(here)} decisions")
            if not movable:
                break
            path = rng.choice(movable)
            kept.discard(path)
            value = another(domains[path], here[path], rng)
            here = self.ask(_changed(here, path, value, rng))
        return here

    def crossover(self, a: Mapping[str, Any], b: Mapping[str, Any], rng: random.Random, tries: int = TRIES) -> Sample:
        """A sample that takes each decision from one of two parents, at random where both made it.

        A decision that neither made, since the mixture opens it, is drawn.

        Raises:
            FileError: `tries` mixtures in a row were refused by `require` or `match`.
        """

        def choose(path: str, domain: Domain) -> Any:
            made = [parent[path] for parent in (a, b) if path in parent and holds(domain, parent[path])]
            return rng.choice(made) if made else draw(domain, rng)

        return self.first_accepted(lambda: choose, tries)

    @staticmethod
    def distance(a: Mapping[str, Any], b: Mapping[str, Any]) -> int:
        """The number of decisions that differ; one that only one side made counts as one. A metric."""
        return sum(path not in a or path not in b or not same(a[path], b[path]) for path in {*a, *b})

    def repair(self, decisions: Mapping[str, Any], rng: random.Random | None = None) -> Repair:
        """The sample that is nearest to decisions of an older version of the space, and what had to change.

        Args:
            rng: draws what has to be filled in; without it that is the first value of its domain.

        Raises:
            RuleError: `require` or `match` refuses what came out.
        """
        return repair(self, decisions, rng)  # type: ignore[arg-type]

    def domains_of(self, decisions: Mapping[str, Any]) -> dict[str, Domain]:
        """The domain of each decision, in the order in which the space asks.

        Raises:
            RuleError: one is missing, left over or outside its domain.
        """
        replay = Replay(decisions)
        self.ask(replay)
        replay.verify(self.choices)
        return replay.domains

    def first_accepted(self, choosers: Callable[[], Chooser], tries: int) -> Sample:
        """The first of `tries` walks that `require` and `match` do not refuse; raises `FileError` if there is none."""
        if tries < 1:
            raise ValueError(f"`tries` must be at least 1, but got {tries}")
        for attempt in range(tries):
            chooser = choosers()
            try:
                return self.walk(chooser)
            except RuleError as error:
                if attempt == tries - 1:
                    raise self.refusal(error, tries) from None
        raise AssertionError("unreachable")


def _changed(decisions: Mapping[str, Any], path: str, value: Any, rng: random.Random | None) -> Chooser:
    """A chooser of `decisions` with one of them changed, and what that opens filled in."""

    def choose(asked: str, domain: Domain) -> Any:
        if asked == path:
            return value
        if asked in decisions and holds(domain, decisions[asked]):
            return decisions[asked]
        return first(domain) if rng is None else draw(domain, rng)

    return choose


def _can_move(domain: Domain) -> bool:
    return domain.low < domain.high if isinstance(domain, Real) else domain_size(domain) > 1
