"""Whether every mixer learns, and how the memory of a training step grows with the length of its sequences.

    OMP_NUM_THREADS=1 python -m tests.benchmarks.bench_mixers learn [--steps 600] [--jobs 2] [NAME ...]
    OMP_NUM_THREADS=1 python -m tests.benchmarks.bench_mixers memory [NAME ...]

`learn`: two mixers and two perceptrons by turns, width 64, on the byte language model, beside the same net with the
identity in place of the mixer; the target is at least 5 % of its bits below. `memory`: the exponent of the bytes saved
for the backward pass between 1,024 and 8,192 steps, of the block alone; the target is 1.05 for every mixer whose
operations a token do not grow with the length. Prints one line of JSON a mixer. Mixers are the shipped blocks that mix
time, with their defaults.
"""

from __future__ import annotations

import argparse
import json
import math
import multiprocessing
import random
from typing import Any

import torch
import yaml

from archsearch.build.model import build
from archsearch.content import block_files
from archsearch.graph.analysis import facts
from archsearch.graph.architecture import Architecture
from archsearch.graph.space import SearchSpace
from archsearch.ops.base import Context
from archsearch.ops.registry import op_class, registry
from archsearch.tasks.base import InputKind, OutputKind
from archsearch.tasks.registry import make
from archsearch.training.measurement import Job, TrainingSettings
from archsearch.training.memory import saved_bytes
from archsearch.training.trainer import run

WIDTH = 64
TASK = "byte_language_model"
IDENTITY = "identity"
TARGET = 0.05
LENGTHS = (1024, 2048, 4096, 8192)


def net(mixer: str, layers: int) -> Architecture:
    """`layers` mixers and as many perceptrons by turns, or a mixer alone if there are none."""
    if not layers:
        return sample(f"out: {{op: {mixer}, from: in}}", "")
    layer = f"""
define:
  layer:
    nodes:
      norm: {{op: rms_norm, from: in}}
      mix: {{op: {mixer}, from: norm}}
      join: {{op: add, from: [in, mix]}}
      norm2: {{op: rms_norm, from: join}}
      mlp: {{op: mlp, expand: 2, from: norm2}}
      out: {{op: add, from: [join, mlp]}}
"""
    body = f"body: {{repeat: layer, times: {layers}, from: in}}\n    out: {{op: rms_norm, from: body}}"
    return sample(body, layer)


def sample(nodes: str, define: str) -> Architecture:
    """The one architecture of a space of these nodes."""
    text = f"version: 1\nname: net\n{define}\ngraph:\n  nodes:\n    {nodes}\nscale: {{width: {WIDTH}}}\n"
    return SearchSpace.parse(text, registry(), definitions=block_files()).sample(random.Random(0)).architecture


def mixers() -> list[str]:
    """The blocks that mix time."""
    names = [name for file in block_files() for name in yaml.safe_load(file.read_text("utf-8"))["define"]]
    return [n for n in names if any(op_class(node.op).mixes_time for node in net(n, 0).nodes)]


def learned(argument: tuple[str, int]) -> tuple[str, float | None, float]:
    """Bits a byte of a net with a mixer after so many steps, and the seconds that took."""
    mixer, steps = argument
    training = {**make(TASK, {}).training, "steps": steps, "device": "cpu", "reports": 1}
    m = run(Job(mixer, net(mixer, 2).to_dict(), TASK, {}, TrainingSettings(**training)))
    return mixer, m.score, m.seconds


def learn(names: list[str], steps: int, jobs: int) -> None:
    """Trains all nets and compares them with the one without a mixer."""
    with multiprocessing.get_context("spawn").Pool(jobs) as pool:
        results = pool.imap(learned, [(n, steps) for n in [IDENTITY, *names]])
        _, floor, seconds = next(results)
        assert floor is not None
        print(json.dumps({"mixer": IDENTITY, "bits": round(floor, 3), "seconds": round(seconds, 1)}), flush=True)
        for name, bits, seconds in results:
            saved = None if bits is None else 1.0 - bits / floor
            row: dict[str, Any] = {"mixer": name, "bits": bits and round(bits, 3), "saved": saved and round(saved, 3)}
            print(json.dumps({**row, "met": (saved or 0) >= TARGET, "seconds": round(seconds, 1)}), flush=True)


def memory(names: list[str]) -> None:
    """The exponent of saved bytes from the shortest to the longest length."""
    for name in names:
        a = net(name, 0)
        m = build(a, InputKind("vectors", WIDTH), OutputKind("steps", 2), seeds=[0])
        sizes = []
        for time in LENGTHS:
            with saved_bytes() as counter:
                y = m._plan.run({"in": torch.randn(1, 1, time, WIDTH, requires_grad=True)}, Context())
            sizes.append(counter.total(m.parameters()))
            del y
        exponent = math.log(sizes[-1] / sizes[0]) / math.log(LENGTHS[-1] / LENGTHS[0])
        flops = [facts(a, registry(), t).flops_per_token for t in LENGTHS]
        linear = flops[-1] < 1.5 * flops[0]
        row = {"mixer": name, "exponent": round(exponent, 3), "linear_time": linear}
        print(json.dumps({**row, "met": exponent <= 1.05 if linear else None}), flush=True)


def main() -> None:
    """Runs one of the two."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("learn", "memory"))
    parser.add_argument("names", nargs="*")
    parser.add_argument("--steps", type=int, default=600)
    parser.add_argument("--jobs", type=int, default=2)
    options = parser.parse_args()
    torch.set_num_threads(1)
    names = options.names or mixers()
    learn(names, options.steps, options.jobs) if options.what == "learn" else memory(names)


if __name__ == "__main__":
    main()
