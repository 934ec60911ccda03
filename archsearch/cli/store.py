"""`archsearch reindex`."""

from __future__ import annotations

from pathlib import Path

import click

from archsearch.cli.common import as_json, print_json, results
from archsearch.leaderboard import folders

__all__ = ["reindex"]


@click.command()
@click.argument("name")
@as_json
@results
def reindex(name: str, as_json: bool, results: Path) -> None:
    """Build results.db of a campaign anew from its events.jsonl."""
    from archsearch.campaign.store import reindex as rebuild

    path = folders.find(name, results)
    count = rebuild(path)
    if as_json:
        print_json({"path": str(path), "candidates": count})
    else:
        click.echo(f"{path}: {count} candidates indexed.")
