"""One attempt at training one candidate: what a worker does, whichever executor it works for.

Whatever a candidate does wrong comes back as an `Outcome` with a reason; only the end of the process passes through:
Ctrl-C where the driver itself trains, and Ray's word to a worker.
"""

from __future__ import annotations

import importlib
import importlib.util
import re
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
        worker: whether this is a process of its own, where no Ctrl-C of a person arrives: a `KeyboardInterrupt` is then
            the candidate's.
    """

    def __init__(self, job: Job, runner: str = TRAINER, *, worker: bool = False) -> None:
        self.job, self._spec, self._worker = job, runner, worker
        self._runner: Runner | None = None

    def advance(self) -> tuple[Report | None, Outcome | None]:
        """To the next rung: its report, and the outcome if that was the last one."""
        try:
            if self._runner is None:
                self._runner = load_runner(self._spec)(self.job)
            report = self._runner.advance()
            return report, self._outcome(self._runner) if self._runner.finished else None
        except BaseException as error:  # a candidate may raise anything, and it ends that candidate alone
            if self._ends_the_process(error):
                raise
            return None, failure_of(error)

    def _ends_the_process(self, error: BaseException) -> bool:
        if isinstance(error, KeyboardInterrupt):
            return not self._worker
        return isinstance(error, SystemExit) and hasattr(error, "ray_terminate_msg")

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


_COLOUR: Final = re.compile(r"\x1b\[[0-9;]*[A-Za-z]")


def _line(text: str) -> str:
    """What an error said, in a line without colours; of a traceback from Ray the last line, the error itself."""
    lines = [line.strip() for line in _COLOUR.sub("", text).strip().splitlines() if line.strip()]
    if not lines:
        return ""
    return (lines[-1] if lines[0].startswith("ray::") else lines[0])[:500]


_DISK: Final = ("iostream error", "inline_container", "PytorchStreamWriter", "Parent directory")
"""What torch says instead of an `OSError` when a file cannot be written."""


def _is_of_the_disk(error: BaseException) -> bool:
    return isinstance(error, OSError) or any(word in f"{error} {error.__context__}" for word in _DISK)


def _said(error: BaseException) -> str:
    return (error.strerror if isinstance(error, OSError) else None) or "it could not be written; the disk may be full"


_MEMORY: Final = ("out of memory", "can't allocate memory", "cannot allocate memory", "not enough memory")


def failure_of(error: BaseException) -> Outcome:
    """The outcome that an exception stands for."""
    trace = "".join(traceback.format_exception(error))[-20_000:]
    line = _line(str(error))
    if isinstance(error, CandidateError):
        return Outcome("failed", reason=error.reason, message=line, trace=trace)
    if _is_memory(error):
        return Outcome("failed", reason="out_of_memory", message=line or "out of memory", trace=trace)
    reason = "diverged" if isinstance(error, FloatingPointError) else "error"
    return Outcome(
        "failed",
        reason=reason,
        message=f"{type(error).__name__}: {line}" if line else type(error).__name__,
        trace=trace,
    )


def _is_memory(error: Any) -> bool:
    named = type(error).__name__ == "OutOfMemoryError"  # torch's, without importing torch
    text = str(error).lower()
    said = isinstance(error, RuntimeError | OSError) and any(word in text for word in _MEMORY)
    return isinstance(error, MemoryError) or named or said
