"""Parameters under dotted names: `body.0.mix.q` is a branch of a branch, as `state_dict` expects it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from torch import nn

from archsearch.build.seeding import draw
from archsearch.errors import RuleError
from archsearch.ops.base import Weight

__all__ = ["Branch", "Trained", "plant"]


class Trained(NamedTuple):
    """A parameter that an optimiser moves, the factor on its learning rate, and whether weight decay applies to it."""

    parameter: nn.Parameter
    lr_mult: float
    decay: bool


class Branch(nn.Module):
    """A node of the tree of names. Its own parameters are the mapping that an op is called with."""

    def branch(self, path: str) -> Branch:
        """The branch at a dotted path, made where it is missing.

        Writes to the table of children itself, since `add_module` refuses names that are methods, such as `type`.
        """
        at: Branch = self
        for name in path.split("."):
            child = at._modules.setdefault(name, Branch())
            assert isinstance(child, Branch)
            at = child
        return at


@dataclass
class Plot:
    """Where parameters are planted, and how those of them train that do."""

    root: Branch
    seeds: Sequence[int]
    prefix: str = ""
    trained: list[Trained] = field(default_factory=list)


def plant(plot: Plot, path: str, weights: Iterable[Weight]) -> Branch:
    """Draws `weights` at `path` of the tree and notes how they train; a path that is there already is shared.

    Raises:
        RuleError: what shares a path has other shapes than what was there first.
    """
    weights = tuple(weights)
    if not weights:
        return Branch()
    leaf = plot.root.branch(path)
    if leaf._parameters:
        have = {name: tuple(p.shape[1:]) for name, p in leaf._parameters.items() if p is not None}
        if have != {w.name: w.shape for w in weights}:
            raise RuleError("nodes that share weights must have equal weight shapes", value=str(have), node=path)
        return leaf
    for w in weights:
        parameter = nn.Parameter(draw(w, f"{plot.prefix}{path}.{w.name}", plot.seeds), requires_grad=w.trained)
        leaf._parameters[w.name] = parameter
        if w.trained:
            plot.trained.append(Trained(parameter, w.lr_mult, w.decay))
    return leaf
