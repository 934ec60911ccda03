"""A board: the ranked rows of one campaign, or of several that can be compared, and what to know about them."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from typing import TYPE_CHECKING, Any

from archsearch.errors import ConfigError
from archsearch.leaderboard.fields import Row
from archsearch.leaderboard.rows import ranked_rows
from archsearch.ranking import size_report

if TYPE_CHECKING:
    from archsearch.campaign.record import CampaignRecord

__all__ = ["Board", "boards", "sections"]

ON_A_TASK = ("metric", "maximize", "chance", "ceiling", "best")


@dataclass(frozen=True)
class Board:
    """A leaderboard.

    Args:
        campaigns: whose candidates are in it.
        task, metric, maximize, chance, ceiling: of the task; chance and ceiling may be unknown.
        tasks: with several tasks, metric, maximize, chance, ceiling and `best` of each by name; `best` counts as 1.
        status: of the campaigns, one each.
        rows: best first: the finals, then what was only searched, then what has no rank.
        banners: what a reader must know before trusting the order.
    """

    campaigns: tuple[str, ...]
    task: str
    metric: str
    maximize: bool
    chance: float | None
    ceiling: float | None
    status: tuple[str, ...]
    rows: tuple[Row, ...]
    banners: tuple[str, ...] = ()
    tasks: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)

    @property
    def title(self) -> str:
        """The task and its scale in one line."""
        if self.tasks:
            many = f"{self.task}: " * (self.task != "+".join(self.tasks)) + f"mean over {len(self.tasks)} tasks"
            return f"{many}, seed by seed; on each 0 is chance and 1 the best there is"
        parts = [f"{self.task}: {self.metric}, {'higher' if self.maximize else 'lower'} is better"]
        parts += [f"{n} {v:.3f}" for n, v in (("chance", self.chance), ("ceiling", self.ceiling)) if v is not None]
        return " · ".join(parts)

    @property
    def scales(self) -> tuple[str, ...]:
        """What counts as 0 and as 1 on each of several tasks, a line each."""
        return tuple(_scale_text(label, about) for label, about in self.tasks.items())

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON data."""
        names = ("campaigns", "task", "metric", "maximize", "chance", "ceiling", "tasks", "status", "banners", "rows")
        return {n: list(v) if isinstance(v := getattr(self, n), tuple) else v for n in names}


def _scale_text(label: str, about: Mapping[str, Any]) -> str:
    better = "higher" if about["maximize"] else "lower"
    best = "" if about["ceiling"] is not None else ", the best conceivable, since no ceiling is known"
    scale = f"chance {about['chance']:.3f} is 0 and {about['best']:.3f} is 1{best}"
    return f"{label}: {about['metric']}, {better} is better; {scale}"


def boards(records: Iterable[CampaignRecord], *, target: float | None = None) -> list[Board]:
    """One board per campaign; campaigns that agree in task and fidelity share one.

    Args:
        target: a score; rows say what it took to reach it. `None` for the one at which the task counts as solved.

    Raises:
        ConfigError: a target, and a campaign on several tasks.
    """
    records = list(records)
    if target is not None and (several := [r for r in records if r.task.get("tasks")]):
        raise ConfigError(
            f"`--target` reads the curve of one task, but {several[0].name} is a mean over "
            f"{', '.join(several[0].task['tasks'])}: `archsearch show` has the curves of each."
        )
    groups: dict[Any, list[CampaignRecord]] = {}
    for record in records:
        groups.setdefault(_comparable(record), []).append(record)
    return [_board(group, target) for group in groups.values()]


def _comparable(record: CampaignRecord) -> Any:
    """Equal for campaigns whose scores may stand in one ranking.

    That is one task with the same data and the same most frequent fidelities. A campaign without a score stands alone.
    """
    fidelities = []
    for phase in ("search", "final"):
        measured = [getattr(c, phase) for c in record.candidates if c.role == "search"]
        counts = Counter(m.fidelity for m in measured if m is not None)
        fidelities.append(counts.most_common(1)[0][0] if counts else None)
    if fidelities[0] is None:
        return str(record.path)
    return (record.task["name"], record.task["metric"], record.task["digest"], *fidelities)


def _board(records: Sequence[CampaignRecord], target: float | None) -> Board:
    task, rows = records[0].task, ranked_rows(records, target)
    return Board(
        campaigns=tuple(r.name for r in records),
        task=task["name"],
        metric=task["metric"],
        maximize=bool(task["maximize"]),
        chance=task.get("chance"),
        ceiling=task.get("ceiling"),
        status=tuple(r.status for r in records),
        rows=tuple(rows),
        tasks={label: {n: about[n] for n in ON_A_TASK} for label, about in task.get("tasks", {}).items()},
        banners=(*_finals_banners(records), *_banners(rows, bool(task["maximize"]))),
    )


def sections(rows: Iterable[Row]) -> list[tuple[str, list[Row]]]:
    """The rows in the pieces that are ranked for themselves, each under its heading."""
    parts = [(key, list(part)) for key, part in groupby(rows, key=_section_key)]
    # The hash of further settings is for telling two fidelities apart; where there is one, it only disturbs.
    short = Counter(_heading(*key, hash=False) for key, _ in parts)
    return [(_heading(*key, hash=short[_heading(*key, hash=False)] > 1), part) for key, part in parts]


def _section_key(row: Row) -> tuple[str, str | None]:
    return row["section"], row["fidelity"] if row["section"] != "unfinished" else None


def _heading(section: str, fidelity: str | None, *, hash: bool) -> str:
    if fidelity and not hash:
        fidelity = re.sub(r" \(\w+\)$", "", fidelity)
    match section:
        case "finals":
            return f"Finals, trained again from fresh seeds ({fidelity})"
        case "search":
            return f"Searched only ({fidelity}): ranks are estimates"
        case _:
            return "Not ranked"


def _banners(rows: Sequence[Row], maximize: bool) -> list[str]:
    found = [_size_banner(rows, maximize), _device_banner(rows), _diverged_banner(rows), _edge_banner(rows)]
    if not any(r["place"] for r in rows if r["role"] == "search"):
        trained = any(r["score"] is not None for r in rows if r["role"] == "search")
        found.append(
            "No candidate is ranked: none was trained to its end. Scores are the last before it stopped."
            if trained
            else "No candidate has a score yet."
        )
    return [b for b in found if b]


def _finals_banners(records: Sequence[CampaignRecord]) -> list[str]:
    """Finalists that stand below with their search score, since their final failed or was never run."""
    from archsearch.campaign.record import open_finals

    told = [(r.name, open_finals(r.candidates)) for r in records if r.status != "running"]
    return [f"{name}, {text}. Try them with: archsearch resume {name}" for name, text in told if text]


def _size_banner(rows: Sequence[Row], maximize: bool) -> str | None:
    """Sizes are compared over all candidates of the search, since the finals are too few for a correlation."""
    scored = [r for r in rows if r["role"] == "search" and r["body_params"] and r["place"]]
    scores = [r["search_score"] if r["search_score"] is not None else r["score"] for r in scored]
    report = size_report([s if maximize else -s for s in scores], [r["body_params"] for r in scored])
    if report is None or report.matched:
        return None
    text = f"Sizes are not matched: {report.smallest:,.0f} to {report.largest:,.0f} parameters in the graph"
    if report.correlation is None:
        return text + "."
    return text + f"; rank correlation of size and success {report.correlation:+.2f} over {report.count} candidates."


def _device_banner(rows: Sequence[Row]) -> str | None:
    devices = sorted({r["device"] for r in rows if r["device"]})
    if len(devices) < 2:
        return None
    return f"Speeds are from {len(devices)} devices and not comparable: {'; '.join(devices)}."


def _edge_banner(rows: Sequence[Row]) -> str | None:
    at = [r["id"] for r in rows if r["rate_edge"] and r["place"]]
    if not at:
        return None
    return f"A better learning rate may lie beyond the grid for {', '.join(at)} (see `edge`)."


def _diverged_banner(rows: Sequence[Row]) -> str | None:
    diverged = [r["id"] for r in rows if r["diverged"] and r["place"]]
    if not diverged:
        return None
    return f"Seeds that diverged do not count in the scores of {', '.join(diverged)} (see `diverged`)."
