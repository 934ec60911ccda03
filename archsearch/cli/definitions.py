"""The shipped blocks as they stand in their files: name, family, comment, settings, text."""

from __future__ import annotations

import itertools
import re
import textwrap
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from archsearch.graph.equations import Signature
    from archsearch.graph.reader import Located

__all__ = ["Definition", "definitions", "equations"]


@dataclass(frozen=True)
class Definition:
    """A shipped block.

    Args:
        path: its file.
        text: as it stands there.
        body: the same, parsed.
    """

    name: str
    path: Path
    text: str
    body: Located

    @property
    def family(self) -> str:
        """The name of its file, in the singular where the family's is."""
        from archsearch.graph.opspec import FAMILY_TEXTS

        stem = self.path.stem
        return stem.removesuffix("s") if stem.removesuffix("s") in FAMILY_TEXTS else stem

    @property
    def comment(self) -> str:
        """What its file says above its settings and nodes."""
        lines = [line.strip() for line in self.text.splitlines()[1:]]
        found = itertools.takewhile(lambda line: line.startswith("#"), lines)
        return " ".join(line.lstrip("# ") for line in found)

    @property
    def summary(self) -> str:
        """The first sentence of the comment."""
        return re.split(r"(?<=[^.A-Z ]\.)(?<!et al\.) (?=[A-Z`])", self.comment)[0]

    @property
    def params(self) -> dict[str, Any]:
        """Its settings with their defaults."""
        from archsearch.graph.reader import Table, plain

        found = self.body.get("params") if isinstance(self.body, Table) else None
        return {} if found is None else dict(plain(found))


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
            found[name] = Definition(name, path, text, define.entries[name])
    return found


def equations(body: Located) -> str | None:
    """The definition as equations, where they can say it."""
    from archsearch.graph.equations import Signature
    from archsearch.graph.reader import Table
    from archsearch.graph.spelling import to_equations
    from archsearch.ops.registry import registry

    def find(name: str) -> Signature | None:
        return Signature.of(registry()[name]) if name in registry() else None

    return to_equations(body, find) if isinstance(body, Table) else None
