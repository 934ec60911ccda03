"""Cells that the compiler runs in parallel, beside their own loops and beside a kernel called by hand.

    OMP_NUM_THREADS=1 python -m tests.benchmarks.bench_recurrence [--repeats 7] [--batch 16] [--width 64]

Forward and backward, one copy, one thread, least processor time over interleaved runs. Three loops to compare with:
`loop` takes a step of every node after the other, over `unbind`-ed steps; `indexed` is the same with `x[:, t]`, as one
writes it first, whose backward pass takes T² time; `hoisted` is the loop that the compiler itself makes of a cycle that
does not scan, with all that is on no cycle taken out of it. Targets: min_gru at least 5 times faster than its loop at
T=256 and 15 at T=1024, and at most 1.3 times slower than by hand; linear attention at least 3 times faster than its
loop at T=1024. Prints one line of JSON a cell and length.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable

import torch
from torch import Tensor

from archsearch.build.model import Model, build
from archsearch.graph.architecture import Architecture
from archsearch.kernels.linear import linear, linears
from archsearch.kernels.scan import gated_scan
from archsearch.ops.base import Context
from archsearch.tasks.base import InputKind, OutputKind
from archsearch.training import devices
from tests.build.graphs import graph
from tests.graph.test_recurrence import MIN_GRU

HEADS = 4
Form = Callable[[Tensor], Tensor]


def min_gru(width: int) -> Architecture:
    """The cell as a graph."""
    return graph(width, MIN_GRU, known={"h": width}, out="h")


def linear_attention(width: int) -> Architecture:
    """Sums of outer products, read by queries."""
    nodes = {
        **{name: ("linear", {"bias": False}, "in") for name in "qkv"},
        "write": ("outer", {"heads": HEADS}, "k", "v"),
        "S": ("add", {}, ("S[t-1]", "write")),
        "out": ("matmul", {}, "S", "q"),
    }
    part = width // HEADS
    return graph(width, nodes, known={"S": (HEADS, part, part)})


def model(a: Architecture, loops: bool) -> Model:
    """One copy, the same weights every time."""
    return build(a, InputKind("tokens", 2), OutputKind("steps", 2), seeds=[0], loops=loops)


def graph_form(m: Model) -> Form:
    """The graph alone."""
    return lambda x: m._plan.run({"in": x}, Context())


def weights(m: Model) -> dict[str, Tensor]:
    """By name."""
    return dict(m.graph.named_parameters())


def min_gru_by_hand(m: Model) -> Form:
    """The same cell with the kernels called directly."""
    p = weights(m)

    def run(x: Tensor) -> Tensor:
        gate, new = linears(x, [p["gate.weight"], p["new.weight"]], [p["gate.bias"], p["new.bias"]])
        return gated_scan(torch.sigmoid(gate).flatten(0, 1), new.flatten(0, 1)).view(new.shape)

    return run


def indexed(x: Tensor) -> list[Tensor]:
    """The steps of `x`, one by one."""
    return [x[:, :, t] for t in range(x.shape[2])]


def unbound(x: Tensor) -> list[Tensor]:
    """The steps of `x`, all at once."""
    return list(x.unbind(2))


def min_gru_loop(m: Model, steps: Callable[[Tensor], list[Tensor]]) -> Form:
    """A step of every node after the other."""
    p = weights(m)

    def run(x: Tensor) -> Tensor:
        h, states = torch.zeros_like(x[:, :, 0]), []
        for x_t in steps(x):
            z = torch.sigmoid(linear(x_t, p["gate.weight"], p["gate.bias"]))
            h = (1.0 - z) * h + z * linear(x_t, p["new.weight"], p["new.bias"])
            states.append(h)
        return torch.stack(states, 2)

    return run


def linear_attention_loop(m: Model, steps: Callable[[Tensor], list[Tensor]]) -> Form:
    """A step of every node after the other."""
    p = weights(m)

    def run(x: Tensor) -> Tensor:
        part = x.shape[3] // HEADS
        state, outs = x.new_zeros(*x.shape[:2], HEADS, part, part), []
        for x_t in steps(x):
            q, k, v = (linear(x_t, p[f"{name}.weight"]).unflatten(-1, (HEADS, -1)) for name in "qkv")
            state = state + k.unsqueeze(-1) * v.unsqueeze(-2)
            outs.append((q.unsqueeze(-2) @ state).flatten(2))
        return torch.stack(outs, 2)

    return run


def measure(forms: dict[str, Form], m: Model, x: Tensor, repeats: int) -> dict[str, float]:
    """Least milliseconds of processor time of a forward and backward pass of each form; checks that they agree."""
    g = torch.randn_like(x)
    of = [x, *m.graph.parameters()]
    best = dict.fromkeys(forms, float("inf"))
    wanted = None
    for i in range(repeats + 1):
        for name, form in list(forms.items())[:: 1 if i % 2 else -1]:
            start = time.process_time()
            y = form(x)
            torch.autograd.grad(y, of, g)
            took = time.process_time() - start
            best[name] = min(best[name], took * 1e3) if i else best[name]  # the first run warms up
            wanted = y.detach() if wanted is None else wanted
            assert (y - wanted).abs().max() <= 1e-5 * wanted.abs().max(), name
    return best


def main() -> None:
    """Measures and prints."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    for name, default in (("repeats", 7), ("batch", 16), ("width", 64)):
        parser.add_argument(f"--{name}", type=int, default=default)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    devices.keep_memory()  # as in training
    for cell in (min_gru, linear_attention):
        a = cell(arguments.width)
        m, loops = model(a, False), model(a, True)
        loops.load_state_dict(m.state_dict())
        for length in (256, 1024):
            x = torch.randn(1, arguments.batch, length, arguments.width, requires_grad=True)
            forms: dict[str, Form] = {"compiled": graph_form(m)}
            if cell is min_gru:
                forms |= {"by_hand": min_gru_by_hand(m)}
            loop = min_gru_loop if cell is min_gru else linear_attention_loop
            forms |= {"loop": loop(m, unbound), "indexed": loop(m, indexed)}
            ms = measure(forms, m, x, arguments.repeats)
            ms["hoisted"] = measure({"hoisted": graph_form(loops)}, loops, x, arguments.repeats)["hoisted"]
            ratios = {f"{k}/compiled": round(v / ms["compiled"], 2) for k, v in ms.items() if k != "compiled"}
            print(json.dumps({"cell": cell.__name__, "T": length, **{k: round(v, 2) for k, v in ms.items()}} | ratios))


if __name__ == "__main__":
    main()
