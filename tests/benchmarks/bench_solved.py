"""Solved cores: all steps at once beside their own steps one by one, forward and backward, and what a token costs.

    OMP_NUM_THREADS=1 python -m tests.benchmarks.bench_solved [--batch 4] [--lengths 256 1024] [--repeats 3]

Width 64, one copy, the least of interleaved runs. The optimisation layer does not mix time and has no other form;
beside it stands a perceptron of the same width, to say what a solved program costs.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn.functional import normalize

from tests.ops.contract import Case, parallel, stepwise

WIDTH, HEADS = 64, 4
MESA = Case("mesa_core", {"heads": HEADS}, (WIDTH, WIDTH, WIDTH, HEADS, HEADS))
MEMORY = Case("kernel_regression", {"heads": HEADS}, (WIDTH, WIDTH, WIDTH))
PROGRAMS = Case("quadratic_layer", {}, (WIDTH,))
PERCEPTRON = Case("mlp", {}, (WIDTH,))


def main() -> None:
    """Prints a row for each core and length."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--batch", type=int, default=4)
    parser.add_argument("--lengths", type=int, nargs="+", default=[256, 1024])
    parser.add_argument("--repeats", type=int, default=3)
    given = parser.parse_args()
    for case, other in ((MESA, None), (MEMORY, None), (PROGRAMS, PERCEPTRON)):
        for length in given.lengths:
            forms = {case.name: run(case, parallel, given.batch, length)}
            if other is None:
                forms["its steps"] = run(case, stepwise, given.batch, length)
            else:
                forms[other.name] = run(other, parallel, given.batch, length)
            times = {name: min(timed(f) for _ in range(given.repeats)) for name, f in forms.items()}
            first, second = times.values()
            said = ", ".join(f"{name} {1e6 * t / given.batch / length:.1f}" for name, t in times.items())
            print(f"T={length}: {said} µs a token, ratio {first / second:.2f}", flush=True)


def run(case: Case, form: Callable[..., list[Tensor]], batch: int, length: int) -> Callable[[], object]:
    """Forward and backward of one form."""
    g, w = torch.Generator().manual_seed(0), case.weights(seeds=(1,))
    xs = [torch.randn(1, batch, length, t.width, generator=g) for t in case.types]
    if case is MESA:
        xs[0], xs[1] = (normalize(x.unflatten(-1, (HEADS, -1)), dim=-1).flatten(-2) for x in xs[:2])
        xs[3], xs[4] = xs[3].sigmoid(), -xs[4].abs() / 16
    xs = [x.requires_grad_() for x in xs]
    return lambda: torch.autograd.grad(form(case, w, xs)[0].square().sum(), [*w.values(), *xs])


def timed(f: Callable[[], object]) -> float:
    """Seconds of processor time."""
    begun = time.process_time()
    f()
    return time.process_time() - begun


if __name__ == "__main__":
    torch.set_num_threads(1)
    main()
