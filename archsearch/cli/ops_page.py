"""docs/ops.md: every op and block on one page, from what `archsearch ops show` prints."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from archsearch.cli.definitions import definitions
from archsearch.cli.ops import by_family, cost_rows, example_text, port_text, setting_text, value_text, weight_text
from archsearch.cli.sheets import LENGTHS, WIDTH, block_sheet, op_sheet

__all__ = ["markdown_table", "page"]

_HEAD = f"""# Ops and blocks

<!-- Made by `archsearch ops docs -o docs/ops.md`; a test holds it fresh. Change the ops, not this page. -->

An op is written in Python; a block is a definition in YAML, to be read, copied and changed. Each is shown with its
settings, weights and costs; `archsearch ops show NAME` prints the same, and of a block its text.

Figures are for inputs of width {WIDTH} and default settings unless it says otherwise. A multiply-add is two FLOPs, and
only the forward pass counts; state is what decoding carries from token to token; span is the longest chain of steps
along time that follow each other in training, 1 where all run at once. Costs at several lengths, T tokens, stand
side by side, so that what grows is seen to. A weight is subject to weight decay unless it says no decay.
"""


def page() -> str:
    """The whole page."""
    from archsearch.graph.opspec import FAMILY_TEXTS

    families = by_family()
    parts = [_HEAD, " · ".join(f"[{name}](#{name})" for name in families) + "\n"]
    for family, rows in families.items():
        parts.append(f"## {family}\n\n{FAMILY_TEXTS.get(family, '')}\n")
        parts += ["\n".join(_op(r["name"]) if r["kind"] == "op" else _block(r["name"])) for r in rows]
    return "\n".join(parts)


def _op(name: str) -> Iterator[str]:
    from archsearch.ops.registry import registry

    sheet = op_sheet(name)
    yield f"### {name}\n\n{sheet['summary']}\n"
    yield f"    {sheet['equation']}\n"
    ports = [f"`{port_text(p)}`" + (f", {p['help']}" if p["help"] else "") for p in sheet["inputs"]]
    flags = [text for key, text in (("mixes_time", "mixes time"), ("commutative", "commutative")) if sheet[key]]
    facts = [f"Inputs: {'; '.join(ports)}.", f"{', '.join(flags).capitalize()}." if flags else "", _paper(sheet)]
    yield " ".join(filter(None, facts)) + "\n"
    settings = [setting_text(s) for s in registry()[name].settings]
    yield from markdown_table(("setting", "is", "means"), [(f"`{s[0].strip()}`", *s[1:]) for s in settings])
    yield f"For {example_text(sheet)}:\n"
    yield from _figures(sheet["weights"], sheet["costs"])


def _block(name: str) -> Iterator[str]:
    block = definitions()[name]
    sheet = block_sheet(block)
    yield f"### {name}\n\nA block of search_spaces/blocks/{block.path.name}. {block.comment}\n"
    if sheet["settings"]:
        yield "Settings: " + ", ".join(f"`{s['name']}: {value_text(s['default'])}`" for s in sheet["settings"]) + ".\n"
    if sheet["costs"] is None:
        return
    chain = ", ".join(f"`{n['name']}: {n['op']}`" for n in sheet["nodes"])
    yield f"Nodes: {chain}. {sheet['params']:,} weights at width {WIDTH}.\n"
    yield from _figures([], sheet["costs"])


def _figures(weights: Iterable[Mapping[str, Any]], costs: Mapping[str, Any]) -> Iterator[str]:
    rows = [weight_text(w) for w in weights]
    yield from markdown_table(("weight", "shape", "drawn", "trained"), [(f"`{r[0].strip()}`", *r[1:]) for r in rows])
    yield from markdown_table(("cost", *(f"T = {t:,}" for t in LENGTHS), ""), cost_rows(costs))


def _paper(sheet: Mapping[str, Any]) -> str:
    return f"Paper: {sheet['paper']}." if sheet["paper"] else ""


def markdown_table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> Iterator[str]:
    """The lines of a table and an empty one; none at all without rows."""
    if not rows:
        return
    yield f"| {' | '.join(head)} |"
    yield "|" + "---|" * len(head)
    for row in rows:
        yield f"| {' | '.join(cell.replace('|', 'or') for cell in row)} |"
    yield ""
