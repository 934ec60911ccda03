"""`archsearch run` and `archsearch resume`."""

from __future__ import annotations

import random
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from archsearch.cli.common import as_json, note, print_json, results
from archsearch.cli.leaderboard import describe, print_board
from archsearch.errors import NoSuccessError
from archsearch.leaderboard import boards, folders

if TYPE_CHECKING:
    from archsearch.campaign.config import CampaignConfig
    from archsearch.campaign.record import CampaignRecord
    from archsearch.graph.space import SearchSpace

__all__ = ["resume", "run"]

SAMPLES = 5


@click.command()
@click.argument("space", metavar="SPACE|CAMPAIGN.yaml")
@click.option("--task", help="A task by name or file, several (parity,permutations) or a suite.")
@click.option("--agent", help="An agent, by name or file.")
@click.option("--trials", type=click.IntRange(min=1), help="How many distinct candidates to train.")
@click.option("--time", metavar="TIME", help="Begin no more candidates after this: 90s, 10m, 2h.")
@click.option("--set", "sets", multiple=True, metavar="KEY=VALUE", help="training.steps=400, task.length=64, ...")
@click.option("--name", help="The campaign's name.  [default: the space's, with a number]")
@click.option("--executor", type=click.Choice(["ray", "inline"]), help="Where candidates are trained.  [default: ray]")
@click.option("--seed", type=click.IntRange(min=0), help="Of the agent and of all training.  [default: 0]")
@click.option("--workers", type=click.IntRange(min=1), help="Candidates at a time.  [default: one a core, or a GPU]")
@click.option("--address", help="Of a Ray cluster.  [default: local]")
@click.option(
    "--dry-run", is_flag=True, help="Check everything, print the configuration and some samples; train nothing."
)
@as_json
@results
def run(space: str, sets: tuple[str, ...], dry_run: bool, as_json: bool, results: Path, **flags: Any) -> None:
    """Search a space: an agent proposes candidates, they are trained in parallel, and a board ranks them.

    SPACE is a shipped name or a YAML file. What is not said here comes from a campaign file, from the space's own
    `campaign:` or from the task, in this order.
    """
    from archsearch.api import plan

    config, found = plan(space, flags, sets)
    if dry_run:
        _dry_run(config, found, as_json)
        return
    from archsearch.campaign.run import run as start

    _finish(start(config, results), as_json)


@click.command()
@click.argument("name")
@as_json
@results
def resume(name: str, as_json: bool, results: Path) -> None:
    """Go on with a campaign that was ended or killed; what it has measured is kept, and nothing is trained twice."""
    from archsearch.campaign.run import resume as go_on

    _finish(go_on(folders.find(name, results)), as_json)


def _finish(record: CampaignRecord, as_json: bool) -> None:
    """Prints the board and says where things are; the status of the campaign decides how the command ends."""
    print_board(boards([record]), "json" if as_json else "table")
    note(describe(record))
    if record.status == "interrupted":
        note(f"Go on with: archsearch resume {record.name}")
        raise click.Abort
    if record.status == "no_success":
        raise NoSuccessError(
            f"No candidate was trained to its end; `archsearch show {record.name} 1` says why one failed."
        )
    if record.status == "error":
        raise click.ClickException(f"The agent raised: {record.message}")
    note(f"Look closer: archsearch show {record.name} ID · archsearch leaderboard {record.name} --sort params")


def _dry_run(config: CampaignConfig, space: SearchSpace, as_json: bool) -> None:
    """Checks space, task, agent and controls as a run would, and says what it would do."""
    from archsearch.campaign import agents, controls, environment, judged
    from archsearch.graph.line import one_line

    environment.check_device(config)
    report = space.check(seed=config.seed)
    if not report.ok:
        raise report.mistakes[0]
    tasks = judged.tasks_of(config)
    judged.check_causal(space, tasks)
    agents.make(config.agent, space, config.agent_settings, seed=config.seed, maximize=judged.maximize(tasks))
    stand = controls.blueprints(config.controls, space, judged.length(tasks))
    beside = {name: c.line for name, c in stand.items()}
    rng = random.Random(config.seed)
    samples = [one_line(space.sample(rng).architecture) for _ in range(SAMPLES)]
    if as_json:
        print_json({"config": config.to_dict(), "controls": beside, "samples": samples})
        return
    click.echo(config.to_yaml().rstrip("\n"))
    for title, lines in (("Controls", [f"{n}: {line}" for n, line in beside.items()]), ("Some samples", samples)):
        click.echo("\n".join([f"\n# {title}", *(f"#   {line}" for line in lines)]))
    note(f"{space.path} is sound: {report.combinations} of its combinations walked. Nothing was trained.")
