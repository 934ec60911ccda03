"""Recognises states of matrices that run in chunks: outer products that add up, with decay, read by `matmul`.

    S_t = g_t S_{t−1} + k_t u_tᵀ        y_t = S_tᵀ q_t

It is *linear attention* where u is given from outside (Katharopoulos et al. 2020, arXiv:2006.16236; with decay: Sun et
al. 2023, arXiv:2307.08621, Yang et al. 2023, arXiv:2312.06635), and the *delta rule* where u holds one reading of the
past state itself, u_t = p_t + S_{t−1}ᵀ w_t (Schlag et al. 2021, arXiv:2102.11174; Yang et al. 2024, arXiv:2406.06484).
Every part may be spread over several nodes: readings add up and are scaled, decays multiply, wherever they stand.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from archsearch.graph.architecture import Architecture, Node, Source
from archsearch.graph.components import live_nodes
from archsearch.graph.types import ValueType

__all__ = ["Around", "FastWeights", "fast_weights"]

Form = Literal["outside", "read", "write", "state"]
"""What a value on the cycle is: given; a vector p + S⁻ᵀ w; k uᵀ; or g S⁻, perhaps with k uᵀ added to it."""


@dataclass(frozen=True, slots=True)
class FastWeights:
    """A state of matrices that runs in chunks.

    Args:
        kind: `linear attention` or `delta rule`.
        state: the node that holds it.
        by_rows: whether it is read by its rows, Sᵀ q, which are then the keys; otherwise by its columns, S q.
        decay: what its factors are: `none`, `head` (one a head, or one for all), or `row`.
    """

    kind: str
    state: str
    by_rows: bool
    decay: str


@dataclass(frozen=True)
class Around:
    """What lies around the cycles of an architecture, gathered once.

    Args:
        nodes: the live ones by name.
        types: the type of the first output of each, and of the inputs.
        readers: by name, the live nodes that read a node.
        output: what the architecture gives.
    """

    nodes: Mapping[str, Node]
    types: Mapping[str, ValueType]
    readers: Mapping[str, Sequence[Node]]
    output: Source

    @staticmethod
    def of(architecture: Architecture) -> Around:
        """Of the live nodes of `architecture`."""
        nodes = {n.name: n for n in live_nodes(architecture)}
        readers: dict[str, list[Node]] = {}
        for node in nodes.values():
            for name in dict.fromkeys(s.node for s in node.sources):
                readers.setdefault(name, []).append(node)
        types = dict(architecture.inputs) | {name: n.types[0] for name, n in nodes.items()}
        return Around(nodes, types, readers, architecture.output)


def fast_weights(nodes: Sequence[Node], around: Around) -> FastWeights | str:
    """The roles in the cycle of `nodes`, or why it does not run in chunks, in words.

    Args:
        nodes: of the cycle, in an order in which every undelayed edge points forward.
    """
    inside = {n.name: n for n in nodes}
    late = {s for n in nodes for s in n.sources if s.delay and s.node in inside}
    if len(late) != 1:
        return "it reads several delayed values"
    (past,) = late
    state = inside[past.node]
    if len(state.types) != 1 or len(state.types[0].shape) != 3 or past.delay != 1:
        return "its state is not one of matrices with a delay of 1"
    walk = _Walk(inside, around)
    for node in nodes:
        if not walk.visit(node):
            return f"`{node.name}` fits neither linear attention nor a delta rule"
    if len(walk.written) != 1 or state.name not in walk.full:
        return "its state is not the sum of its past and one outer product"
    readers = _readers(state.name, inside, around)
    ways = None if readers is None else walk.ways | readers
    if ways is None:
        return "something other than `matmul` reads its state"
    if len(ways) != 1:
        return "its state is read by rows and by columns"
    return _decide(state.name, walk, *ways)


def _decide(state: str, walk: _Walk, by_rows: bool) -> FastWeights | str:
    decay = "row" if "row" in walk.decays else "head" if "head" in walk.decays else "none"
    if decay == "row" and (walk.ways or not by_rows):
        return "no kernel here takes a decay a row in a delta rule, or along the values"
    if walk.ways and walk.outer_port != int(by_rows):
        return "what is read of its state is not written along the values"
    return FastWeights("delta rule" if walk.ways else "linear attention", state, by_rows, decay)


def _readers(state: str, inside: Mapping[str, Node], around: Around) -> set[bool] | None:
    """Whether `matmul`s off the cycle read the state by rows; `None` where they are not all that reads the cycle."""
    ways: set[bool] = set()
    if around.output.node in inside:
        return None
    for node in {n.name: n for name in inside for n in around.readers[name] if n.name not in inside}.values():
        here = [i for i, s in enumerate(node.sources) if s.node in inside]
        source = node.sources[here[0]]
        if node.op != "matmul" or len(here) > 1 or source.node != state or source.delay:
            return None
        if len(node.types[0].shape) != 1:
            return None
        ways.add(bool(here[0]) or bool(node.settings["transpose"]))
    return ways


class _Walk:
    """The form of every value on the cycle.

    Attributes:
        full: values of form `state` that hold the outer product already.
        written: the outer products that are added to the state.
        ways: how the past state is read on the cycle: by rows or not.
        decays: the kinds of the factors of the state.
        outer_port: the port of the outer product on the cycle that takes the reading.
    """

    def __init__(self, inside: Mapping[str, Node], around: Around) -> None:
        self.inside, self.around = inside, around
        self.forms: dict[str, Form] = {}
        self.full: set[str] = set()
        self.written: list[Source] = []
        self.ways: set[bool] = set()
        self.decays: set[str] = set()
        self.outer_port = -1

    def visit(self, node: Node) -> bool:
        """Notes the form of the value of `node`; false where it has none of the four."""
        form = self._form(node, [self._of(s) for s in node.sources])
        if form is not None:
            self.forms[node.name] = form
        return form is not None

    def _of(self, s: Source) -> Form:
        if s.node not in self.inside:
            return "outside"
        return "state" if s.delay else self.forms[s.node]

    def _form(self, node: Node, forms: list[Form]) -> Form | None:
        if node.op in ("add", "subtract"):
            return self._sum(node, forms)
        moving = [i for i, f in enumerate(forms) if f != "outside"]
        if len(moving) != 1:
            return None
        form, source = forms[moving[0]], node.sources[moving[0]]
        if node.op == "identity":
            if source.node in self.full and not source.delay:
                self.full.add(node.name)
            return form
        if source.node in self.full and not source.delay:
            return None
        if node.op in ("multiply", "neg", "scale"):
            return self._scaled(node, form)
        if node.op == "matmul" and form == "state" and len(node.types[0].shape) == 1:
            self.ways.add(bool(moving[0]) or bool(node.settings["transpose"]))
            return "read"
        if node.op == "outer" and form == "read" and self.outer_port < 0:
            self.outer_port = moving[0]
            return "write"
        return None

    def _sum(self, node: Node, forms: list[Form]) -> Form | None:
        kinds = set(forms) - {"outside"}
        if kinds == {"read"}:
            return "read"
        other = [s for s, f in zip(node.sources, forms, strict=True) if f != "state"]
        written = self.around.nodes.get(other[0].node) if len(other) == 1 else None
        if len(forms) != 2 or written is None or written.op != "outer" or other[0].delay:
            return None
        if any(s.node in self.full and not s.delay for s in node.sources):
            return None
        if node.op == "subtract" and forms[0] != "state":
            self.decays.add("head")  # the past is taken with a minus
        self.full.add(node.name)
        self.written.append(other[0])
        return "state"

    def _scaled(self, node: Node, form: Form) -> Form | None:
        if node.settings.get("learned") or form not in ("state", "read"):
            return None
        factors = [self.around.types[s.node] for s in node.sources if s.node not in self.inside]
        kinds = {self._factor(t, node.types[0]) for t in factors} or {"head"}
        if form == "read":
            return form if all(t.size == 1 for t in factors) else None
        self.decays |= kinds
        return None if "other" in kinds else form

    @staticmethod
    def _factor(factor: ValueType, of: ValueType) -> str:
        heads, rows = of.shape[0], of.shape[1] if len(of.shape) > 1 else 0
        if factor.shape in ((1,), (heads,)):
            return "head"
        return "row" if factor.shape == (heads * rows,) else "other"
