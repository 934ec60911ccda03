"""Attention beside the explicit softmax, windows beside full attention, and the block beside x-transformers.

    OMP_NUM_THREADS=1 PYTHONPATH=/tmp/oracles python -m tests.benchmarks.bench_attention [--repeats 7]
    pip install --target /tmp/oracles --no-deps x-transformers torch-einops-utils einops einx frozendict loguru

Forward and backward, one copy, one thread, least processor time over interleaved runs; the forms are checked to agree.
Targets: `explicit/full` at least 2.3 at T = 256 and 3.8 at T = 1024 (batch 16, width 64, four heads); `full/windowed`
at least 4 at T = 4096 with a window of 128; `package/block` at least 1, with rotary positions and the same weights. The
last line puts the other forms beside full attention. Prints one line of JSON a comparison.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import math
import random
import time
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import torch
from torch import Tensor

from archsearch.build.model import build
from archsearch.content import block_files
from archsearch.graph.space import SearchSpace
from archsearch.ops.base import Context
from archsearch.ops.registry import op_class, registry
from archsearch.tasks.base import InputKind, OutputKind

HEADS, WIDTH = 4, 64
Form = Callable[..., Tensor]


def measure(forms: Mapping[str, Form], xs: list[Tensor], repeats: int, agree: bool) -> dict[str, float]:
    """Least milliseconds of processor time of a forward and backward pass of each form."""
    best = dict.fromkeys(forms, float("inf"))
    wanted = None
    for i in range(repeats + 1):
        for name, form in list(forms.items())[:: 1 if i % 2 else -1]:
            start = time.process_time()
            y = form(*xs)
            torch.autograd.grad(y.sum(), xs)
            took = (time.process_time() - start) * 1e3
            best[name] = min(best[name], took) if i else best[name]  # the first run warms up
            wanted = y.detach() if wanted is None else wanted
            assert not agree or (y - wanted).abs().max() <= 1e-4 * wanted.abs().max(), name
    return best


def report(what: str, forms: Mapping[str, Form], xs: list[Tensor], repeats: int, *, agree: bool = True) -> None:
    """Prints milliseconds, and how long each form takes in times of the first."""
    ms = measure(forms, xs, repeats, agree)
    first, least = next(iter(ms.items()))
    ratios = {f"{k}/{first}": round(v / least, 2) for k, v in ms.items() if k != first}
    print(json.dumps({"what": what, **{k: round(v, 2) for k, v in ms.items()}} | ratios), flush=True)


def core(**settings: Any) -> Form:
    """Softmax attention of q, k and v of `(1, B, T, D)`, without positions unless said."""
    made = op_class("softmax_attention")(heads=HEADS, **{"positions": "none"} | settings)  # type: ignore[call-arg]
    return lambda q, k, v: made.forward({}, q, k, v, ctx=Context())


def explicit(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """The definition, with the scores of all pairs."""
    q, k, v = (x.unflatten(-1, (HEADS, -1)).transpose(2, 3) for x in (q, k, v))
    hidden = torch.ones(q.shape[3], q.shape[3], dtype=torch.bool).triu(1)
    scores = (q @ k.mT / math.sqrt(q.shape[-1])).masked_fill(hidden, -torch.inf)
    return (scores.softmax(-1) @ v).transpose(2, 3).flatten(3)


def values(count: int, batch: int, length: int) -> list[Tensor]:
    """Normal inputs."""
    return [torch.randn(1, batch, length, WIDTH, requires_grad=True) for _ in range(count)]


def block(name: str, settings: str = "") -> tuple[Form, dict[str, Tensor]]:
    """A shipped block, and its weights."""
    text = f"graph: {{nodes: {{out: {{op: {name}{settings}, from: in}}}}}}\nscale: {{width: {WIDTH}}}\n"
    space = SearchSpace.parse(f"version: 1\nname: one\n{text}", registry(), definitions=block_files())
    a = space.sample(random.Random(0)).architecture
    m = build(a, InputKind("tokens", 2), OutputKind("steps", 2), seeds=[0])
    return (lambda x: m._plan.run({"in": x}, Context())), dict(m.graph.named_parameters())


def package(weights: Mapping[str, Tensor], length: int) -> Form:
    """The attention of x-transformers with the same weights."""
    from x_transformers.x_transformers import Attention, RotaryEmbedding  # type: ignore[import-not-found]

    theirs = Attention(WIDTH, dim_head=WIDTH // HEADS, heads=HEADS, causal=True, flash=True)
    theirs.load_state_dict({f"to_{p}.weight": weights[f"out.{p}.weight"].detach()[0] for p in ("q", "k", "v", "out")})
    turn = RotaryEmbedding(WIDTH // HEADS)
    return lambda x: theirs(x[0], rotary_pos_emb=turn.forward_from_seq_len(length))[None]


def main() -> None:
    """Measures and prints."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--repeats", type=int, default=7)
    run = partial(report, repeats=parser.parse_args().repeats)
    torch.set_num_threads(1)
    torch.manual_seed(0)
    for length in (256, 1024):
        run(f"softmax, T={length}", {"full": core(), "explicit": explicit}, values(3, 16, length))
    run("window, T=4096", {"windowed": core(window=128), "full": core()}, values(3, 1, 4096), agree=False)
    ours, weights = block("attention")
    for length in (64, 256, 1024):
        forms = {"block": ours}
        if importlib.util.find_spec("x_transformers"):
            forms["package"] = package(weights, length)
        run(f"block, T={length}", forms, values(1, 16, length))
    settings = {"alibi": ", positions: alibi", "two_kv_heads": ", kv_heads: 2", "qk_norm": ", qk_norm: true"}
    forms = {"attention": ours} | {k: block("attention", v)[0] for k, v in settings.items()}
    forms |= {name: block(name)[0] for name in ("latent_attention", "differential_attention", "hopfield")}
    run("blocks, T=512", forms, values(1, 8, 512), agree=False)


if __name__ == "__main__":
    main()
