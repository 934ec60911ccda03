"""The exceptions of archsearch, one tree.

    ArchsearchError                  exit code 1
    ├── UserError                    exit code 2: something the person wrote has to change
    │   ├── FileError                a place in a file: path, line, column, rule, value, nearest names
    │   ├── UnknownNameError         a task, agent, space, op or setting that does not exist
    │   ├── ConfigError              a setting of a campaign, a task or an agent that cannot be used
    │   └── StoreError               a results folder that cannot be read, written or locked
    ├── RuleError                    a rule of the language or of an op is broken; has no place yet.
    │                                The reader catches it and raises a FileError with file and line
    ├── CandidateError               one candidate cannot be built or trained; never ends a campaign
    └── NoSuccessError               exit code 3: the campaign ended without one successful candidate

Messages state the rule first and then the value: "`heads` must divide the width, but got heads=3, width=64".
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from pathlib import Path

__all__ = [
    "ArchsearchError",
    "CandidateError",
    "ConfigError",
    "FileError",
    "NoSuccessError",
    "RuleError",
    "StoreError",
    "UnknownNameError",
    "UserError",
    "nearest",
]


def nearest(name: str, options: Iterable[str], limit: int = 3) -> tuple[str, ...]:
    """The options that look most like `name`, best first; empty if none is close."""
    return tuple(difflib.get_close_matches(name, list(options), n=limit, cutoff=0.5))


class ArchsearchError(Exception):
    """Whatever archsearch raises on purpose."""

    exit_code = 1


class UserError(ArchsearchError):
    """Something the person wrote has to change: the command line says why and exits with 2."""

    exit_code = 2


class FileError(UserError):
    """A mistake at a place in a file.

    Args:
        path: the file, or a name such as "<string>".
        line, column: where, counted from 1; `None` if the whole file is meant.
        rule: what must hold, as a sentence without a full stop.
        value: what stands there instead, as text.
        near: the nearest valid names.
        node: the path of the graph node that is meant, if one is.
        hint: how to write it instead.
    """

    def __init__(
        self,
        path: str | Path,
        line: int | None,
        column: int | None,
        rule: str,
        *,
        value: str | None = None,
        near: Iterable[str] = (),
        node: str | None = None,
        hint: str | None = None,
    ) -> None:
        self.path, self.line, self.column = str(path), line, column
        self.rule, self.value, self.near, self.node, self.hint = rule, value, tuple(near), node, hint
        super().__init__(self.render())

    def render(self) -> str:
        """`file:line:column: node: rule, but got value. Did you mean a, b? Hint.`"""
        place = ":".join(str(p) for p in (self.path, self.line, self.column) if p is not None)
        text = f"{place}: " + (f"node `{self.node}`: " if self.node else "") + self.rule
        if self.value is not None:
            text += f", but got {self.value}"
        text += "."
        if self.near:
            text += f" Did you mean {' or '.join(f'`{n}`' for n in self.near)}?"
        if self.hint:
            text += f" {self.hint}"
        return text


class UnknownNameError(UserError):
    """A name that stands for nothing: `UnknownNameError("task", "recal", tasks)`.

    `of` says of what, as in "of task `parity`", and `hint` what else to do.
    """

    def __init__(self, kind: str, name: str, available: Iterable[str], *, of: str = "", hint: str = "") -> None:
        options = sorted(available)
        self.kind, self.name, self.available = kind, name, tuple(options)
        self.near = nearest(name, options)
        guess = f" Did you mean {' or '.join(f'`{n}`' for n in self.near)}?" if self.near else ""
        where, more = (f" {words}" if words else "" for words in (of, hint))
        super().__init__(f"Unknown {kind} `{name}`{where}.{guess}{more} Available: {', '.join(options) or 'none'}.")


class ConfigError(UserError):
    """A setting that cannot be used; the message names the setting, the rule and the value."""


class StoreError(UserError):
    """A results folder that cannot be read, written or locked."""


class RuleError(ArchsearchError):
    """A broken rule that does not know its place in a file yet.

    Args:
        rule: what must hold, as a sentence without a full stop.
        value: what was found instead.
        near: the nearest valid names.
        setting: the setting of the op that is to blame, if one is.
        node: the path of the node in the flat architecture, filled in by whoever knows it.
    """

    def __init__(
        self,
        rule: str,
        *,
        value: str | None = None,
        near: Iterable[str] = (),
        setting: str | None = None,
        node: str | None = None,
        hint: str | None = None,
    ) -> None:
        self.rule, self.value, self.near = rule, value, tuple(near)
        self.setting, self.node, self.hint = setting, node, hint
        text = (f"node `{node}`: " if node else "") + rule + (f", but got {value}" if value is not None else "") + "."
        if self.near:
            text += f" Did you mean {' or '.join(f'`{n}`' for n in self.near)}?"
        super().__init__(text + (f" {hint}" if hint else ""))


class CandidateError(ArchsearchError):
    """One candidate cannot be built or trained; recorded as failed, and the campaign goes on.

    Args:
        reason: one of `error`, `diverged`, `out_of_memory`, `timeout`, `killed`, `refused`.
    """

    def __init__(self, reason: str, message: str) -> None:
        self.reason = reason
        super().__init__(message)


class NoSuccessError(ArchsearchError):
    """The campaign ended and no candidate succeeded."""

    exit_code = 3
