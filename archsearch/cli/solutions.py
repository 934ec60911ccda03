"""What was solved for in the place of training, as `archsearch show` and `archsearch train` print it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import click

from archsearch.cli.common import print_pairs, table

if TYPE_CHECKING:
    from archsearch.campaign.record import CampaignRecord, CandidateRecord
    from archsearch.training.measurement import Measurement

__all__ = ["print_solutions", "print_twins", "twins"]

SEEDS = 6
"""Columns of the validation curve; `--json` has all of them."""
TWIN = ("id", "fit", "status", "score", "seconds of fitting")


def print_solutions(m: Measurement, metric: str, indent: str = "  ") -> None:
    """A row for each seed, how alike their answers are, and validation over what was tried; nothing if none is."""
    if not m.solutions:
        return
    first = m.solutions[0]
    pairs = [
        ("readout", first["fit"]),
        ("rows", first.get("rows")),
        ("seconds", f"{first['seconds']:.3g} for {len(m.solutions)} seed{'s' * (len(m.solutions) > 1)}"),
        ("answers alike", _alike(m.solutions)),
    ]
    print_pairs(pairs, indent=indent)
    head = (f"{indent}seed", "penalty", "norm", "certificate", "solution")
    table([(f"{indent}{s['seed']}", *_row(s)) for s in m.solutions], head=head)
    _print_path(m.solutions[:SEEDS], metric, indent)


def _row(solution: Mapping[str, Any]) -> tuple[str, ...]:
    penalty = "-" if solution.get("penalty") is None else f"{solution['penalty']:.3g}"
    if "bandwidth" in solution:
        penalty += f" at bandwidth {solution['bandwidth']:g}"
    return penalty, f"{solution['norm']:.3g}", _certificate(solution), solution.get("digest", "-")


def _certificate(solution: Mapping[str, Any]) -> str:
    """How far the solution may be from the best, in words."""
    found = solution.get("certificate") or {}
    if "residual" in found:
        return f"normal equations to {found['residual']:.1e}"
    if "gap" not in found:
        return "-"
    text = f"duality gap {found['gap']:.1e}"
    if "patterns" in found:
        text += f" over {'all' if found['all_patterns'] else found['patterns']} patterns"
        text += "" if found.get("searched", True) else ", none looked for"
    if "inside" in found:
        text += f", {found['inside']} of {solution['rows']} rows in the margin"
    return text


def _alike(solutions: Sequence[Mapping[str, Any]]) -> str | None:
    """The range of the cosines between seeds."""
    found = [c for i, s in enumerate(solutions) for c in s.get("cosines", ())[i + 1 :] if c is not None]
    if not found:
        return None
    ends = f"{min(found):.4f}" if len(found) == 1 else f"{min(found):.4f} to {max(found):.4f}"
    return f"cosine {ends} between seeds, on validation"


def _print_path(solutions: Sequence[Mapping[str, Any]], metric: str, indent: str) -> None:
    """Validation over all settings that were tried, a column a seed; the one that was chosen has a star."""
    paths = [s.get("path", []) for s in solutions]
    if len(paths[0]) < 2:
        return
    click.echo(f"\n{indent}{metric} on validation by penalty")
    rows = []
    for tried in zip(*paths, strict=True):
        name = f"{tried[0]['penalty']:.3g}" + (f", bandwidth {b:g}" if (b := tried[0].get("bandwidth")) else "")
        cells = []
        for solution, at in zip(solutions, tried, strict=True):
            chosen = all(at.get(k) == solution.get(k) for k in ("penalty", "bandwidth"))
            cells.append("-" if at["score"] is None else f"{at['score']:.4f}" + "*" * chosen)
        rows.append((f"{indent}{name}", *cells))
    table(rows, head=(f"{indent}penalty", *(f"seed {s['seed']}" for s in solutions)))


def twins(record: CampaignRecord, candidate: CandidateRecord) -> Iterator[dict[str, Any]]:
    """The candidate and those that decided alike in all but `fit`, if there are any: plain data."""
    if "fit" not in candidate.decisions:
        return
    same = _but_fit(candidate)
    found = [c for c in record.candidates if "fit" in c.decisions and _but_fit(c) == same]
    for c in found if len(found) > 1 else ():
        seconds = c.search.train_seconds if c.search else None
        score = c.search.score if c.search else None
        yield {"id": c.id, "fit": c.decisions["fit"], "status": c.status, "score": score, "train_seconds": seconds}


def _but_fit(c: CandidateRecord) -> dict[str, Any]:
    return {path: value for path, value in c.decisions.items() if path != "fit"}


def print_twins(found: Sequence[Mapping[str, Any]]) -> None:
    """The same body, fitted in several ways: score and seconds in the search."""
    if not found:
        return
    click.echo("\nThe same body, fitted in other ways")
    rows = []
    for t in found:
        score = "-" if t["score"] is None else f"{t['score']:.4f}"
        seconds = "-" if t["train_seconds"] is None else f"{t['train_seconds']:.3g}"
        rows.append((f"  {t['id']}", t["fit"], t["status"], score, seconds))
    table(rows, head=("  id", *TWIN[1:]))
