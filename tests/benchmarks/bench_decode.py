"""What a decoded token costs against the context: `OMP_NUM_THREADS=1 python -m tests.benchmarks.bench_decode [DEVICE]`.

One layer of each family at width 64, 4 heads, one copy, one stream and a batch of 32. After a prompt of T tokens, the
median time of a step over 32 steps, in microseconds; beside it what the prompt took, a token, and the state of a
stream. A family with a state of constant size should cost the same at every T; attention reads its whole cache.

    OMP_NUM_THREADS=1 python -m tests.benchmarks.bench_decode --growth

decodes 4,096 tokens of one stream and 1,024 of 32 with attention, one after the other from the start, with caches that
grow in place (`archsearch.kernels.growing`) and with caches that every step concatenates anew, in processor seconds.
"""

from __future__ import annotations

import argparse
import statistics
import time
from typing import Any
from unittest import mock

import torch

from archsearch.build.decode import Decoder
from archsearch.build.model import build
from archsearch.graph.architecture import Architecture
from archsearch.tasks.base import InputKind, OutputKind
from tests.build.graphs import attention_block, graph

WIDTH, STEPS = 64, 32
CONTEXTS = (64, 256, 1024, 4096)
TOKENS, ANSWER = InputKind("tokens", 256), OutputKind("steps", 256)


def families() -> dict[str, Architecture]:
    """One layer each; the last two are graphs of primitives with a delayed cycle."""
    cores: dict[str, dict[str, Any]] = {
        "softmax_attention": attention_block("out", "in", 4),
        "gru_core": {"out": ("gru_core", {}, "in")},
        "lstm_core": {"out": ("lstm_core", {}, "in")},
        "s4d_core": {"out": ("s4d_core", {}, "in")},
        "short_conv": {"out": ("short_conv", {"kernel": 4}, "in")},
        "mlp": {"out": ("mlp", {}, "in")},
    }
    made = {name: graph(WIDTH, nodes, out=next(reversed(nodes))) for name, nodes in cores.items()}
    gate = {
        "logit": ("linear", {}, "in"),
        "z": ("sigmoid", {}, "logit"),
        "open": ("one_minus", {}, "z"),
        "n": ("linear", {}, "in"),
        "keep": ("multiply", {}, ("open", "h[t-1]")),
        "new": ("multiply", {}, ("z", "n")),
        "h": ("add", {}, ("keep", "new")),
    }
    made["minGRU as a graph"] = graph(WIDTH, gate, known={"h": WIDTH}, out="h")
    return made


def main() -> None:
    """Prints a table a batch."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("device", nargs="?", default="cpu")
    parser.add_argument("--growth", action="store_true", help="what growing caches take, and no more")
    arguments = parser.parse_args()
    device = torch.device(arguments.device)
    if arguments.growth:
        growth(device)
        return
    print(f"torch {torch.__version__}, {device}, {torch.get_num_threads()} threads, width {WIDTH}")
    for batch in (1, 32):
        print(f"\nbatch {batch}: µs a step (µs a token of the prompt; bytes of state a stream)")
        print(f"{'':22}" + "".join(f"{f'T={t}':>28}" for t in CONTEXTS))
        for name, a in families().items():
            decoder = Decoder(build(a, TOKENS, ANSWER, seeds=[0]).to(device).eval())
            print(f"{name:22}" + "".join(f"{cost(decoder, batch, t, device):>28}" for t in CONTEXTS), flush=True)


def growth(device: torch.device) -> None:
    """Prints processor seconds of whole sequences with both kinds of caches."""
    decoder = Decoder(build(families()["softmax_attention"], TOKENS, ANSWER, seeds=[0]).to(device).eval())
    for batch, tokens in ((1, 4096), (32, 1024)):
        grown = sequence(decoder, batch, tokens, device)
        with mock.patch(
            "archsearch.ops.cache.longer", lambda cache, new, first: torch.cat([cache[:, :, first:], new], 2)
        ):
            joined = sequence(decoder, batch, tokens, device)
        print(
            f"batch {batch}, {tokens:,} tokens: {grown:.2f} s in place, {joined:.2f} s joined, {joined / grown:.1f} x"
        )


def sequence(decoder: Decoder, batch: int, tokens: int, device: torch.device) -> float:
    """Processor seconds of decoding from the start."""
    state, token = decoder.start(batch), torch.zeros(batch, dtype=torch.int64, device=device)
    begun = time.process_time()
    for _ in range(tokens):
        _, state = decoder.step(state, token)
    return time.process_time() - begun


def cost(decoder: Decoder, batch: int, context: int, device: torch.device) -> str:
    """The cell of one family and context."""
    prompt = torch.randint(0, 256, (batch, context), device=device)
    decoder.prefill(prompt[:, :8])  # tables and pools
    begun = clock(device)
    state, _ = decoder.prefill(prompt)
    filled = (clock(device) - begun) / context
    kept = decoder.state_bytes(state)
    token, taken = prompt[:, 0], []
    for _ in range(STEPS):
        begun = clock(device)
        _, state = decoder.step(state, token)
        taken.append(clock(device) - begun)
    return f"{1e6 * statistics.median(taken):.0f} ({1e6 * filled:.1f}; {kept:,.0f})"


def clock(device: torch.device) -> float:
    """Seconds, when the device has done all it was asked."""
    if device.type == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter()


if __name__ == "__main__":
    main()
