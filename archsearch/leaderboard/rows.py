"""From the record of a campaign to the rows of its board."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any, cast

from archsearch.leaderboard.fields import FIELDS, Row
from archsearch.leaderboard.targets import to_target
from archsearch.ranking import Entry, Ranked, Section, rank

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from archsearch.campaign.record import CampaignRecord, CandidateRecord
    from archsearch.training.measurement import CopyResult, Fidelity, Measurement

__all__ = ["device_text", "fidelity_text", "ranked_rows", "seed_scores"]


def ranked_rows(records: Sequence[CampaignRecord], target: float | None = None) -> list[Row]:
    """All candidates of campaigns on one task, best first, as rows.

    Records whose tasks differ in metric or data must not be put together; see `archsearch.leaderboard.boards`.

    Args:
        target: the score that `steps_to_target` counts to; `None` for the one at which the task counts as solved.
    """
    candidates = {
        f"{position}/{candidate.id}": (record, candidate)
        for position, record in enumerate(records)
        for candidate in record.candidates
    }
    maximize = bool(records[0].task["maximize"])
    entries = _shared_fidelity([_entry(key, c) for key, (_, c) in candidates.items()], candidates)
    target = records[0].task.get("solved") if target is None else target
    return [_row(*candidates[r.entry.key], r, target) for r in rank(entries, maximize=maximize)]


def _entry(key: str, candidate: CandidateRecord) -> Entry:
    measured = _measured(candidate)
    if measured is None or measured.score is None:
        last = candidate.last[1] if candidate.last else None
        return Entry(key, "unfinished", None, last, tiebreak=(float(candidate.number or 0),))
    copies = _chosen(measured)
    solved = [c.solved_at for c in copies if c.solved_at is not None]
    return Entry(
        key=key,
        section=_section(candidate),
        fidelity=measured.fidelity,
        score=measured.score,
        samples=seed_scores(measured),
        tiebreak=(-len(solved), sum(solved) / max(len(solved), 1), float(candidate.number or 0)),
        cost=measured.flops_per_token,
        exact=(candidate.facts.get("fit") or _fit(measured)) == "frequencies",
    )


def _section(candidate: CandidateRecord) -> Section:
    """Where the candidate is ranked. One that was measured and failed later keeps what was measured."""
    if candidate.final is not None and candidate.final.score is not None:
        return "finals"
    return "search" if candidate.status == "done" else "unfinished"


def _measured(candidate: CandidateRecord) -> Measurement | None:
    """The measurement that ranks the candidate."""
    if candidate.final is not None and candidate.final.score is not None:
        return candidate.final
    return candidate.search


def _shared_fidelity(entries: list[Entry], candidates: dict[str, Any]) -> list[Entry]:
    """Puts a control beside the candidates that had its effort, even where it has settings of its own.

    A frozen body or another grid of learning rates is what makes such a control, not more or less effort.
    """
    searched: dict[Any, Any] = {}
    for e in entries:
        if candidates[e.key][1].role != "control" and e.fidelity is not None:
            searched.setdefault((e.section, _effort(e.fidelity)), e.fidelity)
    out = []
    for e in entries:
        if candidates[e.key][1].role == "control" and e.fidelity is not None:
            same = searched.get((e.section, _effort(e.fidelity)), e.fidelity)
            out.append(replace(e, fidelity=same))
        else:
            out.append(e)
    return out


def _effort(fidelity: Any) -> tuple[Any, ...]:
    f: Fidelity = fidelity
    return (f.task, f.digest, f.split, f.steps, f.batch, f.seeds, f.protocol, f.budget, f.amount)


def _chosen(m: Measurement) -> list[CopyResult]:
    """The copies at the chosen learning rate, one per seed."""
    return [c for c in m.copies if c.learning_rate == m.learning_rate]


def seed_scores(m: Measurement) -> tuple[float, ...]:
    """The scores per seed behind `m.score`; seeds that diverged have none."""
    scores = (c.test_score if m.fidelity.split == "test" else c.score for c in _chosen(m))
    return tuple(s for s in scores if s is not None)


def _row(record: CampaignRecord, c: CandidateRecord, ranked: Ranked, target: float | None) -> Row:
    maximize = bool(record.task["maximize"])
    values: dict[str, Any] = {
        "rank": ranked.ranks.low if ranked.ranks else ranked.place,
        "rank_low": ranked.ranks.low if ranked.ranks else None,
        "rank_high": ranked.ranks.high if ranked.ranks else None,
        "place": ranked.place,
        "section": ranked.section,
        "campaign": record.name,
        "id": c.id,
        "role": c.role,
        "status": c.status,
        "hash": c.hash,
        "architecture": c.line,
        "families": list(c.families),
        "decisions": dict(c.decisions),
        "score": ranked.entry.score,
        "metric": record.task["metric"],
        "tasks": _task_scores(record, c),
        "pareto": ranked.layer,
        "agent": c.agent,
        "parent": c.parent,
        "reason": c.reason or None,
        "failure": _failure(c),
        "shrinkage": _shrinkage(c, maximize=maximize),
        "rate_edge": _rate_edge(c),
        "search_score": c.search.score if c.search else None,
        "seconds": c.seconds or None,
        **_analytic(c),
    }
    measured = _measured(c)
    if measured is not None:
        values |= _measured_values(measured) | _gaps(measured, maximize=maximize)
        parts = list(_parts(c).values())
        if parts:
            values["fit"] = _fit(parts[0])
        else:  # steps of several tasks cannot be put in one number
            values |= to_target(measured, _chosen(measured), target, maximize=maximize)
        values["fidelity"] = fidelity_text(cast("Fidelity", ranked.entry.fidelity or measured.fidelity))
    return {name: values.get(name) for name in FIELDS}


def _task_scores(record: CampaignRecord, c: CandidateRecord) -> dict[str, float | None] | None:
    """The score on each of several tasks, of the training that ranks the candidate or of what there is of it."""
    if not record.task.get("tasks"):
        return None
    parts = _parts(c)
    return {label: parts[label].score if label in parts else None for label in record.task["tasks"]}


def _parts(c: CandidateRecord) -> Mapping[str, Measurement]:
    """The measurements on each of several tasks that rank the candidate, as far as there are."""
    return c.final_tasks if c.final is not None and c.final.score is not None else c.search_tasks


def _fit(m: Measurement) -> str:
    return m.solutions[0]["fit"] if m.solutions else "gradient"


def _analytic(c: CandidateRecord) -> dict[str, Any]:
    """What is known before anything trains."""
    same = ("flops_per_token", "state_bytes", "span", "parallel_in_time")
    return {"fit": c.facts.get("fit"), "body_params": c.facts.get("params"), **{n: c.facts.get(n) for n in same}}


def _measured_values(m: Measurement) -> dict[str, Any]:
    copies = _chosen(m)
    solved = [c.solved_at for c in copies if c.solved_at is not None]
    several = m.learning_rate is None  # a mean over tasks; which of them a seed solved, `archsearch show` says
    return {
        "score_low": m.score_low,
        "score_high": m.score_high,
        "validation_score": m.validation_score,
        "test_score": m.score if m.fidelity.split == "test" else None,
        "seeds": len(seed_scores(m)),
        "diverged": sum(c.status == "diverged" for c in copies),
        "solved": None if several else len(solved),
        "solved_at": sum(solved) / len(solved) if solved else None,
        "steps": m.steps,
        "fit": _fit(m),
        "learning_rate": m.learning_rate or None,
        "params": m.params,
        "body_params": m.body_params,
        "flops_per_token": m.flops_per_token,
        "state_bytes": m.state_bytes,
        "span": m.span,
        "parallel_in_time": m.parallel_in_time,
        "tokens_per_second": m.tokens_per_second or None,
        "peak_memory_bytes": m.peak_memory_bytes,
        "device": device_text(m),
    }


def _gaps(m: Measurement, *, maximize: bool) -> dict[str, Any]:
    """Train, validation and test of one training, and what is lost from each to the next."""
    test = m.score if m.fidelity.split == "test" else None
    return {
        "train_score": m.train_score,
        "gap_validation": _worse(m.train_score, m.validation_score, maximize=maximize),
        "gap_test": _worse(m.validation_score, test, maximize=maximize),
    }


def _worse(first: float | None, second: float | None, *, maximize: bool) -> float | None:
    """By how much the second score is worse than the first."""
    return None if first is None or second is None else (first - second) * (1 if maximize else -1)


def _rate_edge(c: CandidateRecord) -> str | None:
    """Whether the rate that the search chose is the lowest or the highest of several; if tasks differ, on which."""
    if not c.search_tasks:
        return _edge_of(c.search)
    at = {label: edge for label, m in c.search_tasks.items() if (edge := _edge_of(m))}
    return ", ".join(f"{edge} ({label})" for label, edge in at.items()) or None


def _edge_of(m: Measurement | None) -> str | None:
    rates = sorted({copy.learning_rate for copy in m.copies if copy.learning_rate is not None}) if m else []
    if m is None or len(rates) < 2 or m.learning_rate not in (rates[0], rates[-1]):
        return None
    return "lowest" if m.learning_rate == rates[0] else "highest"


def device_text(m: Measurement) -> str | None:
    """What a speed belongs to: device, dtype, threads and back end, as far as they are known."""
    e = m.environment
    threads = f"{e['threads']} threads" if e.get("threads") and e.get("device") == "cpu" else None
    parts = [e.get("device_name") or e.get("device"), e.get("dtype"), threads, e.get("backend")]
    return ", ".join(str(p) for p in parts if p) or None


def fidelity_text(f: Fidelity) -> str:
    """The effort behind a score in words: `test, 3 seeds × 1 rate, 400 steps of 32 (a1b2)`."""
    rates, batch = len(f.learning_rates), f" of {f.batch}" if f.batch else " over all tasks"
    grid = f"{f.seeds} seed{'s' * (f.seeds != 1)}" + (f" × {rates} learning rates" if rates != 1 else "")
    return f"{f.split}, {grid}, {_budget_text(f)}{batch}" + (f" ({f.settings[:4]})" if f.settings else "")


def _budget_text(f: Fidelity) -> str:
    match f.budget:
        case "flops":
            return f"{f.amount:g} FLOPs a copy in steps"
        case "seconds":
            return f"{f.amount:g} s in steps"
    return f"{f.steps} steps"


def _shrinkage(c: CandidateRecord, *, maximize: bool) -> float | None:
    if c.search is None or c.final is None:
        return None
    return _worse(c.search.score, c.final.score, maximize=maximize)


def _failure(c: CandidateRecord) -> str | None:
    """Why the candidate is not done, or why its final run failed."""
    if c.failure is None:
        return None
    reason, message = c.failure
    text = f"{reason}: {message}" if message else reason
    return f"final: {text}" if c.status == "done" else text
