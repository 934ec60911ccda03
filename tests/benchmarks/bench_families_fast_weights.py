"""Cores of fast weights beside loops of their equations.

    OMP_NUM_THREADS=1 python -m tests.benchmarks.bench_families_fast_weights [--repeats 5] [--heads 4] [--only gla]

Forward and backward, one copy, one thread, least processor time over interleaved runs; batch 16, width 64. `loop` takes
a step after the other over `unbind`-ed inputs, `indexed` the same with `x[:, t]`, whose backward pass takes T² time.
Targets for loop/core at T = 256 and 1024, at least 0.8 of: linear attention, retention and GLA 18 and 29, DeltaNet 7
and 17. Prints one line of JSON a core and length, with the largest difference between core and loop.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

from archsearch.kernels.mlstm import mlstm_step
from archsearch.ops.base import Context, Op
from archsearch.ops.registry import registry

Form = Callable[..., Tensor]
Step = Callable[..., tuple[Tensor, tuple[Tensor, ...]]]
BATCH, WIDTH = 16, 64


def read(state: Tensor, q: Tensor) -> Tensor:
    """`(N, V)`."""
    return (q.unsqueeze(-2) @ state).squeeze(-2)


def write(k: Tensor, v: Tensor) -> Tensor:
    """`(N, R, V)`."""
    return k.unsqueeze(-1) * v.unsqueeze(-2)


def plain(s: tuple[Tensor, ...], q: Tensor, k: Tensor, v: Tensor) -> tuple[Tensor, tuple[Tensor, ...]]:
    """One step of linear attention."""
    state = s[0] + write(k, v)
    return read(state, q), (state,)


def decayed(s: tuple[Tensor, ...], q: Tensor, k: Tensor, v: Tensor, g: Tensor) -> tuple[Tensor, tuple[Tensor, ...]]:
    """One step of retention or GLA."""
    state = s[0] * g.exp().unsqueeze(-1) + write(k, v)
    return read(state, q), (state,)


def delta(s: tuple[Tensor, ...], q: Tensor, k: Tensor, v: Tensor, b: Tensor) -> tuple[Tensor, tuple[Tensor, ...]]:
    """One step of DeltaNet."""
    state = s[0] + write(k, b * (v - read(s[0], k)))
    return read(state, q), (state,)


def gated_delta(
    s: tuple[Tensor, ...], q: Tensor, k: Tensor, v: Tensor, b: Tensor, g: Tensor
) -> tuple[Tensor, tuple[Tensor, ...]]:
    """One step of gated DeltaNet."""
    return delta((s[0] * g.exp().unsqueeze(-1),), q, k, v, b)


def rwkv7(
    s: tuple[Tensor, ...], q: Tensor, k: Tensor, v: Tensor, g: Tensor, e: Tensor, a: Tensor
) -> tuple[Tensor, tuple[Tensor, ...]]:
    """One step of RWKV-7."""
    state = g.exp().unsqueeze(-1) * s[0] - write(a * e, read(s[0], e)) + write(k, v)
    return read(state, q), (state,)


def matrix_lstm(
    s: tuple[Tensor, ...], q: Tensor, k: Tensor, v: Tensor, i: Tensor, f: Tensor
) -> tuple[Tensor, tuple[Tensor, ...]]:
    """One step of mLSTM; an empty memory has one more column than a value has features."""
    memory = F.pad(s[0], (0, 1)) if len(s) == 1 else s[0]
    m = s[1] if len(s) == 2 else i.new_zeros(i.shape[0])
    log_f = F.logsigmoid(f.squeeze(-1))
    y, memory, m = mlstm_step(q, k / k.shape[-1] ** 0.5, v, i.squeeze(-1), log_f, memory, m)
    return y, (memory, m)


def loop(step: Step, heads: int, *, indexed: bool) -> Form:
    """The core as a loop over `(1, B, T, H · ·)`."""

    def run(*inputs: Tensor) -> Tensor:
        xs = [x.squeeze(0).unflatten(2, (heads, -1)).transpose(1, 2).flatten(0, 1) for x in inputs]
        state: tuple[Tensor, ...] = (xs[0].new_zeros(xs[0].shape[0], xs[1].shape[2], xs[2].shape[2]),)
        steps = [[x[:, t] for t in range(x.shape[1])] if indexed else x.unbind(1) for x in xs]
        ys = []
        for now in zip(*steps, strict=True):
            y, state = step(state, *now)
            ys.append(y)
        whole: Tensor = torch.stack(ys, 1).unflatten(0, (-1, heads)).transpose(1, 2).flatten(2).unsqueeze(0)
        return whole

    return run


def core(name: str, heads: int) -> Form:
    """The core as an op; gates of mLSTM without offsets."""
    op = registry()[name].bind({"heads": heads})
    assert isinstance(op, Op)
    w = {n: torch.zeros(1, heads) for n in ("input_bias", "forget_bias")}
    return lambda *inputs: op.forward(w, *inputs, ctx=Context())


def inputs(length: int, heads: int) -> dict[str, tuple[str, Step, list[Tensor]]]:
    """By family: the core, a step of its loop, and what both are given."""

    def draw(width: int = WIDTH) -> Tensor:
        return torch.randn(1, BATCH, length, width)

    def unit() -> Tensor:
        return F.normalize(draw().unflatten(3, (heads, -1)), dim=-1).flatten(3)

    q, k, v, row, head = draw(), draw(), draw(), -0.1 * torch.rand_like(draw()), -0.1 * torch.rand_like(draw(heads))
    beta, rate = torch.sigmoid(draw(heads)), torch.sigmoid(draw())
    return {
        "linear_attention": ("linear_attention_core", plain, [q, k, v]),
        "retention": ("linear_attention_core", decayed, [q, k, v, head]),
        "gla": ("linear_attention_core", decayed, [q, k, v, row]),
        "delta_net": ("delta_rule_core", delta, [q, unit(), v, beta]),
        "gated_delta_net": ("delta_rule_core", gated_delta, [q, unit(), v, beta, head]),
        "rwkv7": ("rwkv7_core", rwkv7, [q, k, v, 6 * row, unit(), rate]),
        "mlstm": ("mlstm_core", matrix_lstm, [q, k, v, draw(heads), draw(heads) + 4.0]),
    }


def measure(forms: dict[str, Form], xs: list[Tensor], repeats: int) -> tuple[dict[str, float], float]:
    """Least milliseconds of a forward and backward pass of each form, and how far core and loop are apart."""
    of = [x.clone().requires_grad_() for x in xs]
    best, found = dict.fromkeys(forms, float("inf")), {}
    for i in range(repeats + 1):
        for name, form in forms.items():
            start = time.process_time()
            y = form(*of)
            torch.autograd.grad(y, of, torch.ones_like(y))
            took = (time.process_time() - start) * 1e3
            best[name], found[name] = min(best[name], took) if i else best[name], y.detach()  # the first run warms up
    apart = (found["core"] - found["loop"]).abs().max() / found["loop"].abs().max()
    return best, float(apart)


def main() -> None:
    """Measures and prints."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    for name, default in (("repeats", 5), ("heads", 4)):
        parser.add_argument(f"--{name}", type=int, default=default)
    parser.add_argument("--only")
    parser.add_argument("--indexed", action="store_true", help="measure the indexed loop, too")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    for length in (256, 1024):
        for family, (name, step, xs) in inputs(length, arguments.heads).items():
            if arguments.only not in (None, family):
                continue
            forms = {"core": core(name, arguments.heads), "loop": loop(step, arguments.heads, indexed=False)}
            if arguments.indexed:
                forms["indexed"] = loop(step, arguments.heads, indexed=True)
            ms, apart = measure(forms, xs, arguments.repeats)
            ratios = {f"{form}/core": round(t / ms["core"], 1) for form, t in ms.items() if form != "core"}
            said = {form: round(t, 1) for form, t in ms.items()}
            print(json.dumps({"family": family, "T": length, **said, **ratios, "apart": float(f"{apart:.1e}")}))


if __name__ == "__main__":
    main()
