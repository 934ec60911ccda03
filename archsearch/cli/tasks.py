"""`archsearch tasks list|show`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from archsearch.cli.common import as_json, print_json, print_pairs, table

if TYPE_CHECKING:
    from archsearch.tasks.base import Task

__all__ = ["tasks"]


@click.group()
def tasks() -> None:
    """List the tasks, or show one."""


@tasks.command("list")
@as_json
def list_tasks(as_json: bool) -> None:
    """List the shipped tasks."""
    from archsearch.tasks.registry import names, task_class

    found = [task_class(n) for n in names()]
    if as_json:
        print_json([_about(t) for t in found])
    else:
        table([(t.name, f"{t.metric} {'↑' if t.maximize else '↓'}", t.summary) for t in found])


@tasks.command()
@click.argument("name")
@as_json
def show(name: str, as_json: bool) -> None:
    """Show a task, by name or by file: metric, settings, recommended training."""
    from archsearch.cli.ops import setting_data, setting_text
    from archsearch.tasks.registry import make, task_class
    from archsearch.tasks.settings import settings_of

    kind = task_class(name)
    task = make(name, {})
    scale = {"length": task.length, "causal": task.causal, "chance": task.chance, "ceiling": task.ceiling}
    if as_json:
        settings = [setting_data(s) for s in settings_of(kind)]
        print_json({**_about(kind), **scale, "digest": task.digest(), "settings": settings})
        return
    click.echo(f"{kind.name}: {kind.summary}\n")
    training = ", ".join(f"{k}={v}" for k, v in kind.training.items())
    better = "higher" if kind.maximize else "lower"
    print_pairs([("metric", f"{kind.metric}, {better} is better"), ("paper", kind.paper), *scale.items()])
    print_pairs([("training", training)])
    if settings_of(kind):
        click.echo("\nSettings (--set task.NAME=VALUE)")
        table([setting_text(s) for s in settings_of(kind)])


def _about(kind: type[Task]) -> dict[str, Any]:
    names = ("name", "summary", "metric", "maximize", "paper")
    training = {k: list(v) if isinstance(v, tuple) else v for k, v in kind.training.items()}
    return {**{n: getattr(kind, n) for n in names}, "training": training}
