"""`archsearch show` and `archsearch diff`: one candidate, and two side by side."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from archsearch.cli.common import as_json, print_json, print_pairs, results, table
from archsearch.cli.solutions import print_solutions, print_twins, twins
from archsearch.leaderboard import FIELDS, Row, boards, folders
from archsearch.leaderboard.fields import field_of, task_columns, value_of
from archsearch.leaderboard.text import cell, curve, interval, solved

if TYPE_CHECKING:
    from archsearch.campaign.record import CampaignRecord, CandidateRecord
    from archsearch.training.measurement import Measurement

__all__ = ["diff", "show"]

COMPARED = ("score", "search_score", "body_params", "flops_per_token", "state_bytes", "span", "seconds", "status")


@click.command()
@click.argument("name")
@click.argument("id")
@click.option("--target", type=float, metavar="SCORE", help="Say what it took to reach a score.  [default: the task's]")
@as_json
@results
def show(name: str, id: str, target: float | None, as_json: bool, results: Path) -> None:
    """Show candidate ID of campaign NAME: its graph, what was decided, and what was measured.

    ID is a number, the name of a control, or the beginning of a hash.
    """
    from archsearch.campaign.record import architecture, load
    from archsearch.graph.picture import draw

    record = load(folders.find(name, results))
    found = record.candidate(id)
    graph = architecture(record.path, found.id)
    row = _row(record, found, target)
    if as_json:
        more = {k: v for k, v in found.to_dict().items() if k not in row or k in ("search", "final", "failure")}
        print_json({**row, **more, "twins": list(twins(record, found)), "graph": graph.to_dict()})
        return
    click.echo(f"{cell(row, 'id')} of {record.name}: {found.line}\n")
    _print_origin(found, row)
    click.echo("\n" + draw(graph).rstrip("\n"))
    if found.facts.get("cycles"):
        click.echo("\n" + found.facts["cycles"])
    _print_decisions(found)
    _print_costs(row, found)
    _print_target(row)
    _print_result("Search", record.task["metric"], found.search, [(r.step, r.score) for r in found.reports])
    _print_tasks("Search", record, found.search_tasks)
    _print_result("Finals", record.task["metric"], found.final, ())
    _print_tasks("Finals", record, found.final_tasks)
    print_twins(list(twins(record, found)))
    if found.failure:
        _print_failure(record, found)


@click.command()
@click.argument("name")
@click.argument("first")
@click.argument("second")
@as_json
@results
def diff(name: str, first: str, second: str, as_json: bool, results: Path) -> None:
    """Show where candidates FIRST and SECOND of campaign NAME decided differently, and what came of it."""
    from archsearch.campaign.record import load

    record = load(folders.find(name, results))
    a, b = record.candidate(first), record.candidate(second)
    paths = [p for p in {**a.decisions, **b.decisions} if a.decisions.get(p) != b.decisions.get(p)]
    rows = _row(record, a), _row(record, b)
    compared = (COMPARED[0], *task_columns(rows), *COMPARED[1:])
    if as_json:
        decisions = {p: [a.decisions.get(p), b.decisions.get(p)] for p in paths}
        figures = {n: [value_of(r, n) for r in rows] for n in compared}
        print_json({"candidates": [a.id, b.id], "same": a.hash == b.hash, "decisions": decisions, **figures})
        return
    lines = [(p, _decision(a, p), _decision(b, p)) for p in paths]
    figures_shown = [(field_of(n).title, cell(rows[0], n), cell(rows[1], n)) for n in compared]
    table([*lines, *(f for f in figures_shown if f[1] != f[2])], head=("", a.id, b.id))
    if not paths:
        click.echo("They decided alike." if a.decisions else "Controls decide nothing; see `archsearch show`.")


def _row(record: CampaignRecord, candidate: CandidateRecord, target: float | None = None) -> Row:
    return next(r for r in boards([record], target=target)[0].rows if r["id"] == candidate.id)


def _decision(c: CandidateRecord, path: str) -> str:
    return str(c.decisions.get(path, "-"))


def _print_origin(c: CandidateRecord, row: Row) -> None:
    rank = f"{cell(row, 'rank')} in the {row['section']}" if row["rank"] else None
    cost = ", ".join(f"{k} {v:g}" for k, v in c.cost.items())
    print_pairs(
        [
            ("status", c.status),
            ("rank", rank),
            ("hash", c.hash),
            ("families", ", ".join(c.families)),
            ("agent", c.agent),
            ("parent", c.parent),
            ("reason", c.reason),
            ("cost of proposing", cost),
            ("attempts", c.attempts),
        ]
    )


def _print_decisions(c: CandidateRecord) -> None:
    if c.decisions:
        click.echo("\nDecisions")
        print_pairs(c.decisions.items(), indent="  ")


def _print_costs(row: Row, c: CandidateRecord) -> None:
    from archsearch.graph.decoding import Decoding

    decoding = Decoding(**c.facts["decoding"]) if "decoding" in c.facts else None
    names = ("params", "body_params", "flops_per_token", "state_bytes", "span", "parallel_in_time")
    measured = ("tokens_per_second", "peak_memory_bytes", "seconds", "device")
    click.echo("\nCosts")
    figures = [(FIELDS[n].title, cell(row, n)) for n in (*names, *measured)]
    print_pairs([*figures[: len(names)], ("decoding", decoding), *figures[len(names) :]], indent="  ")


def _print_target(row: Row) -> None:
    if row["reached"] is None:
        return
    names = ("reached", "seeds", "steps_to_target", "flops_to_target", "seconds_to_target")
    click.echo("\nTarget")
    print_pairs([(FIELDS[n].title, cell(row, n)) for n in names], indent="  ")


def _print_result(title: str, metric: str, m: Measurement | None, reports: Sequence[tuple[int, float | None]]) -> None:
    if m is None and not reports:
        return
    click.echo(f"\n{title}")
    if reports:
        points = " ".join(f"{step}:{score:.3f}" for step, score in reports if score is not None)
        print_pairs([("curve", points)], indent="  ")
    if m is None:
        return
    score = None if m.score is None else f"{m.score:.4f} on {m.fidelity.split}"
    pairs = [("score", score), ("95 % interval", interval(m.score_low, m.score_high, metric)), ("solved by", solved(m))]
    print_pairs([*pairs, *_effort(m)], indent="  ")
    head = ("  seed", "rate", "status", "validation", "loss", "test", "solved at")
    table([_copy(c) for c in m.copies], head=head)
    if m.solutions:
        click.echo(f"\nSolved for in the {title.lower()}")
        print_solutions(m, metric)


def _print_tasks(title: str, record: CampaignRecord, parts: Mapping[str, Measurement]) -> None:
    """Each of several tasks: score, effort, curve and copies."""
    for label, m in parts.items():
        metric = record.task["tasks"][label]["metric"]
        _print_result(f"{title}, {label} ({metric})", metric, m, curve(m))


def _effort(m: Measurement) -> list[tuple[str, Any]]:
    train = None if m.train_score is None else f"{m.train_score:.4f}"
    steps = f"{m.steps}" if m.fidelity.budget == "steps" else f"{m.steps} of {m.planned_steps} that the budget bought"
    pace = None if m.step_seconds is None else f"{1e3 * m.step_seconds:.1f} ms, measured before"
    return [("train score", train), ("learning rate", m.learning_rate or None), ("steps", steps), ("a step", pace)]


def _copy(c: Any) -> tuple[str, ...]:
    numbers = [c.score, c.loss, c.test_score]
    shown = ["-" if n is None else f"{n:.4f}" for n in numbers]
    rate = "-" if not c.learning_rate else f"{c.learning_rate:g}"
    return (f"  {c.seed}", rate, c.status, *shown, "-" if c.solved_at is None else str(c.solved_at))


def _print_failure(record: CampaignRecord, c: CandidateRecord) -> None:
    assert c.failure is not None
    click.echo(f"\nFailure\n  {c.failure[0]}: {c.failure[1]}")
    traces = sorted((record.path / "candidates" / c.id).glob("*.txt"))
    print_pairs([("traceback", ", ".join(map(str, traces)))], indent="  ")
