"""How a value of a row is written for people."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from archsearch.leaderboard.fields import FIELDS, Row

__all__ = ["cell", "columns_of", "short_bytes", "short_count"]

_SIZE = ("body_params", "flops_per_token", "state_bytes", "pareto")
_COLUMNS = {
    "finals": ("rank", "id", "architecture", "score", "search_score", "shrinkage", "seeds", "solved_at", *_SIZE),
    "search": ("rank", "id", "architecture", "score", "seeds", "solved_at", *_SIZE),
    "unfinished": ("id", "status", "architecture", "score", "failure"),
}


def columns_of(section: str, rows: list[Row], several: bool) -> list[str]:
    """The columns that a section shows unless the person names others: those that say something about its rows.

    What differs from run to run, such as seconds, is left to those who ask for it: equal campaigns print equal boards.
    """
    names = [n for n in _COLUMNS[section] if n in ("rank", "id") or any(r[n] not in (None, [], "") for r in rows)]
    return [names[0], "campaign", *names[1:]] if several else names


def cell(row: Row, name: str) -> str:
    """One value of a row in a few characters; empty where it is unknown."""
    match name:
        case "rank":
            return _rank(row)
        case "id":
            return f"{row['id']} (control)" if row["role"] == "control" else str(row["id"])
        case "score":
            return _score(row)
        case "failure" if row["failure"]:
            return str(row["failure"]).strip().split("\n")[0]
        case "seeds" if row["diverged"]:
            return f"{row['seeds']} of {row['seeds'] + row['diverged']}"
        case "solved_at" if row["solved"] and row["seeds"]:
            return f"{row['solved_at']:.0f}" + (
                f" ({row['solved']}/{row['seeds']})" if row["solved"] < row["seeds"] else ""
            )
    return _value(row[name], FIELDS[name].kind)


def _rank(row: Row) -> str:
    if row["rank"] is None:
        return ""
    if row["rank_low"] is None:
        return f"~{row['rank']}"
    return str(row["rank_low"]) if row["rank_low"] == row["rank_high"] else f"{row['rank_low']}–{row['rank_high']}"


def _score(row: Row) -> str:
    text = _value(row["score"], "score")
    if row["score_low"] is None or row["score_high"] is None or row["rank"] is None:
        return text
    return f"{text} ±{(row['score_high'] - row['score_low']) / 2:.3f}"


def _value(value: Any, kind: str) -> str:
    if value is None:
        return ""
    match kind:
        case "score":
            return f"{value:.3f}"
        case "count":
            return short_count(value)
        case "bytes":
            return short_bytes(value)
        case "seconds":
            return f"{value:.1f} s"
        case "whole":
            return f"{value:.0f}"
        case "number":
            return f"{value:g}"
        case "flag":
            return "yes" if value else "no"
        case "list":
            return "+".join(map(str, value))
        case "map":
            return _pairs(value)
    return str(value)


def _pairs(value: Mapping[str, Any]) -> str:
    return ", ".join(f"{k}={v:g}" if isinstance(v, float) else f"{k}={v}" for k, v in value.items())


def short_count(n: float) -> str:
    """`947`, `12.3k`, `4.56M`."""
    for unit, size in (("G", 1e9), ("M", 1e6), ("k", 1e3)):
        if abs(n) >= 0.9995 * size:
            return f"{n / size:.3g}{unit}" if abs(n) < 999.5 * size else f"{n / size:.0f}{unit}"
    return f"{n:.4g}"


def short_bytes(n: float) -> str:
    """`512 B`, `4.0 KiB`, `1.5 MiB`."""
    for unit, size in (("GiB", 2**30), ("MiB", 2**20), ("KiB", 2**10)):
        if abs(n) >= size:
            return f"{n / size:.1f} {unit}"
    return f"{n:.0f} B"
