"""How long a person's own data take to load, and how much memory.

    OMP_NUM_THREADS=1 python -m tests.benchmarks.bench_own_data [table text images] [--scale 1.0]

Writes a CSV file of 1,000,000 rows and 10 columns, a folder of 100 texts with 50 MB, and a folder of 2,000 PNG images
of about 80×80 pixels, each times `--scale`, and reads each as its task does in a process of its own: processor seconds
until the three splits are there, until they are checked too, and until digest and chance are known; peak memory in MB.
Prints one line of JSON a row.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import pandas as pd

WORDS = 20_000


def write_table(path: Path, scale: float) -> dict[str, str]:
    """Numbers, names and a class."""
    rng, rows = np.random.default_rng(0), int(1_000_000 * scale)
    frame = pd.DataFrame({f"x{n}": rng.normal(size=rows).round(4) for n in range(8)})
    frame["colour"] = rng.choice(list("abcd"), rows)
    frame["y"] = (frame["x0"] + frame["x1"] > 0).astype(int)
    frame.to_csv(path, index=False)
    return {"path": str(path), "target": "y"}


def write_text(path: Path, scale: float) -> dict[str, str]:
    """Words as often as in a language, in lines."""
    rng = np.random.default_rng(0)
    words = np.array(
        ["".join(rng.choice(list("abcdefghijklmnopqrstuvwxyz"), rng.integers(2, 9))) for _ in range(WORDS)]
    )
    path.mkdir()
    for n in range(100):
        chosen = words[np.minimum(rng.zipf(1.3, int(90_000 * scale)), WORDS - 1)]
        lines = [" ".join(chosen[k : k + 12]) for k in range(0, len(chosen), 12)]
        (path / f"{n}.txt").write_text("\n".join(lines)[: int(500_000 * scale)])
    return {"path": str(path)}


def write_images(path: Path, scale: float) -> dict[str, str]:
    """Noise in four classes."""
    from PIL import Image

    rng = np.random.default_rng(0)
    for kind in ("cat", "dog", "owl", "cow"):
        (path / kind).mkdir(parents=True)
        for n in range(int(500 * scale)):
            pixels = rng.integers(256, size=(64 + n % 30, 80, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(path / kind / f"{n}.png")
    return {"path": str(path)}


WRITERS = {"table": write_table, "text": write_text, "images": write_images}


def measure(name: str, settings: dict[str, str]) -> dict[str, object]:
    """In this process, so that the peak is that of one task."""
    from archsearch.tasks import contract
    from archsearch.tasks.registry import make

    start = time.process_time()
    task = make(name, settings)
    task.examples("train")
    seconds = {"load": time.process_time() - start}
    contract.check(task, ("train", "validation", "test"))
    seconds["checked"] = time.process_time() - start
    contract.check_all(task)
    seconds["scored"] = time.process_time() - start
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return {"task": name, **{k: round(v, 1) for k, v in seconds.items()}, "peak_mb": round(peak)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("tasks", nargs="*", help="table, text or images; all by default")
    parser.add_argument("--scale", type=float, default=1.0)
    parser.add_argument("--settings", help="what a process that measures is given")
    args = parser.parse_args()
    if args.settings:
        print(json.dumps(measure(args.tasks[0], json.loads(args.settings))))
        return
    with tempfile.TemporaryDirectory() as folder:
        for name in args.tasks or WRITERS:
            settings = WRITERS[name](Path(folder) / name, args.scale)
            command = [sys.executable, "-m", "tests.benchmarks.bench_own_data", name]
            subprocess.run([*command, "--settings", json.dumps(settings)], check=True)


if __name__ == "__main__":
    main()
