"""Which settings of which layer hold: the nearer wins, and what belongs to another task or agent is forgotten.

A campaign is on one task or on a suite of several. Settings of one of several are `task.NAME.*` and `training.NAME.*`,
NAME being a shipped task's name or the stem of a person's file; `training.*` of a nearer layer is for each of them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

from archsearch.campaign.settings import COMMON, SETTINGS
from archsearch.content import is_path
from archsearch.errors import ConfigError, nearest

__all__ = ["SuiteLike", "addressed", "label_of", "labels_of", "merged", "opened", "task_names"]

Layer = Mapping[str, Any]


class SuiteLike(Protocol):
    """A named suite: its tasks, and what its file says of their settings, by dotted name."""

    @property
    def name(self) -> str: ...

    @property
    def tasks(self) -> tuple[str, ...]: ...

    @property
    def layer(self) -> Mapping[str, Any]: ...


def label_of(task: str) -> str:
    """What a task is called among several: its name, or the stem of its file."""
    return Path(task).stem if is_path(task) else task


def labels_of(tasks: Sequence[str]) -> dict[str, str]:
    """The tasks by label, in order; raises `ConfigError` for a label that means two things."""
    found: dict[str, str] = {}
    for task in tasks:
        label = label_of(task)
        if label in found:
            raise ConfigError(f"The tasks of a campaign must be different ones, but got `{label}` twice.")
        found[label] = task
    if len(found) > 1 and (wrong := next((n for n in found if f"training.{n}" in SETTINGS), None)):
        raise ConfigError(f"A task among several must not be called like a setting of training, but got `{wrong}`.")
    return found


def task_names(value: Any) -> tuple[str, ...]:
    """What `task: a`, `task: a,b` and `task: [a, b]` name.

    Raises:
        ConfigError: no name, or something else than names.
    """
    given = list(value) if isinstance(value, list | tuple) else [value]
    if not all(isinstance(name, str) for name in given):
        raise ConfigError(f"`task` must be the name of a task, or a list of names, but got {value!r}.")
    names = tuple(part.strip() for name in given for part in name.split(",") if part.strip())
    if not names:
        raise ConfigError(f"`task` must name at least one task, but got {value!r}.")
    return names


def merged(
    layers: Sequence[Layer],
    *,
    task_training: Callable[[str], Mapping[str, Any]],
    suite: Callable[[str], SuiteLike | None],
) -> dict[str, Any]:
    """What all layers say together, by dotted name, the last one wins; `members` has the names of several tasks.

    Args:
        task_training: the recommended training settings of a task.
        suite: the suite of a name or a file, if it is one.

    Raises:
        ConfigError: nothing names a space or a task, or a setting is for a task that the campaign is not on.
    """
    kept = _of_the_same_owners([_with_names(layer) for layer in layers])
    top = {key: layer[key] for layer in kept for key in ("space", "task", "members") if layer.get(key) is not None}
    for key in ("space", "task"):
        if key not in top:
            raise ConfigError(f"A campaign needs a {key}, but nothing names one: `{key}: NAME`, or `--{key} NAME`.")
    name, tasks, below = opened(top["task"], top.get("members"), suite)
    labels = labels_of(tasks)
    recommended = {
        f"training.{label}.{k}": v for label, task in labels.items() for k, v in dict(task_training(task)).items()
    }
    if len(labels) > 1:
        recommended = {k: v for k, v in recommended.items() if k.rpartition(".")[2] not in COMMON}
    flat: dict[str, Any] = {}
    for layer in (recommended, *below, *kept):
        _lay(flat, addressed(layer, tuple(labels)), tuple(labels))
    if len(labels) == 1:
        flat.pop("members", None)
        return flat | {"task": tasks[0]}
    return flat | {"task": name, "members": tasks}


def _with_names(layer: Layer) -> dict[str, Any]:
    """A layer in which `task` is one name, and `members` the names of several."""
    found = dict(layer)
    if found.get("task") is not None:
        names = task_names(found["task"])
        if len(names) > 1 and found.get("members") is not None:
            raise ConfigError(
                f"Several tasks stand in `task`, or in `members` under the name that `task` gives them, but got "
                f"`task: {', '.join(names)}` and `members: {', '.join(task_names(found['members']))}`."
            )
        if len(names) > 1:
            found |= {"task": "+".join(labels_of(names)), "members": names}
        else:
            found["task"] = names[0]
    if found.get("members") is not None:
        found["members"] = task_names(found["members"])
    return found


def _of_the_same_owners(layers: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """The layers without settings of another task or agent than the one that a nearer layer asks for."""
    kept: list[dict[str, Any]] = []
    now: dict[str, Any] = {}
    for layer in layers:
        for owner in ("task", "agent"):
            if layer.get(owner, now.get(owner)) != now.get(owner):
                kept = [{k: v for k, v in earlier.items() if not _is_of(owner, k)} for earlier in kept]
        now |= {k: v for k, v in layer.items() if k in ("task", "agent")}
        kept.append(layer)
    return kept


def _is_of(owner: str, key: str) -> bool:
    own = key.startswith(f"{owner}.")
    return own or (owner == "task" and (key == "members" or (key.startswith("training.") and key.count(".") > 1)))


def opened(
    name: str, members: Sequence[str] | None, suite: Callable[[str], SuiteLike | None]
) -> tuple[str, tuple[str, ...], list[Layer]]:
    """What the campaign is on is called, its tasks, and what the named suites among them say of those."""
    tasks: list[str] = []
    layers: list[Layer] = []
    for member in members or (name,):
        found = suite(member)
        tasks += found.tasks if found else (member,)
        layers += [found.layer] if found else []
        if found and not members:
            name = found.name
    return name, tuple(tasks), layers


def addressed(layer: Layer, labels: tuple[str, ...]) -> dict[str, Any]:
    """A layer whose settings of a task are `task.LABEL.*` with several tasks, and `task.*` with one.

    Raises:
        ConfigError: a setting is for none of the tasks, or with several does not say for which.
    """
    general, own = {}, {}
    for key, value in layer.items():
        label = next((n for n in labels if key.startswith((f"task.{n}.", f"training.{n}."))), None)
        if label is not None and len(labels) == 1:
            own[key.replace(f".{label}.", ".", 1)] = value
        elif label is None and _needs_label(key, labels):
            raise ConfigError(_unknown(key, labels))
        else:
            general[key] = value
    return general | own


def _needs_label(key: str, labels: tuple[str, ...]) -> bool:
    if key.startswith("training."):
        return key.count(".") > 1
    return key.startswith("task.") and (len(labels) > 1 or key.count(".") > 1)


def _unknown(key: str, labels: tuple[str, ...]) -> str:
    what, _, rest = key.partition(".")
    if len(labels) > 1 and "." not in rest:
        rule = "A campaign on several tasks must say whose a setting is"
        return f"{rule}, as in `task.{labels[0]}.{rest}`, but got `{key}`."
    given, _, name = rest.rpartition(".")
    if what == "training" and f"training.{name}" not in SETTINGS:
        name = "steps"
    near = nearest(given, labels) or labels
    guess = " or ".join(f"`{what}.{n}.{name}`" for n in near[:3])
    return f"A setting must be for a task that the campaign is on, as in {guess}, but got `{key}`."


def _lay(flat: dict[str, Any], layer: Layer, labels: Iterable[str]) -> None:
    """Puts a nearer layer on top: what it says of `training` for all replaces what was said for one."""
    for key in layer:
        if key.startswith("training.") and key.count(".") == 1:
            for label in labels:
                flat.pop(f"training.{label}.{key.removeprefix('training.')}", None)
    flat.update(layer)
