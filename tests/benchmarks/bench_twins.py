"""How often twins are ranked apart: candidates of one architecture, under different names, trained from other seeds.

    OMP_NUM_THREADS=1 python -m tests.benchmarks.bench_twins [--mixer gru] [--pairs 200] [--seeds 5] [--steps 60]

Trains pairs × 2 × seeds copies of one small network on recall and ranks them in pairs, each twin with its seeds, as a
board would; then all of them in campaigns of 20. At most 5 % may be told apart, up to chance: 8 % of 200 pairs. Twins
whose second has something on top of every score, `--planted` deviations of a seed, are ranked too: of these most should
be told apart. Prints one line of JSON.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections.abc import Sequence

from archsearch.ranking import Entry, rank
from archsearch.training.measurement import Job, TrainingSettings
from archsearch.training.trainer import run
from tests.training.conftest import RECALL, hand_made

TOGETHER = 250
"""Copies that are trained as one model."""
CAMPAIGN = 20


def scores(mixer: str, copies: int, steps: int) -> list[float]:
    """The validation scores of so many seeds."""
    found: list[float] = []
    while len(found) < copies:
        job = Job(
            key="twins/search/1",
            architecture=hand_made(mixer).to_dict(),
            task="in_context_recall",
            task_settings={**RECALL, "examples_validation": 256},
            training=TrainingSettings(
                steps=steps, batch=16, seeds=min(TOGETHER, copies - len(found)), reports=1, device="cpu"
            ),
            seed_base=len(found),
        )
        found += [c.score for c in run(job).copies if c.score is not None]
    return found


def told_apart(candidates: Sequence[Sequence[float]]) -> bool:
    """Whether any of these share less than all ranks on a board of their own."""
    entries = [
        Entry(str(i), "finals", "same", statistics.fmean(samples), tuple(samples))
        for i, samples in enumerate(candidates)
    ]
    return any(r.ranks is None or (r.ranks.low, r.ranks.high) != (1, len(candidates)) for r in rank(entries))


def main() -> None:
    ask = argparse.ArgumentParser(description=__doc__)
    ask.add_argument("--mixer", default="gru", choices=["none", "gru", "lstm", "attention"])
    for name, usual in (("pairs", 200), ("seeds", 5), ("steps", 60)):
        ask.add_argument(f"--{name}", type=int, default=usual)
    ask.add_argument("--planted", type=float, default=4.0)
    given = ask.parse_args()
    began = time.perf_counter()
    found = scores(given.mixer, 2 * given.pairs * given.seeds, given.steps)
    seconds = time.perf_counter() - began
    candidates = [found[i : i + given.seeds] for i in range(0, len(found), given.seeds)]
    pairs = list(zip(candidates[::2], candidates[1::2], strict=True))
    more = given.planted * statistics.stdev(found)
    campaigns = [candidates[i : i + CAMPAIGN] for i in range(0, len(candidates) - CAMPAIGN + 1, CAMPAIGN)]
    print(
        json.dumps(
            {
                "mixer": given.mixer,
                "pairs": len(pairs),
                "seeds": given.seeds,
                "mean": round(statistics.fmean(found), 4),
                "deviation": round(statistics.stdev(found), 4),
                "twins_apart": sum(map(told_apart, pairs)) / len(pairs),
                "planted_apart": sum(told_apart((a, [x + more for x in b])) for a, b in pairs) / len(pairs),
                f"campaigns_of_{CAMPAIGN}_apart": sum(map(told_apart, campaigns)) / max(1, len(campaigns)),
                "seconds": round(seconds, 1),
            }
        )
    )


if __name__ == "__main__":
    main()
