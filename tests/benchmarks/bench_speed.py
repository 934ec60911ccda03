"""All figures of speed with a bar in one table: what is measured, the bar, and whether it is met.

    OMP_NUM_THREADS=1 PYTHONPATH=/tmp/oracles python -m tests.benchmarks.bench_speed [--repeats 4] [--only gla lstm]
    pip install --target /tmp/oracles --no-deps mambapy minGRU-pytorch einops x-transformers torch-einops-utils einx \\
        frozendict loguru                                                          # for the comparisons at the end

Forward and backward, one copy, one CPU thread, 16 sequences of width 64, least processor time over interleaved runs. A
ratio says how many times as long the other form takes. `naive` is a loop over time that reads `x[:, t]`; `known` is
what the best formulation was measured to gain on it before this project began, and the bar is 0.8 of that, or of the
lower end. `unbind` is a loop over steps that are split once. Packages that are missing are left out, and a line says
so. Ends with status 1 if a bar is not met.
"""

from __future__ import annotations

import argparse
import importlib.util
import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import torch

from tests.benchmarks import bench_attention as attention
from tests.benchmarks import bench_families_fast_weights as fast
from tests.benchmarks import bench_families_recurrence as recurrent
from tests.benchmarks import bench_families_state_space as spaces
from tests.benchmarks import bench_recurrence as graphs

LENGTHS = (256, 1024)


class Bar(NamedTuple):
    """What a row has to reach: the gain known before, as it is said, and the bar."""

    known: str
    least: float


def known(*gains: float) -> tuple[Bar, ...]:
    """One bar a length."""
    return tuple(Bar(f"{g:g}", 0.8 * g) for g in gains)


def least(*bars: float) -> tuple[Bar, ...]:
    """Bars without a gain known before."""
    return tuple(Bar("", b) for b in bars)


@dataclass(frozen=True, slots=True)
class Row:
    """A comparison.

    Args:
        what, beside: the form and the one it is compared with.
        ratio: measures it, given T and repeats.
        package: what has to be importable.
    """

    what: str
    beside: str
    ratio: Callable[[int, int], float]
    bars: tuple[Bar, ...]
    lengths: tuple[int, ...] = LENGTHS
    package: str = ""


def fast_weight(family: str) -> Callable[[int, int], float]:
    """A core of fast weights beside its naive loop."""

    def ratio(length: int, repeats: int) -> float:
        name, step, xs = fast.inputs(length, 4)[family]
        ms, _ = fast.measure({"core": fast.core(name, 4), "loop": fast.loop(step, 4, indexed=True)}, xs, repeats)
        return ms["loop"] / ms["core"]

    return ratio


def recurrence(name: str, *, package: bool = False) -> Callable[[int, int], float]:
    """A recurrent block beside its naive loop, or beside the package's."""

    def ratio(length: int, repeats: int) -> float:
        settings, step, states, taps = next(row[1:] for row in recurrent.BLOCKS if row[0] == name)
        m = recurrent.block(name, settings, 64)
        other = recurrent.package(m, 64) if package else recurrent.loop(m, step, states, taps, recurrent.indexed)
        assert other is not None
        x = torch.randn(16, length, 64, requires_grad=True)
        ms = recurrent.measure({"block": recurrent.form(m), "other": other}, m, x, repeats)
        return ms["other"] / ms["block"]

    return ratio


def state_space(name: str) -> Callable[[int, int], float]:
    """A state-space core beside its naive loop."""

    def ratio(length: int, repeats: int) -> float:
        ms = spaces.core(name, length, repeats, also_indexed=True, unbound=False)
        return ms["indexed"] / ms["core"]

    return ratio


def mambapy(length: int, repeats: int) -> float:
    """The block `mamba` beside the package's."""
    ms = spaces.beside_mambapy(length, repeats)
    return ms["mambapy"] / ms["block"]


def explicit_softmax(length: int, repeats: int) -> float:
    """Attention beside its definition."""
    forms = {"full": attention.core(), "explicit": attention.explicit}
    ms = attention.measure(forms, attention.values(3, 16, length), repeats, agree=True)
    return ms["explicit"] / ms["full"]


def window(length: int, repeats: int) -> float:
    """A window of 128 steps beside full attention, one sequence."""
    forms = {"windowed": attention.core(window=128), "full": attention.core()}
    ms = attention.measure(forms, attention.values(3, 1, length), repeats, agree=False)
    return ms["full"] / ms["windowed"]


def x_transformers(length: int, repeats: int) -> float:
    """The block `attention` beside the package's."""
    ours, weights = attention.block("attention")
    forms = {"block": ours, "package": attention.package(weights, length)}
    ms = attention.measure(forms, attention.values(1, 16, length), repeats, agree=True)
    return ms["package"] / ms["block"]


def graph(length: int, repeats: int) -> float:
    """The minGRU that the compiler makes of a graph beside a loop over its steps."""
    m = graphs.model(graphs.min_gru(64), False)
    forms = {"compiled": graphs.graph_form(m), "loop": graphs.min_gru_loop(m, graphs.unbound)}
    ms = graphs.measure(forms, m, torch.randn(1, 16, length, 64, requires_grad=True), repeats)
    return ms["loop"] / ms["compiled"]


ROWS = (
    Row("linear_attention", "naive", fast_weight("linear_attention"), known(18, 29)),
    Row("retention", "naive", fast_weight("retention"), known(18, 29)),
    Row("gla", "naive", fast_weight("gla"), known(18, 29)),
    Row("delta_net", "naive", fast_weight("delta_net"), known(7, 17)),
    Row("gated_delta_net", "naive", fast_weight("gated_delta_net"), known(7, 17)),
    Row("mamba", "naive", state_space("selective_scan"), known(3.9, 8.1)),
    Row("mamba2", "naive", state_space("ssd"), known(8, 16)),
    Row("s4d", "naive", state_space("s4d_core"), known(3.8, 11)),
    Row("min_gru", "naive", recurrence("min_gru"), known(6, 18)),
    Row("min_lstm", "naive", recurrence("min_lstm"), known(6, 18)),
    Row("griffin", "naive", recurrence("griffin"), known(6, 18)),
    Row("lstm", "naive", recurrence("lstm"), known(7, 12)),
    Row("lstm_core", "naive", recurrence("lstm_core"), known(7, 12)),
    Row("gru", "naive", recurrence("gru"), known(1.6, 2.6)),
    Row("attention", "explicit softmax", explicit_softmax, known(2.9, 4.8)),
    Row("window of 128", "full attention", window, least(4), (4096,)),
    Row("min_gru as a graph", "unbind", graph, least(5, 15)),
    Row("block mamba", "mambapy", mambapy, least(1, 1), package="mambapy"),
    Row("block min_gru", "minGRU-pytorch", recurrence("min_gru", package=True), least(1, 1), package="minGRU_pytorch"),
    Row("block attention", "x-transformers", x_transformers, least(1, 1), package="x_transformers"),
)


def main() -> None:
    """Measures and prints."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--repeats", type=int, default=4)
    parser.add_argument("--only", nargs="+", choices=[row.what for row in ROWS], metavar="ROW", help="these rows")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    print(f"{'':20}{'beside':18}{'T':>6}{'ratio':>8}{'known':>8}{'bar':>7}")
    missed = 0
    for row in ROWS:
        if arguments.only and row.what not in arguments.only:
            continue
        if row.package and importlib.util.find_spec(row.package) is None:
            print(f"{row.what:20}{row.beside:18} is not installed")
            continue
        for length, bar in zip(row.lengths, row.bars, strict=True):
            ratio = row.ratio(length, arguments.repeats)
            is_met = round(ratio, 1) >= round(bar.least, 1)
            missed += not is_met
            said = f"{length:6}{ratio:8.1f}{bar.known:>8}{bar.least:7.1f}  {'met' if is_met else 'NOT MET'}"
            print(f"{row.what:20}{row.beside:18}{said}", flush=True)
    sys.exit(missed > 0)


if __name__ == "__main__":
    main()
