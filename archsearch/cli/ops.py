"""`archsearch ops list|show|docs`: the ops that are written in Python, and the blocks that are written in YAML."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from archsearch.cli.common import as_json, print_json, print_pairs, table
from archsearch.cli.definitions import definitions
from archsearch.cli.sheets import LENGTHS, WIDTH, block_sheet, growth, op_sheet, setting_data, shape_text, spec_data
from archsearch.errors import UnknownNameError

if TYPE_CHECKING:
    from archsearch.graph.opspec import Setting

__all__ = ["by_family", "ops", "setting_data", "setting_text"]


@click.group()
def ops() -> None:
    """List the ops that a graph can use, or show one."""


@ops.command("list")
@click.option("--family", help="Only ops of this family.")
@as_json
def list_ops(family: str | None, as_json: bool) -> None:
    """List all ops and blocks by family. Blocks are written in YAML, which any file can copy and change."""
    from archsearch.graph.opspec import FAMILY_TEXTS

    found = by_family()
    if family is not None and family not in found:
        raise UnknownNameError("family", family, found)
    kept = {name: rows for name, rows in found.items() if family in (None, name)}
    if as_json:
        print_json([row for rows in kept.values() for row in rows])
        return
    width = max(len(row["name"]) for rows in kept.values() for row in rows)
    for i, (name, rows) in enumerate(kept.items()):
        click.echo("\n" * bool(i) + f"{name}: {FAMILY_TEXTS.get(name, '')}".rstrip(": "))
        table([(f"  {row['name']}".ljust(width + 2), row["kind"], row["summary"]) for row in rows])


def by_family() -> dict[str, list[dict[str, Any]]]:
    """Ops and blocks in short, by family: in the order of the families' texts, the ops of one before its blocks."""
    from archsearch.graph.opspec import FAMILY_TEXTS
    from archsearch.ops.registry import registry

    rows = [spec_data(s) for s in registry().values()]
    rows += [
        {"name": d.name, "kind": "block", "family": d.family, "summary": d.summary, "path": str(d.path)}
        for d in definitions().values()
    ]
    found: dict[str, list[dict[str, Any]]] = {name: [] for name in FAMILY_TEXTS}
    for row in rows:
        found.setdefault(row["family"], []).append(row)
    return {name: rows for name, rows in found.items() if rows}


@ops.command()
@click.argument("name")
@as_json
def show(name: str, as_json: bool) -> None:
    """Show one op or block: ports, settings, equation, weights, costs; of a block also its text."""
    from archsearch.ops.registry import registry

    blocks = definitions()
    if name not in blocks and name not in registry():
        raise UnknownNameError("op", name, [*registry(), *blocks])
    sheet = block_sheet(blocks[name]) if name in blocks else op_sheet(name)
    if as_json:
        print_json(sheet)
    elif name in blocks:
        _print_block(sheet, blocks[name].comment)
    else:
        _print_op(sheet)


@ops.command()
@click.option("-o", "--output", type=click.Path(dir_okay=False, path_type=Path), help="A file, instead of stdout.")
def docs(output: Path | None) -> None:
    """Print the page of all ops and blocks, docs/ops.md, as Markdown."""
    from archsearch.cli.ops_page import page

    if output is None:
        click.echo(page(), nl=False)
    else:
        output.write_text(page(), encoding="utf-8")


def _print_op(sheet: Mapping[str, Any]) -> None:
    from archsearch.ops.registry import registry

    click.echo(f"{sheet['name']}: {sheet['summary']}\n")
    flags = [n for n in ("mixes_time", "commutative") if sheet[n]]
    print_pairs(
        [
            ("family", sheet["family"]),
            ("inputs", ", ".join(map(port_text, sheet["inputs"]))),
            ("outputs", ", ".join(sheet["outputs"])),
            ("flags", ", ".join(flags).replace("_", " ")),
            ("equation", sheet["equation"]),
            ("paper", sheet["paper"]),
        ]
    )
    if any(p["help"] for p in sheet["inputs"]):
        click.echo("\nInputs")
        table([(f"  {p['name']}", p["help"]) for p in sheet["inputs"]])
    if sheet["settings"]:
        click.echo("\nSettings")
        table([setting_text(s) for s in registry()[sheet["name"]].settings])
    click.echo(f"\nFigures for {example_text(sheet)}")
    if sheet["weights"]:
        click.echo("\nWeights")
        table([weight_text(w) for w in sheet["weights"]], head=("  name", "shape", "drawn", "trained"))
    click.echo("\nCosts")
    _print_costs(sheet["costs"])


def _print_block(sheet: Mapping[str, Any], comment: str) -> None:
    click.echo(f"{sheet['name']}: {comment}\n")
    print_pairs([("family", f"{sheet['family']}, a block"), ("file", sheet["path"])])
    if sheet["settings"]:
        click.echo("\nSettings")
        table([(f"  {s['name']}", f"default {value_text(s['default'])}") for s in sheet["settings"]])
    click.echo(f"\n{sheet['text']}")
    if sheet["equations"]:
        click.echo(f"\n# the same as equations\n{sheet['name']}:\n{textwrap.indent(sheet['equations'], '  ').rstrip()}")
    if sheet["costs"] is None:
        click.echo("\nIt has no figures of its own: what it costs depends on the settings that it is given.")
        return
    click.echo(f"\nFigures for width {WIDTH}: {sheet['params']:,} weights\n\nWeights")
    rows = [
        (f"  {node['name']}.{w[0].strip()}", *w[1:])
        for node in sheet["nodes"]
        for w in map(weight_text, node["weights"])
    ]
    table(rows, head=("  name", "shape", "drawn", "trained"))
    click.echo("\nCosts")
    _print_costs(sheet["costs"], sheet["nodes"])
    if sheet["costs"]["flops_per_token"][0] > 1.001 * sum(n["flops_per_token"][0] for n in sheet["nodes"]):
        click.echo("  A node is counted once here; those of a body run again and again.")


def _print_costs(costs: Mapping[str, Any], nodes: Iterable[Mapping[str, Any]] = ()) -> None:
    rows = [(f"  {name}", *figures, words) for name, *figures, words in cost_rows(costs)]
    rows += [
        (f"    {n['name']}: {n['op']}", *map(number, n["flops_per_token"]), growth(n["flops_per_token"]))
        for n in nodes
        if any(n["flops_per_token"])
    ]
    table(rows, head=("", *(f"T={t}" for t in LENGTHS), ""))


COSTS = {"flops_per_token": "FLOPs a token", "state_bytes": "state, bytes", "span": "span, steps"}


def cost_rows(costs: Mapping[str, Any]) -> list[tuple[str, ...]]:
    """What costs what: a name, a figure for each length, and how it grows."""
    return [(title, *map(number, costs[key]), costs["growth"][key]) for key, title in COSTS.items()]


def number(value: float) -> str:
    """`12,345`."""
    return f"{value:,.0f}"


def port_text(p: Mapping[str, Any]) -> str:
    """`x...` for a port that takes many, `x (optional)` for one that may be left out."""
    name: str = p["name"]
    return name + ("..." if p["many"] else "") + (" (optional)" if p["optional"] else "")


def example_text(sheet: Mapping[str, Any]) -> str:
    """What the figures of an op are given for."""
    example = sheet["example"]
    settings = "".join(f", {k}: {v}" for k, v in example["settings"].items())
    kinds = [kind or "none" for kind in example["inputs"]]
    inputs = f"width {kinds[0]}" if len(set(kinds)) == 1 else f"inputs of {', '.join(kinds)}"
    return f"{inputs}{settings or ', settings by default'}"


def weight_text(w: Mapping[str, Any]) -> tuple[str, str, str, str]:
    """A weight in four columns: name, shape, how it is drawn, how it is trained."""
    rate = "" if w["lr_mult"] == 1 else f", {w['lr_mult']:g} × the learning rate"
    trained = ("yes" if w["decay"] else "no decay") + rate if w["trained"] else "frozen"
    return f"  {w['name']}", shape_text(w), w["init"], trained


def value_text(value: Any) -> str:
    """A value as YAML writes it."""
    if isinstance(value, dict | list):
        import yaml

        return yaml.safe_dump(value, default_flow_style=True, sort_keys=False, width=math.inf).strip()
    if value is None:
        return "null"
    return str(value).lower() if isinstance(value, bool) else str(value)


def setting_text(s: Setting) -> tuple[str, str, str]:
    """A setting in three columns: name, what it may be, what it means."""
    low = "" if s.low is None else f" ≥ {s.low:g}"
    high = "" if s.high is None else f" ≤ {s.high:g}"
    kind = " | ".join(s.options) or s.kind.__name__ + low + high
    without = "required" if s.required else "default by type"
    default = without if s.default is None else f"default {value_text(s.default)}"
    return f"  {s.name}", kind if s.default == "" else f"{kind}, {default}", s.help
