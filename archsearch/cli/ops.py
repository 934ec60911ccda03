"""`archsearch ops list|show`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from archsearch.cli.common import as_json, print_json, print_pairs, table

if TYPE_CHECKING:
    from archsearch.graph.opspec import OpSpec, Setting

__all__ = ["ops", "setting_data", "setting_text"]


@click.group()
def ops() -> None:
    """List the ops that a graph can use, or show one."""


@ops.command("list")
@click.option("--family", help="Only ops of this family.")
@as_json
def list_ops(family: str | None, as_json: bool) -> None:
    """List all ops by family."""
    from archsearch.errors import UnknownNameError
    from archsearch.ops.registry import registry

    found = list(registry().values())
    families = {s.family for s in found}
    if family is not None and family not in families:
        raise UnknownNameError("family", family, families)
    kept = [s for s in found if family in (None, s.family)]
    if as_json:
        print_json([_data(s) for s in kept])
    else:
        table([(s.name, s.family, s.summary) for s in kept])


@ops.command()
@click.argument("name")
@as_json
def show(name: str, as_json: bool) -> None:
    """Show one op: ports, settings, equation, paper."""
    from archsearch.ops.registry import op_class, registry

    spec, equation = registry()[name], op_class(name).equation
    if as_json:
        print_json({**_data(spec), "equation": equation})
        return
    click.echo(f"{spec.name}: {spec.summary}\n")
    ports = [p.name + ("..." if p.many else "") + (" (optional)" if p.optional else "") for p in spec.ports]
    flags = [("mixes time", spec.mixes_time), ("commutative", spec.commutative)]
    print_pairs(
        [
            ("family", spec.family),
            ("inputs", ", ".join(ports)),
            ("outputs", ", ".join(spec.outputs)),
            ("flags", ", ".join(n for n, v in flags if v)),
            ("equation", equation),
            ("paper", spec.paper),
        ]
    )
    if spec.settings:
        click.echo("\nSettings")
        table([setting_text(s) for s in spec.settings])


def _data(spec: OpSpec) -> dict[str, Any]:
    return {
        "name": spec.name,
        "summary": spec.summary,
        "family": spec.family,
        "inputs": [{"name": p.name, "many": p.many, "optional": p.optional} for p in spec.ports],
        "outputs": list(spec.outputs),
        "mixes_time": spec.mixes_time,
        "commutative": spec.commutative,
        "paper": spec.paper,
        "settings": [setting_data(s) for s in spec.settings],
    }


def setting_data(s: Setting) -> dict[str, Any]:
    """A setting as plain data."""
    bounds = {"low": s.low, "high": s.high, "options": list(s.options)}
    return {
        "name": s.name,
        "kind": s.kind.__name__,
        "default": s.default,
        "required": s.required,
        **bounds,
        "help": s.help,
    }


def setting_text(s: Setting) -> tuple[str, str, str]:
    """A setting in three columns: name, what it may be, what it means."""
    low = "" if s.low is None else f" ≥ {s.low:g}"
    high = "" if s.high is None else f" ≤ {s.high:g}"
    kind = " | ".join(s.options) or s.kind.__name__ + low + high
    without = "required" if s.required else "default by type"
    default = without if s.default is None else f"default {s.default}"
    return f"  {s.name}", f"{kind}, {default}", s.help
