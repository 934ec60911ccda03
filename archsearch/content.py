"""Finds what is shipped beside the engine: agents and search spaces, in a checkout and in an installed wheel.

    archsearch/_bundled/<kind>/   where the package was installed from a wheel or an sdist
    <checkout>/<kind>/            in a checkout or an editable install

A person's own file is named by its path, a shipped one by its bare name.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final, Literal

from archsearch.errors import ConfigError, UnknownNameError

__all__ = ["Kind", "block_files", "control_files", "file_hint", "find", "folder", "is_path", "names", "suite_files"]

Kind = Literal["agents", "search_spaces"]

PACKAGE: Final = Path(__file__).resolve().parent
SUFFIXES: Final[dict[str, str]] = {"agents": ".py", "search_spaces": ".yaml"}
WORDS: Final[dict[str, str]] = {"agents": "an agent", "search_spaces": "a search space"}


def folder(kind: Kind) -> Path:
    """The folder that holds the shipped content of a kind.

    Raises:
        ConfigError: the package was installed without its content.
    """
    installed, checkout = PACKAGE / "_bundled" / kind, PACKAGE.parent / kind
    if installed.is_dir():
        return installed
    if (PACKAGE.parent / "pyproject.toml").is_file() and checkout.is_dir():
        return checkout
    raise ConfigError(
        f"`{kind}` must stand beside or inside the package archsearch, but neither {installed} nor {checkout} does."
    )


def names(kind: Kind) -> dict[str, Path]:
    """Every shipped file of a kind by its bare name, in alphabetical order; sub-folders are not searched."""
    files = sorted(folder(kind).glob(f"*{SUFFIXES[kind]}"))
    return {path.stem: path for path in files if not path.name.startswith(("_", "."))}


def find(kind: Kind, name_or_path: str | Path) -> Path:
    """The file that a name or a path stands for.

    What has a suffix or a separator is a path (`./mine.yaml`, `~/agents/mine.py`), anything else a shipped name.

    Raises:
        UnknownNameError: no shipped file has this name, with the nearest names.
        ConfigError: the path leads to no file.
    """
    if is_path(name_or_path):
        path = Path(name_or_path).expanduser()
        if not path.is_file():
            found = "a folder" if path.is_dir() else "nothing there"
            raise ConfigError(f"The path of {WORDS[kind]} must lead to a file, but got `{name_or_path}`: {found}.")
        return path
    shipped = names(kind)
    if str(name_or_path) not in shipped:
        name = str(name_or_path)
        raise UnknownNameError(WORDS[kind].partition(" ")[2], name, shipped, hint=file_hint(name, SUFFIXES[kind]))
    return shipped[str(name_or_path)]


def file_hint(name: str, suffix: str) -> str:
    """What to write for a file that lies here and was meant by its bare name; empty if there is none."""
    file = f"{name}{suffix}"
    return f"A file is named by its path: `.{os.sep}{file}`." if name and Path(file).is_file() else ""


def is_path(text: str | Path) -> bool:
    """Whether a word given for a name means a path: it has a suffix or a separator, or is a `Path`."""
    separators = tuple(s for s in (os.sep, os.altsep) if s)
    return isinstance(text, Path) or Path(text).suffix != "" or any(s in text for s in separators)


def block_files() -> list[Path]:
    """The YAML files whose definitions (attention, gru, ...) every space knows."""
    return sorted((folder("search_spaces") / "blocks").glob("*.yaml"))


def control_files() -> list[Path]:
    """The YAML files of the controls that a campaign trains beside its candidates."""
    return sorted((folder("search_spaces") / "controls").glob("*.yaml"))


def suite_files() -> list[Path]:
    """The YAML files of the suites, tasks that are judged together, each called by its file's name."""
    return sorted((folder("search_spaces") / "suites").glob("*.yaml"))
