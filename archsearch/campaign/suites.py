"""Suites: tasks that a candidate is judged on together, by a name or in a person's file.

    name: state_tracking
    summary: A state that every token changes.
    task: [parity, modular_arithmetic, permutations]
    task_settings: {parity: {length: 40}}
    training: {parity: {steps: 2000}}

What such a file says of settings stands below everything that a campaign says.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from archsearch import content
from archsearch.campaign import config, layers, settings
from archsearch.campaign.values import in_values
from archsearch.errors import ConfigError, FileError
from archsearch.graph import reader

__all__ = ["Suite", "find", "names", "read", "resolve"]

KEYS: Final = ("name", "summary", "paper", "task", "task_settings", "training")


@dataclass(frozen=True)
class Suite:
    """A suite as its file has it.

    Args:
        summary, paper: for people.
        tasks: names or paths, at least two different ones.
        layer: settings of the tasks by dotted name.
    """

    name: str
    summary: str
    paper: str
    tasks: tuple[str, ...]
    layer: Mapping[str, Any]


def names() -> dict[str, Path]:
    """The shipped suites by name, in alphabetical order."""
    return {path.stem: path for path in content.suite_files()}


def find(name: str) -> Suite | None:
    """The suite that a word given for a task means: a shipped name, or the path of a YAML file; `None` if it is none.

    Raises:
        FileError: the file breaks a rule, with its line.
    """
    if not _is_suite(name):
        return None
    return read(Path(name).expanduser() if content.is_path(name) else names()[name])


def _is_suite(name: str) -> bool:
    return Path(name).suffix in (".yaml", ".yml") if content.is_path(name) else name in names()


def read(path: Path) -> Suite:
    """The suite in a YAML file; raises `FileError`."""
    from archsearch.tasks.registry import names as known_tasks

    document = reader.load(path)
    data = reader.plain(document.root)
    if not isinstance(data, dict) or not isinstance(document.root, reader.Table):
        raise FileError(path, 1, 1, "a suite must be a mapping with `name:` and `task:`", value=repr(data)[:60])
    document.root.only(KEYS, "a suite")
    name = data.get("name") or path.stem
    if not isinstance(name, str) or name in known_tasks():
        raise document.find("name").error("a suite must have a name that no task has", value=f"`{name}`")
    try:
        tasks = layers.task_names(data.get("task", ()))
        labels = layers.labels_of(tasks)
    except ConfigError as error:
        raise document.find("task").error(str(error).rstrip(".")) from None
    for task in tasks:
        if _is_suite(task):
            raise document.find("task").error("a suite must name tasks, not another suite", value=f"`{task}`")
    layer = {key: data[key] for key in ("task_settings", "training") if key in data}
    for mistake in in_values(layer, lambda keys, rule: document.find(*keys).error(rule), "a suite"):
        raise mistake
    _check_labels(document, layer, labels)
    about = {key: str(data.get(key) or "") for key in ("summary", "paper")}
    return Suite(name, tasks=tasks, layer=settings.flatten(layer, "a suite"), **about)


def _check_labels(document: reader.Document, layer: Mapping[str, Any], labels: Iterable[str]) -> None:
    """Raises `FileError` for a setting of a task that is not in the suite."""
    known = tuple(labels)
    for name, _, keys in settings.entries(layer, "a suite"):
        try:
            layers.addressed({name: None}, known)
        except ConfigError as error:
            raise document.find(*keys).error(str(error).rstrip(".")) from None


def resolve(**given: Any) -> config.CampaignConfig:
    """`archsearch.campaign.config.resolve` with the tasks and suites that there are.

    Raises:
        UserError: a task or a setting that cannot be used.
    """
    from archsearch.tasks.registry import names as known_tasks
    from archsearch.tasks.registry import task_class

    found = config.resolve(**given, task_training=lambda task: task_class(task).training, suite=find)
    if found.members and (found.task in known_tasks() or not found.task.strip()):
        raise ConfigError(
            f"Several tasks must have a name together that no task has, but got `task: {found.task}` and "
            f"`members: {', '.join(found.members)}`."
        )
    return found
