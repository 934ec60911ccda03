"""`archsearch spaces list|check|sample|draw|size`."""

from __future__ import annotations

import json
import random
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from archsearch.cli.common import as_json, note, print_json, table
from archsearch.errors import UserError

if TYPE_CHECKING:
    from archsearch.graph.architecture import Architecture
    from archsearch.graph.check import CheckReport
    from archsearch.graph.opspec import Registry
    from archsearch.graph.space import Sample, SearchSpace

__all__ = ["spaces"]


@click.group()
def spaces() -> None:
    """List, check, sample, draw and measure search spaces."""


def _read(name: str) -> SearchSpace:
    from archsearch.api import SearchSpace

    return SearchSpace.read(name)


@spaces.command("list")
@as_json
def list_spaces(as_json: bool) -> None:
    """List the shipped spaces."""
    from archsearch import content

    found = [_read(name) for name in content.names("search_spaces")]
    rows = [{"name": s.name, "summary": s.summary, "path": str(s.path), "causal": s.causal} for s in found]
    if as_json:
        print_json(rows)
    else:
        table([(s.name, s.summary) for s in found])


@spaces.command()
@click.argument("space")
@click.option("--samples", type=click.IntRange(min=0), help="How many samples to check beside every alternative.")
@click.option("--seed", default=0, show_default=True)
@as_json
def check(space: str, samples: int | None, seed: int, as_json: bool) -> None:
    """Check a whole space: every alternative, not one sample of them, and what its `campaign` says."""
    from archsearch.campaign import mistakes

    found = _read(space)
    report = found.check(seed=seed) if samples is None else found.check(samples=samples, seed=seed)
    report = replace(report, mistakes=(*report.mistakes, *mistakes.in_space(found)))
    if as_json:
        said = [str(m) for m in report.mistakes]
        print_json({"name": found.name, "path": str(found.path), **asdict(report), "mistakes": said})
    else:
        _print_report(str(found.path), report)
    if not report.ok:
        click.get_current_context().exit(UserError.exit_code)


def _print_report(path: str, report: CheckReport) -> None:
    for mistake in report.mistakes:
        note(f"Error: {mistake}")
    for node in report.unread:
        note(f"Note: {node} is read by no other node, nor by an output: samples are without it.")
    missed, met, refused = report.alternatives - report.covered, report.combinations, report.combinations_refused
    said = _count(len(report.mistakes), "mistake") if report.mistakes else "no mistake"
    click.echo(f"{path}: {said}; {_count(met, 'different combination')} walked.")
    if refused and refused < met:
        verb = "was" if refused == 1 else "were"
        click.echo(
            f"{refused} of them {verb} refused: by `match`, where no width gives the right size, or by `require`. "
            "This is normal: an agent draws again."
        )
    if missed:
        click.echo(
            f"{missed} of {_count(report.alternatives, 'alternative')} {'is' if missed == 1 else 'are'} in no "
            "architecture that is not refused."
        )


def _count(number: int, what: str) -> str:
    return f"{number} {what}{'s' * (number != 1)}"


@spaces.command()
@click.argument("space")
@click.option("-n", "--count", type=click.IntRange(min=1), default=5, show_default=True)
@click.option("--seed", default=0, show_default=True)
@click.option("--length", type=click.IntRange(min=1), default=128, show_default=True, help="Tokens, for the costs.")
@click.option(
    "--uniform",
    type=click.Choice(["decisions", "architectures"]),
    default="decisions",
    show_default=True,
    help="Whether each choice is drawn evenly, or each architecture is as likely as any other.",
)
@as_json
def sample(space: str, count: int, seed: int, length: int, uniform: str, as_json: bool) -> None:
    """Draw random architectures of a space: one line each, with size and cost."""
    found = _read(space)
    rng = random.Random(seed)
    rows = [_described(found, found.sample(rng, uniform=uniform), length) for _ in range(count)]
    if as_json:
        print_json(rows)
        return
    from archsearch.leaderboard.text import short_count

    lines = [(r["hash"], short_count(r["params"]), short_count(r["flops_per_token"]), r["architecture"]) for r in rows]
    table(lines, head=("hash", "params", "FLOPs/tok", "architecture"))


def _described(space: SearchSpace, drawn: Sample, length: int) -> dict[str, Any]:
    from archsearch.graph.analysis import facts
    from archsearch.graph.line import one_line
    from archsearch.graph.normal import digest

    f = facts(drawn.architecture, space.registry, length)
    names = ("params", "flops_per_token", "state_bytes", "span", "depth", "parallel_in_time")
    return {
        "hash": digest(drawn.architecture, space.registry),
        "architecture": one_line(drawn.architecture),
        "families": list(f.families),
        **{name: getattr(f, name) for name in names},
        "decisions": dict(drawn.decisions),
    }


@spaces.command()
@click.argument("space")
@click.option("--seed", default=0, show_default=True, help="Which sample to draw, if the space has choices.")
@click.option("--format", "form", type=click.Choice(["text", "svg", "mermaid"]), default="text", show_default=True)
@click.option("--unfold", is_flag=True, help="Draw every turn of a repeat, also those that are alike.")
@click.option("-o", "--output", type=click.Path(dir_okay=False, path_type=Path), help="A file, instead of stdout.")
@as_json
def draw(space: str, seed: int, form: str, unfold: bool, output: Path | None, as_json: bool) -> None:
    """Draw an architecture of a space: as text, as an SVG image, or as a Mermaid chart for Markdown."""
    found = _read(space)
    drawn = found.sample(random.Random(seed))
    text = _picture(drawn.architecture, found.registry, form, fold=not unfold)
    if as_json:
        data = {"decisions": dict(drawn.decisions), "architecture": drawn.architecture.to_dict(), "picture": text}
        text = json.dumps(data, indent=1, ensure_ascii=False)
    elif not found.is_point:
        note(f"One sample of {found.name} (--seed {seed}).")
    if output is None:
        click.echo(text)
    else:
        output.write_text(text.rstrip("\n") + "\n", encoding="utf-8")


def _picture(architecture: Architecture, registry: Registry, form: str, *, fold: bool) -> str:
    if form == "svg":
        from archsearch.graph.svg import svg

        return svg(architecture, registry, fold=fold)
    if form == "mermaid":
        from archsearch.graph.mermaid import mermaid

        return mermaid(architecture, registry, fold=fold)
    from archsearch.graph.cycles import cycles
    from archsearch.graph.picture import draw as picture

    return "\n\n".join(filter(None, [picture(architecture, fold=fold), cycles(architecture, registry)]))


@spaces.command()
@click.argument("space")
@as_json
def size(space: str, as_json: bool) -> None:
    """Say how many architectures a space holds."""
    found = _read(space)
    counted = found.size()
    if as_json:
        print_json({"name": found.name, **asdict(counted)})
    else:
        click.echo(str(counted))
