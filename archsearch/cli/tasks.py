"""`archsearch tasks list|show|docs|calibrate`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from archsearch.cli.calibrate import calibrate
from archsearch.cli.common import as_json, print_json, print_pairs, table
from archsearch.cli.suites import show_suite, suite_data

if TYPE_CHECKING:
    from archsearch.tasks.base import Task

__all__ = ["tasks"]


@click.group()
def tasks() -> None:
    """List the tasks, show one, print the page of all, or find a difficulty."""


tasks.add_command(calibrate)


@tasks.command("list")
@as_json
def list_tasks(as_json: bool) -> None:
    """List the shipped tasks, and the suites: several tasks under one name."""
    from archsearch.campaign import suites
    from archsearch.tasks.registry import names, task_class

    found = [task_class(n) for n in names()]
    several = [suites.read(path) for path in suites.names().values()]
    if as_json:
        print_json([*map(_about, found), *map(suite_data, several)])
        return
    table([(t.name, f"{t.metric} {'↑' if t.maximize else '↓'}", t.summary) for t in found])
    click.echo("\nSuites")
    table([(s.name, f"{len(s.tasks)} tasks", s.summary) for s in several])


@tasks.command()
@click.argument("name")
@click.option("--set", "sets", multiple=True, metavar="KEY=VALUE", help="task.length=64, ...")
@as_json
def show(name: str, sets: tuple[str, ...], as_json: bool) -> None:
    """Show a task, by name or by file: metric, settings, recommended training, and known scores. Of a suite, its tasks.

    A task on your own data shows its length and chance once it is told where they are: --set task.path=./book.txt
    """
    from archsearch.campaign.suites import find as find_suite
    from archsearch.cli.ops import setting_data, setting_text
    from archsearch.tasks import contract
    from archsearch.tasks.registry import make, task_class
    from archsearch.tasks.settings import needed_by, settings_of

    if (suite := find_suite(name)) is not None:
        show_suite(suite, sets, as_json)
        return
    kind, given = task_class(name), _settings(sets)
    needed = [] if given else [f"task.{n}" for n in needed_by(kind)]
    task = None if needed else make(name, given)
    if task:
        contract.check_all(task)
    scale = _scale(task) if task else {"needs": ", ".join(needed)}
    baselines = dict(task.baselines) if task else {}
    if as_json:
        settings = [setting_data(s) for s in settings_of(kind)]
        known = {
            "baselines": baselines,
            "digest": task and task.digest(),
            "metrics": list(task.metrics) if task else [],
        }
        print_json({**_about(task or kind), **scale, **known, "settings": settings})
        return
    click.echo(f"{kind.name}: {kind.summary}\n")
    training = ", ".join(f"{k}={v}" for k, v in kind.training.items())
    judged = task or kind
    better = "higher" if judged.maximize else "lower"
    metrics = {
        "metric": f"{judged.metric}, {better} is better",
        "others": ", ".join(task.metrics[1:]) if task else None,
    }
    shown = {name: f"{value:.4f}" if isinstance(value, float) else value for name, value in scale.items()}
    others = {name: f"{score:.4f}" for name, score in baselines.items()}
    ladder = "; ".join(f"{k} {', '.join(map(str, v))}" for k, v in kind.ladder.items())
    told = {**metrics, "paper": kind.paper, **shown, "training": training, **others, "ladder": ladder}
    print_pairs(told.items())
    if settings_of(kind):
        click.echo("\nSettings (--set task.NAME=VALUE)")
        table([setting_text(s) for s in settings_of(kind)])


def _settings(sets: tuple[str, ...]) -> dict[str, Any]:
    """What `--set task.NAME=VALUE` gives, by name.

    Raises:
        ConfigError: a setting of something else.
    """
    from archsearch.campaign.settings import parse_set
    from archsearch.errors import ConfigError

    given = parse_set(sets)
    for key in given:
        if not key.startswith("task."):
            raise ConfigError(f"`--set` takes settings of the task here, `task.NAME=VALUE`, but got `{key}`.")
    return {key.removeprefix("task."): value for key, value in given.items()}


def _scale(task: Task) -> dict[str, Any]:
    return {"length": task.length, "causal": task.causal, "chance": task.chance, "ceiling": task.ceiling}


@tasks.command()
@click.option("-o", "--output", type=click.Path(dir_okay=False, path_type=Path), help="A file, instead of stdout.")
def docs(output: Path | None) -> None:
    """Print the page of all tasks, docs/tasks.md, as Markdown."""
    from archsearch.cli.tasks_page import page

    if output is None:
        click.echo(page(), nl=False)
    else:
        output.write_text(page(), encoding="utf-8")


def _about(kind: Task | type[Task]) -> dict[str, Any]:
    names = ("name", "summary", "metric", "maximize", "paper")
    training = {k: list(v) if isinstance(v, tuple) else v for k, v in kind.training.items()}
    ladder = {k: list(v) for k, v in kind.ladder.items()}
    return {**{n: getattr(kind, n) for n in names}, "training": training, "ladder": ladder}
