"""All shipped ops: a class that `op` marks in one of these files is known under its name."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from types import MappingProxyType

from archsearch.errors import UnknownNameError
from archsearch.graph.opspec import OpSpec, Registry
from archsearch.ops import (
    additive_attention,
    attention,
    convolution,
    differential_attention,
    experts,
    fast_weights,
    feature_maps,
    gated,
    heads,
    hopfield,
    implicit,
    kan,
    latent_attention,
    matrices,
    memory,
    mlstm,
    norm,
    perceptron,
    plumbing,
    random_features,
    rates,
    readouts,
    recurrence,
    rwkv,
    s5,
    selective,
    slstm,
    solved,
    ssd,
    state_space,
    time,
    vectors,
)
from archsearch.ops.base import Op
from archsearch.ops.own import load

__all__ = ["op_class", "op_classes", "registry"]

FAMILIES = (
    perceptron,
    experts,
    kan,
    attention,
    latent_attention,
    differential_attention,
    hopfield,
    additive_attention,
    recurrence,
    gated,
    slstm,
    state_space,
    s5,
    selective,
    ssd,
    fast_weights,
    mlstm,
    rwkv,
    feature_maps,
    heads,
    convolution,
    random_features,
    readouts,
    memory,
    implicit,
    solved,
    norm,
    plumbing,
    vectors,
    matrices,
    time,
    rates,
)


@cache
def op_classes() -> MappingProxyType[str, type[Op]]:
    """The shipped op classes by name, a family after the other."""
    found: dict[str, type[Op]] = {}
    for module in FAMILIES:
        for value in vars(module).values():
            if not (isinstance(value, type) and issubclass(value, Op) and value.__dict__.get("name")):
                continue
            if value.__module__ == module.__name__:
                assert value.name not in found, f"two ops are called {value.name}"
                found[value.name] = value
    return MappingProxyType(found)


@cache
def registry() -> Registry:
    """The specs of the shipped ops, for the language; a space adds those of the files that it names."""
    return Registry((cls.spec() for cls in op_classes().values()), _own)


def _own(path: Path) -> list[OpSpec]:
    return [cls.spec() for cls in load(path).values()]


def op_class(name: str) -> type[Op]:
    """The class of the shipped op `name`; raises `UnknownNameError` with the nearest names."""
    try:
        return op_classes()[name]
    except KeyError:
        raise UnknownNameError("op", name, op_classes()) from None
