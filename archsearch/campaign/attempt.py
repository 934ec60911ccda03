"""One attempt at training one candidate: what a worker does, whichever executor it works for.

Whatever a candidate does wrong comes back as an `Outcome` with a reason; only an interrupt passes through.
"""

from __future__ import annotations

import importlib
import importlib.util
import sys
import traceback
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Protocol

from archsearch.errors import CandidateError
from archsearch.training.measurement import Job, Measurement, Report

__all__ = ["TRAINER", "Attempt", "Outcome", "Runner", "failure_of", "load_runner"]

TRAINER: Final = "archsearch.training.trainer:Trainer"


class Runner(Protocol):
    """What trains a candidate. `archsearch.training.trainer.Trainer` is one; tests bring their own."""

    finished: bool

    def __init__(self, job: Job) -> None: ...

    def advance(self) -> Report:
        """Trains to the next rung."""

    def measurement(self) -> Measurement:
        """The result, once it is finished."""

    def save_weights(self, path: str) -> None:
        """Writes the trained weights to a file."""


@dataclass(frozen=True)
class Outcome:
    """How an attempt ended.

    Args:
        status: `done`, `failed` or `stopped`; `unstored` if what was trained could not be written, which is no fault of
            the candidate.
        measurement: of one that is done.
        reason: of one that failed: `error`, `diverged`, `out_of_memory`, `timeout`, `killed` or `refused`.
        message: why, in a line; `trace`: the whole traceback.
    """

    status: str
    measurement: Measurement | None = None
    reason: str = ""
    message: str = ""
    trace: str = ""


class Attempt:
    """Trains one job rung by rung.

    Args:
        job: what to train.
        runner: `module:Class` or `path/to/file.py:Class` of a `Runner`.
    """

    def __init__(self, job: Job, runner: str = TRAINER) -> None:
        self.job, self._spec = job, runner
        self._runner: Runner | None = None

    def advance(self) -> tuple[Report | None, Outcome | None]:
        """To the next rung: its report, and the outcome if that was the last one."""
        try:
            if self._runner is None:
                self._runner = load_runner(self._spec)(self.job)
            report = self._runner.advance()
            return report, self._outcome(self._runner) if self._runner.finished else None
        except Exception as error:  # noqa: BLE001 - a candidate may raise anything, and it ends that candidate alone
            return None, failure_of(error)

    def _outcome(self, runner: Runner) -> Outcome:
        measurement = runner.measurement()
        if measurement.score is None:
            return Outcome("failed", reason="diverged", message="no copy has a finite loss")
        if self.job.save_weights:
            try:
                runner.save_weights(self.job.save_weights)
            except (OSError, RuntimeError) as error:
                if not _is_of_the_disk(error):
                    raise
                return Outcome("unstored", message=f"{self.job.save_weights} is not: {_said(error)}")
        return Outcome("done", measurement)


def load_runner(spec: str) -> type[Runner]:
    """The class that `module:Class` or `path/to/file.py:Class` names."""
    home, _, name = spec.rpartition(":")
    if not home.endswith(".py"):
        return getattr(importlib.import_module(home), name)  # type: ignore[no-any-return]
    alias = f"_archsearch_runner_{Path(home).stem}"
    if alias not in sys.modules:
        found = importlib.util.spec_from_file_location(alias, home)
        if found is None or found.loader is None:
            raise ImportError(f"no Python file at {home}")
        module = importlib.util.module_from_spec(found)
        sys.modules[alias] = module
        found.loader.exec_module(module)
    return getattr(sys.modules[alias], name)  # type: ignore[no-any-return]


_DISK: Final = ("iostream error", "inline_container", "PytorchStreamWriter", "Parent directory")
"""What torch says instead of an `OSError` when a file cannot be written."""


def _is_of_the_disk(error: BaseException) -> bool:
    return isinstance(error, OSError) or any(word in f"{error} {error.__context__}" for word in _DISK)


def _said(error: BaseException) -> str:
    return (error.strerror if isinstance(error, OSError) else None) or f"torch could not write it ({error})"


_MEMORY: Final = ("out of memory", "can't allocate memory", "cannot allocate memory", "not enough memory")


def failure_of(error: BaseException) -> Outcome:
    """The outcome that an exception stands for."""
    trace = "".join(traceback.format_exception(error))[-20_000:]
    text = str(error).strip()
    line = text.splitlines()[0][:500] if text else ""
    if isinstance(error, CandidateError):
        return Outcome("failed", reason=error.reason, message=line, trace=trace)
    if _is_memory(error):
        return Outcome("failed", reason="out_of_memory", message=line or "out of memory", trace=trace)
    reason = "diverged" if isinstance(error, FloatingPointError) else "error"
    return Outcome("failed", reason=reason, message=f"{type(error).__name__}: {line}", trace=trace)


def _is_memory(error: Any) -> bool:
    named = type(error).__name__ == "OutOfMemoryError"  # torch's, without importing torch
    text = str(error).lower()
    said = isinstance(error, RuntimeError | OSError) and any(word in text for word in _MEMORY)
    return isinstance(error, MemoryError) or named or said
