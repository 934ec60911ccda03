"""What judges the candidates of a campaign: one task, or several and the mean of what they say."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

from archsearch.campaign.config import CampaignConfig
from archsearch.errors import ConfigError
from archsearch.training.pooling import METRIC, Scale, digest

if TYPE_CHECKING:
    from archsearch.graph.space import SearchSpace
    from archsearch.tasks.base import Task

__all__ = ["check_causal", "facts", "length", "maximize", "scale_of", "tasks_of", "with_absolute_paths"]

PERFECT: Final = {"accuracy": 1.0, "balanced_accuracy": 1.0, "macro_f1": 1.0, "r2": 1.0}
"""The best conceivable score of a metric that is to be large."""

Tasks = Mapping[str, "Task"]


def tasks_of(config: CampaignConfig) -> dict[str, Task]:
    """The tasks of a campaign by label, in order.

    Raises:
        UserError: a task or a setting that cannot be used, or several of which one has no scale.
    """
    from archsearch.tasks import contract
    from archsearch.tasks.registry import make

    tasks = {}
    for choice in config.tasks:
        try:
            tasks[choice.label] = make(choice.task, choice.settings)
        except ConfigError as error:
            if not config.members:
                raise
            # It may say how to set what is missing, which with several tasks needs a name before it.
            raise ConfigError(str(error).replace("--set task.", f"--set task.{choice.label}.")) from None
    for task in tasks.values():
        contract.check_all(task)
    if config.members:
        for label, task in tasks.items():
            scale_of(label, task)
    return tasks


def length(tasks: Tasks) -> int:
    """The longest sequence, at which the costs of an architecture are worked out."""
    return max(task.length for task in tasks.values())


def maximize(tasks: Tasks) -> bool:
    """Whether a larger score is better; of a mean it is."""
    return len(tasks) > 1 or all(task.maximize for task in tasks.values())


def scale_of(label: str, task: Task) -> Scale:
    """What counts as 0 and as 1: chance, and the ceiling or, where nobody knows it, the best conceivable.

    Raises:
        ConfigError: the metric has no best that is known here, or chance is the best there is.
    """
    best = task.ceiling
    if best is None:
        best = PERFECT.get(task.metric) if task.maximize else 0.0
    if best is None:
        raise ConfigError(
            f"A task among several must have a `ceiling`, so that its scores can be brought to one scale, but "
            f"`{label}` ({task.metric}) has none."
        )
    if (best <= task.chance) if task.maximize else (best >= task.chance):
        raise ConfigError(
            f"A task among several must leave something to learn, but of `{label}` chance is {task.chance:g} and the "
            f"best {task.metric} {best:g}."
        )
    return Scale(task.chance, best)


def check_causal(space: SearchSpace, tasks: Tasks) -> None:
    """Raises `ConfigError` for a task that asks at every step and a space whose candidates may look ahead."""
    for task in tasks.values():
        if task.causal and not space.causal:
            raise ConfigError(
                f"Task `{task.name}` asks at every step for what comes next, so a space for it must be causal, but "
                f"`{space.name}` says `causal: false`: its candidates could read their own targets."
            )


def with_absolute_paths(config: CampaignConfig) -> CampaignConfig:
    """`config` with the files that tasks read as they are found from anywhere: a worker may stand in another folder."""
    from archsearch.tasks.registry import task_class
    from archsearch.tasks.settings import with_absolute_paths as absolute

    found = {choice.label: absolute(task_class(choice.task), choice.settings) for choice in config.tasks}
    if config.members:
        return replace(config, task_settings={label: own for label, own in found.items() if own})
    return replace(config, task_settings=next(iter(found.values())))


def facts(config: CampaignConfig, tasks: Tasks) -> dict[str, Any]:
    """What a results folder says of the task, or of all of them under `tasks`; plain data."""
    found = {label: _facts(task) for label, task in tasks.items()}
    if not config.members:
        return next(iter(found.values()))
    for label, task in tasks.items():
        found[label]["best"] = scale_of(label, task).best
    return {
        "name": config.task,
        "settings": {label: about["settings"] for label, about in found.items()},
        "metric": METRIC,
        "maximize": True,
        "chance": 0.0,
        "ceiling": 1.0,
        "solved": None,
        "length": length(tasks),
        "digest": digest(about["digest"] for about in found.values()),
        "tasks": found,
    }


def _facts(task: Task) -> dict[str, Any]:
    return {
        "name": task.name,
        "settings": task.settings(),
        "metric": task.metric,
        "maximize": task.maximize,
        "chance": task.chance,
        "ceiling": task.ceiling,
        "solved": task.solved,
        "length": task.length,
        "digest": task.digest(),
    }
