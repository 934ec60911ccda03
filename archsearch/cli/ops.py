"""`archsearch ops list|show`: the ops that are written in Python, and the definitions that are written in YAML."""

from __future__ import annotations

import textwrap
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import click

from archsearch.cli.common import as_json, print_json, print_pairs, table
from archsearch.errors import UnknownNameError

if TYPE_CHECKING:
    from archsearch.graph.opspec import OpSpec, Setting
    from archsearch.graph.reader import Located

__all__ = ["ops", "setting_data", "setting_text"]


@click.group()
def ops() -> None:
    """List the ops that a graph can use, or show one."""


@ops.command("list")
@click.option("--family", help="Only ops of this family.")
@as_json
def list_ops(family: str | None, as_json: bool) -> None:
    """List all ops by family; the definitions are the shipped blocks, which any file can copy and change."""
    from archsearch.ops.registry import registry

    rows = [_data(s) for s in registry().values()]
    rows += [
        {"name": d.name, "family": "definition", "summary": f"written in YAML, {d.path}", "path": d.path}
        for d in definitions().values()
    ]
    families = {r["family"] for r in rows}
    if family is not None and family not in families:
        raise UnknownNameError("family", family, families)
    kept = [r for r in rows if family in (None, r["family"])]
    if as_json:
        print_json(kept)
    else:
        table([(r["name"], r["family"], r["summary"]) for r in kept])


@ops.command()
@click.argument("name")
@as_json
def show(name: str, as_json: bool) -> None:
    """Show one op: ports, settings, equation, paper; or the text of a definition, also as equations."""
    from archsearch.ops.registry import op_class, registry

    blocks = definitions()
    if name in blocks:
        block, equations = blocks[name], _equations(blocks[name].body)
        if as_json:
            about = {"name": name, "family": "definition", "path": block.path, "text": block.text}
            print_json({**about, "equations": equations})
        else:
            click.echo(f"# {block.path}\n{block.text}")
            if equations:
                click.echo(f"\n# the same as equations\n{name}:\n{textwrap.indent(equations, '  ').rstrip()}")
        return
    if name not in registry():
        raise UnknownNameError("op", name, [*registry(), *blocks])
    spec, equation = registry()[name], op_class(name).equation
    if as_json:
        print_json({**_data(spec), "equation": equation})
    else:
        _print(spec, equation)


def _print(spec: OpSpec, equation: str) -> None:
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


@dataclass(frozen=True)
class Definition:
    """A shipped block: its name, its file, and its text as it stands there."""

    name: str
    path: str
    text: str
    body: Located


def definitions() -> dict[str, Definition]:
    """The blocks that every space knows, by name."""
    from archsearch import content
    from archsearch.graph.reader import Table, load

    found = {}
    for path in content.block_files():
        root = load(path).root
        define = root.get("define") if isinstance(root, Table) else None
        if not isinstance(define, Table):
            continue
        lines = path.read_text(encoding="utf-8").splitlines()
        starts = [mark.line - 1 for mark in define.keys.values()]
        for name, start, end in zip(define.keys, starts, [*starts[1:], len(lines)], strict=True):
            text = textwrap.dedent("\n".join(lines[start:end])).rstrip()
            found[name] = Definition(name, str(path), text, define.entries[name])
    return found


def _equations(body: Located) -> str | None:
    """The definition as equations, where they can say it."""
    from archsearch.graph.equations import Signature
    from archsearch.graph.reader import Table
    from archsearch.graph.spelling import to_equations
    from archsearch.ops.registry import registry

    def find(name: str) -> Signature | None:
        return Signature.of(registry()[name]) if name in registry() else None

    return to_equations(body, find) if isinstance(body, Table) else None


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
