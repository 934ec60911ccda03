"""Least squares solved directly and by gradient descent, against the number of features.

    OMP_NUM_THREADS=1 python -m tests.benchmarks.bench_solved_readout [--rows 4096] [--repeats 3]

One thread. Descent has Nesterov's momentum at the best constant rate, from the extreme eigenvalues, whose cost is not
counted; it runs in float32 on features of condition 100 and 10,000 and ends within 1 % of the least loss. The direct
way forms the products and factors them in float64. Least time over interleaved runs; prints one line of JSON a width,
and at the end the width from which on descent is faster, if there is one.
"""

from __future__ import annotations

import argparse
import json
import time

import torch
from torch import Tensor

from archsearch.training.fitting.ridge import Moments, solve

PENALTY, WITHIN, LIMIT = 1e-3, 1.01, 5000


def problem(rows: int, width: int, condition: float) -> tuple[Tensor, Tensor]:
    """Features whose covariance has eigenvalues from 1 down to 1/condition, and noisy answers."""
    generator = torch.Generator().manual_seed(0)
    spread = torch.logspace(0, -torch.tensor(condition).log10().item() / 2, width)
    x = torch.randn(rows, width, generator=generator) * spread
    y = x @ torch.randn(width, 10, generator=generator) + 0.1 * torch.randn(rows, 10, generator=generator)
    return x - x.mean(0), y - y.mean(0)


def direct(x: Tensor, y: Tensor) -> Tensor:
    """W `(S, D)`."""
    sums = Moments(1, x.shape[1], y.shape[1], x.device)
    sums.add(x[None], y)
    return solve(sums, torch.tensor([PENALTY]))[0][0].float()


def descent(x: Tensor, y: Tensor, goal: float, high: float, low: float) -> tuple[Tensor, int]:
    """W, and the steps until the loss was at the goal."""
    w = x.new_zeros(y.shape[1], x.shape[1])
    before, momentum = w, (high**0.5 - low**0.5) / (high**0.5 + low**0.5)
    for step in range(1, LIMIT + 1):
        ahead = w + momentum * (w - before)
        error = ahead @ x.mT - y.mT
        before, w = w, ahead - (error @ x + PENALTY * ahead) / high
        if step % 10 == 0 and loss(x, y, w) <= goal:
            return w, step
    return w, LIMIT


def loss(x: Tensor, y: Tensor, w: Tensor) -> float:
    """Sum of squares with the penalty."""
    return float((x @ w.mT - y).square().sum() + PENALTY * w.square().sum())


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=4096)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--widths", type=int, nargs="+", default=[16, 64, 256, 1024, 2048, 4096])
    parser.add_argument("--conditions", type=float, nargs="+", default=[1e2, 1e4])
    given = parser.parse_args()
    torch.set_num_threads(1)
    for condition in given.conditions:
        crossed = None
        for width in given.widths:
            x, y = problem(given.rows, width, condition)
            values = torch.linalg.eigvalsh((x.mT @ x).double()) + PENALTY
            goal, best = WITHIN * loss(x, y, direct(x, y)), [float("inf")] * 2
            steps = 0
            for _ in range(given.repeats):
                began = time.process_time()
                direct(x, y)
                middle = time.process_time()
                _, steps = descent(x, y, goal, float(values[-1]), float(values[0]))
                best = [min(best[0], middle - began), min(best[1], time.process_time() - middle)]
            crossed = (crossed or width) if best[1] < best[0] else None
            line = {"condition": condition, "width": width, "direct": round(best[0], 5), "descent": round(best[1], 5)}
            print(json.dumps({**line, "steps": steps, "ratio": round(best[1] / best[0], 2)}), flush=True)
        print(json.dumps({"condition": condition, "rows": given.rows, "descent_faster_from": crossed}), flush=True)


if __name__ == "__main__":
    main()
