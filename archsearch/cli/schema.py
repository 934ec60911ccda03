"""`archsearch schema`."""

from __future__ import annotations

import json
from pathlib import Path

import click

__all__ = ["schema"]


@click.command()
@click.option("-o", "--output", type=click.Path(dir_okay=False, path_type=Path), help="A file, instead of stdout.")
def schema(output: Path | None) -> None:
    """Print the JSON Schema of search spaces, for editors.

    A YAML file that begins with `# yaml-language-server: $schema=PATH` is completed and checked by it.
    """
    from archsearch.content import block_files
    from archsearch.graph.schema import schema as made
    from archsearch.ops.registry import registry

    text = json.dumps(made(registry(), block_files()), indent=1, ensure_ascii=False) + "\n"
    if output is None:
        click.echo(text, nl=False)
    else:
        output.write_text(text, encoding="utf-8")
