"""What a campaign costs beside its candidates: (wall × workers − seconds in them) ÷ candidates, beyond Ray's start.

    python tests/benchmarks/bench_dispatch.py

Runs 200 candidates of one step and 40 candidates of one second through Ray Tune, with two workers and a trainer that
only sleeps, and prints the overhead a candidate; the goal is at most 100 ms, with both workers busy. The clock runs
from the first job that a worker takes to the last outcome.
"""

from __future__ import annotations

import json
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))

from archsearch.campaign.config import Finals
from archsearch.campaign.executors import ray_tune
from archsearch.training.measurement import TrainingSettings
from tests.campaign.fakes import RUNNER, Scripted, campaign, config

GOAL = 0.1
WORKERS = 2


def measure(folder: Path, candidates: int, seconds: float) -> tuple[float, float]:
    """Overhead a candidate and the whole wall-clock with Ray's start, in seconds."""
    settings = config(
        trials=candidates,
        workers=WORKERS,
        ahead=2 * WORKERS,
        executor="ray",
        training=TrainingSettings(reports=1),
        finals=Finals(top=0),
    )
    agent = Scripted([{"x": i % 100, "number": i, "sleep": seconds} for i in range(candidates)])
    began = time.perf_counter()
    store, desk = campaign(folder, agent, settings, controls={})
    with store:
        ray_tune.run(desk, settings, runner=RUNNER)
    whole = time.perf_counter() - began
    events = [json.loads(line) for line in (folder / "events.jsonl").read_text().splitlines()]
    attempts = [e["t"] for e in events if e["event"] == "attempt"]
    outcomes = [e for e in events if e["event"] == "measurement"]
    assert len(outcomes) == candidates
    wall = outcomes[-1]["t"] - attempts[0]
    spent = sum(e["measurement"]["seconds"] for e in outcomes)
    return (wall * WORKERS - spent) / candidates, whole


def main() -> int:
    """Prints both figures; 1 if one misses the goal."""
    worst = 0.0
    with tempfile.TemporaryDirectory() as scratch:
        for candidates, seconds in ((200, 0.0), (40, 1.0)):
            overhead, whole = measure(Path(scratch) / str(candidates), candidates, seconds)
            worst = max(worst, overhead)
            print(
                f"{candidates} candidates of {seconds:g} s: {1000 * overhead:.0f} ms a candidate; {whole:.1f} s in all"
            )
    print(f"goal: at most {1000 * GOAL:.0f} ms a candidate")
    return int(worst > GOAL)


if __name__ == "__main__":
    raise SystemExit(main())
