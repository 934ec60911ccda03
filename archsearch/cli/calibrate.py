"""`archsearch tasks calibrate`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, replace
from typing import TYPE_CHECKING, Any

import click

from archsearch.cli.common import as_json, note, print_json, table
from archsearch.errors import ConfigError, NoSuccessError

if TYPE_CHECKING:
    from archsearch.campaign.calibrate import Calibration, Ladder, Rung
    from archsearch.campaign.config import CampaignConfig
    from archsearch.graph.space import SearchSpace
    from archsearch.tasks.base import Task
    from archsearch.training.measurement import Measurement

__all__ = ["calibrate"]

CONTROL = "transformer"


@click.command()
@click.argument("task")
@click.option(
    "--vary",
    metavar="NAME[=VALUES]",
    help="The setting to vary, and its values from easy to hard: length=32,64,128.  [default: the task's ladder]",
)
@click.option("--set", "sets", multiple=True, metavar="KEY=VALUE", help="training.steps=400, task.vocabulary=32, ...")
@click.option("--seeds", type=click.IntRange(min=1), help="How many seeds to train, as copies of one model.")
@click.option("--space", metavar="SPACE", help="Take width, `match` and training from this space, by name or file.")
@click.option(
    "--between",
    type=click.FloatRange(0.0, 100.0),
    nargs=2,
    default=(60.0, 95.0),
    show_default=True,
    help="Percent of the way from chance to ceiling.",
)
@click.option("--ceiling", type=float, help="The score that counts as 100 %.  [default: the task's ceiling]")
@click.option("--all", "every", is_flag=True, help="Train at every value, instead of halving the ladder.")
@as_json
def calibrate(
    task: str,
    vary: str | None,
    sets: tuple[str, ...],
    seeds: int | None,
    space: str | None,
    between: tuple[float, float],
    ceiling: float | None,
    every: bool,
    as_json: bool,
) -> None:
    """Find the difficulty at which a task tells architectures apart.

    Trains the tuned transformer, the control of every campaign, at values of one setting of TASK, and prints the one at
    which it comes between 60 and 95 % of the way from chance to ceiling. Exit code 3: there is none.
    """
    from archsearch.campaign.calibrate import calibrate as climb
    from archsearch.campaign.calibrate import ladder_of
    from archsearch.tasks.registry import task_class

    if between[0] >= between[1]:
        raise ConfigError(f"`--between` takes the lower percentage first, but got {between[0]:g} {between[1]:g}.")
    kind = task_class(task)
    sizes = _space(space)
    config = _config(task, sizes, sets, seeds)
    also = _also(kind, vary, config)
    config = replace(config, task_settings={**config.task_settings, **also})
    ladder = ladder_of(kind, vary, config.task_settings, ceiling)
    _announce(ladder, config, also)
    found = climb(
        ladder,
        _trainer(config, sizes, ladder.setting),
        between=(between[0] / 100, between[1] / 100),
        every=every,
        also=also,
        on_rung=lambda rung: note(
            f"{ladder.setting}={rung.value}: {100 * rung.share:.0f} % of the way, {rung.verdict}"
        ),
    )
    if as_json:
        print_json(_data(found, config))
    else:
        _print(found, config.task_settings.get("metric", kind.metric))
    if found.chosen is None:
        raise NoSuccessError(found.failure)


def _space(name: str | None) -> SearchSpace:
    """The space whose sizes the transformer takes: the control itself, if none is named."""
    from archsearch import content
    from archsearch.api import SearchSpace

    return SearchSpace.read(name or {path.stem: path for path in content.control_files()}[CONTROL])


def _config(task: str, sizes: SearchSpace, sets: tuple[str, ...], seeds: int | None) -> CampaignConfig:
    """Training and task settings, as those of the control in a campaign, but that `--set` wins over its file."""
    from archsearch.campaign import controls, settings
    from archsearch.campaign.config import resolve
    from archsearch.tasks.registry import task_class

    for name, value in settings.parse_set(sets).items():
        settings.check(name, value)
        if not name.startswith(("training.", "task.")):
            raise ConfigError(f"To calibrate, `--set` takes `training.*` and `task.*`, but got `{name}`.")
    (control,) = controls.blueprints((CONTROL,), sizes, 1).values()
    defaults = settings.flatten(sizes.campaign, "the space's `campaign`")
    own = {f"training.{name}": value for name, value in control.training.items()}
    return resolve(
        flags={"space": str(sizes.path), "task": task, "training": {"seeds": seeds}},
        sets=sets,
        space_defaults={**defaults, **own},
        task_training=lambda chosen: task_class(chosen).training,
    )


def _trainer(config: CampaignConfig, sizes: SearchSpace, setting: str) -> Callable[[Any], Measurement]:
    """Trains the transformer at a value of `setting`."""
    from archsearch.campaign import controls
    from archsearch.tasks.registry import make
    from archsearch.training import trainer
    from archsearch.training.measurement import Job

    def train(value: Any) -> Measurement:
        given = {**config.task_settings, setting: value}
        (control,) = controls.blueprints((CONTROL,), sizes, make(config.task, given).length).values()
        key = f"calibrate/{setting}/{value}"
        return trainer.run(Job(key, control.architecture, config.task, given, config.training), _say)

    return train


def _also(kind: type[Task], vary: str | None, config: CampaignConfig) -> dict[str, Any]:
    """What the task is calibrated with, but for what varies and what the person sets."""
    varied = (vary or "").partition("=")[0].strip().removeprefix("task.")
    return {k: v for k, v in kind.calibrated_with.items() if k != varied and k not in config.task_settings}


def _announce(ladder: Ladder, config: CampaignConfig, also: Mapping[str, Any]) -> None:
    training = config.training
    for name, value in also.items():
        note(f"{name}={value}, which `{config.task}` is calibrated with; --set task.{name}=... says otherwise")
    for value, why in ladder.left_out:
        note(f"{ladder.setting}={value} left out: {why}")
    copies = f"{len(training.rates)} rates × {training.seeds} seeds"
    budget = f"{training.steps} steps" if training.budget == "steps" else f"a budget of {training.budget}"
    note(f"the tuned transformer ({copies}, {budget}) at {ladder.setting} {', '.join(map(str, ladder.values))}")


def _say(report: Any) -> bool:
    score = "-" if report.score is None else f"{report.score:.4f}"
    note(f"  step {report.step:6}  mean over copies {score}  {report.seconds:6.1f} s")
    return True


def _print(found: Calibration, metric: str) -> None:
    def row(rung: Rung) -> tuple[str, ...]:
        ends = (f"{end:.4f}" for end in (rung.chance, rung.ceiling, rung.score))
        rate = "-" if rung.learning_rate is None else f"{rung.learning_rate:g}"
        return str(rung.value), *ends, f"{100 * rung.share:.0f} %", rung.verdict, rate, f"{rung.seconds:.1f}"

    head = (found.setting, "chance", "ceiling", metric, "of the way", "verdict", "rate", "seconds")
    table(map(row, found.rungs), head=head)
    if found.line is not None:
        click.echo(f"\n{found.line}")


def _data(found: Calibration, config: CampaignConfig) -> Mapping[str, Any]:
    return {
        "task": config.task,
        "task_settings": dict(config.task_settings),
        "setting": found.setting,
        "between": list(found.between),
        "training": config.to_dict()["training"],
        "rungs": [asdict(rung) for rung in found.rungs],
        "chosen": None if found.chosen is None else found.chosen.value,
        "set": found.line,
        "side": found.side,
    }
