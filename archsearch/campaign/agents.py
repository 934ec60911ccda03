"""Loads agents: a shipped one by name, a person's own by path. Both come in by this door."""

from __future__ import annotations

import importlib.util
import inspect
import sys
from collections.abc import Mapping
from hashlib import sha256
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any, Final

from archsearch import content
from archsearch.agent import Agent
from archsearch.errors import ConfigError, RuleError, nearest
from archsearch.graph.opspec import Setting

if TYPE_CHECKING:
    from archsearch.graph.space import SearchSpace

__all__ = ["agent_class", "make", "settings_of"]

COMMON: Final = ("space", "seed", "maximize")
_KINDS: Final = {"int": int, "float": float, "bool": bool, "str": str}


def agent_class(name_or_path: str | Path) -> type[Agent]:
    """The agent in `agents/NAME.py`, or in a file.

    Raises:
        UnknownNameError: no shipped agent has this name.
        ConfigError: the file cannot be imported, or does not define exactly one agent.
    """
    path = content.find("agents", name_or_path)
    module = _module(path.resolve())
    found = [
        value
        for value in vars(module).values()
        if inspect.isclass(value) and issubclass(value, Agent) and value.__module__ == module.__name__
    ]
    if len(found) != 1:
        names = ", ".join(f"`{c.__name__}`" for c in found) or "none"
        raise ConfigError(f"An agent file must define one subclass of `archsearch.Agent`, but {path} defines {names}.")
    if not found[0].name:
        found[0].name = path.stem
    return found[0]


def make(
    name_or_path: str | Path,
    space: SearchSpace,
    settings: Mapping[str, Any],
    *,
    seed: int = 0,
    maximize: bool = True,
) -> Agent:
    """An agent for `space`, with its own settings.

    Raises:
        ConfigError: an unknown or ill-valued setting, with the nearest names, or a library that is missing.
    """
    kind = agent_class(name_or_path)
    known = settings_of(kind)
    values = {name: _checked(kind, known, name, value) for name, value in settings.items()}
    try:
        return kind(space, seed=seed, maximize=maximize, **values)
    except ImportError as error:
        raise ConfigError(_missing(f"agent `{kind.name}`", error)) from None
    except (TypeError, ValueError, RuleError) as error:
        raise ConfigError(f"Agent `{kind.name}` refuses its settings {dict(settings)}: {error}") from error


def settings_of(kind: type[Agent]) -> dict[str, inspect.Parameter]:
    """The settings of an agent by name: the arguments of its constructor beyond those that every agent has."""
    parameters = inspect.signature(kind).parameters
    named = (inspect.Parameter.KEYWORD_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    return {n: p for n, p in parameters.items() if n not in COMMON and p.kind in named}


def _checked(kind: type[Agent], known: Mapping[str, inspect.Parameter], name: str, value: Any) -> Any:
    if name not in known:
        near = nearest(name, known)
        guess = f" Did you mean {' or '.join(f'`agent.{n}`' for n in near)}?" if near else ""
        names = ", ".join(f"agent.{n}" for n in known) or "none"
        raise ConfigError(f"Agent `{kind.name}` has no setting `agent.{name}`.{guess} Available: {names}.")
    annotation = known[name].annotation
    text = annotation if isinstance(annotation, str) else getattr(annotation, "__name__", "")
    if text not in _KINDS:
        return value
    try:
        return Setting(f"agent.{name}", _KINDS[text], required=True).check(value)
    except RuleError as error:
        raise ConfigError(str(error)) from None


def _module(path: Path) -> ModuleType:
    """The file as a module of its own name, registered, since dataclasses in it look themselves up."""
    name = f"archsearch_agent_{path.stem}_{sha256(str(path).encode()).hexdigest()[:8]}"
    found = importlib.util.spec_from_file_location(name, path)
    if found is None or found.loader is None:
        raise ConfigError(f"An agent must be a Python file, but got {path}.")
    module = importlib.util.module_from_spec(found)
    sys.modules[name] = module
    try:
        found.loader.exec_module(module)
    except ModuleNotFoundError as error:
        raise ConfigError(_missing(str(path), error)) from None
    except Exception as error:
        line = _line_in(path, error)
        raise ConfigError(f"{path}{line}: an agent file must import, but {type(error).__name__}: {error}") from error
    return module


def _line_in(path: Path, error: Exception) -> str:
    if isinstance(error, SyntaxError):
        return f":{error.lineno}"
    trace, line = error.__traceback__, ""
    while trace is not None:
        if trace.tb_frame.f_code.co_filename == str(path):
            line = f":{trace.tb_lineno}"
        trace = trace.tb_next
    return line


def _missing(who: str, error: ImportError) -> str:
    library = (error.name or str(error)).partition(".")[0]
    return f"{who} needs the library `{library}`, which is not installed: pip install {library}"
