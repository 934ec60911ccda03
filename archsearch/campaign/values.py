"""Values of a campaign's settings, checked where they stand in a file; needs neither tasks nor agents."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

from archsearch.campaign import settings
from archsearch.errors import ConfigError, FileError
from archsearch.training.measurement import TrainingSettings

__all__ = ["Located", "Place", "in_values", "located", "rule_of", "training_settings"]

Place = Callable[[Iterable[str], str], FileError]
"""Makes the error of a rule at a path of keys of the layer."""

Located = dict[str, tuple[Any, tuple[str, ...]]]
"""Settings by dotted name: the value, and the keys under which it stands."""


def in_values(layer: Mapping[str, Any], place: Place, where: str) -> Iterator[FileError]:
    """Unknown settings and values that do not fit; `where` is what a message calls the layer."""
    for key in layer:
        try:
            found = located({key: layer[key]}, where)
        except ConfigError as error:
            yield place((key,), rule_of(error))
            continue
        for name, (value, keys) in found.items():
            try:
                settings.check(name, value)
                if name.startswith("training."):
                    training_settings({name.rpartition(".")[2]: value})
            except ConfigError as error:
                yield place(keys, rule_of(error))


def located(layer: Mapping[str, Any], where: str) -> Located:
    """The settings of a layer by dotted name, each with the keys under which it stands."""
    return {name: (value, keys) for name, value, keys in settings.entries(layer, where)}


def training_settings(values: Mapping[str, Any]) -> TrainingSettings:
    """Training settings by name (`{"steps": 400}`), checked; raises `ConfigError`."""
    checked = {k: settings.check(f"training.{k}", v) for k, v in values.items()}
    for name in ("learning_rates", "rate_factors"):
        rates = checked.get(name)
        if rates is not None and (not rates or min(rates) <= 0):
            raise ConfigError(f"`training.{name}` must be at least one number above 0, but got {list(rates)}.")
    for name, value in checked.items():
        if value is None:
            raise ConfigError(f"`training.{name}` must have a value, but got null.")
    return TrainingSettings(**checked)


def rule_of(error: Exception) -> str:
    """The message of an error as the rule of another: without its full stop."""
    return str(error).rstrip(".")
