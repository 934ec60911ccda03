"""SearchSpace: architectures with choices in them, read from YAML and walked by choosers.

space = SearchSpace.read("search_spaces/hybrid.yaml", registry(), block_files())
sample = space.sample(random.Random(0))
assert space.decide(sample.decisions) == sample
"""

from __future__ import annotations

import random
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from archsearch.errors import FileError, RuleError, nearest
from archsearch.graph.algebra import TRIES, Algebra
from archsearch.graph.architecture import Architecture
from archsearch.graph.binding import Binder
from archsearch.graph.compiler import Compiler, Definitions
from archsearch.graph.domain import Chooser, random_chooser
from archsearch.graph.expand import expand
from archsearch.graph.files import check_ends, elsewhere, op_files, shipped, with_own_ops
from archsearch.graph.fits import asking, without_asking
from archsearch.graph.flat import architecture
from archsearch.graph.header import FACTS, Header, read_header
from archsearch.graph.infer import Inference, infer
from archsearch.graph.opspec import Registry
from archsearch.graph.options import OpenChoice, open_choices
from archsearch.graph.plan import Plan
from archsearch.graph.reader import Document, Mark, load, parse
from archsearch.graph.regions import regions
from archsearch.graph.replay import Replay
from archsearch.graph.size import Counter, SpaceSize, size
from archsearch.graph.statics import Shapes
from archsearch.graph.template import Graph, Pick
from archsearch.graph.types import ValueType
from archsearch.graph.uniform import uniform as uniform_point
from archsearch.graph.values import Scope, at

if TYPE_CHECKING:
    from archsearch.graph.check import CheckReport

__all__ = ["Sample", "SearchSpace"]


@dataclass(frozen=True, slots=True)
class Sample:
    """One architecture of a space, and the decisions that lead to it.

    Args:
        decisions: flat and JSON-able, `{"body.0.mix": "attention", ...}`, in the order in which they were asked.
    """

    architecture: Architecture
    decisions: dict[str, Any]


class SearchSpace(Algebra):
    """A search space, as plain data and templates; no torch.

    Attributes:
        name, summary: for people; path: the file, or "<string>".
        causal: whether its architectures promise that output t sees inputs up to t only.
        scale: its named sizes, `{"width": 64}` unless it says otherwise.
        campaign: defaults of a campaign, as plain data.
        registry: the ops that it may use.
    """

    def __init__(self, document: Document, header: Header, graph: Graph, registry: Registry, binder: Binder) -> None:
        self._document, self._header, self._graph, self._binder = document, header, graph, binder
        self.registry = registry
        self.path = document.file
        self.name, self.summary, self.causal = header.name, header.summary, header.causal
        self.scale: Mapping[str, int | float] = MappingProxyType(dict(header.scale))
        self.campaign: Mapping[str, Any] = MappingProxyType(dict(header.campaign))

    # ---- reading ---------------------------------------------------------------------------------------------------

    @classmethod
    def read(cls, path: Path | str, registry: Registry, definitions: Iterable[Path] = ()) -> SearchSpace:
        """Reads a YAML file.

        Args:
            registry: the ops, to which those of the space's own files are added.
            definitions: files whose `define:` entries are known to every space.

        Raises:
            FileError: any mistake that can be seen without a sample, with its line and the nearest names.
        """
        return cls._from(load(path), registry, definitions, Path(path).stem)

    @classmethod
    def parse(
        cls, text: str, registry: Registry, *, path: str = "<string>", definitions: Iterable[Path] = ()
    ) -> SearchSpace:
        """Reads YAML text; `path` is what errors call it. Raises as `read` does."""
        return cls._from(parse(text, path), registry, definitions, "space")

    @classmethod
    def _from(
        cls, document: Document, registry: Registry, definitions: Iterable[Path], default_name: str
    ) -> SearchSpace:
        header = read_header(document, default_name)
        registry = with_own_ops(registry, header.ops, document.file)
        check_ends(header.ends, registry, document)
        own = Definitions(header.define, header.keys, shipped(definitions))
        names = {**dict.fromkeys(header.scale, False), **dict.fromkeys(header.choices, True)}
        binder = Binder()
        compiler = Compiler(registry, binder, Scope(names), elsewhere(document))
        for name, mark in header.keys.items():
            compiler.definition(name, own, mark)
        graph = compiler.graph(header.graph, own)
        if isinstance(header.fit, Pick):
            graph = asking(graph, header.fit)
        if header.match and header.match.by in Shapes().of(graph):
            rule = "`match.by` must not decide how often something repeats"
            raise header.match.mark.error(rule, value=f"`{header.match.by}`")
        for kind, found in (("input", graph.inputs), ("output", graph.outputs)):
            if len(found) != 1:
                raise graph.mark.error(f"the graph must have one {kind}", value=f"{len(found)}")
        return cls(document, header, graph, registry, binder)

    @property
    def fit(self) -> str | Pick:
        """How weights are found, `gradient` or another of `archsearch.graph.fits`; or the choice of it."""
        return self._header.fit

    def own_ops(self) -> dict[str, str]:
        """The texts of the files that `ops:` names, by the names that copies of them have in a folder `NAME.ops`."""
        files = op_files(self._header.ops, self.path)
        return {copy: path.read_text(encoding="utf-8") for copy, path in files.items()}

    def place(self, *keys: str) -> tuple[str, int, int]:
        """File, line and column of what stands at a path of keys: `space.place("campaign", "task")`."""
        mark = self._document.find(*keys)
        return mark.file, mark.line, mark.column

    def error(self, keys: Iterable[str], rule: str, **details: Any) -> FileError:
        """A `FileError` at a path of keys, for whoever checks `campaign`; `details` as its keyword arguments."""
        return self._document.find(*keys).error(rule, **details)

    # ---- walking ---------------------------------------------------------------------------------------------------

    def walk(self, chooser: Chooser) -> Sample:
        """Visits the open choices that matter in a fixed order and asks `chooser(path, domain)` at each.

        Raises:
            RuleError: the combination misses `require` or `match`, or a decision lies outside its domain.
            FileError: the combination breaks a rule of the language or of an op: the space has a mistake.
        """
        plan = self._plan(chooser)
        inference = self._matched(plan)
        found = architecture(self.name, self.causal, inference)
        self._fixed_points(found, plan)
        found = self._with_ends(found) if self._header.ends else found
        sample = Sample(self._with_fit(found, plan.decisions), plan.decisions)
        self._require(sample.architecture, inference)
        return sample

    def ask(self, chooser: Chooser) -> dict[str, Any]:
        """The decisions that `chooser` makes, without the architecture that they lead to; raises as `walk` does."""
        return self._plan(chooser).decisions

    def _fixed_points(self, found: Architecture, plan: Plan) -> None:
        """Refuses fixed points that no iteration can serve."""
        try:
            regions(found)
        except RuleError as error:
            mark = next(n.mark() for n in plan.nodes if n.name == error.node)
            raise at(mark, error, error.node) from None

    def _plan(self, chooser: Chooser) -> Plan:
        return expand(self._graph, self._header.choices, self.scale, chooser, self._binder, self.registry)

    def sample(self, rng: random.Random, tries: int = TRIES, *, uniform: str = "decisions") -> Sample:
        """A random architecture; combinations that miss `require` or `match` are drawn again.

        Args:
            uniform: over `decisions`: each choice that a walk meets is drawn evenly, so an alternative is as likely
                with a thousand points below it as with one; or over `architectures`: each point of the space is as
                likely as any other (ranges of reals are drawn evenly, or log-evenly).

        Raises:
            FileError: `tries` combinations in a row were refused, or the space has a mistake.
        """
        if uniform not in ("decisions", "architectures"):
            raise ValueError(f"`uniform` must be decisions or architectures, but got {uniform!r}")
        if uniform == "decisions":
            return self.first_accepted(lambda: random_chooser(rng), tries)
        counter = Counter()

        def point() -> Chooser:
            return Replay(uniform_point(self._graph, self._header.choices, self.scale, counter, rng))

        return self.first_accepted(point, tries)

    def refusal(self, error: RuleError, tries: int) -> FileError:
        """What to say where `require` or `match` refused all of `tries` combinations; `error` is the last refusal."""
        kind = "match" if error.setting == "match" else "require"
        rule = f"`{kind}` must be met by some architecture, and none of {tries} was ({error.rule})"
        return self._document.find(kind).error(rule, value=error.value, hint=error.hint)

    def decide(self, decisions: Mapping[str, Any]) -> Sample:
        """The architecture that `decisions` lead to, as `walk` gave them.

        Raises:
            RuleError: one is missing, left over or outside its domain, or `walk` refuses them.
        """
        replay = Replay(decisions)
        try:
            sample = self.walk(replay)
        except (FileError, RuleError):
            if replay.missing:
                replay.verify(self.choices)
            raise
        replay.verify(self.choices)
        return sample

    def choices(self) -> tuple[OpenChoice, ...]:
        """All open choices of the space, whatever they depend on, in the order of writing."""
        return open_choices(self._graph, self._header.choices, self.scale)

    @property
    def is_point(self) -> bool:
        """Whether no choice is open: the space is one architecture."""
        return not self.choices()

    def size(self) -> SpaceSize:
        """How many combinations of decisions there are, before `require` and `match`."""
        return size(self._graph, self._header.choices, self.scale)

    def check(self, samples: int = 100, seed: int = 0) -> CheckReport:
        """Covers every alternative of every choice and looks for mistakes; see `archsearch.graph.check`."""
        from archsearch.graph.check import check

        return check(self, samples, seed)

    def unread(self) -> list[tuple[str, Mark]]:
        """Name and place of each node of the file that no alternative of the space reads."""
        from archsearch.graph.unread import unread

        return unread(self._graph)

    def rescaled(self, **scale: int | float) -> SearchSpace:
        """The same space at other sizes, `space.rescaled(width=128)`; raises `RuleError` on a name it does not have."""
        for name in scale:
            if name not in self.scale:
                rule = f"the space has the sizes {', '.join(self.scale)}"
                raise RuleError(rule, value=f"`{name}`", near=nearest(name, self.scale))
        header = replace(self._header, scale={**self.scale, **scale})
        return SearchSpace(self._document, header, self._graph, self.registry, self._binder)

    def like(self, other: SearchSpace) -> SearchSpace:
        """The same graph at the sizes and under the `match` of another space: a control beside what it controls for."""
        shared = {name: size for name, size in other.scale.items() if name in self.scale}
        match = other._header.match
        if match is not None and match.by not in self.scale:
            match = None
        header = replace(self._header, scale={**self.scale, **shared}, match=match, ends=other._header.ends)
        return SearchSpace(self._document, header, self._graph, self.registry, self._binder)

    def _with_ends(self, found: Architecture) -> Architecture:
        """The architecture between the stem and the readout that the space names."""
        ends = self._header.ends
        written = {name: source for name in ends.values() if (source := self.registry[name].source) is not None}
        sources = {**found.sources, **written}
        return replace(found, stem=ends.get("stem"), readout=ends.get("readout"), sources=sources)

    def _with_fit(self, found: Architecture, decisions: Mapping[str, Any]) -> Architecture:
        """The architecture with the way of fitting that the space names or a decision has chosen."""
        fit = self._header.fit
        if isinstance(fit, str):
            return found if fit == found.fit else replace(found, fit=fit)
        return replace(found, fit=decisions["fit"], outline=without_asking(found.outline))

    # ---- sizes -----------------------------------------------------------------------------------------------------

    def _inferred(self, plan: Plan, scale: Mapping[str, int | float]) -> Inference:
        input_type = ValueType((int(scale["width"]),))
        inference = infer(plan, scale, self._binder, input_type)
        if self.causal:
            for node, bound in zip(plan.nodes, inference.bounds, strict=True):
                if not bound.causal:
                    rule = "a space with `causal: true` must hold causal ops only"
                    value = f"`{bound.spec.name}`"
                    hint = "Say `causal: false` for the whole space, or make the op causal."
                    raise node.mark().error(rule, value=value, node=node.name, hint=hint)
        return inference

    def _matched(self, plan: Plan) -> Inference:
        """Types at the scale of the space, or at the one that `match` asks for."""
        match = self._header.match
        if match is None:
            return self._inferred(plan, self.scale)
        from archsearch.graph.match import solve

        first: list[FileError] = []
        found: dict[int, Inference] = {}

        def count(value: int) -> int:
            if value not in found:
                try:
                    found[value] = self._inferred(plan, {**self.scale, match.by: value})
                except FileError as error:
                    first.append(error)
                    raise RuleError(error.rule, value=error.value) from None
            return found[value].params()

        try:
            value = solve(count, match.params, start=int(self.scale[match.by]), name=match.by)
            count(value)
        except RuleError as error:
            if first and not found:
                raise first[0] from None
            rule = f"`match` asks for {match.params:,} parameters (±3 %) by `{match.by}`: {error.rule}"
            raise RuleError(rule, value=error.value, setting="match", hint=error.hint) from None
        return found[value]

    def _require(self, found: Architecture, inference: Inference) -> None:
        known: dict[str, Any] = {}

        def lookup(name: str) -> Any:
            if name in inference.scale and name not in FACTS:
                return inference.scale[name]
            if name == "params":
                return inference.params()
            if not known:
                from archsearch.graph.analysis import facts

                figures = facts(found, self.registry, int(self.scale.get("length", 256)))
                known.update({f: getattr(figures, f) for f in FACTS})
            return known[name]

        for requirement in self._header.requirements:
            condition = requirement.condition
            if not condition(lookup):
                values = ", ".join(f"{n}={lookup(n):,}" for n in condition.names)
                raise RuleError(f"`require` asks for `{condition.text}`", value=values, setting="require")
