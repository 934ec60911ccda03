"""Which rows of a board are shown, and in what order: `--where`, `--sort`, `--pareto`, `--top`."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace

from archsearch.errors import ConfigError, UnknownNameError
from archsearch.leaderboard.board import Board, sections
from archsearch.leaderboard.fields import FIELDS, Row, is_field, value_of
from archsearch.leaderboard.where import predicate

__all__ = ["check_tasks", "field_names", "select"]

_OF_A_DEVICE = ("tokens_per_second", "seconds", "seconds_to_target")


def select(
    board: Board, *, where: str | None = None, sort: str | None = None, pareto: bool = False, top: int | None = None
) -> Board:
    """The board with some of its rows. Ranks stay what they were on the whole board.

    Args:
        where: an expression over the fields of a row, such as `params < 1e5 and "attention" in families`.
        sort: fields by which to sort within each section, `k` rising and `-k` falling; unknown values come last.
        pareto: whether to keep the Pareto front only.
        top: at most so many rows.

    Raises:
        UserError: an unknown field or an expression that cannot be read.
    """
    rows = list(board.rows)
    if where:
        test = predicate(where)
        rows = [r for r in rows if test(r)]
    if pareto:
        rows = [r for r in rows if r["pareto"] == 1]
    if sort:
        rows = _sorted(rows, sort)
    return replace(board, rows=tuple(rows if top is None else rows[:top]))


def field_names(text: str, setting: str) -> list[str]:
    """The names in `text`, separated by commas, each with its `-` if it has one; raises `UserError`."""
    names = [n.strip() for n in text.split(",") if n.strip()]
    if not names:
        raise ConfigError(f"`{setting}` must name at least one field, but got {text!r}. Fields: {', '.join(FIELDS)}.")
    for name in names:
        if not is_field(name.removeprefix("-")):
            raise UnknownNameError("field", name.removeprefix("-"), FIELDS)
    return names


def check_tasks(names: Iterable[str], boards: Iterable[Board]) -> None:
    """Raises `UnknownNameError` for a column `task.NAME` of a task that none of the boards is on."""
    known = {f"task.{label}" for board in boards for label in board.tasks}
    for name in names:
        column = name.removeprefix("-")
        if column not in FIELDS and column not in known:
            raise UnknownNameError("field", column, (*FIELDS, *known))


def _sorted(rows: Sequence[Row], sort: str) -> list[Row]:
    """Sections stay in place: a failed candidate is never above a finished one, nor one fidelity among another."""
    keys = field_names(sort, "--sort")
    out: list[Row] = []
    for _, part in sections(rows):
        for key in reversed(keys):
            _sort_by(part, key)
        out += part
    return out


def _sort_by(rows: list[Row], key: str) -> None:
    name, falling = key.removeprefix("-"), key.startswith("-")
    known = [r for r in rows if value_of(r, name) is not None]
    unknown = [r for r in rows if value_of(r, name) is None]
    known.sort(key=lambda r: _comparable(value_of(r, name)), reverse=falling)
    if name in _OF_A_DEVICE:  # speeds of different devices are never put in one order
        known.sort(key=lambda r: r["device"] or "")
    rows[:] = known + unknown


def _comparable(value: object) -> tuple[int, float, str]:
    if isinstance(value, bool | int | float):
        return (0, float(value), "")
    text = str(value)
    return (0, float(text), "") if text.isdigit() else (1, 0.0, text)
