"""Puts a walked graph in order: pending edges resolved, every undelayed edge forward, cycles checked."""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterator
from dataclasses import replace

from archsearch.errors import FileError
from archsearch.graph.plan import FlatNode, Frame, Pending, Plan, Val
from archsearch.graph.reader import Mark
from archsearch.graph.statics import cycle_text

__all__ = ["components", "settle"]


def settle(plan: Plan) -> None:
    """Resolves and sorts the nodes of `plan` in place.

    Raises:
        FileError: a cycle without a delay, or an op that mixes time on a cycle.
    """
    for node in plan.nodes:
        node.inputs = tuple(tuple(_resolved(v) for v in port) for port in node.inputs)
    for frame in plan.frames:
        frame.inputs = tuple(_resolved(v) for v in frame.inputs)
    plan.output = _resolved(plan.output)
    if any(v[0] >= i and not v[2] for i, node in enumerate(plan.nodes) for port in node.inputs for v in port):
        _sort(plan)
    if plan.delayed:
        _check_cycles(plan)


def _resolved(val: Val) -> Val:
    """What a pending edge stands for, now that all members are walked."""
    target, output, delay = val
    seen: set[int] = set()
    while isinstance(target, Pending):
        if id(target) in seen:
            rule = "a cycle must have a node that computes something"
            raise target.mark.error(
                rule, value="a value that is nothing but its own past", node=target.frame.name or None
            )
        seen.add(id(target))
        outputs = target.frame.outputs[target.slot]
        assert outputs is not None, "every member has been walked"
        target, output, more = outputs[target.output]
        delay += more
    return target, output, delay


def _sort(plan: Plan) -> None:
    """Kahn's order, first written first."""
    nodes = plan.nodes
    waits = [0] * len(nodes)
    readers: list[list[int]] = [[] for _ in nodes]
    for i, node in enumerate(nodes):
        for target in {v[0] for port in node.inputs for v in port if not v[2] and v[0] >= 0}:
            waits[i] += 1
            readers[target].append(i)
    ready = [i for i, n in enumerate(waits) if not n]
    order = []
    while ready:
        i = heapq.heappop(ready)
        order.append(i)
        for reader in readers[i]:
            waits[reader] -= 1
            if not waits[reader]:
                heapq.heappush(ready, reader)
    if len(order) < len(nodes):
        raise _endless(nodes, [i for i, n in enumerate(waits) if n])
    place = {old: new for new, old in enumerate(order)}

    def moved(val: Val) -> Val:
        return (place[val[0]], val[1], val[2]) if val[0] >= 0 else val

    plan.nodes = [nodes[i] for i in order]
    for node in plan.nodes:
        node.inputs = tuple(tuple(moved(v) for v in port) for port in node.inputs)
    for frame in plan.frames:
        frame.inputs = tuple(moved(v) for v in frame.inputs)
    plan.output = moved(plan.output)
    _reorder_outline(plan)


def _reorder_outline(plan: Plan) -> None:
    """Children of the outline in the order of the data, which the order of writing was not."""
    first: dict[str, int] = {}
    for i, node in enumerate(plan.nodes):
        parts = node.name.split(".")
        for n in range(1, len(parts) + 1):
            first.setdefault(".".join(parts[:n]), i)

    def ordered(groups: tuple) -> tuple:  # type: ignore[type-arg]
        done = [replace(g, children=ordered(g.children)) if g.children else g for g in groups]
        return tuple(sorted(done, key=lambda g: first.get(g.path, -1)))

    plan.outline = tuple(
        replace(g, children=ordered(g.children)) if g.children else g
        for g in sorted(plan.outline, key=lambda g: first.get(g.path, -1))
    )


def _endless(nodes: list[FlatNode], stuck: list[int]) -> FileError:
    """The error that names one undelayed cycle among nodes that wait for each other."""
    among = set(stuck)
    walk: list[int] = []
    at: dict[int, int] = {}
    here = stuck[0]
    while here not in at:
        at[here] = len(walk)
        walk.append(here)
        here = next(v[0] for port in nodes[here].inputs for v in port if v[0] in among and not v[2])
    cycle = [*walk[at[here] :], here][::-1]
    names = [nodes[i].name for i in cycle]
    mark, member = _meeting(nodes, here, cycle)
    hint = f'Write "{member}[t-1]" at one of its edges.'
    rule = "every cycle must carry a delay"
    return mark.error(rule, value=cycle_text(names), node=nodes[here].name, hint=hint)


def _meeting(nodes: list[FlatNode], here: int, cycle: list[int]) -> tuple[Mark, str]:
    """Where a cycle is closed: the place and name of the member that holds node `here` in the body around all of it."""
    shared = set.intersection(*({id(f) for f in _frames(nodes[i])} for i in cycle))
    mark, name = nodes[here].mark(), nodes[here].member.name
    for frame in _frames(nodes[here]):
        if id(frame) in shared:
            rest = nodes[here].name[len(frame.name) :].removeprefix(".")
            return mark, rest.partition(".")[0] or name
        mark = frame.at
    return mark, name


def _frames(node: FlatNode) -> Iterator[Frame]:
    """The bodies around a node, innermost first."""
    frame: Frame | None = node.frame
    while frame is not None:
        yield frame
        frame = frame.caller


def _check_cycles(plan: Plan) -> None:
    """Refuses an op that mixes time on a cycle."""
    nodes = plan.nodes
    sources = [[v[0] for port in n.inputs for v in port if v[0] >= 0] for n in nodes]
    for component in components(len(nodes), lambda i: sources[i]):
        if len(component) == 1 and component[0] not in sources[component[0]]:
            continue
        for i in component:
            spec = nodes[i].apply.spec
            if spec.mixes_time:
                names = ", ".join(nodes[j].name for j in sorted(component)[:6])
                rule = f"an op that mixes time must not stand on a cycle, and `{spec.name}` does"
                raise nodes[i].mark().error(rule, value=f"the cycle of {names}", node=nodes[i].name)


def components(count: int, sources: Callable[[int], list[int]]) -> list[list[int]]:
    """Strongly connected components of nodes 0 … count-1 (Tarjan 1972), without recursion."""
    index: dict[int, int] = {}
    low: dict[int, int] = {}
    stack: list[int] = []
    on_stack = [False] * count
    found: list[list[int]] = []
    for root in range(count):
        if root in index:
            continue
        work = [(root, iter(sources(root)))]
        index[root] = low[root] = len(index)
        stack.append(root)
        on_stack[root] = True
        while work:
            node, rest = work[-1]
            for source in rest:
                if source not in index:
                    index[source] = low[source] = len(index)
                    stack.append(source)
                    on_stack[source] = True
                    work.append((source, iter(sources(source))))
                    break
                if on_stack[source]:
                    low[node] = min(low[node], index[source])
            else:
                work.pop()
                if work:
                    low[work[-1][0]] = min(low[work[-1][0]], low[node])
                if low[node] == index[node]:
                    component: list[int] = []
                    while not component or component[-1] != node:
                        component.append(stack.pop())
                        on_stack[component[-1]] = False
                    found.append(component)
    return found
