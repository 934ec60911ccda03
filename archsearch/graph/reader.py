"""YAML with places: a document as a tree in which every key and value knows its line and column.

The reader works on parser events with a stack of its own, so that no input, however deep, wide or aliased, exhausts
the interpreter. It knows YAML and nothing of the language; see `archsearch.graph.compiler` for that.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from archsearch.errors import FileError, nearest
from archsearch.graph.scalars import plain_scalar

__all__ = ["Document", "Items", "Leaf", "Located", "Mark", "Table", "load", "parse"]

MAX_VALUES = 100_000
"""How many values a document may hold once its aliases are written out."""
MAX_DEPTH = 100
"""How deep values may nest."""
MAX_BYTES = 10_000_000


@dataclass(frozen=True, slots=True)
class Mark:
    """A place in a file, counted from 1."""

    file: str
    line: int
    column: int

    def error(self, rule: str, **details: Any) -> FileError:
        """A `FileError` at this place; `details` as its keyword arguments."""
        return FileError(self.file, self.line, self.column, rule, **details)


@dataclass(frozen=True, slots=True)
class Leaf:
    """A scalar. `plain` is false if it was quoted, and then `value` is a string.

    Args:
        indent: spaces in front of the lines of a `|` block, which start in the line after the mark.
    """

    value: bool | int | float | str | None
    mark: Mark
    text: str
    plain: bool = True
    indent: int | None = None


@dataclass(frozen=True, slots=True)
class Items:
    """A sequence."""

    items: tuple[Located, ...]
    mark: Mark

    def __iter__(self) -> Iterator[Located]:
        return iter(self.items)

    def __len__(self) -> int:
        return len(self.items)


@dataclass(frozen=True, slots=True)
class Table:
    """A mapping. Keys are text as it was written; `keys` has their places."""

    entries: dict[str, Located]
    keys: dict[str, Mark]
    mark: Mark

    def get(self, key: str) -> Located | None:
        """The value at `key`, or `None`."""
        return self.entries.get(key)

    def __contains__(self, key: object) -> bool:
        return key in self.entries

    def only(self, names: Iterable[str], what: str) -> None:
        """Raises `FileError` at the first key that is not one of `names`."""
        known = tuple(names)
        for key, mark in self.keys.items():
            if key not in known:
                rule = f"{what} has the keys {', '.join(known)}"
                raise mark.error(rule, value=f"`{key}`", near=nearest(key, known))


Located = Leaf | Items | Table


@dataclass(frozen=True, slots=True)
class Document:
    """A file that was read: its path as the person gave it, and its root."""

    file: str
    root: Located = field(repr=False)

    def find(self, *keys: str) -> Mark:
        """The place of the value at a path of keys, or of the deepest part of it that exists."""
        here: Located = self.root
        mark = here.mark
        for key in keys:
            if not isinstance(here, Table) or key not in here:
                break
            mark, here = here.keys[key], here.entries[key]
        return mark


def plain(value: Located) -> Any:
    """The same data without places."""
    if isinstance(value, Leaf):
        return value.value
    if isinstance(value, Items):
        return [plain(v) for v in value]
    return {k: plain(v) for k, v in value.entries.items()}


def load(path: str | Path) -> Document:
    """Reads a YAML file.

    Raises:
        FileError: it cannot be read, is not UTF-8 text, or `parse` refuses it.
    """
    file = str(path)
    try:
        raw = Path(path).read_bytes()
    except OSError as error:
        raise FileError(file, None, None, "the file must be readable", value=error.strerror or str(error)) from None
    if len(raw) > MAX_BYTES:
        raise FileError(file, None, None, f"a file holds at most {MAX_BYTES:,} bytes", value=f"{len(raw):,} bytes")
    try:
        text = raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = raw.count(b"\n", 0, error.start) + 1
        value = f"byte 0x{raw[error.start]:02x}"
        raise FileError(file, line, None, "the file must be YAML text in UTF-8", value=value) from None
    return parse(text, file)


def parse(text: str, file: str = "<string>") -> Document:
    """Reads YAML text; `file` is what errors call it.

    Raises:
        FileError: not YAML, empty, several documents, a duplicate key, or aliases that blow up.
    """
    builder = _Builder(file, text)
    try:
        for event in yaml.parse(text, Loader=getattr(yaml, "CLoader", yaml.Loader)):
            builder.take(event)
    except yaml.reader.ReaderError as error:
        line = text.count("\n", 0, error.position) + 1
        value = f"the character {error.character!r}" if isinstance(error.character, str) else f"0x{error.character:02x}"
        raise FileError(file, line, None, "the file must be YAML text in UTF-8", value=value) from None
    except UnicodeEncodeError as error:
        line = text.count("\n", 0, error.start) + 1
        raise FileError(file, line, None, "the file must be YAML text in UTF-8", value="half a character") from None
    except yaml.MarkedYAMLError as error:
        raise _not_yaml(error, text, file) from None
    if builder.root is None:
        raise FileError(file, None, None, "the file must hold a YAML mapping", value="an empty file")
    return Document(file, builder.root)


_DELAY = re.compile(r"(?<![\"'\w.])[A-Za-z_][\w.]*\s*\[\s*t\s*-[^\]]*\]")


def _not_yaml(error: yaml.MarkedYAMLError, text: str, file: str) -> FileError:
    """Says what the YAML parser says, and how to write a delay if an unquoted one is near."""
    mark = error.problem_mark or error.context_mark
    line, column = (mark.line, mark.column) if mark else (0, 0)
    lines = text.splitlines()
    for number in (line, line - 1):
        found = _DELAY.search(lines[number]) if 0 <= number < len(lines) else None
        if found:
            delay = found.group().replace(" ", "")
            rule = "inside brackets and braces a delayed value must be quoted"
            hint = f'Write "{delay}", with the quotes.'
            return FileError(file, number + 1, found.start() + 1, rule, value=f"`{delay}`", hint=hint)
    problem = " ".join(p for p in (error.context, error.problem) if p)
    return FileError(file, line + 1, column + 1, "the file must be YAML", value=f"a mistake ({problem})")


@dataclass(slots=True)
class _Open:
    """A sequence or mapping whose end has not come yet."""

    mark: Mark
    table: bool
    anchor: str | None
    items: list[Located] = field(default_factory=list)
    entries: dict[str, Located] = field(default_factory=dict)
    keys: dict[str, Mark] = field(default_factory=dict)
    key: str | None = None
    size: int = 1


class _Builder:
    """Puts events together, bottom up; `size` counts values as if aliases were written out."""

    def __init__(self, file: str, text: str) -> None:
        self.file, self.text = file, text
        self.lines: list[str] | None = None
        self.stack: list[_Open] = []
        self.anchors: dict[str, tuple[Located, int] | None] = {}
        self.root: Located | None = None

    def mark(self, event: Any) -> Mark:
        return Mark(self.file, event.start_mark.line + 1, event.start_mark.column + 1)

    def take(self, event: Any) -> None:
        if isinstance(event, yaml.ScalarEvent):
            self._scalar(event)
        elif isinstance(event, yaml.AliasEvent):
            self._alias(event)
        elif isinstance(event, yaml.MappingStartEvent | yaml.SequenceStartEvent):
            self._open(event)
        elif isinstance(event, yaml.MappingEndEvent | yaml.SequenceEndEvent):
            self._close()
        elif isinstance(event, yaml.DocumentStartEvent) and self.root is not None:
            raise self.mark(event).error("a file holds one YAML document", value="a second one")

    def _scalar(self, event: Any) -> None:
        mark, is_plain = self.mark(event), bool(event.implicit[0])
        self._untagged(event, mark)
        value = plain_scalar(event.value) if is_plain else event.value
        if value is None and event.value == "" and not self.stack:
            return
        leaf = Leaf(value, mark, event.value, is_plain, self._indent(event) if event.style == "|" else None)
        if event.anchor:
            self.anchors[event.anchor] = (leaf, 1)
        self._put(leaf, 1, mark)

    def _indent(self, event: Any) -> int:
        """How far a block stands from the left: what its first line that is not empty has more than its text."""
        if self.lines is None:
            self.lines = self.text.splitlines()
        below = self.lines[event.start_mark.line + 1 : event.end_mark.line + 1]
        return _spaces(below) - _spaces(event.value.splitlines())

    def _alias(self, event: Any) -> None:
        mark = self.mark(event)
        if event.anchor not in self.anchors:
            near = nearest(event.anchor, self.anchors)
            raise mark.error("an alias must name an anchor before it", value=f"`*{event.anchor}`", near=near)
        found = self.anchors[event.anchor]
        if found is None:
            raise mark.error("a value must not contain itself", value=f"`*{event.anchor}`")
        self._put(found[0], found[1], mark)

    def _open(self, event: Any) -> None:
        mark = self.mark(event)
        self._untagged(event, mark)
        if len(self.stack) >= MAX_DEPTH:
            raise mark.error(f"values nest at most {MAX_DEPTH} deep", value="more")
        if event.anchor:
            self.anchors[event.anchor] = None
        self.stack.append(_Open(mark, isinstance(event, yaml.MappingStartEvent), event.anchor))

    def _close(self) -> None:
        done = self.stack.pop()
        value: Located = (
            Table(done.entries, done.keys, done.mark) if done.table else Items(tuple(done.items), done.mark)
        )
        if done.anchor:
            self.anchors[done.anchor] = (value, done.size)
        self._put(value, done.size, done.mark)

    def _put(self, value: Located, size: int, mark: Mark) -> None:
        """Hands a finished value to what holds it: as key, as entry, as item or as root."""
        if not self.stack:
            self.root = value
            return
        top = self.stack[-1]
        top.size += size
        if top.size > MAX_VALUES:
            raise mark.error(f"a file holds at most {MAX_VALUES:,} values, aliases written out", value="more")
        if not top.table:
            top.items.append(value)
        elif top.key is not None:
            top.entries[top.key], top.key = value, None
        else:
            self._key(top, value, mark)

    def _key(self, top: _Open, value: Located, mark: Mark) -> None:
        if not isinstance(value, Leaf):
            raise mark.error("a key must be a name", value="a list or a mapping")
        if value.text in top.keys:
            first = top.keys[value.text].line
            raise mark.error("a key stands once in a mapping", value=f"`{value.text}` again (first in line {first})")
        top.key, top.keys[value.text] = value.text, mark

    def _untagged(self, event: Any, mark: Mark) -> None:
        if event.tag is not None and event.tag != "!":
            raise mark.error("values have no YAML tags", value=f"`{event.tag}`")


def _spaces(lines: Iterable[str]) -> int:
    """Spaces in front of the first line that has more than spaces."""
    first = next((line for line in lines if line.strip()), "")
    return len(first) - len(first.lstrip(" "))
