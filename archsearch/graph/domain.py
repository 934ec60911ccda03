"""The domains of open choices: what a chooser is asked to pick from."""

from __future__ import annotations

import math
import random
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from archsearch.errors import RuleError, nearest

__all__ = ["Categorical", "Chooser", "Domain", "Integer", "Real", "Subset", "random_chooser"]


@dataclass(frozen=True, slots=True)
class Categorical:
    """One of several scalars or names of alternatives."""

    options: tuple[Any, ...]


@dataclass(frozen=True, slots=True)
class Integer:
    """A whole number from `low` to `high`, both included, in steps of `step` from `low`."""

    low: int
    high: int
    step: int = 1
    log: bool = False


@dataclass(frozen=True, slots=True)
class Real:
    """A real number from `low` to `high`."""

    low: float
    high: float
    log: bool = False


@dataclass(frozen=True, slots=True)
class Subset:
    """Some of `options` (edges into a port), at least `at_least`. Decided as a tuple in the order of `options`."""

    options: tuple[str, ...]
    at_least: int = 1


Domain = Categorical | Integer | Real | Subset
Chooser = Callable[[str, Domain], Any]
"""Asked `chooser(path, domain)` at every open choice, in a fixed order; returns the decision."""


def check(path: str, domain: Domain, value: Any) -> Any:
    """`value` if it lies in `domain` (a list becomes a tuple); raises `RuleError` otherwise."""
    bad = RuleError(f"decision `{path}` must be {describe(domain)}", value=repr(value))
    match domain:
        case Categorical(options):
            for o in options:
                if type(o) is type(value) and o == value:
                    return o
            for o in options:
                if not isinstance(value, bool) and not isinstance(o, bool) and o == value:
                    return o
            names = [o for o in options if isinstance(o, str)]
            raise RuleError(bad.rule, value=bad.value, near=nearest(str(value), names))
        case Integer(low, high, step):
            if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
                raise bad
            if (value - low) % step:
                raise bad
            return value
        case Real(low, high):
            if isinstance(value, bool) or not isinstance(value, int | float) or not low <= value <= high:
                raise bad
            return float(value)
        case Subset(options, at_least):
            if not isinstance(value, list | tuple) or any(v not in options for v in value):
                raise bad
            if len(set(value)) != len(value) or len(value) < at_least:
                raise bad
            return tuple(o for o in options if o in value)


def describe(domain: Domain) -> str:
    """The domain in words: `one of 2, 4`, `a whole number from 1 to 4`."""
    match domain:
        case Categorical(options):
            return f"one of {', '.join(map(str, options))}"
        case Integer(low, high, step):
            return f"a whole number from {low} to {high}" + (f" in steps of {step}" if step != 1 else "")
        case Real(low, high):
            return f"a number from {low:g} to {high:g}"
        case Subset(options, at_least):
            return f"at least {at_least} of {', '.join(options)}, each once"


def random_chooser(rng: random.Random) -> Chooser:
    """Draws every choice independently: uniform, or log-uniform where the domain says so."""

    def choose(path: str, domain: Domain) -> Any:
        match domain:
            case Categorical(options):
                return rng.choice(options)
            case Integer(low, high, step, log):
                if not log:
                    return low + step * rng.randrange((high - low) // step + 1)
                n = round(math.exp(rng.uniform(math.log(low - 0.5 if low > 0 else 0.5), math.log(high + 0.5))))
                return min(max(low + step * round((n - low) / step), low), low + step * ((high - low) // step))
            case Real(low, high, log):
                if log:
                    return min(max(math.exp(rng.uniform(math.log(low), math.log(high))), low), high)
                return rng.uniform(low, high)
            case Subset(options, at_least):
                while True:
                    picked = tuple(o for o in options if rng.random() < 0.5)
                    if len(picked) >= at_least:
                        return picked

    return choose
