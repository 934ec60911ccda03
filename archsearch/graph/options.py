"""The open choices of a space, all of them, with what must be decided before each is asked."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from archsearch.graph.domain import Domain
from archsearch.graph.statics import names_in, values_in, values_of
from archsearch.graph.template import (
    Apply,
    Choose,
    EdgeChoice,
    Graph,
    Input,
    Member,
    Name,
    OpApply,
    Pick,
    Repeat,
    Use,
    Value,
    join,
)

__all__ = ["OpenChoice", "open_choices"]

MOST = 200_000


@dataclass(frozen=True, slots=True)
class OpenChoice:
    """A choice that a walk may ask.

    Args:
        condition: decisions under which it is asked, `{"body.times": 6, "body.5.mix": "attention"}`.
    """

    path: str
    domain: Domain
    condition: Mapping[str, Any] = field(default_factory=dict)


@dataclass(slots=True)
class _Named:
    """What a name stands for: its possible values, and the open choice behind it, if there is one."""

    values: list[Any]
    path: str = ""
    domain: Domain | None = None


Env = dict[str, _Named]


def open_choices(graph: Graph, choices: Mapping[str, Pick], scale: Mapping[str, Any]) -> tuple[OpenChoice, ...]:
    """All open choices in the order of writing; at most 200,000."""
    listing = _Listing()
    base: Env = {name: _Named([value]) for name, value in scale.items()}
    base.update({n: _Named(list(values_in(p.domain)), n, p.domain) for n, p in choices.items()})
    listing.base = base
    listing.body(graph, "", {}, dict(base))
    return tuple(listing.found.values())


class _Listing:
    def __init__(self) -> None:
        self.found: dict[str, OpenChoice] = {}
        self.base: Env = {}
        self.visits = 0

    def add(self, path: str, domain: Domain, condition: Mapping[str, Any]) -> None:
        if path not in self.found and len(self.found) < MOST:
            self.found[path] = OpenChoice(path, domain, condition)

    def value(self, value: Value, path: str, condition: Mapping[str, Any], env: Env) -> _Named:
        """Lists what a value asks; gives what it can be."""
        if isinstance(value, Pick):
            self.add(path, value.domain, condition)
            return _Named(list(values_in(value.domain)), path, value.domain)
        for name in names_in(value):
            named = env.get(name)
            if named and named.domain is not None:
                self.add(named.path, named.domain, condition)
        if isinstance(value, Name):
            return env.get(value.name, _Named([]))
        return _Named(values_of(value, lambda n: env[n].values if n in env else []))

    def body(self, graph: Graph, path: str, condition: Mapping[str, Any], env: Env) -> None:
        self.visits += 1
        if self.visits > MOST:
            return
        env.update({n: _Named(list(values_in(p.domain)), join(path, n), p.domain) for n, p in graph.choices.items()})
        for member in graph.members:
            self.member(member, path, condition, env)

    def member(self, member: Member, path: str, condition: Mapping[str, Any], env: Env) -> None:
        here, apply = join(path, member.name), member.apply
        if not isinstance(apply, Choose):
            self.apply(apply, member.inputs, here, here, condition, env)
            return
        asked = here + apply.suffix if here else apply.suffix[1:] or "graph"
        self.add(asked, apply.domain, condition)
        for name, option in apply.options.items():
            below = {**condition, asked: name}
            self.apply(option.apply, option.inputs, here, join(here, name), below, env)

    def apply(
        self, apply: Apply, inputs: Iterable[Input], path: str, inner: str, condition: Mapping[str, Any], env: Env
    ) -> None:
        if isinstance(apply, OpApply):
            for name, value in apply.settings.items():
                self.value(value, join(path, name), condition, env)
            self.edges(inputs, path, condition)
        elif isinstance(apply, Use):
            given = {k: self.value(v, join(path, k), condition, env) for k, v in apply.arguments.items()}
            self.edges(inputs, path, condition)
            self.instance(apply.graph, given, inner, condition, env)
        elif isinstance(apply, Repeat):
            self.edges(inputs, path, condition)
            self.repeat(apply, path, condition, env)

    def edges(self, inputs: Iterable[Input], path: str, condition: Mapping[str, Any]) -> None:
        for port in inputs:
            for e in port.edges:
                if isinstance(e, EdgeChoice):
                    self.add(join(path, e.path), e.domain, condition)

    def instance(
        self, graph: Graph, given: Mapping[str, _Named], path: str, condition: Mapping[str, Any], env: Env
    ) -> None:
        inner = dict(self.base if graph.scope else env)
        for name, default in graph.params.items():
            found = given[name] if name in given else self.value(default, join(path, name), condition, inner)
            # The parameter was asked where it was given; naming it again asks nothing.
            inner[name] = _Named(found.values, found.path)
        self.body(graph, path, condition, inner)

    def repeat(self, apply: Repeat, path: str, condition: Mapping[str, Any], env: Env) -> None:
        if apply.domain is not None:
            self.add(join(path, "repeat"), apply.domain, condition)
        times = self.value(apply.times, join(path, "times"), condition, env)
        most = max((int(t) for t in times.values), default=0)
        deep = {**condition, times.path: most} if times.path else condition
        for below, pattern in apply.patterns.items():
            chosen = {**deep, join(path, "repeat"): below} if apply.domain is not None else deep
            several = len({g.label for g in pattern}) > 1
            for turn in range(most if apply.tie == "none" else min(most, len(pattern))):
                graph = pattern[turn % len(pattern)]
                tied = f"each.{graph.label}" if several else "each"
                turn_path = join(join(path, below), turn if apply.tie == "none" else tied)
                self.instance(graph, {}, turn_path, chosen, env)
