"""How a candidate is fitted: by gradient descent, or by solving for its readout over a body that stays as it is drawn.

A space says it at the top, `fit: ridge` or `fit: {choose: [gradient, ridge]}`; it is part of what a candidate is.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from archsearch.errors import RuleError, nearest
from archsearch.graph.architecture import Group
from archsearch.graph.domain import Categorical
from archsearch.graph.reader import Items, Leaf, Located, Table
from archsearch.graph.template import Const, Graph, Input, Member, Pick, Ref, Use
from archsearch.graph.values import pick_of

__all__ = ["FITS", "FREQUENCIES", "GRADIENT", "READOUTS", "asking", "checked", "fit_of", "without_asking"]

GRADIENT: Final = "gradient"
FREQUENCIES: Final = "frequencies"
FITS: Final[Mapping[str, str]] = MappingProxyType(
    {
        GRADIENT: "every weight by gradient descent",
        "ridge": "the readout by least squares with a penalty, the body as it was drawn",
        "svm": "the readout as linear support vector machines, one class against the rest",
        "convex": "a readout with one hidden layer of relu units, by its convex program; for sequences of one step",
        "random_features": "a readout on random cosine features of the body's output, by least squares",
        FREQUENCIES: "one answer whatever the input, by how often each target occurs; what knowing nothing is worth",
    }
)
"""Each way by name, and what it does."""
READOUTS: Final[Mapping[str, str]] = MappingProxyType({"convex": "relu_readout", "random_features": "random_readout"})
"""The ops that stand in place of an affine readout."""
PATH: Final = "fit"
"""Where a space that leaves it open decides."""


def checked(name: object) -> str:
    """`name`, if it is a fit; raises `RuleError` with the nearest names."""
    if not isinstance(name, str) or name not in FITS:
        near = nearest(str(name), FITS)
        raise RuleError(f"`fit` must be one of {', '.join(FITS)}", value=f"`{name}`", near=near, setting="fit")
    return name


def fit_of(value: Located | None) -> str | Pick:
    """What stands at the top of a space: one fit, or a choice of some; raises `FileError`."""
    if value is None:
        return GRADIENT
    if isinstance(value, Items):
        raise value.mark.error("`fit` must be a name or a choice", value="a list", hint="Write {choose: [...]}.")
    found = pick_of(value, "`fit`") if isinstance(value, Table) else value.value
    if isinstance(found, Pick) and not isinstance(found.domain, Categorical):
        raise value.mark.error("`fit` must be a name or a choice of names", value="a range")
    names = found.domain.options if isinstance(found, Pick) else (found,)  # type: ignore[union-attr]
    for name in names:
        try:
            checked(name)
        except RuleError as error:
            raise _place(value, name).mark.error(error.rule, value=error.value, near=error.near) from None
    return found  # type: ignore[return-value]


def _place(value: Located, name: object) -> Located:
    """The leaf that holds `name`."""
    listed = value.get("choose") if isinstance(value, Table) else None
    if isinstance(listed, Items):
        return next((v for v in listed if isinstance(v, Leaf) and v.value == name), value)
    return value


def asking(graph: Graph, pick: Pick) -> Graph:
    """The same graph, which first asks for `fit` and does nothing with it: so all that counts choices counts it."""
    graph.params = {PATH: Const(GRADIENT, pick.mark), **graph.params}
    inputs = tuple(Input(name, (Ref(-1 - i, 0, 0),)) for i, name in enumerate(graph.inputs))
    member = Member("", graph.mark, Use(graph, {PATH: pick}, ()), inputs)
    outputs = tuple((name, Ref(0, i, 0)) for i, name in enumerate(graph.output_names))
    return Graph(graph.label, graph.mark, graph.inputs, outputs, (member,), depth=graph.depth + 1)


def without_asking(outline: tuple[Group, ...]) -> tuple[Group, ...]:
    """The outline of a graph without the body that `asking` put around it."""
    if len(outline) == 1 and (outline[0].path, outline[0].kind, outline[0].label) == ("", "definition", "graph"):
        return outline[0].children
    return outline
