"""The controls of a campaign: fixed architectures, at the candidates' size, that say what a score is worth."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from archsearch import content
from archsearch.campaign.gate import Blueprint, Gate
from archsearch.errors import ConfigError, FileError, RuleError, UnknownNameError

if TYPE_CHECKING:
    from archsearch.graph.space import SearchSpace

__all__ = ["blueprints"]


def blueprints(names: Iterable[str], space: SearchSpace, time: int) -> dict[str, Blueprint]:
    """The controls called `names`, at the sizes of `space` and under its `match`.

    Args:
        time: the length of the task's sequences.

    Raises:
        UnknownNameError: no control has this name.
        ConfigError: a control has no width of the size that the space's `match` asks for.
    """
    from archsearch.graph.space import SearchSpace

    files = {path.stem: path for path in content.control_files()}
    found: dict[str, Blueprint] = {}
    for name in names:
        if name not in files:
            raise UnknownNameError("control", name, files)
        control = SearchSpace.read(files[name], space.registry, content.block_files()).like(space)
        try:
            found[name] = Gate(control, time)({})
        except (RuleError, FileError) as error:
            rule = f"A control must fit the space's sizes, but `{name}` does not: {error}"
            raise ConfigError(f"{rule} Leave it out with `--set controls=[...]`.") from None
    return found
