"""Whether a task is what it promises: its data, its judge and its scale, found out before a candidate is blamed."""

from __future__ import annotations

import math
import sys
from collections.abc import Callable, Iterator
from functools import lru_cache, partial
from itertools import combinations
from typing import Any, get_args

import torch
from torch import Tensor

from archsearch.errors import ArchsearchError, ConfigError
from archsearch.tasks.base import Examples, InputKind, Loss, OutputKind, Split, Task
from archsearch.tasks.digests import row_hashes

__all__ = ["asked", "check", "check_all"]

ROWS = 1024
"""So many examples of a split are looked at."""
COPIES = 3
Broken = Iterator[tuple[str, str]]
"""Clauses that are broken, and what was found instead; each may rely on those before it."""


@lru_cache(maxsize=16)
def check(task: Task, splits: tuple[Split, ...]) -> None:
    """Looks at the first examples of some splits, once per task and process.

    Raises:
        ConfigError: a clause of the contract is broken; says which, in which split, and what was found.
    """
    _raise(task, "", _kinds(task))
    heads: dict[Split, Examples] = {}
    for split in splits:
        examples = _examples(task, split)
        _raise(task, f", split {split}", _data(task, examples, task.length_in(split)))
        heads[split] = _head(examples, ROWS)
    if "validation" in heads:
        again = _head(_examples(task, "validation"), ROWS)
        _raise(task, ", split validation", _same(heads["validation"], again))
        _raise(task, "", _judged(task, _head(heads["validation"], 2)))
    _raise(task, "", _apart(heads))


def check_all(task: Task) -> None:
    """Looks at all that a campaign needs of a task, before it begins; see `check`."""
    check(task, get_args(Split))
    _raise(task, "", _scale(task))


def _raise(task: Task, place: str, broken: Broken) -> None:
    for rule, found in broken:
        raise ConfigError(f"Task `{task.name}`{place}: {rule}, but got {found}.")


def asked(kind: type[Task], what: str, ask: Callable[[], Any]) -> Any:
    """What the code of a task answers.

    Raises:
        ConfigError: it raises something that is no mistake of archsearch's own kind; says its line.
    """
    try:
        return ask()
    except ArchsearchError:
        raise
    except Exception as error:
        said = f"{type(error).__name__}: {error}{_line_of(kind, error)}"
        raise ConfigError(f"Task `{kind.name}`: `{what}` must not raise, but got {said}.") from error


def _examples(task: Task, split: Split) -> Any:
    return asked(type(task), f"examples({split!r})", partial(task.examples, split))


def _line_of(kind: type[Task], error: Exception) -> str:
    """Where in the task's own file the error came through."""
    file, lines, trace = getattr(sys.modules[kind.__module__], "__file__", None), [], error.__traceback__
    while trace is not None:
        if trace.tb_frame.f_code.co_filename == file:
            lines.append(trace.tb_lineno)
        trace = trace.tb_next
    return f" ({file}:{lines[-1]})" if lines else ""


def _kinds(task: Task) -> Broken:
    for name, kind in (("input", InputKind), ("output", OutputKind), ("length", int)):
        found = asked(type(task), name, partial(getattr, task, name))
        if not isinstance(found, kind):
            yield f"`{name}` must be of type {kind.__name__}", repr(found)
    if task.output.per not in ("steps", "sequence"):
        yield "`output` must be per `steps` or per `sequence`", repr(task.output.per)
    if task.output.loss not in get_args(Loss):
        yield f"the loss of `output` must be one of {', '.join(get_args(Loss))}", repr(task.output.loss)


def _data(task: Task, examples: Any, length: int) -> Broken:
    if not isinstance(examples, Examples):
        yield "`examples` must return `Examples(inputs, targets, mask)`", type(examples).__name__
    if not len(examples):
        yield "there must be at least one example", "none"
        return
    n, inputs, targets = len(examples), examples.inputs[:ROWS], examples.targets[:ROWS]
    kind, out = task.input, task.output
    if kind.kind == "tokens":
        yield from _tensor("inputs", examples.inputs, (n, length), torch.int64)
        yield from _range("inputs", inputs, kind.size)
    else:
        yield from _tensor("inputs", examples.inputs, (n, length, kind.size), torch.float32)
        yield from _finite("inputs", inputs)
    steps = (n, *out.shape(length))
    if examples.mask is not None:
        yield from _tensor("mask", examples.mask, steps, torch.bool)
        if not examples.mask.any():
            yield "at least one target must count", "a mask that is false everywhere"
    if out.loss == "cross_entropy":
        yield from _tensor("targets", examples.targets, steps, torch.int64)
        yield from _range("targets", targets, out.size)
    else:
        yield from _tensor("targets", examples.targets, (*steps, out.size), torch.float32)
        yield from _finite("targets", targets)


def _same(first: Examples, again: Examples) -> Broken:
    if not (torch.equal(first.inputs, again.inputs) and torch.equal(first.targets, again.targets)):
        yield "the same settings must give the same examples, drawn from a seeded generator", "others the second time"


def _apart(heads: dict[Split, Examples]) -> Broken:
    hashes = {split: row_hashes(examples) for split, examples in heads.items()}
    for one, other in combinations(hashes, 2):
        both = len(hashes[one] & hashes[other])
        if both:
            yield "no example may be in two splits", f"{both} of the first {ROWS:,} in both {one} and {other}"


def _judged(task: Task, few: Examples) -> Broken:
    """Lets the judge score answers that say nothing, in copies."""
    lead = few.targets.shape if task.output.loss == "cross_entropy" else few.targets.shape[:-1]
    outputs = torch.zeros(COPIES, *lead, task.output.size)
    found: Any = asked(type(task), "judge", partial(task.judge, outputs, few.targets, few.mask))
    rule = "`judge` must return three sums, each a float64 tensor with a number for each copy"
    if not isinstance(found, tuple) or len(found) != 3:
        yield rule, f"{type(found).__name__}"
    for value in found:
        yield from ((rule, got) for _, got in _tensor("", value, (COPIES,), torch.float64))


def _scale(task: Task) -> Broken:
    chance = asked(type(task), "chance", partial(getattr, task, "chance"))
    if not _is_number(chance):
        yield "`chance` must be a number", repr(chance)
    ceiling = asked(type(task), "ceiling", partial(getattr, task, "ceiling"))
    if ceiling is not None and not _is_number(ceiling):
        yield "`ceiling` must be a number, or None where nobody knows", repr(ceiling)
    digest = asked(type(task), "digest", task.digest)
    if not isinstance(digest, str) or not digest:
        yield "`digest` must be text", repr(digest)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and math.isfinite(value)


def _head(examples: Examples, count: int) -> Examples:
    mask = None if examples.mask is None else examples.mask[:count]
    return Examples(examples.inputs[:count], examples.targets[:count], mask)


def _tensor(name: str, value: Any, shape: tuple[int, ...], dtype: torch.dtype) -> Broken:
    rule = f"`{name}` must be {_said(shape, dtype)}"
    if not isinstance(value, Tensor):
        yield rule, f"no tensor but {type(value).__name__}"
    elif tuple(value.shape) != shape or value.dtype != dtype:
        yield rule, _said(tuple(value.shape), value.dtype)


def _range(name: str, value: Tensor, size: int) -> Broken:
    low, high = int(value.min()), int(value.max())
    if low < 0 or high >= size:
        yield f"`{name}` must lie between 0 and {size - 1}", f"{low} to {high}"


def _finite(name: str, value: Tensor) -> Broken:
    if not value.isfinite().all():
        yield f"`{name}` must be finite", "infinity or not a number"


def _said(shape: tuple[int, ...], dtype: torch.dtype) -> str:
    return f"{str(dtype).removeprefix('torch.')} of shape {shape}"
