"""`archsearch train`: one architecture, no search."""

from __future__ import annotations

import random
from collections.abc import Mapping
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import click

from archsearch.cli.common import as_json, note, print_json, print_pairs, table
from archsearch.cli.solutions import print_solutions
from archsearch.cli.suites import print_suite
from archsearch.errors import CandidateError, ConfigError

if TYPE_CHECKING:
    from archsearch.campaign.config import CampaignConfig
    from archsearch.graph.architecture import Architecture
    from archsearch.graph.decoding import Decoding
    from archsearch.graph.space import SearchSpace
    from archsearch.tasks.base import Task
    from archsearch.training.measurement import Measurement

__all__ = ["train"]


@click.command()
@click.argument("architecture", metavar="ARCHITECTURE.yaml")
@click.option("--task", help="A task by name or file, several (parity,permutations) or a suite.  [default: the file's]")
@click.option("--set", "sets", multiple=True, metavar="KEY=VALUE", help="training.steps=400, task.length=64, ...")
@click.option("--seeds", type=click.IntRange(min=1), help="How many seeds to train, as copies of one model.")
@click.option("--seed", default=0, show_default=True, help="The first of them.")
@as_json
def train(
    architecture: str, task: str | None, sets: tuple[str, ...], seeds: int | None, seed: int, as_json: bool
) -> None:
    """Train one architecture, a space without open choices, and print everything that is measured.

    The score is on validation: the test set stays sealed.
    """
    from archsearch.api import SearchSpace
    from archsearch.campaign import judged
    from archsearch.graph.decoding import decoding
    from archsearch.graph.line import one_line

    space = SearchSpace.read(architecture)
    if not space.is_point:
        raise ConfigError(
            f"An architecture to train must leave no choice open, but {space.path} does. Search it: "
            f"archsearch run {architecture}"
        )
    config = _config(space, architecture, task, sets, seeds)
    graph = space.sample(random.Random(0)).architecture
    tasks = judged.tasks_of(config)
    keeps = decoding(graph, space.registry, judged.length(tasks))
    parts = _trained(config, graph, seed, one_line(graph))
    whole = _whole(config, parts, tasks)
    if as_json:
        about = {"architecture": one_line(graph), "decoding": {**asdict(keeps), "constant": keeps.is_constant}}
        each = {"tasks": {label: m.to_dict() for label, m in parts.items()}} if config.members else {}
        print_json({**about, "graph": graph.to_dict(), **whole.to_dict(), **each})
    elif config.members:
        print_suite(whole, parts, tasks, keeps)
    else:
        _print(whole, keeps, next(iter(tasks.values())).metric)


def _config(
    space: SearchSpace, name: str, task: str | None, sets: tuple[str, ...], seeds: int | None
) -> CampaignConfig:
    """Training and task settings, resolved as for a campaign of this one architecture."""
    from archsearch.campaign import mistakes
    from archsearch.campaign.suites import resolve

    for mistake in mistakes.in_space(space):
        raise mistake
    _check_sets(sets)
    given: dict[str, Any] = {"space": name, "task": task, "training": {"seeds": seeds}}
    return resolve(flags=given, sets=sets, space_defaults=space.campaign)


def _check_sets(sets: tuple[str, ...]) -> None:
    """Raises `ConfigError` for settings that only a search has."""
    from archsearch.campaign import settings

    for name, value in settings.parse_set(sets).items():
        settings.check(name, value)
        if not name.startswith(("training.", "task.")):
            raise ConfigError(
                f"`archsearch train` trains one architecture, so `--set` takes `training.*` and `task.*`, but got "
                f"`{name}`, which is a setting of a search: archsearch run."
            )


def _trained(config: CampaignConfig, graph: Architecture, seed: int, line: str) -> dict[str, Measurement]:
    """What training on each task gave, by label; raises `CandidateError`, which of several tasks it was on."""
    from archsearch.graph.fits import GRADIENT
    from archsearch.training import trainer
    from archsearch.training.measurement import Job

    found = {}
    for choice in config.tasks:
        steps = f", {choice.training.steps} steps" if graph.fit == GRADIENT else ""
        note(f"{line} on {choice.task}{steps}")
        job = Job("train/search/1", graph.to_dict(), choice.task, choice.settings, choice.training, seed_base=seed)
        try:
            found[choice.label] = trainer.run(job, _say)
        except CandidateError as error:
            if not config.members:
                raise
            raise CandidateError(error.reason, f"on {choice.label}: {error}") from error
    return found


def _whole(config: CampaignConfig, parts: Mapping[str, Measurement], tasks: Mapping[str, Task]) -> Measurement:
    """The one measurement, or the mean over tasks of several."""
    from archsearch.campaign import judged
    from archsearch.training.pooling import pooled

    if not config.members:
        return next(iter(parts.values()))
    return pooled(config.task, parts, {label: judged.scale_of(label, task) for label, task in tasks.items()})


def _say(report: Any) -> bool:
    note(f"step {report.step:6}  score {report.score:.4f}  loss {report.loss:.4f}  {report.seconds:6.1f} s")
    return True


def _print(m: Measurement, keeps: Decoding, metric: str) -> None:
    from archsearch.leaderboard.text import interval, short_bytes, short_count, solved

    ends = interval(m.score_low, m.score_high, metric, places=4)
    over_seeds = f" (95 % over seeds: {ends})" if ends else ""
    pairs: list[tuple[str, Any]] = [
        ("score", f"{m.score:.4f}{over_seeds} on {m.fidelity.split}"),
        ("solved by", solved(m)),
        ("loss", None if m.validation_loss is None else f"{m.validation_loss:.4f}"),
        ("train score", None if m.train_score is None else f"{m.train_score:.4f}"),
        ("learning rate", m.learning_rate or None),
        ("steps", m.steps),
        ("seconds", f"{m.seconds:.1f}, of them {m.train_seconds:.1f} of training"),
        ("tokens a second", short_count(m.tokens_per_second) if m.tokens_per_second else None),
        ("peak memory", short_bytes(m.peak_memory_bytes)),
        ("parameters", f"{m.params:,}, of them {m.body_params:,} in the graph"),
        ("FLOPs a token", short_count(m.flops_per_token)),
        ("state", short_bytes(m.state_bytes)),
        ("decoding", keeps),
        ("span", f"{m.span:g}"),
        ("parallel in time", "yes" if m.parallel_in_time else "no"),
        *m.environment.items(),
    ]
    print_pairs(pairs)
    click.echo()
    rows = [
        (str(c.seed), f"{c.learning_rate:g}" if c.learning_rate else "-", c.status, *_numbers(c.score, c.loss))
        for c in m.copies
    ]
    table(rows, head=("seed", "rate", "status", "score", "loss"))
    if m.solutions:
        click.echo("\nSolved for")
        print_solutions(m, metric)


def _numbers(*values: float | None) -> list[str]:
    return ["-" if v is None else f"{v:.4f}" for v in values]
