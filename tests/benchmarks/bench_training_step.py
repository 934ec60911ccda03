"""What a training step costs beside the same model written by hand in plain PyTorch.

    OMP_NUM_THREADS=1 python -m tests.benchmarks.bench_training_step [--steps 30] [--width 128] [--batch 128]

Attention and mlp by turns (2 + 2 layers), forward, backward and fused AdamW, one copy, one thread. Steps of the two are
interleaved, so that both see the same machine, in an order that alternates; the ratio is that of the medians, with that
of the minima and that of processor time (which other processes disturb less) beside it. Prints one line of JSON. The
target is a ratio of at most 1.05.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from archsearch.build.model import build
from archsearch.tasks.base import InputKind, OutputKind
from tests.build.graphs import transformer

HEADS = 4


class Attention(nn.Module):
    """Causal attention with rotary positions, as one writes it by hand."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.q, self.k, self.v, self.out = (nn.Linear(width, width, bias=False) for _ in range(4))

    def forward(self, x: Tensor, turn: Tensor) -> Tensor:
        b, t, d = x.shape
        q, k, v = (f(x).view(b, t, HEADS, d // HEADS) for f in (self.q, self.k, self.v))
        q, k = rotate(q, turn), rotate(k, turn)
        q, k, v = (h.transpose(1, 2) for h in (q, k, v))
        y = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        return self.out(y.transpose(1, 2).reshape(b, t, d))


def rotate(x: Tensor, turn: Tensor) -> Tensor:
    """Rotary positions by complex numbers, the fastest plain way."""
    pairs = torch.view_as_complex(x.view(*x.shape[:-1], -1, 2))
    return torch.view_as_real(pairs * turn).flatten(-2)


class Layer(nn.Module):
    """Norm, attention, norm, mlp, with two residual connections."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm, self.norm2 = nn.RMSNorm(width, 1e-6), nn.RMSNorm(width, 1e-6)
        self.mix = Attention(width)
        self.mlp = nn.Sequential(nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width))

    def forward(self, x: Tensor, turn: Tensor) -> Tensor:
        x = x + self.mix(self.norm(x), turn)
        return x + self.mlp(self.norm2(x))


class ByHand(nn.Module):
    """The same model in plain PyTorch."""

    def __init__(self, width: int, layers: int, vocabulary: int, length: int) -> None:
        super().__init__()
        self.stem = nn.Embedding(vocabulary, width)
        self.layers = nn.ModuleList(Layer(width) for _ in range(layers))
        self.out, self.readout = nn.RMSNorm(width, 1e-6), nn.Linear(width, vocabulary)
        size = width // HEADS
        angle = torch.arange(length)[:, None, None] * 10_000.0 ** (-torch.arange(0, size, 2) / size)
        self.register_buffer("turn", torch.polar(torch.ones_like(angle), angle))

    def forward(self, tokens: Tensor) -> Tensor:
        x = self.stem(tokens)
        for layer in self.layers:
            x = layer(x, self.turn)
        return self.readout(self.out(x))


def stepper(model: nn.Module, tokens: Tensor, targets: Tensor) -> Callable[[], tuple[float, float]]:
    """A function that trains one step and returns its seconds, on the clock and on the processor."""
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3, fused=True)

    def step() -> tuple[float, float]:
        start, cpu = time.perf_counter(), time.process_time()
        loss = F.cross_entropy(model(tokens).flatten(0, -2), targets.flatten())
        loss.backward()
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        return time.perf_counter() - start, time.process_time() - cpu

    return step


def measure(width: int, layers: int, batch: int, length: int, steps: int, vocabulary: int = 64) -> dict[str, float]:
    """Medians in seconds, and the ratios ours / by hand."""
    torch.manual_seed(0)
    tokens, targets = torch.randint(vocabulary, (2, batch, length)).unbind(0)
    task = InputKind("tokens", vocabulary), OutputKind("steps", vocabulary)
    ours = build(transformer(width, layers, HEADS), *task, seeds=[0])
    hand = ByHand(width, layers, vocabulary, length)
    assert sum(p.numel() for p in ours.parameters()) == sum(p.numel() for p in hand.parameters())
    runs = [(stepper(ours, tokens, targets), []), (stepper(hand, tokens, targets), [])]
    for i in range(steps + 2):
        for step, seconds in runs if i % 2 else runs[::-1]:
            took = step()
            if i >= 2:  # the first two steps warm caches and allocators
                seconds.append(took)
    (a, cpu_a), (b, cpu_b) = (zip(*seconds, strict=True) for _, seconds in runs)
    return {
        "ours_s": statistics.median(a),
        "by_hand_s": statistics.median(b),
        "ratio": statistics.median(a) / statistics.median(b),
        "ratio_of_minima": min(a) / min(b),
        "ratio_of_processor_time": statistics.median(cpu_a) / statistics.median(cpu_b),
    }


def main() -> None:
    """Measures and prints one line of JSON."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    for name, default in (("width", 128), ("layers", 2), ("batch", 128), ("length", 128), ("steps", 30)):
        parser.add_argument(f"--{name}", type=int, default=default)
    arguments = vars(parser.parse_args())
    torch.set_num_threads(1)
    print(json.dumps({**arguments, **{k: round(v, 4) for k, v in measure(**arguments).items()}}))


if __name__ == "__main__":
    main()
