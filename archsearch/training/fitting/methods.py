"""Each way of solving for a readout, as a stream of solutions that validation chooses from."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from types import MappingProxyType
from typing import Final

from archsearch.training.fitting.frequencies import frequencies
from archsearch.training.fitting.least_squares import random_features, ridge
from archsearch.training.fitting.problem import Problem, Solution
from archsearch.training.fitting.svm import svm
from archsearch.training.fitting.two_layers import convex

__all__ = ["METHODS"]

METHODS: Final[Mapping[str, Callable[[Problem], Iterator[Solution]]]] = MappingProxyType(
    {"ridge": ridge, "svm": svm, "convex": convex, "random_features": random_features, "frequencies": frequencies}
)
"""Each by the name that `fit` has for it."""
