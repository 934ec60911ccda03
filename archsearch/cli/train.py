"""`archsearch train`: one architecture, no search."""

from __future__ import annotations

import random
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import click

from archsearch.cli.common import as_json, note, print_json, print_pairs, table
from archsearch.errors import ConfigError

if TYPE_CHECKING:
    from archsearch.campaign.config import CampaignConfig
    from archsearch.graph.architecture import Architecture
    from archsearch.graph.decoding import Decoding
    from archsearch.graph.space import SearchSpace
    from archsearch.training.measurement import Job, Measurement

__all__ = ["train"]


@click.command()
@click.argument("architecture", metavar="ARCHITECTURE.yaml")
@click.option("--task", help="A task, by name or file.  [default: the one that the file names]")
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
    from archsearch.graph.decoding import decoding
    from archsearch.graph.line import one_line
    from archsearch.tasks.registry import make
    from archsearch.training import trainer

    space = SearchSpace.read(architecture)
    if not space.is_point:
        raise ConfigError(
            f"An architecture to train must leave no choice open, but {space.path} does. Search it: "
            f"archsearch run {architecture}"
        )
    config = _config(space, architecture, task, sets, seeds)
    graph = space.sample(random.Random(0)).architecture
    keeps = decoding(graph, space.registry, _length(config))
    note(f"{one_line(graph)} on {config.task}, {config.training.steps} steps")
    measured = trainer.run(_job(config, graph, seed), _say)
    if as_json:
        about = {"architecture": one_line(graph), "decoding": {**asdict(keeps), "constant": keeps.is_constant}}
        print_json({**about, "graph": graph.to_dict(), **measured.to_dict()})
    else:
        _print(measured, keeps, make(config.task, config.task_settings).metric)


def _config(
    space: SearchSpace, name: str, task: str | None, sets: tuple[str, ...], seeds: int | None
) -> CampaignConfig:
    """Training and task settings, resolved as for a campaign of this one architecture."""
    from archsearch.campaign import mistakes
    from archsearch.campaign.config import resolve
    from archsearch.tasks.registry import task_class

    for mistake in mistakes.in_space(space):
        raise mistake
    _check_sets(sets)
    given: dict[str, Any] = {"space": name, "task": task, "training": {"seeds": seeds}}
    return resolve(
        flags=given,
        sets=sets,
        space_defaults=space.campaign,
        task_training=lambda chosen: task_class(chosen).training,
    )


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


def _job(config: CampaignConfig, graph: Architecture, seed: int) -> Job:
    from archsearch.training.measurement import Job

    return Job(
        key="train/search/1",
        architecture=graph.to_dict(),
        task=config.task,
        task_settings=config.task_settings,
        training=config.training,
        seed_base=seed,
    )


def _length(config: CampaignConfig) -> int:
    from archsearch.tasks.registry import make

    return make(config.task, config.task_settings).length


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
        ("learning rate", m.learning_rate),
        ("steps", m.steps),
        ("seconds", f"{m.seconds:.1f}, of them {m.train_seconds:.1f} of training"),
        *_solved_for(m),
        ("tokens a second", short_count(m.tokens_per_second)),
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
    rows = [(str(c.seed), f"{c.learning_rate:g}", c.status, *_numbers(c.score, c.loss)) for c in m.copies]
    table(rows, head=("seed", "rate", "status", "score", "loss"))


def _solved_for(m: Measurement) -> list[tuple[str, Any]]:
    """How the readouts were found, if they were solved for."""
    if not m.solutions:
        return []
    penalties = ", ".join(f"{s['penalty']:.3g}" for s in m.solutions)
    norms = ", ".join(f"{s['norm']:.3g}" for s in m.solutions)
    return [("readout", m.solutions[0]["fit"]), ("penalties", penalties), ("norms", norms)]


def _numbers(*values: float | None) -> list[str]:
    return ["-" if v is None else f"{v:.4f}" for v in values]
