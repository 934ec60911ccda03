"""Draws points of a space so that each is equally likely.

A random walk draws decisions: an alternative with a thousand points below it is as likely as one without any choice.
Here an alternative is drawn in proportion to the points below it, which `archsearch.graph.size` counts. A choice that
several places share is paid for once, by whichever combination asks it: the set of shared choices that a point asks is
drawn first, from the top, and split among the parts of the graph.
"""

from __future__ import annotations

import itertools
import random
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, TypeVar

from archsearch.graph.domain import Domain, Integer, Real, Subset
from archsearch.graph.points import draw
from archsearch.graph.size import ONE, Counter, Counts, Key, Scope, instance_scope, times_counts
from archsearch.graph.statics import domain_size, values_in
from archsearch.graph.template import (
    Apply,
    Choose,
    EdgeChoice,
    Graph,
    Input,
    Member,
    OpApply,
    Pick,
    Repeat,
    Use,
    Value,
    join,
)

__all__ = ["uniform"]

T = TypeVar("T")
Env = Mapping[str, Any]
Asked = frozenset[Key]


def uniform(
    graph: Graph, choices: Mapping[str, Pick], scale: Mapping[str, Any], counter: Counter, rng: random.Random
) -> dict[str, Any]:
    """The decisions of a random point, by path; reals are drawn from their ranges as a random walk draws them.

    Args:
        graph, choices, scale: of the space; counter: may be used again for the next point.
    """
    drawing = _Drawing(counter, rng)
    scope = {name: (0, name) for name in choices}
    shaping = counter.shapes.of(graph)

    def inner(own: Env) -> Counts:
        return counter.graph(graph, {**scale, **own}, scope)

    own, asked = drawing.owned(0, choices, shaping, inner, "", frozenset())
    drawing.graph(graph, {**scale, **own}, scope, "", asked)
    return drawing.decisions


class _Drawing:
    """Goes down the graph as the counter does, with the set of shared choices that each part is to ask."""

    def __init__(self, counter: Counter, rng: random.Random) -> None:
        self.counter, self.rng = counter, rng
        self.decisions: dict[str, Any] = {}

    def pick(self, weighted: Iterable[tuple[T, int]]) -> T:
        """One of the things in proportion to its weight, an integer of any size."""
        found = [(thing, weight) for thing, weight in weighted if weight]
        at = self.rng.randrange(sum(weight for _, weight in found)) if len(found) > 1 else 0
        for thing, weight in found:
            if at < weight:
                return thing
            at -= weight
        raise AssertionError("a count that does not add up")

    def decide(self, path: str, domain: Domain) -> None:
        """Draws a choice below which nothing hangs."""
        match domain:
            case Integer(low, high, step):
                self.decisions[path] = low + step * self.rng.randrange((high - low) // step + 1)
            case Real() | Subset():
                self.decisions[path] = draw(domain, self.rng)
            case _:
                self.decisions[path] = self.rng.choice(domain.options)

    def owned(
        self,
        owner: int,
        choices: Mapping[str, Pick],
        shaping: Iterable[str],
        inner: Callable[[Env], Counts],
        path: str,
        target: Asked,
    ) -> tuple[dict[str, Any], Asked]:
        """Draws the named choices of one body: their values as far as they shape it, and which are asked at all."""
        tried = [n for n in choices if n in set(shaping)]
        found: list[tuple[tuple[dict[str, Any], Asked], int]] = []
        for values in itertools.product(*(values_in(choices[n].domain) for n in tried)):
            own = dict(zip(tried, values, strict=True))
            for asked, n in inner(own).items():
                if frozenset(k for k in asked if k[0] != owner) == target:
                    for name in [name for name in choices if (owner, name) in asked]:
                        domain = choices[name].domain
                        n *= len(values_in(domain)) if name in own else domain_size(domain)
                    found.append(((own, asked), n))
        own, asked = self.pick(found)
        for name, pick in choices.items():
            if (owner, name) in asked and name in own:
                self.decisions[join(path, name)] = own[name]
            elif (owner, name) in asked:
                self.decide(join(path, name), pick.domain)
        return own, asked

    def split(self, parts: Sequence[Counts], target: Asked) -> list[Asked]:
        """What each of several parts asks, so that together they ask `target`."""
        if all(len(p) == 1 for p in parts):
            return [next(iter(p)) for p in parts]
        rest = [ONE]
        for part in reversed(parts):
            rest.append(times_counts(part, rest[-1]))
        shares = []
        for part, after in zip(parts, reversed(rest[:-1]), strict=True):
            both = (((a, b), n * m) for a, n in part.items() for b, m in after.items() if a | b == target)
            share, target = self.pick(both)
            shares.append(share)
        return shares

    def graph(self, graph: Graph, env: Env, scope: Scope, path: str, target: Asked) -> None:
        inner = self.counter.inside(graph, scope)
        own, asked = self.owned(
            id(graph),
            graph.choices,
            self.counter.shapes.of(graph),
            lambda own: self.counter.members(graph, {**env, **own}, inner),
            path,
            target,
        )
        here = {**env, **own}
        parts = [self.counter.member(m, here, inner) for m in graph.members]
        for member, share in zip(graph.members, self.split(parts, asked), strict=True):
            self.member(member, here, inner, path, share)

    def member(self, member: Member, env: Env, scope: Scope, path: str, target: Asked) -> None:
        here, apply = join(path, member.name), member.apply
        if not isinstance(apply, Choose):
            self.edges(member.inputs, here)
            self.apply(apply, env, scope, here, here, target)
            return
        counts = {n: self.counter.option(o, env, scope).get(target, 0) for n, o in apply.options.items()}
        name = self.pick(counts.items())
        self.decisions[here + apply.suffix if here else apply.suffix[1:] or "graph"] = name
        self.edges(apply.options[name].inputs, here)
        self.apply(apply.options[name].apply, env, scope, here, join(here, name), target)

    def edges(self, inputs: Iterable[Input], path: str) -> None:
        for e in (e for i in inputs for e in i.edges if isinstance(e, EdgeChoice)):
            self.decide(join(path, e.path), e.domain)

    def apply(self, apply: Apply, env: Env, scope: Scope, path: str, inner: str, target: Asked) -> None:
        if isinstance(apply, OpApply):
            for name, value in apply.settings.items():
                if isinstance(value, Pick):
                    self.decide(join(path, name), value.domain)
        elif isinstance(apply, Use):
            self.instance(apply.graph, apply.arguments, env, scope, path, inner, target)
        elif isinstance(apply, Repeat):
            counts = {n: self.counter.turns(apply, p, env, scope).get(target, 0) for n, p in apply.patterns.items()}
            below = self.pick(counts.items())
            if apply.domain is not None:
                self.decisions[join(path, "repeat")] = below
            self.turns(apply, below, env, scope, path, target)

    def instance(
        self,
        graph: Graph,
        given: Mapping[str, Value],
        env: Env,
        scope: Scope,
        path: str,
        inner: str,
        target: Asked,
    ) -> None:
        """A body with arguments; those that shape it are drawn together with what is inside."""
        outer = instance_scope(graph, scope)
        asked, shaping = self.counter.arguments(graph, given, env, scope)
        found = []
        for values in itertools.product(*(v for _, v in shaping)):
            here = {**env, **dict(zip((n for n, _ in shaping), values, strict=True))}
            found += [((here, used), n) for used, n in self.counter.graph(graph, here, outer).items()]
        here, used = self.pick((f, n) for f, n in found if asked | f[1] == target)
        shaped = {name for name, _ in shaping}
        for name, default in graph.params.items():
            value = given.get(name, default)
            at = join(path if name in given else inner, name)
            if isinstance(value, Pick) and name in shaped:
                self.decisions[at] = here[name]
            elif isinstance(value, Pick):
                self.decide(at, value.domain)
        self.graph(graph, here, outer, inner, used)

    def turns(self, apply: Repeat, below: str, env: Env, scope: Scope, path: str, target: Asked) -> None:
        pattern = apply.patterns[below]
        asked, parts, wanted = self.counter.turn_counts(apply, pattern, env, scope)
        found: list[tuple[tuple[int, Asked], int]] = []
        counts = ONE
        for turn, part in enumerate(parts, 1):
            counts = times_counts(counts, part)
            found += [((turn, used), n) for used, n in counts.items() if turn in wanted and asked | used == target]
        count, together = self.pick(found)
        if isinstance(apply.times, Pick):
            values = values_in(apply.times.domain)
            self.decisions[join(path, "times")] = next(v for v in values if int(v) == count)
        several = len({g.label for g in pattern}) > 1
        seen = set()
        for turn, share in enumerate(self.split(parts[:count], together)):
            graph = pattern[turn % len(pattern)]
            if apply.tie == "none" or graph.label not in seen:
                tied = f"each.{graph.label}" if several else "each"
                at = join(join(path, below), turn if apply.tie == "none" else tied)
                self.instance(graph, {}, env, scope, at, at, share)
            seen.add(graph.label)
