"""What can be said of templates without a walk: domains as lists, and names that shape the graph."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Collection, Iterable
from typing import Any

from archsearch.errors import FileError, RuleError
from archsearch.graph.domain import Categorical, Domain, Integer, Real, Subset
from archsearch.graph.template import (
    Apply,
    Choose,
    Const,
    Formula,
    Graph,
    Name,
    OpApply,
    Pick,
    Ref,
    Repeat,
    Value,
    join,
)

__all__ = ["Shapes", "cycle_text", "domain_size", "names_in", "refuse_cycles", "values_in", "values_of"]

MOST = 100_000


def domain_size(domain: Domain) -> int:
    """How many values a domain has; a range of reals counts as one."""
    match domain:
        case Categorical(options):
            return len(options)
        case Integer(low, high, step):
            return (high - low) // step + 1
        case Subset(options, at_least):
            return sum(math.comb(len(options), k) for k in range(at_least, len(options) + 1))
        case Real():
            return 1


def values_in(domain: Domain) -> tuple[Any, ...]:
    """The values of a domain: all of a choice, at most 100,000 of a range."""
    match domain:
        case Categorical(options):
            return options
        case Integer(low, high, step):
            return tuple(itertools.islice(range(low, high + 1, step), MOST))
        case Real(low, high):
            return (low, high)
        case Subset(options, _):
            return (list(options),)


def names_in(value: Value) -> tuple[str, ...]:
    """The names that a value is computed from."""
    if isinstance(value, Name):
        return (value.name,)
    return value.expression.names if isinstance(value, Formula) else ()


def values_of(value: Value, lookup: Callable[[str], Iterable[Any]]) -> list[Any]:
    """All that a value can be, where `lookup` gives all that a name can be; empty where nothing is known."""
    if isinstance(value, Const):
        return [value.value]
    if isinstance(value, Pick):
        return list(values_in(value.domain))
    if isinstance(value, Name):
        return list(lookup(value.name))
    names = value.expression.names
    found = []
    for combination in itertools.islice(itertools.product(*(list(lookup(n)) for n in names)), MOST):
        try:
            found.append(value.expression(dict(zip(names, combination, strict=True)).__getitem__))
        except RuleError:
            continue
    return list(dict.fromkeys(found))


class Shapes:
    """Which names shape the graph: those that decide how often something repeats."""

    def __init__(self) -> None:
        self._known: dict[int, frozenset[str]] = {}

    def of(self, graph: Graph) -> frozenset[str]:
        """The names, of `graph` itself and from around it, that its shape depends on."""
        found = self._known.get(id(graph))
        if found is None:
            names: set[str] = set()
            for member in graph.members:
                names |= self._apply(member.apply)
            for name in reversed(graph.params):
                if name in names:
                    names |= set(names_in(graph.params[name]))
            found = self._known[id(graph)] = frozenset(names)
        return found

    def _apply(self, apply: Apply) -> set[str]:
        if isinstance(apply, OpApply):
            return set()
        if isinstance(apply, Choose):
            return {n for o in apply.options.values() for n in self._apply(o.apply)}
        if isinstance(apply, Repeat):
            inner = {n for p in apply.patterns.values() for g in p for n in self._free(g)}
            return inner | set(names_in(apply.times))
        given: set[str] = set()
        for name, value in apply.arguments.items():
            if name in self.of(apply.graph):
                given |= set(names_in(value))
        return given | self._free(apply.graph)

    def _free(self, graph: Graph) -> set[str]:
        own = {*graph.params, *graph.choices}
        return {n for n in self.of(graph) if n not in own}


def refuse_cycles(graph: Graph, path: str) -> None:
    """Refuses a cycle without a delay whose edges are fixed and whose nodes are ops; the walk finds all others."""
    edges = {
        i: [e.target for port in m.inputs for e in port.edges if isinstance(e, Ref) and not e.delay and e.target >= 0]
        for i, m in enumerate(graph.members)
        if isinstance(m.apply, OpApply)
    }
    indegree = dict.fromkeys(edges, 0)
    for i, sources in edges.items():
        edges[i] = [s for s in sources if s in edges]
        indegree[i] = len(edges[i])
    readers: dict[int, list[int]] = {i: [] for i in edges}
    for i, sources in edges.items():
        for s in sources:
            readers[s].append(i)
    ready = [i for i, n in indegree.items() if not n]
    while ready:
        done = ready.pop()
        indegree.pop(done)
        for reader in readers[done]:
            indegree[reader] -= 1
            if not indegree[reader]:
                ready.append(reader)
    if indegree:
        raise _cycle(graph, edges, indegree, path)


def cycle_text(names: list[str]) -> str:
    """A cycle in words, the middle of a long one left out."""
    return f"`{' → '.join(names if len(names) <= 8 else [*names[:4], '…', *names[-3:]])}`"


def _cycle(graph: Graph, edges: dict[int, list[int]], stuck: Collection[int], path: str) -> FileError:
    """The error that names one cycle among members that wait for each other."""
    walk: list[int] = []
    here = next(iter(stuck))
    while here not in walk:
        walk.append(here)
        here = next(s for s in edges[here] if s in stuck)
    names = [graph.members[i].name for i in reversed([*walk[walk.index(here) :], here])]
    mark = graph.members[here].mark
    rule = "every cycle must carry a delay"
    hint = f'Write "{names[0]}[t-1]" at one of its edges.'
    return mark.error(rule, value=cycle_text(names), node=join(path, graph.members[here].name), hint=hint)
