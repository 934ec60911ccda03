"""How a value of a row is written for people."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from archsearch.leaderboard.fields import Row, field_of, task_columns, value_of

if TYPE_CHECKING:
    from archsearch.training.measurement import Measurement

__all__ = ["cell", "columns_of", "curve", "interval", "legend", "short_bytes", "short_count", "solved"]

SOLVED = ("ridge", "svm", "convex", "random_features")
_SIZE = ("body_params", "flops_per_token", "state_bytes", "pareto")
_GAPS = ("gap_validation", "gap_test")
_EFFORT = ("rate_edge",)
_COLUMNS = {
    "finals": (
        "rank",
        "id",
        "architecture",
        "score",
        "search_score",
        "shrinkage",
        *_GAPS,
        "seeds",
        "solved_at",
        *_EFFORT,
        *_SIZE,
    ),
    "search": ("rank", "id", "architecture", "score", *_GAPS, "seeds", "solved_at", *_EFFORT, *_SIZE),
    "unfinished": ("id", "status", "architecture", "score", "failure"),
}


def columns_of(section: str, rows: list[Row], several: bool) -> list[str]:
    """The columns that a section shows unless the person names others: those that say something about its rows.

    What differs from run to run, such as seconds, is left to those who ask for it: equal campaigns print equal boards.
    """
    names = [n for n in _COLUMNS[section] if n in ("rank", "id") or any(r[n] not in (None, [], "") for r in rows)]
    if "score" in names and section != "unfinished":
        after = names.index("score") + 1
        names[after:after] = task_columns(rows)
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
    return _value(value_of(row, name), field_of(name).kind)


def interval(low: float | None, high: float | None, metric: str, places: int = 3) -> str:
    """`0.120 to 0.590`, within what the metric can be; empty if it is unknown.

    A t interval is an approximation that knows no bounds: with two seeds that disagree it reaches beyond 0 and 1.
    """
    if low is None or high is None:
        return ""
    if "accuracy" in metric or metric == "macro_f1":
        low, high = max(low, 0.0), min(high, 1.0)
    return f"{low:.{places}f} to {high:.{places}f}"


def curve(m: Measurement) -> list[tuple[int, float]]:
    """Step and mean score over the seeds at the chosen learning rate, report by report."""
    points: dict[int, list[float]] = {}
    for copy in m.copies:
        if copy.learning_rate == m.learning_rate:
            for step, score, _ in copy.curve:
                points.setdefault(step, []).append(score)
    return [(step, sum(scores) / len(scores)) for step, scores in points.items()]


def solved(m: Measurement) -> str | None:
    """`1 of 2 seeds`: the share of those at the chosen learning rate that solved the task; `None` if none did."""
    copies = [c for c in m.copies if c.learning_rate == m.learning_rate]
    count = sum(c.solved_at is not None for c in copies)
    return f"{count} of {len(copies)} seed{'s' * (len(copies) != 1)}" if count else None


def legend(rows: Sequence[Row], names: Sequence[str]) -> str:
    """One line on the signs that a table of these rows and columns shows; empty if it shows none."""
    shown = {n: [cell(r, n) for r in rows] for n in names}
    parts = [
        ("→ ridge and the like: a readout solved for, in 0 steps", any(r["fit"] in SOLVED for r in rows)),
        ("± 95 % interval over seeds", any("±" in c for c in shown.get("score", ()))),
        ("~ an estimate, from one seed", any(c.startswith("~") for c in shown.get("rank", ()))),
        ("shrink: how much worse the final is than the search", any(shown.get("shrinkage", ()))),
        ("pareto 1: the front of score and FLOPs a token, within its section", any(shown.get("pareto", ()))),
    ]
    return " · ".join(text for text, is_shown in parts if is_shown)


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
