"""An architecture as a Mermaid flowchart, which GitHub, GitLab and many editors draw inside Markdown."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator

from archsearch.graph.architecture import Architecture
from archsearch.graph.diagram import Arrow, Box, Diagram, Item, diagram
from archsearch.graph.opspec import Registry

__all__ = ["mermaid"]


def mermaid(architecture: Architecture, registry: Registry, *, fold: bool = True) -> str:
    """A flowchart from the inputs down; definitions and repeats are subgraphs, delayed edges dotted, serial nodes red.

    Raises:
        UnknownNameError, RuleError: an op or settings that `registry` does not have.
    """
    return _Writing(diagram(architecture, registry, fold=fold)).text()


class _Writing:
    def __init__(self, drawn: Diagram) -> None:
        self.drawn = drawn
        self.numbers: dict[str, str] = {}

    def text(self) -> str:
        lines = [
            "---",
            f"title: {json.dumps(self.drawn.title, ensure_ascii=False)}",
            "---",
            "flowchart TD",
            *self.items(self.drawn.items, 1),
        ]
        lines += [self.arrow(a) for a in self.drawn.arrows]
        red = [str(i) for i, a in enumerate(self.drawn.arrows) if a.serial]
        if red:
            lines.append(f"  linkStyle {','.join(red)} stroke:#c0392b")
        if self.drawn.reasons:
            lines.append("  classDef serial stroke:#c0392b,stroke-width:2px")
            lines += [f"  %% serial: {reason}" for reason in self.drawn.reasons]
        return "\n".join(lines)

    def number(self, name: str) -> str:
        """A short name: Mermaid takes some words and signs in longer ones for its own."""
        return self.numbers.setdefault(name, f"n{len(self.numbers)}")

    def items(self, items: Iterable[Item], depth: int) -> Iterator[str]:
        indent = "  " * depth
        for item in items:
            if isinstance(item, Box):
                yield f"{indent}subgraph {self.number('box ' + item.name)}[{_quoted(item.title)}]"
                yield from self.items(item.items, depth + 1)
                yield f"{indent}end"
                continue
            label = '"' + "<br>".join(map(_escaped, item.lines)) + '"'
            shape = f"([{label}])" if item.family == "end" else f"[{label}]"
            yield f"{indent}{self.number(item.name)}{shape}" + (":::serial" if item.serial else "")

    def arrow(self, arrow: Arrow) -> str:
        line = "-.->" if arrow.delay else "-->"
        said = f"|{_quoted(arrow.label)}|" if arrow.label else ""
        return f"  {self.number(arrow.source)} {line}{said} {self.number(arrow.target)}"


def _escaped(text: str) -> str:
    for sign, code in (("&", "&amp;"), ('"', "#quot;"), ("<", "&lt;"), (">", "&gt;")):
        text = text.replace(sign, code)
    return text


def _quoted(text: str) -> str:
    return f'"{_escaped(text)}"'
