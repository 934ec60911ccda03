"""How long it takes to check and hash graphs.

    python tests/benchmarks/bench_graphs.py [gc]
    python tests/benchmarks/bench_graphs.py collisions SAMPLES [SEED]

Shipped spaces with more and more layers and random graphs, of 50 to 10,000 nodes each, in processor time, the least of
several runs: reading the YAML, checking the whole space, walking to one architecture with all types inferred, its
facts, and its hash. Bars: every exponent of time against nodes, from 100 on, at most 1.2; a graph of 50 nodes checked
and hashed in 5 ms. As with `timeit`, Python's garbage collector rests meanwhile, unless `gc` says otherwise: it runs
the more often the more there is to look through, and so adds up to 0.1 to the exponents.

`collisions` draws samples of `hybrid` and counts different normal forms that share a hash; the bar is none in 100,000.
"""

from __future__ import annotations

import gc
import hashlib
import math
import random
import re
import sys
import time
from collections.abc import Callable

from archsearch.content import block_files, find
from archsearch.graph.analysis import facts
from archsearch.graph.normal import digest, normal_form
from archsearch.graph.space import SearchSpace
from archsearch.ops.registry import registry

SIZES = (50, 100, 300, 1_000, 3_000, 10_000)
SHIPPED = ("hybrid", "transformer", "recurrent_cells")
ROUNDS = 4
OPS = registry()
WHAT = ("read", "check", "walk", "facts", "hash")


def main() -> None:
    """Prints a table, the exponents, and whether the bars hold."""
    if sys.argv[1:2] == ["collisions"]:
        collisions(int(sys.argv[2]), int(sys.argv[3]) if len(sys.argv) > 3 else 0)
        return
    if "gc" not in sys.argv[1:]:
        gc.disable()
    makers: dict[str, Callable[[int], str]] = {name: layers_of(name) for name in SHIPPED}
    makers |= {"random, wide": lambda n: random_graph(n, 10**9), "random, deep": lambda n: random_graph(n, 5)}
    print(f"{'ms':16}{'nodes':>8}" + "".join(f"{w:>9}" for w in WHAT))
    worst, fifty = 0.0, 0.0
    for name, make in makers.items():
        rows = measured([make(n) for n in SIZES])
        for nodes, times in rows:
            print(f"{name:16}{nodes:8,}" + "".join(f"{1000 * t:9.2f}" for t in times))
        large = [row for row in rows if row[0] >= 80]
        slopes = [exponent([(n, times[i]) for n, times in large]) for i in range(len(WHAT))]
        print(f"{name:16}{'exponent':>8}" + "".join(f"{s:9.2f}" for s in slopes))
        worst = max(worst, slopes[1], slopes[2], slopes[4])
        nodes, times = rows[0]
        fifty = max(fifty, (times[2] + times[4]) * 50 / nodes)
    print(f"largest exponent of check, walk and hash: {worst:.2f} (bar 1.2)")
    print(f"walk and hash of 50 nodes: {1000 * fifty:.2f} ms (bar 5)")


def layers_of(name: str) -> Callable[[int], str]:
    """The text of a shipped space with as many layers as make up about n nodes, and without `match`."""
    text = re.sub(r"^match:.*\n", "", find("search_spaces", name).read_text(), flags=re.MULTILINE)

    def make(n: int) -> str:
        few, many = (nodes_of(with_times(text, t)) for t in (2, 6))
        return with_times(text, max(1, round((n - few) / ((many - few) / 4) + 2)))

    return make


def with_times(text: str, times: int) -> str:
    """The space with that many turns of each repeat, and every other choice at its first option."""
    return re.sub(r"times: (\{[^}]*\}|\d+)", f"times: {times}", text)


def nodes_of(text: str) -> int:
    """The number of nodes of one sample, always drawn alike."""
    return len(read(text).sample(random.Random(0)).architecture.nodes)


def random_graph(n: int, reach: int) -> str:
    """n nodes, each reading some of the last `reach`.

    Every 25th reads a later one's past, and every 10th is the twin of the one before it, so that graphs of all sizes
    have cycles and symmetries in one proportion.
    """
    rng = random.Random(n)
    lines: list[str] = []
    for i in range(n):
        near = [f"n{j}" for j in range(max(0, i - reach), i)] or ["in"]
        op = rng.choice(["linear", "add", "multiply", "tanh", "rms_norm"])
        if i % 25 == 24:
            late = f'"n{min(n - 1, i + rng.randint(0, 5))}[t-1]"'
            lines.append(f"{{op: add, from: [{rng.choice(near)}, {late}]}}")
        elif i % 10 == 9:
            lines.append(lines[-1])
        elif op in ("add", "multiply"):
            sources = rng.sample(near, min(len(near), rng.randint(1, 3)))
            lines.append(f"{{op: {op}, from: [{', '.join(sources)}]}}")
        else:
            lines.append(f"{{op: {op}, from: {rng.choice(near)}}}")
    ends = ", ".join(f"n{i}" for i in range(n))
    nodes = [f"    n{i}: {line}" for i, line in enumerate(lines)]
    return "\n".join(["graph:", "  nodes:", *nodes, f"    out: {{op: add, from: [{ends}]}}", ""])


def read(text: str) -> SearchSpace:
    """The space of a text, with the shipped ops and blocks."""
    return SearchSpace.parse(text, OPS, definitions=block_files())


def measured(texts: list[str]) -> list[tuple[int, list[float]]]:
    """Nodes of a sample of each space, and seconds of processor time for each of `WHAT`.

    Rounds go over all sizes, so that a machine that is busy for a while does not bend the slope.
    """
    tasks = [jobs(text) for text in texts]
    best = [[math.inf] * len(WHAT) for _ in tasks]
    for turn in range(ROUNDS):
        for (nodes, work), found in zip(tasks, best, strict=True):
            gc.collect()
            for i, job in enumerate(work):
                often = WHAT[i] in ("walk", "hash") or nodes < 2_000
                for _ in range(0 if turn and not often else 3 if nodes < 400 else 1):
                    started = time.process_time()
                    job()
                    found[i] = min(found[i], time.process_time() - started)
    return [(nodes, found) for (nodes, _), found in zip(tasks, best, strict=True)]


def jobs(text: str) -> tuple[int, list[Callable[[], object]]]:
    """Nodes of a space's sample, and what is timed."""
    space = read(text)
    architecture = space.sample(random.Random(0)).architecture
    return len(architecture.nodes), [
        lambda: read(text),
        lambda: space.check(samples=0),
        lambda: space.sample(random.Random(0)),
        lambda: facts(architecture, OPS, 256),
        lambda: digest(architecture, OPS),
    ]


def exponent(points: list[tuple[int, float]]) -> float:
    """The slope of log time against log nodes, by least squares."""
    logs = [(math.log(n), math.log(t)) for n, t in points]
    mean_x, mean_y = (sum(column) / len(logs) for column in zip(*logs, strict=True))
    return sum((x - mean_x) * (y - mean_y) for x, y in logs) / sum((x - mean_x) ** 2 for x, _ in logs)


def collisions(count: int, seed: int) -> None:
    """Draws samples of `hybrid` and compares their hashes with much longer ones of their normal forms."""
    space = SearchSpace.read(find("search_spaces", "hybrid"), OPS, block_files())
    rng = random.Random(seed)
    forms: dict[str, bytes] = {}
    shared = 0
    for _ in range(count):
        architecture = space.sample(rng).architecture
        form = hashlib.sha256(normal_form(architecture, OPS).encode()).digest()
        shared += forms.setdefault(digest(architecture, OPS), form) != form
    print(f"{count:,} samples (seed {seed}), {len(forms):,} different hashes, {shared} different forms with one hash")


if __name__ == "__main__":
    main()
