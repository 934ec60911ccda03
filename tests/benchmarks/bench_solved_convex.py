"""The readout of `fit: convex` beside networks of its kind that are trained by gradient descent from ten seeds.

    OMP_NUM_THREADS=1 python -m tests.benchmarks.bench_solved_convex [--rows 100] [--steps 2000] [--features 1 8]

One thread, one output, noisy targets of a random network. Of one feature all patterns are listed, of more they are
looked for. Prints a line of JSON for each number of features and penalty: the objective, ½ squared error with weight
decay, that the program has; its relative gap to the bound over the patterns known; the least objective of ten runs of
Adam with as many hidden units as make no difference (60), at the best of three rates with a cosine schedule; seconds of
the program and of one run; and `ratio`, how far the best run is above the program, relative to it (below 0: it is the
better one).
"""

from __future__ import annotations

import argparse
import json
import time

import torch
from torch import Tensor

from archsearch.training.fitting.two_layers import PENALTIES, Copy

SEEDS, UNITS, RATES = 10, 60, (3e-3, 1e-2, 3e-2)


def problem(rows: int, features: int) -> tuple[Tensor, Tensor]:
    """Rows `(N, D)` and targets `(N, 1)` of a network of five units with noise."""
    g = torch.Generator().manual_seed(0)
    x = torch.randn(rows, features, generator=g, dtype=torch.float64)
    inner, offset = (torch.randn(*s, generator=g, dtype=torch.float64) for s in ((features, 5), (5,)))
    y = torch.relu(x @ inner + offset) @ torch.randn(5, 1, generator=g, dtype=torch.float64)
    return x, y + 0.1 * torch.randn(rows, 1, generator=g, dtype=torch.float64)


def descended(x: Tensor, y: Tensor, beta: float, rate: float, steps: int) -> Tensor:
    """The objectives `(10,)` after Adam from ten seeds at once."""
    draw = [torch.Generator().manual_seed(seed) for seed in range(SEEDS)]
    size = x.shape[1] ** -0.5
    inner = torch.stack([torch.randn(UNITS, x.shape[1], generator=g).double() * size for g in draw])
    outer = torch.stack([torch.randn(UNITS, generator=g).double() * UNITS**-0.5 for g in draw])
    weights = [inner.requires_grad_(), outer.requires_grad_()]
    adam = torch.optim.Adam(weights, lr=rate)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(adam, steps)
    least = torch.full((SEEDS,), torch.inf, dtype=torch.float64)
    for _ in range(steps):
        error = torch.einsum("enk,ek->en", torch.relu(x @ inner.mT), outer) - y[:, 0]
        loss = error.square().sum(1) / 2 + beta / 2 * (inner.square().sum((1, 2)) + outer.square().sum(1))
        least = torch.minimum(least, loss.detach())
        adam.zero_grad()
        loss.sum().backward()
        adam.step()
        schedule.step()
    return least


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--rows", type=int, default=100)
    parser.add_argument("--steps", type=int, default=2000)
    parser.add_argument("--features", type=int, nargs="+", default=[1, 8])
    given = parser.parse_args()
    torch.set_num_threads(1)
    for features in given.features:
        x, y = problem(given.rows, features)
        copy = Copy(x, y - y.mean(0), 0)
        for share in PENALTIES:
            began = time.process_time()
            found = copy.solve(share)
            seconds = time.process_time() - began
            beta, value = copy.beta, found["objective"]
            began = time.process_time()
            runs = torch.stack([descended(copy.x, copy.y, beta, rate, given.steps) for rate in RATES])
            one = (time.process_time() - began) / len(RATES) / SEEDS
            said = {"features": features, "penalty": round(beta, 5), "objective": round(value, 6)}
            said |= {
                "gap": float(f"{copy.proof(copy.network, beta)['gap']:.2g}"),
                "best_run": round(float(runs.min()), 6),
            }
            ratio = float(runs.min()) / value - 1
            said |= {"seconds": round(seconds, 2), "seconds_of_a_run": round(one, 2), "ratio": float(f"{ratio:.2g}")}
            print(json.dumps(said), flush=True)


if __name__ == "__main__":
    main()
