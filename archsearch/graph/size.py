"""How many combinations of decisions a space has, counted exactly and without listing them."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from archsearch.graph.domain import Domain, Real
from archsearch.graph.statics import Shapes, domain_size, names_in, values_in, values_of
from archsearch.graph.template import (
    Apply,
    Choose,
    EdgeChoice,
    Graph,
    Input,
    Member,
    OpApply,
    Option,
    Pick,
    Repeat,
    Use,
    Value,
)

__all__ = ["Counter", "Counts", "SpaceSize", "size"]


@dataclass(frozen=True, slots=True)
class SpaceSize:
    """The number of combinations of decisions, of which several may give one architecture.

    Args:
        count: exact; where ranges of reals are open, of the rest.
        infinite: whether ranges of reals are open.
    """

    count: int
    infinite: bool = False

    @property
    def exact(self) -> int | None:
        """The number, or `None` if it is infinite."""
        return None if self.infinite else self.count

    def __str__(self) -> str:
        number = f"{self.count:,}" if self.count < 10**12 else f"about 10^{_log10(self.count):.1f}"
        return f"infinite ({number} without its ranges of reals)" if self.infinite else number


def _log10(n: int) -> float:
    """The logarithm of an integer that no float may hold."""
    shift = max(n.bit_length() - 60, 0)
    return math.log10(n >> shift) + shift * math.log10(2)


Key = tuple[int, str]
"""A named choice: the body that it belongs to (0: the whole space), and its name."""
Scope = Mapping[str, Key]
"""What a name stands for in a body."""
Counts = dict[frozenset[Key], int]
"""Combinations, by the named choices that they ask; each named choice still counts once for all its values."""
ONE: Counts = {frozenset(): 1}


def size(graph: Graph, choices: Mapping[str, Pick], scale: Mapping[str, Any]) -> SpaceSize:
    """The size of a space: its graph, the choices for the whole of it, its named sizes."""
    counter = Counter()
    scope = {name: (0, name) for name in choices}
    open_names = counter.shapes.of(graph)
    counts = counter.owned(0, choices, open_names, lambda env: counter.graph(graph, {**scale, **env}, scope))
    return SpaceSize(counts.get(frozenset(), 0), counter.infinite)


class Counter:
    """Counts the combinations in each part of a space; what it has counted once it remembers."""

    def __init__(self) -> None:
        self.shapes = Shapes()
        self.infinite = False
        self.memo: dict[tuple[Any, ...], Counts] = {}

    def domain(self, domain: Domain) -> int:
        self.infinite = self.infinite or isinstance(domain, Real)
        return domain_size(domain)

    def owned(self, owner: int, choices: Mapping[str, Pick], shaping: Iterable[str], inner: Any) -> Counts:
        """Counts with the named choices of one body paid for.

        A choice that shapes the graph is tried with every value. A combination that does not ask it turns up once for
        each value then, and is counted once.
        """
        tried = [n for n in choices if n in set(shaping)]
        total: Counts = {}
        for values in itertools.product(*(values_in(choices[n].domain) for n in tried)):
            for used, n in inner(dict(zip(tried, values, strict=True))).items():
                total[used] = total.get(used, 0) + n
        out: Counts = {}
        for used, n in total.items():
            for name in tried:
                n = n if (owner, name) in used else n // len(values_in(choices[name].domain))
            for name, pick in choices.items():
                if (owner, name) in used and name not in tried:
                    n *= self.domain(pick.domain)
            rest = frozenset(k for k in used if k[0] != owner)
            out[rest] = out.get(rest, 0) + n
        return out

    def graph(self, graph: Graph, env: Mapping[str, Any], scope: Scope) -> Counts:
        """Of a body whose parameters are in `env` as far as they shape it."""
        shaping = self.shapes.of(graph)
        key = (id(graph), *((n, env[n]) for n in sorted(shaping) if n in env))
        if key not in self.memo:
            inner = self.inside(graph, scope)
            self.memo[key] = self.owned(
                id(graph), graph.choices, shaping, lambda own: self.members(graph, {**env, **own}, inner)
            )
        return self.memo[key]

    def inside(self, graph: Graph, scope: Scope) -> Scope:
        """What names stand for among the members of `graph`."""
        inner = {k: v for k, v in scope.items() if k not in graph.params}
        return {**inner, **{name: (id(graph), name) for name in graph.choices}}

    def members(self, graph: Graph, env: Mapping[str, Any], scope: Scope) -> Counts:
        counts = ONE
        for member in graph.members:
            counts = times_counts(counts, self.member(member, env, scope))
        return counts

    def member(self, member: Member, env: Mapping[str, Any], scope: Scope) -> Counts:
        apply = member.apply
        if not isinstance(apply, Choose):
            return times_counts(self.edges(member.inputs), self.apply(apply, env, scope))
        total: Counts = {}
        for option in apply.options.values():
            total = _plus(total, self.option(option, env, scope))
        return total

    def option(self, option: Option, env: Mapping[str, Any], scope: Scope) -> Counts:
        return times_counts(self.edges(option.inputs), self.apply(option.apply, env, scope))

    def edges(self, inputs: tuple[Input, ...]) -> Counts:
        n = math.prod(domain_size(e.domain) for i in inputs for e in i.edges if isinstance(e, EdgeChoice))
        return {frozenset(): n}

    def value(self, value: Value, scope: Scope) -> Counts:
        if isinstance(value, Pick):
            return {frozenset(): self.domain(value.domain)}
        return {frozenset(scope[n] for n in names_in(value) if n in scope): 1}

    def apply(self, apply: Apply, env: Mapping[str, Any], scope: Scope) -> Counts:
        if isinstance(apply, OpApply):
            counts = ONE
            for value in apply.settings.values():
                counts = times_counts(counts, self.value(value, scope))
            return counts
        if isinstance(apply, Use):
            return self.instance(apply.graph, apply.arguments, env, scope)
        assert isinstance(apply, Repeat)
        total: Counts = {}
        for pattern in apply.patterns.values():
            total = _plus(total, self.turns(apply, pattern, env, scope))
        return total

    def instance(self, graph: Graph, given: Mapping[str, Value], env: Mapping[str, Any], scope: Scope) -> Counts:
        """A body with arguments: those that shape it are tried with each of their values."""
        asked, shaped = self.arguments(graph, given, env, scope)
        outer = instance_scope(graph, scope)
        total: Counts = {}
        for values in itertools.product(*(v for _, v in shaped)):
            here = {**env, **dict(zip((n for n, _ in shaped), values, strict=True))}
            total = _plus(total, self.graph(graph, here, outer))
        free = 1
        for name, default in graph.params.items():
            value = given.get(name, default)
            if isinstance(value, Pick) and name not in dict(shaped):
                free *= self.domain(value.domain)
        return times_counts({asked: free}, total)

    def arguments(
        self, graph: Graph, given: Mapping[str, Value], env: Mapping[str, Any], scope: Scope
    ) -> tuple[frozenset[Key], list[tuple[str, list[Any]]]]:
        """Which named choices the arguments of a body ask, and the values of those that shape it."""
        shaping, outer = self.shapes.of(graph), instance_scope(graph, scope)
        asked: frozenset[Key] = frozenset()
        shaped: list[tuple[str, list[Any]]] = []
        for name, default in graph.params.items():
            value = given.get(name, default)
            if isinstance(value, Pick):
                if name in shaping:
                    shaped.append((name, list(values_in(value.domain))))
                continue
            names = scope if name in given else outer
            asked |= {names[n] for n in names_in(value) if n in names}
            if name in shaping:
                shaped.append((name, values_of(value, lambda n: [env[n]] if n in env else [])[:1] or [None]))
        return asked, shaped

    def turns(self, apply: Repeat, pattern: tuple[Graph, ...], env: Mapping[str, Any], scope: Scope) -> Counts:
        """All numbers of turns together."""
        asked, parts, wanted = self.turn_counts(apply, pattern, env, scope)
        counts, total = ONE, dict[frozenset[Key], int]()
        for turn, part in enumerate(parts, 1):
            counts = times_counts(counts, part)
            if turn in wanted:
                total = _plus(total, counts)
        return times_counts({asked: 1}, total)

    def turn_counts(
        self, apply: Repeat, pattern: tuple[Graph, ...], env: Mapping[str, Any], scope: Scope
    ) -> tuple[frozenset[Key], list[Counts], set[int]]:
        """Which named choices `times` asks, the counts of each turn, and the numbers of turns that there may be.

        Tied turns are decided once for each definition in the pattern.
        """
        wanted = {int(t) for t in values_of(apply.times, lambda n: [env[n]] if n in env else [])}
        asked = frozenset(scope[n] for n in names_in(apply.times) if n in scope)
        parts: list[Counts] = []
        seen = set()
        for turn in range(max(wanted, default=0)):
            graph = pattern[turn % len(pattern)]
            again = apply.tie != "none" and graph.label in seen
            parts.append(ONE if again else self.instance(graph, {}, env, scope))
            seen.add(graph.label)
        return asked, parts, wanted


def instance_scope(graph: Graph, scope: Scope) -> Scope:
    """What names stand for around an instance of `graph`: a definition sees those of the whole space only."""
    return scope if not graph.scope else {k: v for k, v in scope.items() if v[0] == 0}


def times_counts(a: Counts, b: Counts) -> Counts:
    if a is ONE:
        return b
    out: Counts = {}
    for used_a, n in a.items():
        for used_b, m in b.items():
            used = used_a | used_b
            out[used] = out.get(used, 0) + n * m
    return out


def _plus(a: Counts, b: Counts) -> Counts:
    out = dict(a)
    for used, n in b.items():
        out[used] = out.get(used, 0) + n
    return out
