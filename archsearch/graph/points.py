"""The values of a domain: all of them, the first, another one, the nearest."""

from __future__ import annotations

import itertools
import math
import random
from collections.abc import Iterable, Iterator
from typing import Any

from archsearch.errors import RuleError, nearest
from archsearch.graph.domain import Categorical, Domain, Integer, Real, Subset, check, random_chooser

__all__ = ["another", "closest", "draw", "first", "holds", "others", "points", "same"]

STEP = 0.1
"""How far the neighbours of a real number lie, as a share of its range."""


def points(domain: Domain) -> Iterator[Any]:
    """All values in a fixed order; subsets come by size. Of a range of reals its ends."""
    match domain:
        case Categorical(options):
            yield from options
        case Integer(low, high, step):
            yield from range(low, high + 1, step)
        case Real(low, high):
            yield from dict.fromkeys((low, high))
        case Subset(options, at_least):
            for size in range(at_least, len(options) + 1):
                yield from itertools.combinations(options, size)


def first(domain: Domain) -> Any:
    """What stands for a decision that nobody made: the first option, the low end, the first few edges."""
    return next(points(domain))


def draw(domain: Domain, rng: random.Random) -> Any:
    """A random value, as a random walk draws it."""
    return random_chooser(rng)("", domain)


def same(a: Any, b: Any) -> bool:
    """Whether two decisions are one: a list is a tuple, 2 is 2.0, but true is not 1."""
    if isinstance(a, list | tuple) and isinstance(b, list | tuple):
        return list(a) == list(b)
    return isinstance(a, bool) == isinstance(b, bool) and bool(a == b)


def others(domain: Domain, value: Any) -> Iterator[Any]:
    """All values but `value`; of a range of reals, those a tenth of the range (or of its logarithm) below and above."""
    if isinstance(domain, Real):
        found: Iterable[Any] = _beside(domain, value)
    else:
        found = points(domain)
    here = check("", domain, value)
    return (v for v in found if type(v) is not type(here) or v != here)


def _beside(domain: Real, value: float) -> Iterator[float]:
    low, high = (math.log(domain.low), math.log(domain.high)) if domain.log else (domain.low, domain.high)
    here = math.log(value) if domain.log else value
    for there in (here - STEP * (high - low), here + STEP * (high - low)):
        moved = min(max(there, low), high)
        yield min(max(math.exp(moved) if domain.log else moved, domain.low), domain.high)


def another(domain: Domain, value: Any, rng: random.Random) -> Any:
    """A random value other than `value`; the domain must have one."""
    here = check("", domain, value)
    for _ in range(20):
        found = draw(domain, rng)
        if found != here or type(found) is not type(here):
            return found
    # A value that is drawn almost always, such as the low end of a range over many magnitudes.
    return rng.choice(list(itertools.islice(others(domain, value), 1000)))


def holds(domain: Domain, value: Any) -> bool:
    """Whether `value` lies in `domain`."""
    try:
        check("", domain, value)
    except RuleError:
        return False
    return True


def closest(domain: Domain, value: Any) -> Any | None:
    """The value of `domain` that is nearest to `value`; `None` where nothing is near it.

    Numbers go to the nearest number, names to the one that looks most alike; edges stay where they still exist, and
    first ones are added up to `at_least`.
    """
    if isinstance(domain, Subset):
        return _nearest_edges(domain, value)
    if isinstance(domain, Categorical):
        return _nearest_option(domain.options, value)
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        return None
    if isinstance(domain, Real):
        return float(min(max(value, domain.low), domain.high))
    steps = (domain.high - domain.low) // domain.step
    return domain.low + domain.step * min(max(round((value - domain.low) / domain.step), 0), steps)


def _nearest_option(options: tuple[Any, ...], value: Any) -> Any | None:
    if isinstance(value, str):
        found = nearest(value, [o for o in options if isinstance(o, str)], limit=1)
        return found[0] if found else None
    numbers = [o for o in options if isinstance(o, int | float) and not isinstance(o, bool)]
    if isinstance(value, bool) or not isinstance(value, int | float) or not numbers:
        return None
    return min(numbers, key=lambda o: (abs(o - value), o))


def _nearest_edges(domain: Subset, value: Any) -> tuple[str, ...] | None:
    if not isinstance(value, list | tuple):
        return None
    kept = [o for o in domain.options if o in value]
    if not kept:
        return None
    spare = [o for o in domain.options if o not in kept]
    chosen = {*kept, *spare[: max(0, domain.at_least - len(kept))]}
    return tuple(o for o in domain.options if o in chosen)
