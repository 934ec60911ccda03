"""Tasks by name or by file: every module of this package that defines a `Task` is one, and so is a person's own file.

Neither importing this module nor `names()` loads torch.
"""

from __future__ import annotations

import ast
import hashlib
import importlib
import importlib.util
import inspect
import sys
from collections.abc import Mapping
from functools import cache, partial
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

from archsearch.content import file_hint, is_path, suite_files
from archsearch.errors import ConfigError, FileError, UnknownNameError

if TYPE_CHECKING:
    from archsearch.tasks.base import Task

__all__ = ["made", "make", "names", "task_class"]


@cache
def names() -> tuple[str, ...]:
    """The shipped tasks, in alphabetical order."""
    files = sorted(Path(__file__).parent.glob("*.py"))
    return tuple(file.stem for file in files if _defines_task(file))


def task_class(name_or_path: str | Path) -> type[Task]:
    """The task that a name or the path of a Python file stands for.

    Raises:
        UnknownNameError: no shipped task has this name, with the nearest names.
        ConfigError: it is a suite of several.
        FileError: the file is missing, cannot be loaded, or breaks the contract of `archsearch.tasks.base`; says where.
    """
    if is_path(name_or_path):
        path = Path(name_or_path).expanduser()
        return _only_task(_load(path), path)
    if name_or_path not in names():
        name, suites = str(name_or_path), [path.stem for path in suite_files()]
        if name in suites:
            raise ConfigError(
                f"`{name}` is a suite of several tasks, and here one is asked for: archsearch tasks show {name}."
            )
        raise UnknownNameError("task", name, (*names(), *suites), hint=file_hint(name, ".py"))
    module = importlib.import_module(f"archsearch.tasks.{name_or_path}")
    return _only_task(module, Path(str(module.__file__)))


def make(name_or_path: str | Path, settings: Mapping[str, Any]) -> Task:
    """The task with settings; those not given take their defaults. `metric` is a setting that every task has.

    Raises:
        UnknownNameError: no such task or setting, with the nearest names.
        ConfigError: a setting of the wrong kind, out of range, or at odds with another.
        FileError: see `task_class`.
    """
    return made(task_class(name_or_path), settings)


def made(kind: type[Task], settings: Mapping[str, Any]) -> Task:
    """As `make`, of a class of tasks."""
    from archsearch.tasks.contract import asked
    from archsearch.tasks.ranked import ranked
    from archsearch.tasks.settings import METRIC, complete, has_metric

    task: Task = asked(kind, kind.__name__, partial(kind, **complete(kind, settings)))
    chosen = settings.get(METRIC.name)
    return task if chosen is None or has_metric(kind) else ranked(task, str(chosen))


def _defines_task(file: Path) -> bool:
    classes = [node for node in ast.parse(file.read_text(encoding="utf-8")).body if isinstance(node, ast.ClassDef)]
    return any(isinstance(b, ast.Name) and b.id.endswith("Task") for c in classes if _named(c) for b in c.bases)


def _named(c: ast.ClassDef) -> bool:
    """Whether a class has a name for people, which what tasks share has not."""
    targets = [node.target for node in c.body if isinstance(node, ast.AnnAssign) and node.value is not None]
    return any(isinstance(t, ast.Name) and t.id == "name" for t in targets)


def _load(path: Path) -> ModuleType:
    """Runs a file as a module of its own, once per path and text."""
    if not path.is_file():
        raise FileError(path, None, None, "the path of a task must lead to a Python file", value="nothing there")
    text = path.read_bytes()
    place = hashlib.sha256(str(path.resolve()).encode() + b"\0" + text).hexdigest()[:12]
    name = f"archsearch_task_{path.stem}_{place}"
    if name in sys.modules:
        return sys.modules[name]
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise FileError(path, None, None, "the file of a task must be Python, with the suffix .py")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # dataclasses look their module up there
    try:
        spec.loader.exec_module(module)
    except (Exception, SystemExit) as error:  # whatever a person's file may raise
        del sys.modules[name]
        raise FileError(
            path, _line_in(path, error), None, "the file of a task must load", value=_said(error)
        ) from error
    return module


def _only_task(module: ModuleType, path: Path) -> type[Task]:
    from archsearch.tasks.base import Task

    found = [
        value
        for value in vars(module).values()
        if isinstance(value, type) and issubclass(value, Task) and value.__module__ == module.__name__
    ]
    if len(found) != 1:
        value = ", ".join(c.__name__ for c in found) or "none"
        raise FileError(path, None, None, "the file of a task must define one subclass of `Task`", value=value)
    task = found[0]
    rule = _broken(task)
    if rule:
        line = inspect.getsourcelines(task)[1]
        raise FileError(path, line, None, rule)
    return task


def _broken(task: type[Task]) -> str | None:
    """The first clause of the contract that a class breaks, or `None`."""
    from archsearch.tasks.settings import settings_of

    missing = sorted(getattr(task, "__abstractmethods__", ()))
    if missing:
        return f"task `{task.__name__}` must define {', '.join(f'`{m}`' for m in missing)}"
    parameters = getattr(task, "__dataclass_params__", None)
    if parameters is None or "__dataclass_params__" not in vars(task) or not parameters.frozen:
        return f"task `{task.__name__}` must be a frozen dataclass: put @dataclass(frozen=True) above it"
    for attribute in ("name", "summary", "metric"):
        if not getattr(task, attribute):
            return f"task `{task.__name__}` must have a class attribute `{attribute}` that is not empty"
    try:
        settings_of(task)
    except TypeError as error:
        return str(error)
    return None


def _line_in(path: Path, error: BaseException) -> int | None:
    """The last line of `path` that the error came through."""
    if isinstance(error, SyntaxError):
        return error.lineno
    lines = []
    trace = error.__traceback__
    while trace is not None:
        if Path(trace.tb_frame.f_code.co_filename).absolute() == path.absolute():
            lines.append(trace.tb_lineno)
        trace = trace.tb_next
    return lines[-1] if lines else None


def _said(error: BaseException) -> str:
    return f"{type(error).__name__}: {error}"
