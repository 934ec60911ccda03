"""Trains one candidate after the other in this process: for debugging, and where one worker is enough."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

from archsearch.campaign.attempt import TRAINER, Attempt, Outcome
from archsearch.campaign.loop import Campaign
from archsearch.errors import CandidateError
from archsearch.training.measurement import Job, Report

__all__ = ["run"]


def run(desk: Campaign, *, runner: str = TRAINER, tick: Callable[[], None] = lambda: None) -> None:
    """Works for `desk` until it is closed.

    Args:
        runner: see `Attempt`.
        tick: called between rungs, for a display.

    Raises:
        StoreError: results can no longer be stored.
    """
    while not desk.closed:
        job = desk.next()
        tick()
        if job is not None:
            _train(desk, job, runner, tick)
        elif not desk.closed:
            time.sleep(0.01)  # the agent is thinking


def _train(desk: Campaign, job: Job, runner: str, tick: Callable[[], None]) -> None:
    attempt = Attempt(job, runner)
    while True:
        report, outcome = _advance(attempt, job.training.time_limit)
        goes_on = report is None or desk.report(job.key, report)
        if outcome is None and not goes_on:
            outcome = Outcome("stopped")
        if outcome is not None:
            desk.finish(job.key, outcome)
            tick()
            return
        tick()


def _advance(attempt: Attempt, limit: float) -> tuple[Report | None, Outcome | None]:
    with _alarm(limit):
        return attempt.advance()


@contextmanager
def _alarm(limit: float) -> Iterator[None]:
    """Raises `CandidateError("timeout")` inside after `limit` seconds, where a signal reaches: in the main thread."""
    if limit <= 0 or threading.current_thread() is not threading.main_thread():
        yield
        return

    def ring(number: int, frame: FrameType | None) -> None:
        raise CandidateError("timeout", f"no report for {limit:g} s")

    before = signal.signal(signal.SIGALRM, ring)
    signal.setitimer(signal.ITIMER_REAL, limit)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
