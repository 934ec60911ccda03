"""State-space cores beside loops over time, and the block mamba beside that of the package mambapy.

    OMP_NUM_THREADS=1 PYTHONPATH=/tmp/oracles python -m tests.benchmarks.bench_families_state_space [--repeats 5]
    pip install --target /tmp/oracles --no-deps mambapy                            # for the last comparison

Forward and backward, one copy, one thread, least processor time over interleaved runs, 16 sequences of width 64. Two
loops over `unbind`-ed steps: `loop` finds all that depends on no state before it, as the papers' reference code does;
`bare` does everything in the loop. With `--indexed`, `indexed` is the last of them with `x[:, t]`, as one writes it
first, whose backward pass takes T² time. Targets, `loop/core` at T = 256 and 1024: selective_scan 3.1 and 6.5, ssd 6.4
and 12.8, s4d_core 3.0 and 8.8; `mambapy/block` at least 1. Prints one line of JSON a form and length.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import sys
import time
from collections.abc import Callable, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from archsearch.ops.base import Context
from tests.benchmarks.bench_families_recurrence import block
from tests.ops.contract import Case

Form = Callable[..., Tensor]
Steps = Callable[[Tensor], Sequence[Tensor]]
STATE, HEADS = 16, 4


def unbound(x: Tensor) -> Sequence[Tensor]:
    """The steps of `x`, all at once."""
    return x.unbind(2)


def indexed(x: Tensor) -> Sequence[Tensor]:
    """The steps of `x`, one by one."""
    return [x[:, :, t] for t in range(x.shape[2])]


def discretised(w: dict[str, Tensor], x: Tensor, dt: Tensor, b: Tensor) -> tuple[Tensor, Tensor]:
    """Decays and what enters the states of a selective scan, `(..., D, N)` each."""
    delta = F.softplus(dt + w["dt_bias"][0])
    return torch.exp(delta.unsqueeze(-1) * -w["log_a"][0].exp()), (delta * x).unsqueeze(-1) * b.unsqueeze(-2)


def selective_loop(w: dict[str, Tensor], x: Tensor, dt: Tensor, b: Tensor, c: Tensor, steps: Steps = unbound) -> Tensor:
    """All decays and inputs first."""
    a, u = discretised(w, x, dt, b)
    h, ys = torch.zeros_like(a[:, :, 0]), []
    for a_t, u_t, c_t in zip(a.unbind(2), u.unbind(2), c.unbind(2), strict=True):
        h = a_t * h + u_t
        ys.append((h @ c_t.unsqueeze(-1)).squeeze(-1))
    return torch.stack(ys, 2) + x * w["skip"][0]


def selective_bare(w: dict[str, Tensor], *xs: Tensor, steps: Steps = unbound) -> Tensor:
    """A step of everything after the other."""
    h, ys = xs[0].new_zeros(*xs[0].shape[:2], xs[0].shape[3], STATE), []
    for x, dt, b, c in zip(*map(steps, xs), strict=True):
        a, u = discretised(w, x, dt, b)
        h = a * h + u
        ys.append((h @ c.unsqueeze(-1)).squeeze(-1) + x * w["skip"][0])
    return torch.stack(ys, 2)


def ssd_terms(w: dict[str, Tensor], x: Tensor, dt: Tensor, b: Tensor) -> tuple[Tensor, Tensor]:
    """Decays `(..., H, 1, 1)` and what enters the states, `(..., H, P, N)`."""
    delta = F.softplus(dt + w["dt_bias"][0])
    a = torch.exp(delta * -w["log_rate"][0].exp())
    return a[..., None, None], (x.unflatten(-1, (HEADS, -1)) * delta.unsqueeze(-1)).unsqueeze(-1) * b[
        ..., None, None, :
    ]


def ssd_loop(w: dict[str, Tensor], x: Tensor, dt: Tensor, b: Tensor, c: Tensor, steps: Steps = unbound) -> Tensor:
    """All decays and inputs first."""
    a, u = ssd_terms(w, x, dt, b)
    s, ys = torch.zeros_like(u[:, :, 0]), []
    for a_t, u_t, c_t in zip(a.unbind(2), u.unbind(2), c.unbind(2), strict=True):
        s = a_t * s + u_t
        ys.append((s @ c_t[..., None, :, None]).squeeze(-1))
    y: Tensor = torch.stack(ys, 2) + x.unflatten(-1, (HEADS, -1)) * w["skip"][0][:, None]
    return y.flatten(3)


def ssd_bare(w: dict[str, Tensor], *xs: Tensor, steps: Steps = unbound) -> Tensor:
    """A step of everything after the other."""
    s, ys = torch.zeros(()), []
    for x, dt, b, c in zip(*map(steps, xs), strict=True):
        a, u = ssd_terms(w, x, dt, b)
        s = a * s + u
        y = (s @ c[..., None, :, None]).squeeze(-1) + x.unflatten(-1, (HEADS, -1)) * w["skip"][0][:, None]
        ys.append(y.flatten(2))
    return torch.stack(ys, 2)


def complex_loop(rate: Tensor, dt: Tensor, u: Tensor, read: Callable[[Tensor], Tensor], steps: Steps) -> Tensor:
    """`h_t = exp(dt rate) h_{t−1} + u_t` over axis 2 of `u`, read step by step."""
    a, h, ys = torch.exp(rate * dt), torch.zeros((), dtype=rate.dtype), []
    for u_t in steps(u):
        h = a * h + u_t
        ys.append(read(h))
    return torch.stack(ys, 2)


def s4d_loop(w: dict[str, Tensor], x: Tensor, steps: Steps = unbound) -> Tensor:
    """Complex states of every feature."""
    rate, dt = torch.complex(-w["log_rate"][0].exp(), w["frequency"][0]), w["log_dt"][0].exp()[:, None]
    gain = 2 * torch.view_as_complex(w["c"][0]) * torch.expm1(rate * dt) / rate
    y = complex_loop(rate, dt, x.unsqueeze(-1), lambda h: (gain * h).sum(-1).real, steps)
    return y + x * w["skip"][0]


def s5_loop(w: dict[str, Tensor], x: Tensor, steps: Steps = unbound) -> Tensor:
    """Complex states of all features."""
    rate, dt = torch.complex(-w["log_rate"][0].exp(), w["frequency"][0]), w["log_dt"][0].exp()
    into = (torch.expm1(rate * dt) / rate)[:, None] * torch.view_as_complex(w["b"][0])
    out = 2 * torch.view_as_complex(w["c"][0])
    y = complex_loop(rate, dt, torch.complex(x @ into.real.T, x @ into.imag.T), lambda h: (h @ out.T).real, steps)
    return y + x * w["skip"][0]


LOOPS: dict[str, tuple[tuple[int, ...], dict[str, Form]]] = {
    "selective_scan": ((64, 64, STATE, STATE), {"loop": selective_loop, "bare": selective_bare}),
    "ssd": ((64, HEADS, 64, 64), {"loop": ssd_loop, "bare": ssd_bare}),
    "s4d_core": ((64,), {"loop": s4d_loop}),
    "s5_core": ((64,), {"loop": s5_loop}),
}


def measure(forms: dict[str, Callable[[], tuple[Tensor, list[Tensor]]]], repeats: int) -> dict[str, float]:
    """Least milliseconds of each form, forward and backward; checks that they agree."""
    best, wanted = dict.fromkeys(forms, float("inf")), None
    for i in range(repeats + 1):
        for name, form in list(forms.items())[:: 1 if i % 2 else -1]:
            start = time.process_time()
            y, of = form()
            torch.autograd.grad(y, of, torch.ones_like(y))
            took = time.process_time() - start
            best[name] = min(best[name], took * 1e3) if i else best[name]  # the first run warms up
            wanted = y.detach() if wanted is None else wanted
            assert (y - wanted).abs().max() <= 1e-4 * wanted.abs().max(), name
    return best


def core(name: str, length: int, repeats: int, *, also_indexed: bool, unbound: bool = True) -> dict[str, float]:
    """A core beside its loops, those over `unbind`-ed steps if asked for."""
    widths, loops = LOOPS[name]
    case = Case(name, {}, widths)
    w = case.weights(seeds=(0,))
    xs = [torch.randn(1, 16, length, n).requires_grad_() for n in widths]
    of = [*xs, *w.values()]
    forms = {"core": lambda: (case.op.forward(w, *xs, ctx=Context()), of)}
    if unbound:
        forms |= {k: (lambda f=f: (f(w, *xs), of)) for k, f in loops.items()}  # type: ignore[misc]
    if also_indexed:
        last = list(loops.values())[-1]
        forms["indexed"] = lambda: (last(w, *xs, steps=indexed), of)
    return measure(forms, repeats)


def beside_mambapy(length: int, repeats: int) -> dict[str, float]:
    """Our block and theirs, the same weights."""
    from mambapy.mamba import MambaBlock, MambaConfig

    m = block("mamba", "", 64)
    w = {k.removeprefix("out."): v for k, v in m.graph.named_parameters()}
    theirs = MambaBlock(MambaConfig(d_model=64, n_layers=1))
    one = {k: v.detach()[0] for k, v in w.items()}
    state = {
        "A_log": one["core.log_a"],
        "D": one["core.skip"],
        "in_proj.weight": torch.cat([one["branch.weight"], one["gate.weight"]]),
        "conv1d.weight": one["taps.weight"][:, None],
        "conv1d.bias": one["taps.bias"],
        "x_proj.weight": torch.cat([one["low.weight"], one["write.weight"], one["read.weight"]]),
        "dt_proj.weight": one["dt.weight"],
        "dt_proj.bias": one["core.dt_bias"],
        "out_proj.weight": one["out.weight"],
    }
    theirs.load_state_dict(state)
    x = torch.randn(16, length, 64, requires_grad=True)
    forms = {
        "block": lambda: (m._plan.run({"in": x[None]}, Context())[0], [x, *w.values()]),
        "mambapy": lambda: (theirs(x), [x, *theirs.parameters()]),
    }
    return measure(forms, repeats)


def show(name: str, length: int, ms: dict[str, float]) -> None:
    """One line of JSON: milliseconds, and ratios to the first form."""
    first = next(iter(ms))
    ratios = {f"{k}/{first}": round(v / ms[first], 2) for k, v in ms.items() if k != first}
    print(json.dumps({"name": name, "T": length, **{k: round(v, 1) for k, v in ms.items()}} | ratios), flush=True)


def main() -> None:
    """Measures and prints."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--only", nargs="*", choices=[*LOOPS, "mambapy"], default=[*LOOPS, "mambapy"])
    parser.add_argument("--indexed", action="store_true", help="measure the indexed loop, too")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    for name in filter(LOOPS.get, arguments.only):
        for length in (256, 1024):
            show(name, length, core(name, length, arguments.repeats, also_indexed=arguments.indexed))
    if "mambapy" in arguments.only:
        if importlib.util.find_spec("mambapy") is None:
            print("mambapy is not installed: no comparison with its block", file=sys.stderr)
            return
        for length in (256, 1024):
            show("mamba", length, beside_mambapy(length, arguments.repeats))


if __name__ == "__main__":
    main()
