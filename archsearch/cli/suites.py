"""Several tasks, for people: which a suite has, and what was measured on them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import click

from archsearch.cli.common import print_json, print_pairs, table
from archsearch.errors import ConfigError

if TYPE_CHECKING:
    from archsearch.campaign.suites import Suite
    from archsearch.graph.decoding import Decoding
    from archsearch.tasks.base import Task
    from archsearch.training.measurement import Measurement

__all__ = ["print_suite", "show_suite", "suite_data"]

HEAD = ("task", "metric", "score", "95 % over seeds", "of the way", "solved by", "steps", "rate", "seconds")


def print_suite(
    whole: Measurement, parts: Mapping[str, Measurement], tasks: Mapping[str, Task], keeps: Decoding
) -> None:
    """Prints a line for each task, then their mean and what is of all.

    Args:
        whole: what `archsearch.training.pooling.pooled` makes of `parts`, the measurements by task.
        keeps: what decoding carries.
    """
    from archsearch.leaderboard.text import interval, short_bytes, short_count
    from archsearch.training.pooling import METRIC

    table([_line(label, m, tasks[label]) for label, m in parts.items()], head=HEAD)
    click.echo()
    ends = interval(whole.score_low, whole.score_high, METRIC, places=4)
    over_seeds = f" (95 % over seeds: {ends})" if ends else ""
    print_pairs(
        [
            (METRIC, f"{_number(whole.score)}{over_seeds} on {whole.fidelity.split}"),
            ("seconds", f"{whole.seconds:.1f}, of them {whole.train_seconds:.1f} of training"),
            ("parameters", f"{whole.body_params:,} in the graph"),
            ("FLOPs a token", short_count(whole.flops_per_token)),
            ("state", short_bytes(whole.state_bytes)),
            ("decoding", keeps),
            ("parallel in time", "yes" if whole.parallel_in_time else "no"),
            *whole.environment.items(),
        ]
    )


def _line(label: str, m: Measurement, task: Task) -> tuple[str, ...]:
    from archsearch.campaign.judged import scale_of
    from archsearch.leaderboard.text import interval, solved

    share = None if m.score is None else scale_of(label, task).share(m.score)
    ends = interval(m.score_low, m.score_high, task.metric, places=4)
    rate = "" if m.learning_rate is None else f"{m.learning_rate:g}"
    scores = (_number(m.score), ends, _number(share), solved(m) or "")
    return (label, task.metric, *scores, str(m.steps), rate, f"{m.seconds:.1f}")


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.4f}"


def suite_data(suite: Suite) -> dict[str, Any]:
    """A suite as plain JSON data; `settings` by dotted name."""
    about = {name: getattr(suite, name) for name in ("name", "summary", "paper")}
    return {**about, "tasks": list(suite.tasks), "settings": dict(suite.layer)}


def show_suite(suite: Suite, sets: tuple[str, ...], as_json: bool) -> None:
    """Prints the tasks of a suite; raises `ConfigError` if `sets` has settings, which are for a task alone."""
    from archsearch.campaign.layers import labels_of
    from archsearch.tasks.registry import task_class

    kinds = {label: task_class(task) for label, task in labels_of(suite.tasks).items()}
    first = next(iter(kinds))
    if sets:
        rule = f"`--set` takes the settings of a task, but `{suite.name}` is a suite of several"
        raise ConfigError(f"{rule}: archsearch tasks show {first} --set {sets[0]}")
    if as_json:
        print_json(suite_data(suite))
        return
    click.echo(f"{suite.name}: {suite.summary}\n")
    table([(label, f"{k.metric} {'↑' if k.maximize else '↓'}", _steps(k), k.summary) for label, k in kinds.items()])
    click.echo()
    score = "the mean over the tasks; on each 0 is chance and 1 the best there is"
    settings = f"--set task.{first}.NAME=VALUE, --set training.{first}.NAME=VALUE"
    print_pairs([("paper", suite.paper), ("score", score), ("settings", settings), *suite.layer.items()])


def _steps(kind: type[Task]) -> str:
    return f"{kind.training['steps']} steps" if "steps" in kind.training else ""
