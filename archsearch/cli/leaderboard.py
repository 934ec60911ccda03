"""`archsearch leaderboard`."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import click

from archsearch.cli.common import as_json, note, results
from archsearch.leaderboard import FIELDS, Board, boards, folders, select
from archsearch.leaderboard.render import FORMATS, print_tables
from archsearch.leaderboard.selection import check_tasks, field_names

if TYPE_CHECKING:
    from archsearch.campaign.record import CampaignRecord

__all__ = ["describe", "leaderboard", "print_board"]

TARGET_FIELDS = ("reached", "seeds", "steps_to_target", "flops_to_target", "seconds_to_target", "device")
SHOWN = 40
"""Rows of a table unless --top says otherwise."""


@click.command(epilog=f"Fields: {', '.join(FIELDS)}.")
@click.argument("names", nargs=-1, metavar="[NAME]...")
@click.option("--where", metavar="EXPR", help="Rows to keep: 'params < 1e5 and \"attention\" in families'.")
@click.option("--sort", metavar="FIELDS", help="Order within each section: score,-params (- falls).")
@click.option("--pareto", is_flag=True, help="Only the Pareto front of score and FLOPs.")
@click.option("--top", type=click.IntRange(min=0), help="At most so many rows; 0 for all.  [default: 40 in a table]")
@click.option(
    "--target", type=float, metavar="SCORE", help="Show what it took to reach a score.  [default: the task's]"
)
@click.option("--columns", metavar="FIELDS", help="Which fields to show: id,score,seconds.")
@click.option("--format", "form", type=click.Choice(["table", *FORMATS]), default="table", show_default=True)
@as_json
@results
def leaderboard(
    names: tuple[str, ...],
    where: str | None,
    sort: str | None,
    pareto: bool,
    top: int | None,
    target: float | None,
    columns: str | None,
    form: str,
    as_json: bool,
    results: Path,
) -> None:
    """Show the ranked candidates of campaigns, by name or by the path of their folder.

    Without a NAME, the newest campaign. Campaigns that agree in task and effort share one board; others stand below
    each other.
    """
    from archsearch.campaign.record import load

    chosen = field_names(columns, "--columns") if columns else None
    paths = [folders.find(n, results) for n in names] or [_newest(results)]
    records = [load(p) for p in dict.fromkeys(paths)]
    if not as_json and form == "table":
        for record in records:
            note(describe(record))
    whole = boards(records, target=target)
    check_tasks([*(chosen or ()), *(field_names(sort, "--sort") if sort else ())], whole)
    if target is not None and not chosen:
        chosen = ["rank", "id", "architecture", "score", *TARGET_FIELDS]
    found = [select(b, where=where, sort=sort, pareto=pareto) for b in whole]
    if not any(b.rows for b in found) and any(b.rows for b in whole):
        asked = " and ".join([f"`{where}`"] * bool(where) + ["`--pareto`"] * pareto)
        note(f"No row meets {asked}; without it there are {sum(len(b.rows) for b in whole)}.")
    print_board(found, "json" if as_json else form, chosen, top)


def print_board(
    found: list[Board], form: str = "table", columns: list[str] | None = None, top: int | None = None
) -> None:
    """Prints boards in a format: all rows, or `top` of each (a table shows 40 unless told otherwise; 0 is all)."""
    limit = (SHOWN if form == "table" else None) if top is None else top or None
    shown = [replace(b, rows=b.rows[:limit]) for b in found]
    if form == "table":
        hidden = sum(len(b.rows) for b in found) - sum(len(b.rows) for b in shown)
        print_tables(shown, columns, hidden=hidden if top is None else 0)
    else:
        click.echo(FORMATS[form](shown, columns))


def describe(record: CampaignRecord) -> str:
    """A campaign in one line."""
    trained = [c for c in record.candidates if c.role == "search"]
    counts = [(s, sum(c.status == s for c in trained)) for s in ("done", "failed", "stopped", "running", "pending")]
    parts = [f"{n} {s}" for s, n in counts if n]
    parts += [f"{record.duplicates} duplicate{'s' * (record.duplicates > 1)}"] * bool(record.duplicates)
    parts += [f"{record.refused} refused"] * bool(record.refused)
    ending = f" ({record.message})" if record.message else ""
    return f"{record.path}: {record.status}{ending}; {', '.join(parts) or 'no candidates'}; {record.seconds:.0f} s"


def _newest(results: Path) -> Path:
    path = folders.newest(results)
    others = [n for n in folders.campaigns(results) if n != path.name]
    if others:
        more = f" and {len(others) - 5} more" if len(others) > 5 else ""
        note(f"The newest campaign; there are also {', '.join(others[:5])}{more}.")
    return path
