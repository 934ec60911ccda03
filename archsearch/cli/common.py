"""What several commands share: options, and one way to print."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, TypeVar

import click

from archsearch.leaderboard import folders

__all__ = ["as_json", "note", "print_json", "print_pairs", "results", "table"]

F = TypeVar("F", bound=Callable[..., Any])


def as_json(command: F) -> F:
    """The option `--json`, as `as_json: bool`."""
    return click.option("--json", "as_json", is_flag=True, help="One JSON document on stdout.")(command)


def results(command: F) -> F:
    """The option `--results`, as `results: Path`."""

    def folder(ctx: click.Context, parameter: click.Parameter, value: str | None) -> Path:
        return folders.results_folder(value)

    option = click.option(
        "--results",
        callback=folder,
        metavar="DIR",
        help="The folder of campaigns.  [default: $ARCHSEARCH_RESULTS or ./results]",
    )
    return option(command)


def print_json(value: Any) -> None:
    """One JSON document on stdout."""
    click.echo(json.dumps(value, indent=1, ensure_ascii=False, allow_nan=False))


def note(text: str) -> None:
    """A line for the person, on stderr."""
    click.echo(text, err=True)


def table(rows: Iterable[Sequence[str]], head: Sequence[str] = ()) -> None:
    """Columns on stdout, aligned; the last one as long as it likes."""
    lines = [list(head)] * bool(head) + [list(r) for r in rows]
    if not lines:
        return
    widths = [max(len(line[i]) for line in lines) for i in range(len(lines[0]))]
    for line in lines:
        click.echo("  ".join(c.ljust(w) for c, w in zip(line, widths, strict=True)).rstrip())


def print_pairs(pairs: Iterable[tuple[str, Any]], indent: str = "") -> None:
    """`name  value` lines, those without a value left out."""
    shown = [(k, str(v)) for k, v in pairs if v not in (None, "", (), [], {})]
    table([(indent + k, v) for k, v in shown])
