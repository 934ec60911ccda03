"""The controls of a campaign: fixed architectures, at the candidates' size, that say what a score is worth.

A control is a space without choices. Its `campaign: {training: ...}` holds the settings that it alone is trained with.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import fields, replace
from typing import TYPE_CHECKING, Any

from archsearch import content
from archsearch.campaign import settings
from archsearch.campaign.gate import Blueprint, Gate
from archsearch.campaign.values import training_settings
from archsearch.errors import ConfigError, FileError, RuleError, UnknownNameError
from archsearch.graph.fits import FREQUENCIES

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
        control = SearchSpace.read(files[name], space.registry, content.block_files())
        own = _own_training(control)
        if control.fit != FREQUENCIES:  # what reads no input has no size
            control = control.like(space)
        try:
            blueprint = Gate(control, time)({})
        except (RuleError, FileError) as error:
            rule = f"A control must fit the space's sizes, but `{name}` does not: {error}"
            raise ConfigError(f"{rule} Leave it out with `--set controls=[...]`.") from None
        found[name] = replace(blueprint, line=_line(blueprint.line, own), training=own)
    return found


def _own_training(control: SearchSpace) -> dict[str, Any]:
    """The training settings of a control's file, checked; raises `ConfigError`."""
    flat = settings.flatten(control.campaign, f"the control {control.path}")
    names = {key.removeprefix("training."): value for key, value in flat.items() if key.startswith("training.")}
    if len(names) < len(flat):
        others = ", ".join(sorted(set(flat) - {f"training.{n}" for n in names}))
        raise ConfigError(f"The `campaign` of a control may say `training` alone, but {control.path} has {others}.")
    checked = training_settings(names)
    return {f.name: getattr(checked, f.name) for f in fields(checked) if f.name in names}


def _line(line: str, own: Mapping[str, Any]) -> str:
    """The architecture in a line, with how it is trained where that is its own: `gru → mlp (freeze: body)`."""
    if not own:
        return line
    return f"{line} ({'; '.join(f'{name}: {_words(value)}' for name, value in own.items())})"


def _words(value: Any) -> str:
    return ", ".join(f"{v:g}" for v in value) if isinstance(value, tuple) else str(value)
