"""`archsearch agents list|show`."""

from __future__ import annotations

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
        table([(f"  {s['name']}", f"default {s['default']}") for s in about["settings"]])


def _about(name: str) -> dict[str, Any]:
    import inspect

    from archsearch import content
    from archsearch.campaign.agents import agent_class, settings_of

    kind = agent_class(name)
    settings = [{"name": n, "default": p.default} for n, p in settings_of(kind).items()]
    summary = kind.summary or (inspect.getdoc(kind) or "").partition("\n")[0]
    return {"name": kind.name, "summary": summary, "path": str(content.find("agents", name)), "settings": settings}
