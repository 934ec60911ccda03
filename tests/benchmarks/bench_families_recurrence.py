"""Blocks of the recurrent family beside their own loops, and minGRU beside the package `minGRU-pytorch`.

    OMP_NUM_THREADS=1 PYTHONPATH=/tmp/oracles python -m tests.benchmarks.bench_families_recurrence [--repeats 7]
    pip install --target /tmp/oracles --no-deps minGRU-pytorch einops              # for the last comparison

Forward and backward, one copy, one thread, least processor time over interleaved runs. `naive` takes a step of every
node of the block after the other and reads step t as `x[:, t]`, whose backward pass takes T² time; `unbound` is the
same over `unbind`-ed steps. `lstm_core` is the core without the output projection, beside a loop without it. Targets,
`naive/block` at T = 256 and 1024: min_gru, min_lstm and griffin 5 and 15, lstm 5.6 and 9.6, gru 1.3 and 2.1;
`package/block` of min_gru at least 1. Prints one line of JSON a block and length.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import random
import sys
import time
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

from archsearch.build.model import Model, build
from archsearch.content import block_files
from archsearch.graph.space import SearchSpace
from archsearch.ops.base import Context
from archsearch.ops.registry import registry
from archsearch.tasks.base import InputKind, OutputKind

Form = Callable[[Tensor], Tensor]
Step = Callable[[dict[str, Tensor], Tensor, tuple[Tensor, ...]], tuple[Tensor, tuple[Tensor, ...]]]
HEADS = 4


def block(name: str, settings: str, width: int) -> Model:
    """A model whose body is one block."""
    text = f"{{op: {name}{settings}, from: in}}"
    space = f"version: 1\nname: one\ngraph: {{nodes: {{out: {text}}}}}\nscale: {{width: {width}}}\n"
    parsed = SearchSpace.parse(space, registry(), definitions=block_files())
    a = parsed.sample(random.Random(0)).architecture
    return build(a, InputKind("tokens", 2), OutputKind("steps", 2), seeds=[0])


def form(m: Model) -> Form:
    """The body of the model, for one copy without its axis."""
    return lambda x: m._plan.run({"in": x[None]}, Context())[0]


def affine(p: dict[str, Tensor], name: str, x: Tensor) -> Tensor:
    """A node `linear`."""
    return F.linear(x, p[f"{name}.weight"], p.get(f"{name}.bias"))


def rnn(p: dict[str, Tensor], x: Tensor, s: tuple[Tensor, ...]) -> tuple[Tensor, tuple[Tensor, ...]]:
    """One step."""
    a = F.linear(x, p["core.input"], p["core.input_bias"]) + F.linear(s[0], p["core.hidden"], p["core.hidden_bias"])
    h = torch.tanh(a)
    return affine(p, "out", h), (h,)


def gru(p: dict[str, Tensor], x: Tensor, s: tuple[Tensor, ...]) -> tuple[Tensor, tuple[Tensor, ...]]:
    """One step."""
    a = F.linear(x, p["core.input"], p["core.input_bias"]).chunk(3, -1)
    b = F.linear(s[0], p["core.hidden"], p["core.hidden_bias"]).chunk(3, -1)
    r, z = torch.sigmoid(a[0] + b[0]), torch.sigmoid(a[1] + b[1])
    h = (1 - z) * torch.tanh(a[2] + r * b[2]) + z * s[0]
    return affine(p, "out", h), (h,)


def lstm_core(
    p: dict[str, Tensor], x: Tensor, s: tuple[Tensor, ...], at: str = ""
) -> tuple[Tensor, tuple[Tensor, ...]]:
    """One step; the weights are named `at` and the name that the core gives them."""
    weight, bias = ([p[f"{at}{name}{end}"] for name in ("input", "hidden")] for end in ("", "_bias"))
    a = F.linear(x, weight[0], bias[0]) + F.linear(s[0], weight[1], bias[1])
    i, f, g, o = a.chunk(4, -1)
    c = torch.sigmoid(f) * s[1] + torch.sigmoid(i) * torch.tanh(g)
    h = torch.sigmoid(o) * torch.tanh(c)
    return h, (h, c)


def lstm(p: dict[str, Tensor], x: Tensor, s: tuple[Tensor, ...]) -> tuple[Tensor, tuple[Tensor, ...]]:
    """One step."""
    h, s = lstm_core(p, x, s, "core.")
    return affine(p, "out", h), s


def positive(x: Tensor) -> Tensor:
    """What the minimal networks put in their states."""
    return torch.where(x >= 0, x + 0.5, torch.sigmoid(x))


def min_gru(p: dict[str, Tensor], x: Tensor, s: tuple[Tensor, ...]) -> tuple[Tensor, tuple[Tensor, ...]]:
    """One step."""
    new, gate = affine(p, "both", x).chunk(2, -1)
    z = torch.sigmoid(gate)
    h = (1 - z) * s[0] + z * positive(new)
    return affine(p, "out", h), (h,)


def min_lstm(p: dict[str, Tensor], x: Tensor, s: tuple[Tensor, ...]) -> tuple[Tensor, tuple[Tensor, ...]]:
    """One step."""
    new, forget, enter = affine(p, "all", x).chunk(3, -1)
    f, i = torch.sigmoid(forget), torch.sigmoid(enter)
    h = f / (f + i) * s[0] + i / (f + i) * positive(new)
    return affine(p, "out", h), (h,)


def griffin(p: dict[str, Tensor], x: Tensor, s: tuple[Tensor, ...]) -> tuple[Tensor, tuple[Tensor, ...]]:
    """One step; the state is that of the unit and the last inputs of the short convolution."""
    h, window = s
    branch = affine(p, "branch", x)
    window = torch.cat([window[..., 1:], branch.unsqueeze(-1)], -1)
    u = (window * p["taps.weight"]).sum(-1) + p["taps.bias"]
    gates = torch.einsum("bhc,hdc->bhd", u.unflatten(-1, (HEADS, -1)), p["core.gates"]) + p["core.gates_bias"]
    r, i = (torch.sigmoid(g.flatten(1)) for g in gates.chunk(2, -1))
    log_a = -8.0 * F.softplus(-p["core.decay"]) * r
    h = torch.exp(log_a) * h + torch.sqrt(-torch.expm1(2 * log_a)) * i * u
    return affine(p, "out", F.gelu(affine(p, "gate", x)) * h), (h, window)


def slstm(p: dict[str, Tensor], x: Tensor, s: tuple[Tensor, ...]) -> tuple[Tensor, tuple[Tensor, ...]]:
    """One step, without the stabiliser, which short sequences do not need."""
    h, c, n, window = s
    window = torch.cat([window[..., 1:], x.unsqueeze(-1)], -1)
    u = F.silu((window * p["taps.weight"]).sum(-1) + p["taps.bias"])
    own = torch.einsum("bhc,hdc->bhd", h.unflatten(-1, (HEADS, -1)), p["core.hidden"])
    z, i, f, o = (g.flatten(1) for g in own.chunk(4, -1))
    bias = p["core.bias"].flatten(1)
    z, o = torch.tanh(z + in_heads(p, "z", x) + bias[0]), torch.sigmoid(o + in_heads(p, "o", x) + bias[3])
    i, f = torch.exp(i + in_heads(p, "i", u) + bias[1]), torch.sigmoid(f + in_heads(p, "f", u) + bias[2])
    c, n = f * c + i * z, f * n + i
    h = o * c / n
    return norm(p, h), (h, c, n, window)


def norm(p: dict[str, Tensor], h: Tensor) -> Tensor:
    """The norm of each head."""
    even = F.layer_norm(h.unflatten(-1, (HEADS, -1)), (h.shape[-1] // HEADS,)).flatten(-2)
    return even * p["out.weight"] + p["out.bias"]


def in_heads(p: dict[str, Tensor], name: str, x: Tensor) -> Tensor:
    """A node `block_linear`."""
    return torch.einsum("bhc,hdc->bhd", x.unflatten(-1, (HEADS, -1)), p[f"{name}.weight"]).flatten(1)


# The block, its settings, one step of it, the states that the step carries, and the taps of the last of them.
BLOCKS: list[tuple[str, str, Step, int, int]] = [
    ("rnn", "", rnn, 1, 0),
    ("gru", "", gru, 1, 0),
    ("lstm", "", lstm, 2, 0),
    ("lstm_core", "", lstm_core, 2, 0),
    ("min_gru", ", expand: 1", min_gru, 1, 0),
    ("min_lstm", ", expand: 1", min_lstm, 1, 0),
    ("griffin", ", expand: 1", griffin, 2, 4),
    ("slstm", "", slstm, 4, 4),
]


def indexed(x: Tensor) -> list[Tensor]:
    """The steps of `x`, one by one."""
    return [x[:, t] for t in range(x.shape[1])]


def unbound(x: Tensor) -> list[Tensor]:
    """The steps of `x`, all at once."""
    return list(x.unbind(1))


def loop(m: Model, step: Step, states: int, taps: int, steps: Callable[[Tensor], list[Tensor]]) -> Form:
    """One step after the other."""
    p = {k.removeprefix("out."): v for k, v in m.graph.named_parameters()}

    def run(x: Tensor) -> Tensor:
        one = {k: v[0] for k, v in p.items()}
        zero = torch.zeros_like(x[:, 0])
        state = [zero] * states
        if taps:
            state[-1] = zero.unsqueeze(-1).expand(*zero.shape, taps)
        carried, outs = tuple(state), []
        for x_t in steps(x):
            y, carried = step(one, x_t, carried)
            outs.append(y)
        return torch.stack(outs, 1)

    return run


def package(m: Model, width: int) -> Form | None:
    """`minGRU` of the package with the weights of the block; `None`, and a line that says so, where it is missing."""
    if importlib.util.find_spec("minGRU_pytorch") is None:
        print("minGRU-pytorch is not installed: the comparison with it is left out", file=sys.stderr)
        return None
    theirs = importlib.import_module("minGRU_pytorch.minGRU").minGRU(width, proj_out=True)
    p = {k.removeprefix("out."): v[0] for k, v in m.graph.named_parameters()}
    theirs.load_state_dict({"to_hidden_and_gate.weight": p["both.weight"], "to_out.weight": p["out.weight"]})
    run: Form = theirs
    return run


def measure(forms: dict[str, Form], m: Model, x: Tensor, repeats: int) -> dict[str, float]:
    """Least milliseconds of a forward and backward pass of each form; checks that they agree."""
    g = torch.randn_like(x)
    best = dict.fromkeys(forms, float("inf"))
    wanted = None
    for i in range(repeats + 1):
        for name, run in list(forms.items())[:: 1 if i % 2 else -1]:
            own = list(run.parameters()) if isinstance(run, torch.nn.Module) else list(m.graph.parameters())
            start = time.process_time()
            y = run(x)
            torch.autograd.grad(y, [x, *own], g)
            took = time.process_time() - start
            best[name] = min(best[name], took * 1e3) if i else best[name]  # the first run warms up
            wanted = y.detach() if wanted is None else wanted
            assert (y - wanted).abs().max() <= 1e-3 * wanted.abs().max(), name  # the package's logarithms cost digits
    return best


def main() -> None:
    """Measures and prints."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    for name, default in (("repeats", 5), ("batch", 16), ("width", 64)):
        parser.add_argument(f"--{name}", type=int, default=default)
    parser.add_argument("--only", help="one block")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    for name, settings, step, states, taps in BLOCKS:
        if arguments.only not in (None, name):
            continue
        m = block(name, settings, arguments.width)
        forms = {"block": form(m)}
        forms |= {s: loop(m, step, states, taps, f) for s, f in (("naive", indexed), ("unbound", unbound))}
        theirs = package(m, arguments.width) if name == "min_gru" else None
        if theirs is not None:
            forms["package"] = theirs
        for length in (256, 1024):
            x = torch.randn(arguments.batch, length, arguments.width, requires_grad=True)
            ms = measure(forms, m, x, arguments.repeats)
            ratios = {f"{k}/block": round(v / ms["block"], 2) for k, v in ms.items() if k != "block"}
            print(json.dumps({"name": name, "T": length, **{k: round(v, 2) for k, v in ms.items()}} | ratios))


if __name__ == "__main__":
    main()
