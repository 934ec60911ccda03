"""How long the command line takes to answer: `python tests/benchmarks/bench_cli.py [CANDIDATES]`.

Makes a campaign of that many candidates (1,000 unless told otherwise), made up but complete, and times whole processes.
Bars on two cores: `archsearch --help` 0.5 s, `archsearch leaderboard` 1 s; without an index, as after copying only
events.jsonl, it has to read all events first.
"""

from __future__ import annotations

import json
import random
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from archsearch.campaign.store import Store
from archsearch.training.measurement import CopyResult, Fidelity, Measurement

MIXERS = ("attention", "gru", "lstm", "s4d", "identity")
TASK = {"name": "in_context_recall", "settings": {}, "metric": "accuracy", "maximize": True, "chance": 0.0625}
REPEATS = 5


def main() -> None:
    """Prints the best and the median of some runs of each command."""
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 1000
    with tempfile.TemporaryDirectory() as folder:
        campaign = Path(folder) / "synthetic"
        fill(campaign, count)
        size = (campaign / "events.jsonl").stat().st_size / 1e6
        print(f"{count} candidates, events.jsonl of {size:.1f} MB; seconds (best, median of {REPEATS})")
        base = [sys.executable, "-m", "archsearch"]
        board = [*base, "leaderboard", str(campaign)]
        report("python -c pass", [sys.executable, "-c", "pass"])
        report("archsearch --help", [*base, "--help"])
        report("archsearch leaderboard", board)
        report("archsearch leaderboard --top 0", [*board, "--top", "0"])
        report("archsearch leaderboard --json", [*board, "--json"])
        report("archsearch leaderboard, without index", board, before=(campaign / "results.db").unlink)


def report(name: str, command: list[str], before: Any = lambda: None) -> None:
    """Times `command` as a process of its own."""
    taken = []
    for _ in range(REPEATS):
        before()
        started = time.perf_counter()
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        taken.append(time.perf_counter() - started)
    print(f"{name:40} {min(taken):.3f} {sorted(taken)[REPEATS // 2]:.3f}")


def fill(path: Path, count: int, *, finalists: int = 3, failures: int = 20) -> None:
    """A finished campaign of `count` candidates in `path`: `failures` of them failed, `finalists` have finals.

    Scores are drawn, architectures are a token: enough for whoever reads a record.
    """
    rng = random.Random(0)
    head: dict[str, Any] = {"name": path.name, "config": {"space": "synthetic"}, "agent": "random_search"}
    with Store.create(path, {"campaign.yaml": "space: synthetic\n"}) as store:
        store.append("campaign", task={**TASK, "ceiling": 1.0, "length": 64, "digest": "d"}, environment={}, **head)
        for number in range(count):
            name = str(number + 1)
            store.append("candidate", **candidate(name, number, rng))
            key = f"{name}/search/1"
            store.append("attempt", id=name, phase="search", attempt=1, key=key)
            if count - number <= failures:
                store.append(
                    "failure", id=name, phase="search", key=key, reason="diverged", message="every copy diverged"
                )
                continue
            for step in range(50, 401, 50):
                store.append("report", key=key, step=step, score=rng.random(), loss=1.0, seconds=step / 100)
            found = measurement("validation", [0.9 - 0.5 * number / count + 0.02 * rng.random()], 0, rng)
            store.append("measurement", id=name, phase="search", key=key, measurement=found)
        chosen = [str(i + 1) for i in range(min(finalists, count - failures))]
        store.append("final_choice", ids=chosen, over="trials", message="")
        for name in chosen:
            scores = [0.9 - 0.1 * int(name) + 0.01 * rng.random() for _ in range(3)]
            store.append("attempt", id=name, phase="final", attempt=2, key=f"{name}/final/2")
            found = measurement("test", scores, 10_000, rng)
            store.append("measurement", id=name, phase="final", key=f"{name}/final/2", measurement=found)
        store.append("end", status="done", message="", sync=True)


def candidate(id: str, number: int, rng: random.Random) -> dict[str, Any]:
    """The event of an admitted candidate."""
    mixer, expand = rng.choice(MIXERS), rng.choice([1, 2, 4])
    decisions = {f"body.{i}.mix": mixer for i in range(4)} | {f"body.{i}.mlp.expand": expand for i in range(4)}
    facts = {"params": 50_000, "flops_per_token": 1e5 + number, "state_bytes": 4096, "span": 7, "depth": 20}
    return {
        "id": id,
        "number": number,
        "role": "search",
        "agent": "random_search",
        "hash": f"{rng.getrandbits(64):016x}",
        "line": f"4×[{mixer} → mlp×{expand}]",
        "families": [mixer, "perceptron"],
        "facts": {**facts, "nodes": 40, "parallel_in_time": True},
        "architecture": {"format": 1, "name": "synthetic", "nodes": []},
        "decisions": decisions,
        "parent": None,
        "parent_id": None,
        "reason": "",
        "cost": {},
    }


def measurement(split: str, scores: list[float], first_seed: int, rng: random.Random) -> dict[str, Any]:
    """A measurement of one learning rate and as many seeds as scores."""
    mean, test = sum(scores) / len(scores), split == "test"
    curve = tuple((step, mean * step / 400, 2.0 - step / 400) for step in range(50, 401, 50))
    copies = tuple(
        CopyResult(first_seed + i, 3e-3, "done", s, 1.0, s if test else None, curve=curve) for i, s in enumerate(scores)
    )
    several = len(scores) > 1
    found = Measurement(
        fidelity=Fidelity("in_context_recall", "d", 400, 32, (3e-3,), len(scores), split, "ab12"),
        score=mean,
        score_low=mean - 0.01 if several else None,
        score_high=mean + 0.01 if several else None,
        validation_score=mean,
        validation_loss=1.0,
        learning_rate=3e-3,
        copies=copies,
        steps=400,
        examples=12_800,
        seconds=3.0,
        train_seconds=2.5,
        tokens_per_second=1e5 * (1 + rng.random()),
        peak_memory_bytes=2**24,
        params=52_000,
        body_params=50_000,
        flops_per_token=1e5 * (1 + rng.random()),
        state_bytes=4096.0,
        span=7.0,
        parallel_in_time=True,
        environment={"device": "cpu", "device_name": "a processor", "dtype": "float32", "threads": 1},
    )
    return json.loads(json.dumps(found.to_dict()))  # type: ignore[no-any-return]


if __name__ == "__main__":
    main()
