"""How long samples take: `python tests/benchmarks/bench_samples.py [SPACE] [SAMPLES]`.

Draws, checks and hashes that many architectures (1,000 of `hybrid` unless told otherwise), each brought to its size by
`match`. Bar on two cores: 2 s for both together.
"""

from __future__ import annotations

import random
import sys
import time

from archsearch.content import block_files, find
from archsearch.graph.normal import digest
from archsearch.graph.space import SearchSpace
from archsearch.ops.registry import registry


def main() -> None:
    """Prints wall-clock and processor time of reading, sampling and hashing."""
    name = sys.argv[1] if len(sys.argv) > 1 else "hybrid"
    count = int(sys.argv[2]) if len(sys.argv) > 2 else 1000
    ops = registry()
    with Timed("read"):
        space = SearchSpace.read(find("search_spaces", name), ops, block_files())
    rng = random.Random(0)
    with Timed(f"{count} samples"):
        samples = [space.sample(rng) for _ in range(count)]
    with Timed(f"{count} hashes"):
        hashes = {digest(s.architecture, ops) for s in samples}
    nodes = sum(len(s.architecture.nodes) for s in samples) / count
    print(f"{len(hashes)} different architectures, {nodes:.1f} nodes in the mean")


class Timed:
    """Prints how long its block took."""

    def __init__(self, what: str) -> None:
        self.what = what

    def __enter__(self) -> None:
        self.wall, self.processor = time.perf_counter(), time.process_time()

    def __exit__(self, *_: object) -> None:
        wall, processor = time.perf_counter() - self.wall, time.process_time() - self.processor
        print(f"{self.what:16} {wall:.3f} s, of processor time {processor:.3f} s")


if __name__ == "__main__":
    main()
