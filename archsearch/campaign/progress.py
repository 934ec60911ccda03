"""What a running campaign shows on stderr: done, running, failed, best so far, time left."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final, TextIO

from archsearch.campaign.loop import Campaign
from archsearch.campaign.record import CandidateRecord

if TYPE_CHECKING:
    from rich.live import Live

__all__ = ["Progress", "summary", "time_left"]

LIVE_SECONDS: Final = 0.2
PLAIN_SECONDS: Final = 5.0


class Progress:
    """A display that moves in a terminal, and a line now and then anywhere else. A context manager.

    Args:
        desk: what to show.
        metric: the name of the score.
    """

    def __init__(
        self,
        desk: Campaign,
        metric: str,
        *,
        stream: TextIO | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._desk, self._metric, self._clock = desk, metric, clock
        self._stream = stream or sys.stderr
        self._live: Live | None = None
        self._last = float("-inf")
        self._said = ""

    def __enter__(self) -> Progress:
        if self._stream.isatty():
            from rich.console import Console
            from rich.live import Live

            console = Console(file=self._stream)
            self._live = Live(console=console, auto_refresh=False, transient=True, redirect_stdout=False)
            self._live.start()
        return self

    def __exit__(self, *exception: object) -> None:
        if self._live:
            self._live.stop()
        self._say(summary(self._desk, self._metric))

    def tick(self) -> None:
        """Shows the state, unless it has just been shown."""
        now = self._clock()
        if now - self._last < (LIVE_SECONDS if self._live else PLAIN_SECONDS):
            return
        self._last = now
        if self._live:
            self._live.update(_table(self._desk, self._metric), refresh=True)
        else:
            self._say(summary(self._desk, self._metric))

    def _say(self, text: str) -> None:
        if text != self._said:
            self._said = text
            print(text, file=self._stream, flush=True)


def summary(desk: Campaign, metric: str) -> str:
    """One line: `12/24 done · 2 running · 1 failed · best accuracy 0.998 (7: attention(4) → mlp(2)) · 1m 20s left`."""
    searched = [c for c in desk.candidates.values() if not c.is_control]
    ended = sum(c.status in ("done", "failed", "stopped") for c in searched)
    failed = sum(c.status == "failed" for c in searched)
    finals = [c for c in desk.candidates.values() if c.finalist]
    parts = [f"{ended}/{desk.config.trials} done"]
    if finals:
        parts.append(f"finals {sum(c.final is not None for c in finals)}/{len(finals)}")
        parts += [f"{n} finals failed"] if (n := sum(c.final is None and c.failure is not None for c in finals)) else []
    if desk.running:
        parts.append(f"{len(desk.running)} running")
    parts += [f"{failed} failed"] * bool(failed)
    best = best_of(searched, desk.maximize)
    if best is not None and best.search is not None:
        parts.append(f"best {metric} {best.search.score:.3f} ({best.id}: {best.line})")
    left = time_left(desk)
    if left is not None and desk.status[0] == "running":
        parts.append(f"{_span(left)} left")
    return " · ".join(parts)


def best_of(candidates: list[CandidateRecord], maximize: bool) -> CandidateRecord | None:
    """The candidate with the best search score, the first one of equals."""
    scored = [c for c in candidates if c.search and c.search.score is not None]
    if not scored:
        return None
    sign = 1.0 if maximize else -1.0
    return max(scored, key=lambda c: sign * (c.search.score if c.search and c.search.score is not None else 0.0))


def time_left(desk: Campaign) -> float | None:
    """Seconds until the end, from what candidates have taken so far; `None` before the first is done."""
    config, all_ = desk.config, list(desk.candidates.values())
    searched = [c.search.seconds for c in all_ if c.search]
    if not searched:
        return None
    each = _typical(searched)
    controls = sum(c.is_control for c in all_)
    ended = sum(c.status in ("done", "failed", "stopped") for c in all_)
    work = each * max(0, config.trials + controls - ended)
    if config.finals.top:
        finals = [c.final.seconds for c in all_ if c.final]
        copies = config.finals.seeds / config.training.seeds
        one = max(_typical(finals), each * copies) if finals else each * copies
        work += one * (config.finals.top + controls - len(finals))
    return work / (config.workers or 1)


def _typical(seconds: list[float]) -> float:
    """The mean over those that took a while: a control that trains nothing says nothing of the others."""
    long = [s for s in seconds if s >= max(seconds) / 20]
    return sum(long) / len(long)


def _span(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours}h {minutes}m"
    return f"{minutes}m {rest}s" if minutes else f"{rest}s"


def _table(desk: Campaign, metric: str) -> Any:
    """The summary, and a row for each candidate that trains."""
    from rich.console import Group
    from rich.table import Table
    from rich.text import Text

    rows = Table(box=None, show_header=False, padding=(0, 1))
    for key, (name, phase) in desk.running.items():
        c = desk.candidates[name]
        last = f"step {c.last[0]}" if c.last and phase == "search" else "final" if phase == "final" else "begins"
        last = " ".join([*key.split("/")[3:], last])  # on which of several tasks
        score = f"{c.last[1]:.3f}" if c.last and c.last[1] is not None else ""
        rows.add_row(Text(f"  {name}"), Text(last), Text(score), Text(c.line, overflow="ellipsis", no_wrap=True))
    return Group(Text(summary(desk, metric), overflow="ellipsis", no_wrap=True), rows)
