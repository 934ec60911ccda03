"""Asynchronous successive halving: a candidate outside the best third at a rung is stopped.

L. Li et al., A system for massively parallel hyperparameter tuning, MLSys 2020, in the stopping form: nobody waits for
a rung to fill. It lives beside the events and not in Ray Tune, so that both executors have it and a resume, which
replays the reports, rebuilds its rungs.
"""

from __future__ import annotations

from collections import defaultdict

__all__ = ["Halving"]


class Halving:
    """Rungs at the 1st, `factor`-th, `factor`²-th ... report of a candidate.

    Args:
        maximize: whether a larger score is better.
        factor: one in so many goes on.
    """

    def __init__(self, maximize: bool, factor: int = 3) -> None:
        self._sign, self._factor = (1.0 if maximize else -1.0), factor
        self._rungs: dict[int, list[float]] = defaultdict(list)
        self._reports: dict[str, int] = defaultdict(int)

    def report(self, key: str, score: float | None) -> bool:
        """Takes note of a candidate's next report; returns whether it goes on.

        The first `factor` candidates at a rung go on: there is nothing to compare them with.
        """
        self._reports[key] += 1
        turn = self._reports[key]
        while turn > 1 and turn % self._factor == 0:
            turn //= self._factor
        if turn != 1 or score is None:
            return True
        rung = self._rungs[self._reports[key]]
        rung.append(self._sign * score)
        if len(rung) <= self._factor:
            return True
        return self._sign * score >= sorted(rung, reverse=True)[len(rung) // self._factor - 1]
