"""The walk: asks every open choice that matters, in a fixed order, and flattens the graph.

    plan = expand(graph, choices, scale, chooser)

Names of nodes and paths of decisions are two things: alternative `attention` of node `body.0.mix` is decided at
`body.0.mix`, has its own decisions below `body.0.mix.attention`, and its node `q` is `body.0.mix.q`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from archsearch.errors import RuleError
from archsearch.graph.architecture import Group
from archsearch.graph.binding import Binder
from archsearch.graph.domain import Chooser, Domain, Subset, check
from archsearch.graph.opspec import Registry
from archsearch.graph.order import settle
from archsearch.graph.plan import Deferred, FlatNode, Frame, Pending, Plan, Val, at_home
from archsearch.graph.reader import Mark
from archsearch.graph.repeats import MAX_TIMES, is_count
from archsearch.graph.template import (
    Choose,
    Const,
    EdgeChoice,
    Formula,
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
from archsearch.graph.values import WIDTH, at

__all__ = ["MAX_NODES", "expand"]

MAX_NODES = 100_000
"""The largest architecture, in nodes; as many instances of bodies, since those may be empty."""


def expand(
    graph: Graph,
    choices: Mapping[str, Pick],
    scale: Mapping[str, int | float],
    chooser: Chooser,
    binder: Binder,
    registry: Registry,
) -> Plan:
    """Walks a space once.

    Args:
        graph: the space's graph; choices: those for the whole space; scale: its named sizes.
        chooser: asked `chooser(path, domain)` at each open choice.

    Raises:
        RuleError: the chooser gave what the domain does not hold.
        FileError: the decisions break a rule of the language: a cycle without a delay, say.
    """
    return _Walk(choices, scale, chooser, binder, registry).run(graph)


class Paths(NamedTuple):
    """The name of a node, the path of its decisions, and of its weights where they are shared."""

    name: str
    path: str
    weights: str | None


class _Walk:
    def __init__(
        self,
        choices: Mapping[str, Pick],
        scale: Mapping[str, int | float],
        chooser: Chooser,
        binder: Binder,
        registry: Registry,
    ) -> None:
        self.choices, self.scale, self.chooser = choices, scale, chooser
        self.binder, self.registry = binder, registry
        self.nodes: list[FlatNode] = []
        self.decisions: dict[str, Any] = {}
        self.shared: dict[str, Any] = {}
        self.frames: list[Frame] = []
        self.pending = False
        self.delayed = False

    def run(self, graph: Graph) -> Plan:
        frame = Frame(graph, "", "", None, ((-1, 0, 0),), None, False)
        outline = self.body(frame)
        (output,) = self.outputs(frame)
        plan = Plan(self.nodes, graph.inputs[0], output, outline, self.decisions, self.frames, self.delayed)
        if self.pending or self.delayed:
            settle(plan)
        return plan

    # ---- decisions and values --------------------------------------------------------------------------------------

    def ask(self, path: str, domain: Domain, frame: Frame, mark: Mark) -> Any:
        """The decision at `path`, as plain data: a list for a subset."""
        if path in self.decisions:
            if frame.tied:
                return self.decisions[path]
            raise mark.error("two choices must not share one path: rename one of them", value=f"`{path}`")
        value = check(path, domain, self.chooser(path, domain))
        if domain.__class__ is Subset:
            value = list(value)
        self.decisions[path] = value
        return value

    def value(self, value: Value, frame: Frame, path: str) -> Any:
        """A scalar, or `Deferred` if it depends on a width or on `scale`."""
        kind = value.__class__
        if kind is Const:
            return value.value  # type: ignore[union-attr]
        if kind is Pick:
            return self.ask(path, value.domain, frame, value.mark)  # type: ignore[union-attr]
        if isinstance(value, Name):
            return self.lookup(value.name, frame)
        assert isinstance(value, Formula)
        names = {n: self.lookup(n, frame) for n in value.expression.names}
        if any(isinstance(v, Deferred) for v in names.values()):
            return Deferred(frame, value.mark, value.expression, names)
        try:
            return value.expression(names.__getitem__)
        except RuleError as error:
            raise at(at_home(value.mark, frame), error, frame.name) from None

    def lookup(self, name: str, frame: Frame) -> Any:
        """What `$name` stands for in `frame`; a named choice is asked when it is first needed."""
        here: Frame | None = frame
        while here is not None:
            if name in here.values:
                return here.values[name]
            if name in here.graph.choices:
                pick = here.graph.choices[name]
                here.values[name] = found = self.ask(join(here.path, name), pick.domain, here, pick.mark)
                return found
            here = here.parent
        if name in self.choices:
            if name not in self.shared:
                pick = self.choices[name]
                self.shared[name] = self.ask(name, pick.domain, frame, pick.mark)
            return self.shared[name]
        if name == WIDTH:
            return Deferred(frame)
        return Deferred(frame, name=name)

    def constant(self, value: Value, frame: Frame, path: str, what: str) -> Any:
        """A scalar that shapes the graph: `scale` is taken as it is, a width is refused."""
        found = self.value(value, frame, path)
        try:
            return self._now(found)
        except LookupError:
            rule = f"{what} must not depend on a width that is inferred"
            raise value.mark.error(rule, node=frame.name or None) from None

    def _now(self, value: Any) -> Any:
        if not isinstance(value, Deferred):
            return value
        if value.expression is None:
            return self.scale[value.name]
        return value.expression(lambda n: self._now(value.names[n]))

    # ---- bodies ----------------------------------------------------------------------------------------------------

    def body(self, frame: Frame) -> tuple[Group, ...]:
        """Walks the members of a graph in the order of writing; gives their groups."""
        self.frames.append(frame)
        if len(self.frames) > MAX_NODES:
            raise frame.graph.mark.error(f"an architecture has at most {MAX_NODES:,} bodies", value="more")
        groups = []
        for slot, member in enumerate(frame.graph.members):
            walk = self.member if member.ports is None else self.fixed
            frame.outputs[slot], group = walk(member, frame)
            groups.append(group)
        return tuple(groups)

    def outputs(self, frame: Frame) -> tuple[Val, ...]:
        """What a walked graph gives."""
        mark = frame.graph.mark
        return tuple(self.edge(*r, frame, mark) for _, r in frame.graph.outputs)

    def edge(self, target: int, output: int, delay: int, frame: Frame, mark: Mark) -> Val:
        """The origin of an edge, with delays along the way added up."""
        if delay:
            self.delayed = True
        if target < 0:
            found = frame.inputs[-1 - target]
        else:
            given = frame.outputs[target]
            if given is None:
                self.pending = True
                return (Pending(frame, target, output, mark), 0, delay)
            found = given[output]
        return (found[0], found[1], found[2] + delay) if delay else found

    def edges(self, inputs: tuple[Input, ...], frame: Frame, path: str, mark: Mark) -> list[tuple[Val, ...]]:
        """The edges into each port, open ones decided."""
        ports = []
        for port in inputs:
            vals = []
            for e in port.edges:
                if isinstance(e, EdgeChoice):
                    picked = self.ask(join(path, e.path), e.domain, frame, e.mark)
                    for text in picked if isinstance(picked, list) else (picked,):
                        r = e.refs[text]
                        vals.append(self.edge(*r, frame, mark))
                else:
                    vals.append(self.edge(*e, frame, mark))
            ports.append(tuple(vals))
        return ports

    # ---- members ---------------------------------------------------------------------------------------------------

    def fixed(self, member: Member, frame: Frame) -> tuple[tuple[Val, ...], Group]:
        """Walks a node that nothing is open about: most nodes of most spaces, so this is the short way."""
        apply, mark = member.apply, member.mark
        assert isinstance(apply, OpApply) and member.ports is not None
        name = join(frame.name, member.name) or "out"
        ports = tuple([tuple([self.edge(*r, frame, mark) for r in port]) for port in member.ports])
        weights = frame.weights if frame.weights is None else join(frame.weights, member.name)
        number = self.add(FlatNode(name, member, apply, frame, ports, weights))
        outputs = tuple([(number, i, 0) for i in range(len(apply.outputs))])
        return outputs, Group(name, "op", apply.spec.name)

    def member(self, member: Member, frame: Frame) -> tuple[tuple[Val, ...], Group]:
        """Walks one node: its choice, its settings, its edges, what is inside."""
        name, path = join(frame.name, member.name), join(frame.path, member.name)
        weights = frame.weights
        if member.weights is not None:
            scope = frame.weights if frame.weights is not None else frame.name
            weights = f"{scope}:{member.weights}" if scope else member.weights
        elif weights is not None:
            weights = join(weights, member.name)
        apply, inputs, inner = member.apply, member.inputs, path
        if isinstance(apply, Choose):
            picked = self.ask(
                path + apply.suffix if path else apply.suffix[1:] or "graph", apply.domain, frame, member.mark
            )
            option = apply.options[picked]
            apply, inputs, inner = option.apply, option.inputs, join(path, picked)
        if isinstance(apply, OpApply):
            return self.op(apply, inputs, member, frame, Paths(name or "out", path, weights))
        given: dict[str, Any] = {}
        if isinstance(apply, Use):
            given = {k: self.value(v, frame, join(path, k)) for k, v in apply.arguments.items()}
        ports = self.edges(inputs, frame, path, member.mark)
        merged = tuple(self.merged(p, i, member, frame, name, len(ports)) for i, p in zip(inputs, ports, strict=True))
        paths = Paths(name, inner, weights)
        if isinstance(apply, Use):
            body = self.instance(apply.graph, paths, merged, member, frame)
            body.given = apply.arguments
            groups = self.inside(body, given)
            shown = tuple((k, body.values[k]) for k in apply.shown if not isinstance(body.values[k], Deferred))
            outputs, group = self.outputs(body), _group(apply.graph, name, groups, shown + _stands(apply.graph, groups))
        else:
            assert isinstance(apply, Repeat)
            outputs, group = self.repeat(apply, paths, merged, member, frame)
        if member.initial is not None:
            self.initialise(outputs, member.initial)
        return outputs, group

    def op(
        self,
        apply: OpApply,
        inputs: tuple[Input, ...],
        member: Member,
        frame: Frame,
        paths: Paths,
    ) -> tuple[tuple[Val, ...], Group]:
        name, path, weights = paths
        values: dict[str, Any] | None = None
        if apply.bound is None:
            values = {k: self.value(v, frame, join(path, k)) for k, v in apply.settings.items()}
        ports = self.edges(inputs, frame, path, member.mark)
        if member.merge is not None:
            for n, port in enumerate(apply.spec.ports):
                if not port.many and ports[n]:
                    ports[n] = (self.merged(ports[n], inputs[n], member, frame, name, len(ports)),)
        node = FlatNode(name, member, apply, frame, tuple(ports), weights)
        shown: tuple[tuple[str, Any], ...] = ()
        if values is not None:
            self.bind(node, values)
            shown = tuple((k, values[k]) for k in apply.shown if values[k].__class__ is not Deferred)
        if member.initial is not None:
            node.initial = member.initial
        number = self.add(node)
        group = Group(name, "op", apply.spec.name, shown)
        return tuple((number, i, 0) for i in range(len(apply.outputs))), group

    def add(self, node: FlatNode) -> int:
        if len(self.nodes) >= MAX_NODES:
            raise node.mark().error(f"an architecture has at most {MAX_NODES:,} nodes", value="more")
        self.nodes.append(node)
        return len(self.nodes) - 1

    def bind(self, node: FlatNode, values: dict[str, Any]) -> None:
        """Binds the op now if no setting waits for a width."""
        for v in values.values():
            if v.__class__ is Deferred:
                node.deferred = values
                return
        try:
            node.bound = self.binder.bind(node.apply.spec, values)
        except RuleError as error:
            raise at(node.mark(error.setting), error, node.name) from None

    def merged(self, vals: tuple[Val, ...], port: Input, member: Member, frame: Frame, name: str, ports: int) -> Val:
        """One edge instead of several: `merge` becomes a node of its own, named after the input."""
        if len(vals) == 1:
            return vals[0]
        spec = self.registry[member.merge or "add"]
        apply = OpApply(spec, {}, self.binder.bind(spec, {}), ("out",), (), {})
        own = join(join(name, "in"), port.port if ports > 1 else "")
        return (self.add(FlatNode(own, member, apply, frame, (vals,), None)), 0, 0)

    def instance(self, graph: Graph, paths: Paths, inputs: tuple[Val, ...], member: Member, frame: Frame) -> Frame:
        """A frame for a graph that `member` of `frame` holds, without its parameters."""
        inner = Frame(graph, *paths, inputs, None if graph.scope else frame, frame.tied)
        inner.caller = frame
        if graph.scope:
            inner.at = member.mark
        return inner

    def inside(self, inner: Frame, given: Mapping[str, Any]) -> tuple[Group, ...]:
        """Gives a frame its parameters and walks it."""
        for key, default in inner.graph.params.items():
            inner.values[key] = given[key] if key in given else self.value(default, inner, join(inner.path, key))
        return self.body(inner)

    def repeat(
        self, apply: Repeat, paths: Paths, inputs: tuple[Val, ...], member: Member, frame: Frame
    ) -> tuple[tuple[Val, ...], Group]:
        """Turn after turn, outputs carried to inputs."""
        path, below = paths.path, ""
        if apply.domain is not None:
            below = self.ask(join(path, "repeat"), apply.domain, frame, member.mark)
        pattern = apply.patterns[below]
        several = len({g.label for g in pattern}) > 1
        current, groups = list(inputs), []
        outputs: tuple[Val, ...] = ()
        for turn in range(self.times(apply, paths, frame)):
            graph = pattern[turn % len(pattern)]
            inner = self.instance(graph, _turn(paths, below, turn, apply.tie, several and graph.label),
                                  tuple(current), member, frame)  # fmt: skip
            inner.tied = frame.tied or apply.tie != "none"
            groups.append(_group(graph, inner.name, self.inside(inner, {}), ()))
            outputs = self.outputs(inner)
            for i, c in enumerate(apply.carried):
                if c is not None:
                    current[i] = outputs[c]
        label = "+".join(dict.fromkeys(g.label for g in pattern))
        return outputs, Group(paths.name, "repeat", label, (), tuple(groups))

    def times(self, apply: Repeat, paths: Paths, frame: Frame) -> int:
        """How many turns a repeat has."""
        times = self.constant(apply.times, frame, join(paths.path, "times"), "`times`")
        if not is_count(times):
            rule = f"`times` must be a whole number from 1 to {MAX_TIMES:,}: a repeat of 0 is no repeat"
            raise apply.times.mark.error(rule, value=repr(times), node=paths.name or None)
        return int(times)

    def initialise(self, outputs: tuple[Val, ...], initial: str) -> None:
        for target, _, delay in outputs:
            if isinstance(target, int) and target >= 0 and not delay:
                self.nodes[target].initial = initial


def _turn(paths: Paths, below: str, turn: int, tie: str, label: str | bool) -> Paths:
    """The paths of one turn; tied turns of one definition share those of decisions, or of weights too."""
    name, path, weights = paths
    each = f"each.{label}" if label else "each"
    inner = join(join(path, below), turn if tie == "none" else each)
    if tie == "weights":
        return Paths(join(name, turn), inner, join(name if weights is None else weights, each))
    return Paths(join(name, turn), inner, None if weights is None else join(weights, turn))


def _stands(graph: Graph, groups: tuple[Group, ...]) -> tuple[tuple[str, Any], ...]:
    """Which op stands for each body of a definition: what tells two uses of it apart, as settings do."""
    bodies = [m.apply.graph.label if isinstance(m.apply, Use) else "" for m in graph.members]
    return tuple((b, g.label) for b, g in zip(bodies, groups, strict=True) if b in graph.bodies and g.kind == "op")


def _group(graph: Graph, name: str, groups: tuple[Group, ...], shown: tuple[tuple[str, Any], ...]) -> Group:
    if len(groups) == 1 and graph.members[0].name == "":
        only = groups[0]
        own = dict(only.shown)
        if not shown:
            return only
        return Group(
            only.path, only.kind, only.label, (*((k, v) for k, v in shown if k not in own), *only.shown), only.children
        )
    return Group(name, "definition", graph.label, shown, groups)
