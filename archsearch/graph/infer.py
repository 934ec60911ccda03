"""Types of the nodes of a plan, at given sizes.

A delayed edge may come from a node whose type is not known yet. It is first taken to have the type of what its body is
fed, and if that does not fit, of its neighbours at the node; a node that fits neither way is left open. Then types are
inferred again with what came out, until nothing changes. So a state of matrices, whose type only the other terms of a
sum tell, is found in a few passes. Where that leads nowhere, since a wrong guess fits for a while, the types that were
met are tried for one delayed value after the other.
"""

from __future__ import annotations

import heapq
import itertools
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from archsearch.errors import FileError, RuleError
from archsearch.graph.binding import Binder, Bound, Typing
from archsearch.graph.plan import Deferred, FlatNode, Plan, Val, at_home
from archsearch.graph.types import ValueType
from archsearch.graph.values import at

__all__ = ["Inference", "infer"]

MAX_PASSES = 8
MIN_TRIES, MAX_VISITS = 16, 20_000
"""How many types of delayed values are tried where passes do not come to an end; by the visits of nodes."""

SURE, FITS, OPEN, GUESS = range(4)
"""How unsure a type is: known; fits, but follows from a guess; follows from a node that nothing fitted; a guess."""

Scale = Mapping[str, int | float]


class Inference:
    """The types of a plan at one scale.

    Args:
        typings: of each node, in the plan's order.
        bounds: the op of each node with its settings.
        input_type: of the graph's input.
    """

    __slots__ = ("bounds", "input_type", "plan", "scale", "typings")

    def __init__(self, plan: Plan, scale: Scale, input_type: ValueType) -> None:
        self.plan, self.scale, self.input_type = plan, scale, input_type
        self.typings: list[Typing] = []
        self.bounds: list[Bound] = []

    def params(self) -> int:
        """Trained numbers of one copy: of the nodes that the output depends on, learned initial values included."""
        total = sum([self.typings[i].params for i in self.plan.count()])
        if self.plan.delayed:
            late = self.plan.late()
            learned = [i for i in self.plan.count() if i in late and self.plan.nodes[i].initial == "learned"]
            total += sum(t.size for i in learned for t in self.typings[i].types)
        return total


def infer(plan: Plan, scale: Scale, binder: Binder, input_type: ValueType) -> Inference:
    """Infers the types of all nodes.

    Args:
        scale: the named sizes; input_type: of the graph's input.

    Raises:
        FileError: an op does not fit its inputs or its settings; delayed edges have no stable type.
    """
    run = _Run(plan, scale, binder, input_type)
    if not plan.delayed:
        run.once({})
        return run.result
    stuck = run.settle({})
    if stuck is not None:
        _search(run, stuck)
    return run.result


@dataclass(frozen=True, slots=True)
class _Stuck:
    """Where types did not come out: the error, the place of the node in the plan, the types that were met."""

    error: FileError
    place: int
    met: tuple[int, ...]
    guessed: tuple[tuple[int, int], ...]


def _search(run: _Run, first: _Stuck) -> None:
    """Tries the types met so far for delayed values, one more after the other, first where that led furthest.

    Raises:
        FileError: the first one, where nothing leads to the end.
    """
    tries = max(MIN_TRIES, MAX_VISITS // len(run.plan.nodes))
    count = itertools.count()
    todo: list[tuple[int, int, dict[tuple[int, int], int], _Stuck]] = [(-first.place, next(count), {}, first)]
    while todo:
        place, _, known, stuck = heapq.heappop(todo)
        for key, kind in [(k, t) for k in stuck.guessed if k not in known for t in stuck.met]:
            if not tries:
                raise first.error
            tries -= 1
            more = {**known, key: kind}
            found = run.settle(more)
            if found is None:
                return
            if -found.place < place:
                heapq.heappush(todo, (-found.place, next(count), more, found))
    raise first.error


class _Run:
    def __init__(self, plan: Plan, scale: Scale, binder: Binder, input_type: ValueType) -> None:
        self.plan, self.scale, self.binder, self.input_type = plan, scale, binder, input_type
        self.input = binder.intern(input_type)
        self.guesses: dict[tuple[int, int], int] = {}
        self.known: Mapping[tuple[int, int], int] = {}
        self.unsure: dict[int, int] = {}
        self.firm = False
        self.open = 0  # the first node that nothing fitted
        self.bent: list[FileError] = []  # of nodes that fit with another type than that of an edge
        self.refused: dict[int, FileError] = {}
        self.result = Inference(plan, scale, input_type)

    def settle(self, known: Mapping[tuple[int, int], int]) -> _Stuck | None:
        """Passes until nothing changes, from types of delayed values that are taken for granted at first.

        Returns:
            `None` where all types fit; they are then in `result`.
        """
        found, self.refused = dict(known), {}
        for _ in range(MAX_PASSES):
            before = found
            try:
                guesses = self.once(found)
            except FileError as refusal:
                return self.stuck(refusal, len(self.result.typings))
            found = {key: self.result.typings[key[0]].outputs[key[1]] for key in guesses}
            if not self.refused and not self.bent and found == guesses:
                return None
            if self.refused and found == before:
                break
        if self.refused:
            return self.stuck(self.refused[min(self.refused)], self.open)
        where = next((k for k in guesses if guesses[k] != found[k]), None)
        if where is None:
            return self.stuck(self.bent[0], 0)
        node, old, new = self.plan.nodes[where[0]], self.binder.types[guesses[where]], self.binder.types[found[where]]
        rule = "the type of a value on a cycle must be the same from turn to turn"
        hint = "Say `width:` at an op on the cycle."
        error = node.mark().error(rule, value=f"{old}, then {new}", node=node.name, hint=hint)
        return self.stuck(error, where[0])

    def stuck(self, error: FileError, place: int) -> _Stuck:
        """What is known where types do not come out; matrices, which no guess makes up, are first."""
        met = dict.fromkeys(k for typing in self.result.typings for k in typing.outputs)
        return _Stuck(error, place, tuple(sorted(met, key=lambda k: not self.is_matrices(k))), tuple(self.guesses))

    def once(self, known: Mapping[tuple[int, int], int]) -> dict[tuple[int, int], int]:
        """One pass; `known` are types of the last pass. Gives the types that were taken for values not there yet."""
        self.known, self.guesses, self.open = known, {}, len(self.plan.nodes)
        self.unsure, self.firm, self.refused, self.bent = {}, not self.refused, {}, []
        self.result = Inference(self.plan, self.scale, self.input_type)
        typings, bounds = self.result.typings, self.result.bounds
        for node in self.plan.nodes:
            bound = node.bound or self.bind(node)
            try:
                typing = bound.typing(self.key(node))
                level = self.follows(node) if self.plan.delayed else SURE
            except RuleError as error:
                typing, level = self.again(node, bound, error)
            if len(typing.outputs) != len(node.apply.outputs):
                raise _outputs(node, typing)
            if level:
                self.unsure[len(typings)] = level
            typings.append(typing)
            bounds.append(bound)
        return self.guesses

    def key(self, node: FlatNode) -> tuple[int | None, ...]:
        """The interned types of a node's edges, ports flattened, `None` for what is not connected."""
        typings = self.result.typings
        count = len(typings)
        key: list[int | None] = []
        for port in node.inputs:
            if not port:
                key.append(None)
            for target, output, _ in port:
                if target < 0:
                    key.append(self.input)
                elif target < count:
                    key.append(typings[target].outputs[output])
                else:
                    key.append(self.guess(target, output, node))
        return tuple(key)

    def guess(self, target: int, output: int, node: FlatNode) -> int:
        """The type of a value that this pass has not reached."""
        where = (target, output)
        if where not in self.guesses:
            self.guesses[where] = self.known[where] if where in self.known else self.fed(node)
        return self.guesses[where]

    def fed(self, node: FlatNode) -> int:
        """The type of the first input of the body of `node`, as far as it is known."""
        target, output, _ = node.frame.inputs[0]
        if 0 <= target < len(self.result.typings):
            return self.result.typings[target].outputs[output]
        return self.input if target < 0 else self.known.get((target, output), self.input)

    def again(self, node: FlatNode, bound: Bound, error: RuleError) -> tuple[Typing, int]:
        """A second try where a type that was only guessed, or follows from a guess, did not fit.

        Such edges are tried with the type of an edge that is less in doubt, or as much but of matrices, which no guess
        makes up. If nothing fits, the node is left open for the next pass. Beside the types stands how sure they are.
        """
        edges = [e for port in node.inputs for e in port]
        doubts = [self.doubt(t, o) for t, o, _ in edges]
        if not any(doubts):
            raise at(node.mark(error.setting), error, node.name) from None
        whole, best = self.key(node), min(doubts)
        key = [k for k in whole if k is not None]
        models = [(key[doubts.index(best)], best)]
        models += [(k, SURE) for k, d in zip(key, doubts, strict=True) if d < GUESS and self.is_matrices(k)]
        for model, floor in models:
            changed = [doubt > floor for doubt in doubts]
            tried = iter([model if change else k for k, change in zip(key, changed, strict=True)])
            try:
                typing = bound.typing(tuple(None if k is None else next(tried) for k in whole))
            except RuleError:
                continue
            self.learn(edges, changed, model)
            self.bent.append(at(node.mark(error.setting), error, node.name))
            return typing, FITS
        self.learn(edges, [doubt > best for doubt in doubts], models[0][0])
        self.open = min(self.open, len(self.result.typings))
        self.refused.setdefault(max(doubts), at(node.mark(error.setting), error, node.name))
        return Typing((self.fed(node),) * len(node.apply.outputs), (), 0), OPEN

    def learn(self, edges: list[Val], changed: list[bool], model: int) -> None:
        """Takes `model` for those of the changed edges that are guesses."""
        for (target, output, _), change in zip(edges, changed, strict=True):
            if change and target >= len(self.result.typings):
                self.guesses[target, output] = model

    def is_matrices(self, interned: int) -> bool:
        """Whether a type is a state of matrices."""
        return len(self.binder.types[interned].shape) > 1

    def follows(self, node: FlatNode) -> int:
        """How unsure the types of a node are that fits its edges."""
        doubts = [self.doubt(t, o) for port in node.inputs for t, o, _ in port]
        return max((FITS if d == GUESS else d for d in doubts), default=SURE)

    def doubt(self, target: int, output: int) -> int:
        """How unsure the type of an edge is."""
        if target < len(self.result.typings):
            return self.unsure.get(target, SURE)
        return SURE if self.firm and (target, output) in self.known else GUESS

    def bind(self, node: FlatNode) -> Bound:
        """The op with settings that depend on a width or on `scale`."""
        assert node.deferred is not None
        values = {}
        for name, value in node.deferred.items():
            try:
                values[name] = self.value(value, node)
            except RuleError as error:
                mark = at_home(value.mark, value.frame) if value.mark else node.mark(name)
                raise at(mark, error, node.name) from None
        try:
            return self.binder.bind(node.apply.spec, values)
        except RuleError as error:
            raise at(node.mark(error.setting), error, node.name) from None

    def value(self, value: Any, node: FlatNode) -> Any:
        if not isinstance(value, Deferred):
            return value
        if value.expression is not None:
            return value.expression(lambda n: self.value(value.names[n], node))
        if value.name:
            return self.scale[value.name]
        target, output, _ = value.frame.inputs[0]
        if target >= len(self.result.typings):
            return self.binder.types[self.guess(target, output, node)].width
        interned = self.input if target < 0 else self.result.typings[target].outputs[output]
        return self.binder.types[interned].width


def _outputs(node: FlatNode, typing: Typing) -> FileError:
    count, named = len(typing.outputs), len(node.apply.outputs)
    spec = node.apply.spec.name
    rule = f"op `{spec}` gives {count} outputs, so `into` must name {count}"
    return node.mark("into").error(rule, value=f"{named}", node=node.name)
