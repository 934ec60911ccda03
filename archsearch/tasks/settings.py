"""The settings of a task: the fields of its dataclass, with ranges, checked before anything is made of them."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from archsearch.errors import ConfigError, RuleError, UnknownNameError
from archsearch.graph.opspec import Setting

__all__ = [
    "HUB",
    "METRIC",
    "check_given",
    "complete",
    "has_metric",
    "is_local",
    "needed_by",
    "paths_of",
    "setting",
    "settings_of",
    "with_absolute_paths",
]

HUB = "hub:"
"""What stands before the name of a data set of Hugging Face in a setting that is a path."""
METRIC = Setting("metric", str, required=True, help="what ranks candidates, instead of the task's own metric")
"""The setting that every task has besides its fields; see `archsearch.tasks.ranked`."""
KINDS: dict[str, type] = {"int": int, "float": float, "bool": bool, "str": str}


def setting(
    default: Any,
    *,
    low: float | None = None,
    high: float | None = None,
    options: tuple[str, ...] = (),
    help: str = "",
    needed: bool = False,
    path: bool = False,
) -> Any:
    """A field of a task that a person may set: `length: int = setting(128, low=2, help="tokens of one example")`.

    Args:
        low, high: inclusive bounds of a number.
        options: the names that a string may be.
        needed: it has to be given; the default is the empty text.
        path: it is the path of a person's file or folder; made absolute, so that it is found from anywhere, and no part
            of the digest, which goes by what is in the file.
    """
    about = {"low": low, "high": high, "options": options, "help": help, "needed": needed, "path": path}
    return dataclasses.field(default=default, metadata=about)


def needed_by(task: type) -> tuple[str, ...]:
    """The settings that have to be given."""
    return tuple(f.name for f in dataclasses.fields(task) if f.metadata.get("needed"))


def paths_of(task: type) -> tuple[str, ...]:
    """The settings that are paths."""
    return tuple(f.name for f in dataclasses.fields(task) if f.metadata.get("path"))


def has_metric(task: type) -> bool:
    """Whether a task has a field of its own by the name of `METRIC`, and sees to it itself."""
    return any(f.name == METRIC.name for f in dataclasses.fields(task))


def with_absolute_paths(task: type, values: Mapping[str, Any]) -> dict[str, Any]:
    """The same settings, paths of files and folders as they are found from anywhere."""
    known = paths_of(task)
    return {k: _absolute(v) if k in known and isinstance(v, str) and v else v for k, v in values.items()}


def settings_of(task: type) -> tuple[Setting, ...]:
    """The settings of a task class, in order, with kinds, ranges and defaults.

    Raises:
        TypeError: a field has another type than int, float, bool or str, or no default.
    """
    return tuple(_setting(task, field) for field in dataclasses.fields(task) if field.init)


def complete(task: type, values: Mapping[str, Any]) -> dict[str, Any]:
    """All settings of a task class, checked, with defaults filled in.

    Raises:
        UnknownNameError: a setting that the task does not have, with the nearest names.
        ConfigError: a value of the wrong kind or out of range, or one that is needed and not given.
    """
    known = {s.name: s for s in settings_of(task)}
    given = check_given(task, values)
    for key in needed_by(task):
        if not given.get(key):
            raise ConfigError(
                f"Task `{_name(task)}` needs the setting `{key}`, {known[key].help}: --set task.{key}=..., or under "
                "`task_settings` in a campaign."
            )
    return {key: given.get(key, s.default) for key, s in known.items()}


def check_given(task: type, values: Mapping[str, Any]) -> dict[str, Any]:
    """Some settings of a task class, checked, with absolute paths.

    Raises:
        UnknownNameError: a setting that the task does not have, with the nearest names.
        ConfigError: a value of the wrong kind or out of range.
    """
    known = {s.name: s for s in (METRIC, *settings_of(task))}
    for key in values:
        if key not in known:
            raise UnknownNameError("setting", key, known, of=f"of task `{_name(task)}`")
    # A column may be called 2020, which is a number on the command line and in YAML.
    said = {k: str(v) if known[k].kind is str and type(v) is int else v for k, v in values.items()}
    try:
        return with_absolute_paths(task, {key: known[key].check(value) for key, value in said.items()})
    except RuleError as error:
        raise ConfigError(f"Task `{_name(task)}`: {error}") from None


def _name(task: type) -> str:
    return getattr(task, "name", "") or task.__name__


def is_local(path: str) -> bool:
    """Whether what stands after `hub:` is a folder, by its first letter."""
    return path.removeprefix(HUB).startswith((".", "/", "~"))


def _absolute(path: str) -> str:
    if path.startswith(HUB):
        name, colon, config = path.removeprefix(HUB).partition(":")
        return f"{HUB}{_absolute(name)}{colon}{config}" if is_local(path) else path
    return str(Path(path).expanduser().resolve())


def _setting(task: type, field: dataclasses.Field[Any]) -> Setting:
    annotation = field.type if isinstance(field.type, str) else field.type.__name__
    if annotation not in KINDS:
        raise TypeError(
            f"setting `{field.name}` of {task.__name__} must be int, float, bool or str, but is {annotation}"
        )
    if field.default is dataclasses.MISSING:
        raise TypeError(f"setting `{field.name}` of {task.__name__} must have a default")
    return Setting(
        name=field.name,
        kind=KINDS[annotation],
        default=field.default,
        required=True,  # a given value may not be null: every setting has a default that says something
        low=field.metadata.get("low"),
        high=field.metadata.get("high"),
        options=field.metadata.get("options", ()),
        help=field.metadata.get("help", ""),
    )
