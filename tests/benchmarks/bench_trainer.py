"""What a step of the whole trainer costs beside a training loop written by hand, and what copies save.

    OMP_NUM_THREADS=1 python -m tests.benchmarks.bench_trainer [--width 128] [--batch 128] [--steps 20]
    OMP_NUM_THREADS=1 python -m tests.benchmarks.bench_trainer --copies 1,2,6 --width 16 --batch 32

Attention and mlp by turns (2 + 2 layers). Without `--copies`: draws a batch, forward, loss, backward, clipping, AdamW,
of the trainer and of plain PyTorch, interleaved in an order that alternates; the target is a ratio of medians of at
most 1.05. With `--copies`: tokens a second of so many copies (seeds) trained as one, relative to one copy. Prints one
line of JSON.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import nn

from archsearch.training.measurement import Job, TrainingSettings
from archsearch.training.trainer import Trainer
from tests.benchmarks.bench_training_step import HEADS, ByHand
from tests.build.graphs import transformer

VOCABULARY = 64


def trainer(width: int, layers: int, batch: int, length: int, copies: int = 1) -> Trainer:
    """A trainer that has not started, on recall with a loss on every next token."""
    return Trainer(
        Job(
            key="benchmark",
            architecture=transformer(width, layers, HEADS).to_dict(),
            task="in_context_recall",
            task_settings={"vocabulary": VOCABULARY, "length": length, "targets": "all", "examples_train": 2048},
            training=TrainingSettings(steps=100_000, batch=batch, seeds=copies, device="cpu"),
        )
    )


def by_hand(model: nn.Module, run: Trainer) -> Callable[[], None]:
    """One step of the loop that one writes by hand: the same data, loss, clipping and optimiser."""
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3, weight_decay=0.1, fused=True)
    data, batch = run.judge.train, run.settings.batch

    def step() -> None:
        rows = torch.randint(len(data), (batch,))
        loss = F.cross_entropy(model(data.inputs[rows]).flatten(0, -2), data.targets[rows].flatten())
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)

    return step


def seconds(step: Callable[[], Any]) -> float:
    start = time.perf_counter()
    step()
    return time.perf_counter() - start


def overhead(width: int, layers: int, batch: int, length: int, steps: int) -> dict[str, float]:
    """Medians in seconds a step, and the ratio trainer / by hand."""
    ours = trainer(width, layers, batch, length)
    hand = by_hand(ByHand(width, layers, VOCABULARY, length), ours)
    runs: list[tuple[Callable[[], None], list[float]]] = [(lambda: ours._train_to(ours.step + 1), []), (hand, [])]
    for i in range(steps + 2):
        for step, took in runs if i % 2 else runs[::-1]:
            one = seconds(step)
            if i >= 2:  # the first two steps warm caches and allocators
                took.append(one)
    a, b = (took for _, took in runs)
    return {
        "trainer_s": statistics.median(a),
        "by_hand_s": statistics.median(b),
        "ratio": statistics.median(a) / statistics.median(b),
        "ratio_of_minima": min(a) / min(b),
    }


def copies_gain(width: int, layers: int, batch: int, length: int, steps: int, copies: list[int]) -> dict[str, float]:
    """Tokens a second of `copies` trained as one, relative to one copy; interleaved, by the fastest step of each."""
    runs = [(n, trainer(width, layers, batch, length, n)) for n in [1, *copies]]
    best = [min(seconds(lambda r=run: r._train_to(r.step + 1)) for _ in range(2)) for _, run in runs]  # type: ignore[misc]
    for _ in range(steps):
        best = [min(b, seconds(lambda r=run: r._train_to(r.step + 1))) for b, (_, run) in zip(best, runs, strict=True)]  # type: ignore[misc]
    return {f"{n}_copies": n * best[0] / b for (n, _), b in zip(runs[1:], best[1:], strict=True)}


def main() -> None:
    """Measures and prints one line of JSON."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    for name, default in (("width", 128), ("layers", 2), ("batch", 128), ("length", 128), ("steps", 20)):
        parser.add_argument(f"--{name}", type=int, default=default)
    parser.add_argument("--copies", default="", help="numbers with commas between")
    sizes = vars(parser.parse_args())
    wanted = [int(n) for n in sizes.pop("copies").split(",") if n]
    torch.set_num_threads(1)
    found = copies_gain(**sizes, copies=wanted) if wanted else overhead(**sizes)
    print(json.dumps({**sizes, **{k: round(v, 4) for k, v in found.items()}}))


if __name__ == "__main__":
    main()
