"""The same board as a table for a terminal, as Markdown, CSV and JSON."""

from __future__ import annotations

import csv
import io
import json
import sys
from collections.abc import Callable, Sequence
from typing import IO, TYPE_CHECKING, Any, Literal

from archsearch.leaderboard.board import Board, sections
from archsearch.leaderboard.fields import FIELDS, Row, field_of, task_columns, value_of
from archsearch.leaderboard.text import cell, columns_of, legend

if TYPE_CHECKING:
    from rich.table import Table

__all__ = ["FORMATS", "csv_text", "json_text", "markdown_text", "print_tables"]

_LEFT = ("text", "list", "map")
WIDE = 400
"""Columns of a table that goes to no terminal."""
GAP = 2
FOLDS = ("architecture", "failure", "decisions", "reason")
FOLDED = 32
CUT = 60
"""Characters of a failure that a table shows; `archsearch show`, JSON and CSV have all of it."""
EXPENDABLE = (
    "gap_test",
    "gap_validation",
    "seeds",
    "solved_at",
    "state_bytes",
    "search_score",
    "shrinkage",
    "pareto",
    "flops_per_token",
    "body_params",
)
"""What a narrow terminal does without, the first first; columns of single tasks come last."""


def json_text(boards: Sequence[Board]) -> str:
    """`{"boards": [{"campaigns": [...], "task": ..., "rows": [{...}, ...]}, ...]}`."""
    return json.dumps({"boards": [b.to_dict() for b in boards]}, indent=1, ensure_ascii=False, allow_nan=False)


def csv_text(boards: Sequence[Board], columns: Sequence[str] | None = None) -> str:
    """A header and one line per row of all boards, numbers unrounded; lists as `a+b`, maps as JSON."""
    names = list(columns or (*FIELDS, *task_columns(row for board in boards for row in board.rows)))
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(names)
    for board in boards:
        writer.writerows([_plain(value_of(row, n)) for n in names] for row in board.rows)
    return out.getvalue().rstrip("\n")


def _plain(value: Any) -> Any:
    if isinstance(value, list):
        return "+".join(map(str, value))
    return json.dumps(value, ensure_ascii=False) if isinstance(value, dict) else value


def markdown_text(boards: Sequence[Board], columns: Sequence[str] | None = None) -> str:
    """A heading per board, a table per section."""
    lines: list[str] = []
    for board in boards:
        lines += [f"## {_title(board, len(boards))}", ""]
        lines += [f"{scale}  " for scale in board.scales] + [""] * bool(board.scales)
        lines += [f"> {b}\n" for b in board.banners]
        for heading, rows in sections(board.rows):
            names = _names(board, rows, columns)
            lines += [f"### {heading}", "", _line(field_of(n).title for n in names)]
            lines += [_line("---" if field_of(n).kind in _LEFT and n != "rank" else "---:" for n in names)]
            lines += [_line(cell(row, n).replace("|", "\\|").replace("\n", " ") for n in names) for row in rows]
            lines += [""]
    return "\n".join(lines).rstrip("\n")


def _line(cells: Any) -> str:
    return "| " + " | ".join(cells) + " |"


def print_tables(
    boards: Sequence[Board], columns: Sequence[str] | None = None, *, file: IO[str] | None = None, hidden: int = 0
) -> None:
    """Prints boards for a person: as wide as the terminal, or as wide as they like where there is none.

    Args:
        columns: which to show; otherwise those that say something, the less telling ones left out where it is narrow.
        hidden: how many rows were left out, to be said below.
    """
    from rich.console import Console
    from rich.text import Text

    stream = file or sys.stdout
    console = Console(file=stream, width=None if stream.isatty() else WIDE, highlight=False)
    left_out: list[str] = []
    shown: dict[str, None] = {}
    for board in boards:
        console.print(Text(_title(board, len(boards)), style="bold"))
        for scale in board.scales:
            console.print(Text(f"  {scale}", style="dim"))
        for banner in board.banners:
            console.print(Text(f"! {banner}", style="yellow"))
        for heading, rows in sections(board.rows):
            names = _names(board, rows, columns)
            fitting = names if columns else fit(rows, names, console.width)
            shown |= dict.fromkeys(fitting)
            left_out += [n for n in names if n not in fitting and n not in left_out]
            console.print(Text(f"\n{heading}", style="cyan"))
            console.print(_table(rows, fitting))
    console.print()
    signs = legend([r for b in boards for r in b.rows], list(shown))
    if signs:
        console.print(Text(signs, style="dim"))
    if left_out:
        console.print(Text(f"Too narrow for {', '.join(left_out)}: --columns chooses.", style="dim"))
    if hidden:
        console.print(Text(f"{hidden} more: --top 0 shows all.", style="dim"))


def fit(rows: Sequence[Row], names: Sequence[str], width: int) -> list[str]:
    """As many of the columns as fit into `width` characters; long texts may be folded to `FOLDED`."""
    kept = list(names)
    widths = {n: max(len(field_of(n).title), *(len(_short(r, n)) for r in rows)) for n in names}
    widths |= {n: min(widths[n], FOLDED) for n in names if n in FOLDS}
    for name in (*EXPENDABLE, *(n for n in reversed(names) if n not in FIELDS)):
        if sum(widths[n] + GAP for n in kept) - GAP <= width:
            break
        kept = [n for n in kept if n != name]
    return kept


def _short(row: Row, name: str) -> str:
    text = cell(row, name)
    return text if name != "failure" or len(text) <= CUT else text[: CUT - 1].rstrip() + "…"


def _title(board: Board, count: int) -> str:
    names = f"{', '.join(board.campaigns)} · " if count > 1 or len(board.campaigns) > 1 else ""
    return names + board.title


def _names(board: Board, rows: list[Row], columns: Sequence[str] | None) -> list[str]:
    return list(columns) if columns else columns_of(rows[0]["section"], rows, len(board.campaigns) > 1)


def _table(rows: Sequence[Row], names: Sequence[str]) -> Table:
    from rich.box import SIMPLE_HEAD
    from rich.table import Table
    from rich.text import Text

    table = Table(box=SIMPLE_HEAD, show_edge=False, pad_edge=False, padding=(0, GAP - 1, 0, 0), header_style="bold")
    for name in names:
        side: Literal["left", "right"] = "left" if field_of(name).kind in _LEFT else "right"
        folds = name in FOLDS
        title = field_of(name).title
        least = len(title) if folds else None
        table.add_column(title, justify=side, no_wrap=not folds, overflow="fold", min_width=least)
    for row in rows:
        style = "dim" if row["role"] == "control" or row["section"] == "unfinished" else ""
        table.add_row(*(Text(_short(row, n), style=style) for n in names))
    return table


FORMATS: dict[str, Callable[[Sequence[Board], Sequence[str] | None], str]] = {
    "csv": csv_text,
    "json": lambda boards, columns: json_text(boards),
    "markdown": markdown_text,
}
"""The formats that are text; `table` is printed by `print_tables`."""
