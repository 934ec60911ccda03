"""Drawing the examples of each shipped task beside the training that eats them.

    OMP_NUM_THREADS=1 python -m tests.benchmarks.bench_tasks [NAME ...] [--draws 4] [--steps 4]

For every task that is drawn from a seed, with its default settings, and with others that are slower to draw: examples
drawn a second, and examples trained a second by a transformer of 2 layers and width 64 in batches of 32, forward,
backward and AdamW; one thread, least processor time over the repeats. Target: drawing at least 100 times faster. Prints
one line of JSON a row.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable
from typing import Any

import torch

from archsearch.tasks.base import Examples, Task
from archsearch.tasks.drawn import DRAW, DrawnTask
from archsearch.tasks.registry import make, names, task_class
from archsearch.training.loss import TrainingData
from tests.build.graphs import transformer

BATCH, LAYERS, WIDTH, HEADS = 32, 2, 64, 4
OTHERS: dict[str, tuple[dict[str, Any], ...]] = {
    "fuzzy_recall": ({"vocabulary": 128}, {"length": 1024}),
    "generated_language": ({"kind": "markov"}, {"kind": "pcfg"}, {"kind": "pcfg", "depth": 5}),
    "modular_arithmetic": ({"brackets": True}, {"brackets": True, "depth": 1}),
    "multi_query_recall": ({"length": 512, "pairs": 64},),
    "permutations": ({"group": "s5"},),
    "selective_copying": ({"length": 1024, "copies": 96},),
}
"""What else is measured of a task, beside its defaults."""


def least(repeats: int, work: Callable[[], object]) -> float:
    """The least seconds of processor time over some repeats, the first of which only warms up."""
    took = []
    for _ in range(repeats + 1):
        start = time.process_time()
        work()
        took.append(time.process_time() - start)
    return min(took[1:])


def training(task: Task, examples: Examples) -> Callable[[], object]:
    """One step of the optimiser on a batch."""
    from archsearch.build.model import build

    model = build(transformer(WIDTH, LAYERS, HEADS), task.input, task.output, seeds=[0])
    optimizer = torch.optim.AdamW(model.parameters(), fused=True)
    data, rows = TrainingData(examples, task.output), torch.arange(BATCH).unsqueeze(0)

    def step() -> None:
        optimizer.zero_grad()
        data.losses(model(data.batch(rows)), rows).sum().backward()
        optimizer.step()

    return step


def measure(task: Task, draws: int, steps: int) -> dict[str, object]:
    """Examples a second of both, and their ratio."""
    assert isinstance(task, DrawnTask)
    generator = torch.Generator().manual_seed(0)
    drawn = DRAW / least(draws, lambda: task.draw(DRAW, "train", generator))
    trained = BATCH / least(steps, training(task, task.draw(BATCH, "train", generator)))
    return {"drawn/s": round(drawn), "trained/s": round(trained), "ratio": round(drawn / trained)}


def main() -> None:
    """Measures and prints."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("names", nargs="*")
    parser.add_argument("--draws", type=int, default=4)
    parser.add_argument("--steps", type=int, default=4)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    for name in arguments.names or names():
        if issubclass(task_class(name), DrawnTask):
            for settings in ({}, *OTHERS.get(name, ())):
                found = measure(make(name, settings), arguments.draws, arguments.steps)
                print(json.dumps({"task": name, **settings, **found}), flush=True)


if __name__ == "__main__":
    main()
