"""Cores with the kernels of accelerated libraries beside the same cores on torch: forward and backward, side by side.

    python -m tests.benchmarks.bench_backends                # on a CUDA device, what is installed there
    python -m tests.benchmarks.bench_backends --device cpu   # the times of torch alone

The last column is the largest difference of the outputs, as a share of their largest magnitude.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable

import torch
from torch import Tensor

from archsearch.kernels import backends
from archsearch.ops.base import Context
from tests.ops.contract import Case

COPIES, BATCH, WIDTH, HEADS = 2, 16, 256, 4
CASES = [
    Case("linear_attention_core", {"heads": HEADS}, (WIDTH, WIDTH, WIDTH, HEADS)),
    Case("delta_rule_core", {"heads": HEADS}, (WIDTH, WIDTH, WIDTH, HEADS, HEADS)),
    Case("selective_scan", {}, (WIDTH, WIDTH, 16, 16)),
    Case("ssd", {}, (WIDTH, HEADS, 64, 64)),
    Case("short_conv", {"kernel": 4}, (WIDTH,)),
]


def main() -> None:
    """Prints a row for each core and length."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--dtype", default="bfloat16", choices=["float32", "bfloat16"])
    parser.add_argument("--lengths", type=int, nargs="+", default=[256, 1024, 4096])
    parser.add_argument("--repeats", type=int, default=10)
    given = parser.parse_args()
    device, dtype = torch.device(given.device), getattr(torch, given.dtype)
    print(f"torch {torch.__version__}, {device}, {given.dtype}, {COPIES} × {BATCH} sequences of width {WIDTH}, ms")
    print(f"{'core':24}{'T':>6}{'torch':>10}{'library':>10}{'ratio':>8}{'off':>10}")
    for case in CASES:
        for length in given.lengths:
            row(case, length, device, dtype, given.repeats)


def row(case: Case, length: int, device: torch.device, dtype: torch.dtype, repeats: int) -> None:
    """Times one core at one length."""
    library = backends.KERNELS[case.name].library
    w = {name: x.detach().to(device).requires_grad_() for name, x in case.weights().items()}
    xs = [x.detach().to(device, dtype).requires_grad_() for x in inputs(case, length)]
    ours, y = measured("torch", case, w, xs, repeats)
    print(f"{case.name:24}{length:6}{1e3 * ours:10.2f}", end="")
    missing = backends.unusable(library, device)
    if missing:
        print(f"  {library}: {missing}", flush=True)
        return
    theirs, z = measured(library, case, w, xs, repeats)
    off = (y - z).abs().max().item() / y.abs().max().item()
    print(f"{1e3 * theirs:10.2f}{theirs / ours:8.2f}{off:10.1e}", flush=True)


def inputs(case: Case, length: int) -> list[Tensor]:
    """Normal inputs; keys short, gates where gates are."""
    g = torch.Generator().manual_seed(0)
    found = [torch.randn(COPIES, BATCH, length, t.width, generator=g) for t in case.types]
    if case.name == "delta_rule_core":
        found[1] = torch.nn.functional.normalize(found[1].unflatten(-1, (HEADS, -1)), dim=-1).flatten(-2)
        found[3] = found[3].sigmoid()
    if case.name.endswith("_core"):
        found[-1] = -torch.nn.functional.softplus(found[-1]) / 16 if len(found) > 3 else found[-1]
    return found


def measured(backend: str, case: Case, w: dict[str, Tensor], xs: list[Tensor], repeats: int) -> tuple[float, Tensor]:
    """The least seconds of forward and backward, and the output."""
    with backends.use(backend):
        y = once(case, w, xs)  # compiles what there is to compile
        times = [timed(lambda: once(case, w, xs), xs[0].device) for _ in range(repeats)]
    return min(times), y


def once(case: Case, w: dict[str, Tensor], xs: list[Tensor]) -> Tensor:
    """Forward and backward."""
    y: Tensor = case.op.forward(w, *xs, ctx=Context())
    torch.autograd.grad(y.float().square().mean(), [*xs, *w.values()])
    return y.detach().float()


def timed(f: Callable[[], object], device: torch.device) -> float:
    """Seconds, when the device has done all it was asked."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    begun = time.perf_counter()
    f()
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter() - begun


if __name__ == "__main__":
    main()
