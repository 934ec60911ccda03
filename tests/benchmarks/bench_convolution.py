"""Long convolutions by FFT beside Toeplitz products and sums over the taps; experts beside all experts on all tokens.

    OMP_NUM_THREADS=1 python -m tests.benchmarks.bench_convolution [--repeats 5] [--batch 16] [--width 64]

Forward and backward, one copy, one thread, least processor time over interleaved runs; checks that the forms agree.
`op` is `implicit_conv` with its filter formed anew, `fft` the convolution alone. `toeplitz` lays the taps out as a
matrix a feature, `(D, T, T)`; `taps` adds up shifted inputs, one of the filter's taps after the other. Targets: `op` at
least 3 times faster than Toeplitz at T=1024. Prints one line of JSON a length.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from archsearch.kernels.experts import chosen_experts
from archsearch.kernels.fft_conv import causal_convolution
from archsearch.ops.base import Context
from tests.ops.contract import Case

Form = Callable[[], Tensor]


def toeplitz(x: Tensor, k: Tensor) -> Tensor:
    """One matrix a feature."""
    steps = torch.arange(x.shape[2])
    lag = steps[:, None] - steps
    matrix = torch.where(lag >= 0, k[:, :, lag.clamp(min=0)], 0.0)
    return torch.einsum("edts,ebsd->ebtd", matrix, x)


def taps(x: Tensor, k: Tensor) -> Tensor:
    """Shifted inputs, one after the other."""
    y = torch.zeros_like(x)
    for lag, tap in enumerate(k.unbind(2)):
        y = y + F.pad(x, (0, 0, lag, 0))[:, :, : x.shape[2]] * tap[:, None, None]
    return y


def all_experts(x: Tensor, up: Tensor, down: Tensor, chosen: Tensor, gates: Tensor) -> Tensor:
    """Every token through every expert, as one perceptron whose parts are gated."""
    experts, hidden = up.shape[1:3]
    share = torch.zeros(*x.shape[:2], experts).scatter(2, chosen, gates)
    h = F.gelu(torch.bmm(x, up.flatten(1, 2).mT)).unflatten(2, (experts, hidden)) * share.unsqueeze(-1)
    return torch.bmm(h.flatten(2), down.transpose(1, 2).flatten(2).mT)


def measure(forms: dict[str, tuple[Form, Sequence[Tensor]]], repeats: int) -> dict[str, float]:
    """Least milliseconds of processor time of a forward and backward pass of each form."""
    best = dict.fromkeys(forms, float("inf"))
    for i in range(repeats + 1):
        for name, (form, of) in list(forms.items())[:: 1 if i % 2 else -1]:
            start = time.process_time()
            torch.autograd.grad(form().square().sum(), of)
            took = time.process_time() - start
            best[name] = min(best[name], took * 1e3) if i else best[name]  # the first run warms up
    return best


def report(what: str, size: dict[str, int], forms: dict[str, tuple[Form, Sequence[Tensor]]], repeats: int) -> None:
    """Prints times, and ratios to the first form."""
    ms = measure(forms, repeats)
    first = next(iter(ms))
    ratios = {f"{name}/{first}": round(t / ms[first], 2) for name, t in ms.items() if name != first}
    print(json.dumps({"what": what, **size, **{k: round(v, 2) for k, v in ms.items()}, **ratios}), flush=True)


def convolutions(length: int, batch: int, width: int, repeats: int) -> None:
    """One length."""
    case = Case("implicit_conv", {}, (width,))
    op, w = case.op, case.weights(seeds=(0,))
    x = torch.randn(1, batch, length, width, requires_grad=True)
    k = op.taps(w, length).detach().requires_grad_()  # type: ignore[attr-defined]
    with torch.no_grad():
        wanted = causal_convolution(x, k)
        for form in (toeplitz, taps):
            assert (form(x, k) - wanted).abs().max() <= 1e-4 * wanted.abs().max(), form.__name__
    forms: dict[str, tuple[Form, Sequence[Tensor]]] = {
        "op": (lambda: op.forward(w, x, ctx=Context()), [x, *w.values()]),
        "fft": (lambda: causal_convolution(x, k), [x, k]),
        "toeplitz": (lambda: toeplitz(x, k), [x, k]),
    }
    if length <= 256:
        forms["taps"] = (lambda: taps(x, k), [x, k])
    report("convolution", {"T": length}, forms, repeats)


def experts(tokens: int, count: int, top: int, width: int, repeats: int) -> None:
    """One number of tokens and experts."""
    x = torch.randn(1, tokens, width, requires_grad=True)
    up = torch.randn(1, count, 2 * width, width, requires_grad=True)
    down = torch.randn(1, count, width, 2 * width, requires_grad=True)
    gates, chosen = torch.randn(1, tokens, count).softmax(-1).topk(top, -1)
    wanted = all_experts(x, up, down, chosen, gates)
    assert (chosen_experts(x, up, down, chosen, gates, F.gelu) - wanted).abs().max() <= 1e-4 * wanted.abs().max()
    forms: dict[str, tuple[Form, Sequence[Tensor]]] = {
        "chosen": (lambda: chosen_experts(x, up, down, chosen, gates, F.gelu), [x, up, down]),
        "all": (lambda: all_experts(x, up, down, chosen, gates), [x, up, down]),
    }
    report("experts", {"tokens": tokens, "experts": count, "top": top}, forms, repeats)


def main() -> None:
    """Measures and prints."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    for name, default in (("repeats", 5), ("batch", 16), ("width", 64)):
        parser.add_argument(f"--{name}", type=int, default=default)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    for length in (64, 256, 1024):
        convolutions(length, arguments.batch, arguments.width, arguments.repeats)
    for tokens, count, top in ((1, 8, 2), (128, 8, 2), (4096, 8, 2), (4096, 4, 2)):
        experts(tokens, count, top, arguments.width, arguments.repeats)


if __name__ == "__main__":
    main()
