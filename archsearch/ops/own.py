"""A person's own ops: Python files named in a space, `ops: [my_mixer.py]`, each with one op or more.

Such a file is what `archsearch.ops` holds, too: dataclasses under `@op(...)`. Reading a space runs it and tries every
op on tiny values; workers run it again from its text, which travels with the architecture and is part of its hash.
"""

from __future__ import annotations

import ast
import hashlib
import linecache
import sys
import traceback
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from types import MappingProxyType, ModuleType

from archsearch.errors import FileError, RuleError
from archsearch.graph.values import IDENTIFIER
from archsearch.graph.words import BODY_KEYS, KINDS, NODE_KEYS
from archsearch.ops.base import Op
from archsearch.ops.probe import probe

__all__ = ["from_sources", "load"]

NAME_RULE = "an op's name has letters, digits and _"


def load(path: Path | str) -> Mapping[str, type[Op]]:
    """The ops of a file by name, each held against the contract.

    Raises:
        FileError: it cannot be read or does not import, holds no op or two of one name, or one breaks the contract.
    """
    file = str(path)
    try:
        text = Path(path).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "no text in UTF-8"
        raise FileError(file, None, None, "a file of ops must be readable Python", value=reason) from None
    return _checked(text, file)


def from_sources(sources: Mapping[str, str]) -> dict[str, type[Op]]:
    """The ops called by the keys of `sources`, each from the text of its file, as `Architecture.sources` holds them.

    Raises:
        FileError: a text that does not run or does not hold the op.
    """
    found = {}
    for name, text in sources.items():
        file = f"<source of op {name}>"
        ops = _run(text, file)
        if name not in ops:
            raise FileError(file, None, None, f"the source must hold the op `{name}`", value=", ".join(ops) or "none")
        found[name] = ops[name]
    return found


@lru_cache(maxsize=64)
def _checked(text: str, file: str) -> Mapping[str, type[Op]]:
    ops = _run(text, file)
    lines = _lines(text, file)
    if not ops:
        hint = "Write a dataclass that inherits from archsearch.ops.base.Op under @op(family=...)."
        raise FileError(file, None, None, "a file of ops must define an op", value="none", hint=hint)
    for name, cls in ops.items():
        try:
            _declared(cls)
            probe(cls)
        except RuleError as error:
            rule = f"op `{name}` must keep the contract: {error.rule}"
            raise FileError(file, lines.get(cls.__name__), None, rule, value=error.value, near=error.near) from None
        except Exception as error:  # an op of a person may raise anything
            rule = f"op `{name}` must keep the contract, which its own code ends"
            line = _line(error, file) or lines.get(cls.__name__)
            raise FileError(file, line, None, rule, value=_said(error)) from error
    return ops


@lru_cache(maxsize=256)
def _run(text: str, file: str) -> Mapping[str, type[Op]]:
    """The ops that the module `text` marks, by name."""
    lines = _lines(text, file)
    digest = hashlib.blake2b(f"{file}\0{text}".encode(), digest_size=8).hexdigest()
    module = ModuleType(f"archsearch_own_{digest}")
    module.__file__ = file
    sys.modules[module.__name__] = module  # dataclasses look their module up
    linecache.cache[file] = (len(text), None, text.splitlines(keepends=True), file)
    try:
        exec(compile(text, file, "exec"), module.__dict__)  # noqa: S102 - a person's own code, run on their behalf
    except (Exception, SystemExit) as error:  # a file of a person may raise anything
        del sys.modules[module.__name__]
        raise FileError(file, _line(error, file), None, "a file of ops must import", value=_said(error)) from error
    found: dict[str, type[Op]] = {}
    for cls in vars(module).values():
        if not (isinstance(cls, type) and issubclass(cls, Op) and cls.__dict__.get("name")):
            continue
        if cls.__module__ != module.__name__:
            continue
        if cls.name in found and found[cls.name] is not cls:
            raise _twice(file, lines.get(cls.__name__), cls.name)
        if not IDENTIFIER.fullmatch(cls.name):
            raise FileError(file, lines.get(cls.__name__), None, NAME_RULE, value=f"`{cls.name}`")
        cls.source = text
        found[cls.name] = cls
    return MappingProxyType(found)


def _lines(text: str, file: str) -> dict[str, int]:
    """The lines of the classes; raises `FileError` where the text is no Python or a class stands twice."""
    try:
        tree = ast.parse(text)
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        line, column = getattr(error, "lineno", None), getattr(error, "offset", None)
        raise FileError(file, line, column, "a file of ops must import", value=_said(error)) from None
    lines: dict[str, int] = {}
    for statement in tree.body:
        if isinstance(statement, ast.ClassDef):
            if statement.name in lines:
                raise _twice(file, statement.lineno, statement.name)
            lines[statement.name] = statement.lineno
    return lines


def _twice(file: str, line: int | None, name: str) -> FileError:
    return FileError(file, line, None, "a file of ops must not define two of one name", value=f"`{name}` twice")


def _declared(cls: type[Op]) -> None:
    """What can be said of the class alone; raises `RuleError`."""
    if not hasattr(cls, "__dataclass_fields__"):
        raise RuleError("an op is a dataclass", value=f"{cls.__name__} without @dataclass(frozen=True)")
    try:
        spec = cls.spec()
    except TypeError as error:
        raise RuleError("a setting is an int, float, bool or str", value=str(error)) from None
    words = {*KINDS, *NODE_KEYS, *BODY_KEYS, "into", "times", "tie"}
    for setting in spec.settings:
        if setting.name in words:
            raise RuleError("a setting has no name that a node has a word for", value=f"`{setting.name}`")
    if not spec.outputs or any(p.many for p in spec.ports[:-1]):
        raise RuleError("an op has at least one output, and only its last port takes many edges", value=cls.__name__)


def _said(error: BaseException) -> str:
    # A SyntaxError's own text ends with a file and a line, which the message begins with.
    text = (error.msg if isinstance(error, SyntaxError) else str(error)).strip().split("\n")[0]
    return f"{type(error).__name__}: {text}"[:200] if text else type(error).__name__


def _line(error: BaseException, file: str) -> int | None:
    """The last line of the file that the error passed through."""
    frames = [f.lineno for f in traceback.extract_tb(error.__traceback__) if f.filename == file]
    return frames[-1] if frames else None
