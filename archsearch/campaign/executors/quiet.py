"""Keeps Ray and its libraries quiet: stdout is for data, and stderr for what archsearch says."""

from __future__ import annotations

import io
import logging
import os
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout
from typing import Final

__all__ = ["ENVIRONMENT", "quiet"]

ENVIRONMENT: Final = {
    "OMP_NUM_THREADS": "1",
    "MKL_NUM_THREADS": "1",
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
    "RAY_AIR_NEW_OUTPUT": "0",
    "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",
    "TUNE_DISABLE_SIGINT_HANDLER": "1",
    "TUNE_WARN_EXCESSIVE_EXPERIMENT_CHECKPOINT_SYNC_THRESHOLD_S": "0",
    "PYTHONWARNINGS": "ignore",
}
"""For Ray and its workers, while a campaign runs: one thread a worker, and no words but ours."""


class _Elsewhere(io.TextIOBase):
    """Stands for stdout, which is for data: what is printed goes to stderr, but for Ray's words on a worker's death."""

    def __init__(self) -> None:
        self._dropped = False

    def write(self, text: str) -> int:
        self._dropped = "(raylet)" in text or (self._dropped and text == "\n")
        return len(text) if self._dropped else sys.stderr.write(text)


@contextmanager
def quiet(workers: int) -> Iterator[None]:
    """Silences Ray and Tune, and lets them start workers with one thread, all at once."""
    values = {**ENVIRONMENT, "TUNE_MAX_PENDING_TRIALS_PG": str(workers)}
    before = {name: os.environ.get(name) for name in values}
    os.environ.update(values)
    loggers = [logging.getLogger(name) for name in ("ray", "ray.tune")]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.CRITICAL)
    try:
        with warnings.catch_warnings(), redirect_stdout(_Elsewhere()):
            warnings.simplefilter("ignore")
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value
