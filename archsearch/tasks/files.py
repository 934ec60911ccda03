"""A person's own files: found, stamped and read, and what is said where that fails."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path
from typing import Any

from archsearch.errors import ConfigError, nearest

__all__ = ["Stamp", "existing", "extra", "is_binary", "problem", "stamps"]

TEXTUAL = bytes([7, 8, 9, 10, 11, 12, 13, 27, *range(32, 256)])
LEFTOVERS = ("Thumbs.db", "desktop.ini")
Stamp = tuple[str, int, int]
"""Path, size and time of the last change: a file with another stamp is read again."""


def problem(task: str, rule: str, got: str, hint: str = "") -> ConfigError:
    """An error that says the rule, what was found, and the way out."""
    return ConfigError(f"Task `{task}`: {rule}, but got {got.rstrip('.')}.{' ' + hint if hint else ''}")


def existing(task: str, path: str, what: str, *, folder: bool | None = None) -> Path:
    """The path of a file or folder that is there.

    Args:
        folder: whether it must be a folder; `None` if it may be either.

    Raises:
        ConfigError: nothing is there, with the nearest names; or the wrong one of the two.
    """
    found = Path(path)
    rule = f"`path` must lead to {what}"
    if not found.exists():
        beside = [p.name for p in found.parent.iterdir()] if found.parent.is_dir() else []
        near = nearest(found.name, beside)
        hint = f"Did you mean {' or '.join(f'`{n}`' for n in near)}?" if near else ""
        raise problem(task, rule, f"{path}: nothing is there", hint)
    if folder is not None and found.is_dir() != folder:
        raise problem(task, rule, f"{path}: a {'folder' if found.is_dir() else 'file'}")
    return found


def is_binary(start: bytes) -> bool:
    """Whether the first bytes of a file hold what no text does: control characters but for space and escape."""
    return bool(start.translate(None, TEXTUAL))


def stamps(task: str, path: Path, pattern: str = "*") -> tuple[Stamp, ...]:
    """The file itself, or all files in a folder and its sub-folders that match, by name; hidden ones left out.

    Raises:
        ConfigError: there is none, or all are empty.
    """
    files = [path] if path.is_file() else [f for f in sorted(path.rglob(pattern)) if f.is_file() and _open(f, path)]
    out = tuple((str(f), f.stat().st_size, f.stat().st_mtime_ns) for f in files)
    if not files:
        raise problem(task, f"the folder must hold files that match `{pattern}`", f"none in {path}")
    if not any(size for _, size, _ in out):
        raise problem(task, "there must be something in the file", f"{path}, which is empty")
    return out


def extra(task: str, module: str, name: str) -> Any:
    """A package that only some tasks need.

    Raises:
        ConfigError: it is not installed; with the command that installs it.
    """
    try:
        return import_module(module)
    except ImportError:
        package = module.partition(".")[0]
        raise ConfigError(
            f"Task `{task}` needs the package `{package}` here, which is not installed: "
            f'pip install "archsearch[{name}]"'
        ) from None


def _open(file: Path, folder: Path) -> bool:
    return file.name not in LEFTOVERS and not any(part.startswith(".") for part in file.relative_to(folder).parts)
