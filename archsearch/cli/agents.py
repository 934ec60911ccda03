"""`archsearch agents list|show`."""

from __future__ import annotations

import inspect
import re
from typing import Any

import click

from archsearch.cli.common import as_json, print_json, print_pairs, table

__all__ = ["agents"]


@click.group()
def agents() -> None:
    """List the agents, or show one."""


@agents.command("list")
@as_json
def list_agents(as_json: bool) -> None:
    """List the shipped agents."""
    from archsearch import content

    rows = [_about(name) for name in content.names("agents")]
    if as_json:
        print_json(rows)
    else:
        table([(r["name"], r["summary"]) for r in rows])


@agents.command()
@click.argument("name")
@as_json
def show(name: str, as_json: bool) -> None:
    """Show an agent, by name or by file: what it does, and its settings."""
    about = _about(name)
    if as_json:
        print_json(about)
        return
    click.echo(f"{about['name']}: {about['summary']}\n")
    print_pairs([("file", about["path"])])
    if about["settings"]:
        click.echo("\nSettings (--set agent.NAME=VALUE)")
        table([(f"  {s['name']}", s["kind"], f"default {s['default']}", s["help"]) for s in about["settings"]])


def _about(name: str) -> dict[str, Any]:
    from archsearch import content
    from archsearch.campaign.agents import agent_class, settings_of

    kind = agent_class(name)
    text = inspect.getdoc(kind) or ""
    helps = _helps(text)
    settings = [
        {"name": n, "kind": _kind(p), "default": p.default, "help": helps.get(n, "")}
        for n, p in settings_of(kind).items()
    ]
    summary = kind.summary or text.partition("\n")[0]
    return {"name": kind.name, "summary": summary, "path": str(content.find("agents", name)), "settings": settings}


def _kind(parameter: inspect.Parameter) -> str:
    """The annotation of a setting as it is written; empty without one."""
    if parameter.annotation is parameter.empty:
        return ""
    return getattr(parameter.annotation, "__name__", str(parameter.annotation))


def _helps(docstring: str) -> dict[str, str]:
    """What the `Args:` of a docstring say of each name: `name: words`, further lines indented below it."""
    block = docstring.partition("Args:\n")[2].split("\n\n")[0]
    found = re.findall(r"^ {4}(\w+(?:, \w+)*): (.*(?:\n {5,}.*)*)", block, re.MULTILINE)
    return {name: " ".join(text.split()).rstrip(".") for names, text in found for name in names.split(", ")}
