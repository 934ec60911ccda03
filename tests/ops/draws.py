"""Cases that hypothesis draws: settings from what an op declares of them, widths that its type rule takes, a length.

Numbers stay where single precision can be held to its tolerance: near the default, or at the end of a declared range.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import replace
from fractions import Fraction
from typing import Any

import torch.nn.functional as F
from hypothesis import strategies as st
from torch import Tensor

from archsearch.errors import RuleError
from archsearch.graph.opspec import OpSpec, Setting
from archsearch.ops.registry import registry
from tests.ops.contract import Case

MOST = 8  # of a whole number above the least that it may be
TRIES = 400
WIDEST = 48
LENGTHS = (2, 3, 5, 16, 31, 32, 33, 47, 64, 65, 70)  # around the chunks that fast forms cut a sequence into

LEAST = dict.fromkeys(("norm", "head_norm", "rms_norm", "layer_norm", "differential_attention_core", "feature_map"), 3)
"""Features of a part: one or two are, normed, signs but for `eps`, and gradients cancel."""

BETWEEN = {
    ("hopfield_core", "beta"): (0.1, 1.0),
    ("kernel_regression", "bandwidth"): (0.7, 4.0),
    ("differential_attention_core", "lambda_init"): (0.0, 0.9),
}
"""Where sharper ones leave one weight at 1 and the others at 0, or maps that cancel, and gradients with them."""

Prepare = Callable[[Case, list[Tensor]], list[Tensor]]
_Width = int | tuple[int, int, int]


def _unit(port: int) -> Prepare:
    """Keys of length one in each head: others let a state grow, and with it what rounding leaves."""

    def prepare(case: Case, xs: list[Tensor]) -> list[Tensor]:
        heads = xs[port].unflatten(-1, (vars(case.op)["heads"], -1))
        return [*xs[:port], F.normalize(heads, dim=-1).flatten(-2), *xs[port + 1 :]]

    return prepare


def _positive(case: Case, xs: list[Tensor]) -> list[Tensor]:
    """Queries and keys above zero, where a reading is divided by the sum of its weights."""
    return [*(x.abs() + 0.1 for x in xs[:2]), *xs[2:]] if vars(case.op)["normalise"] else xs


def _erased(case: Case, xs: list[Tensor]) -> list[Tensor]:
    q, k, v, decay, erase, rate = _unit(4)(case, xs)
    return [q, k, v, decay, erase, rate.sigmoid()]


def _replaced(case: Case, xs: list[Tensor]) -> list[Tensor]:
    q, k, v, beta, *decay = _unit(1)(case, xs)
    return [q, k, v, beta.sigmoid(), *decay]


PREPARED: dict[str, Prepare] = {
    "linear_attention_core": _positive,
    "delta_rule_core": _replaced,
    "rwkv7_core": _erased,
}
"""What the ports of an op ask of their inputs."""


def whole_numbers(s: Setting) -> st.SearchStrategy[int]:
    """From the least up, and the default where that is small."""
    low = 1 if s.low is None else int(s.low)
    near = st.integers(low, int(min(low + MOST, s.high or low + MOST)))
    return near | st.just(s.default) if isinstance(s.default, int) and s.default <= 32 else near


def numbers(s: Setting) -> st.SearchStrategy[float]:
    """Within a factor of 4 of the default; the ends of what is declared, where the least is zero or both are said."""
    default = float(s.default) if isinstance(s.default, int | float) else 1.0
    low, high = sorted((default / 4, default * 4)) if default else (-1.0, 1.0)
    low = low if s.low is None else max(low, s.low)
    high = high if s.high is None else min(high, s.high)
    ends = [float(e) for e in (s.low, s.high) if e is not None and (e == 0 or None not in (s.low, s.high))]
    near = st.floats(low, high)
    return near | st.sampled_from(ends) if ends else near


def values(s: Setting, op: str) -> st.SearchStrategy[Any]:
    """What a setting of an op may be."""
    if (op, s.name) in BETWEEN:
        return st.floats(*BETWEEN[op, s.name])
    kinds: dict[type, Any] = {int: whole_numbers, float: numbers, bool: lambda s: st.booleans()}
    if s.options:
        drawn: st.SearchStrategy[Any] = st.sampled_from(s.options)
    elif s.kind is str:  # the sizes of `split`
        drawn = st.lists(st.integers(1, 4), min_size=1, max_size=3).map(lambda sizes: ",".join(map(str, sizes)))
    else:
        drawn = kinds[s.kind](s)
    return drawn | st.none() if s.default is None and not s.required else drawn


@st.composite
def cases(draw: st.DrawFn, name: str, unread: tuple[int, ...] = (), longest: int = LENGTHS[-1]) -> Case | None:
    """A case of the op `name`, or `None` where its type rule refuses all that is tried with the settings drawn."""
    spec = registry()[name]
    settings = {s.name: draw(values(s, name)) for s in spec.settings}
    rng = random.Random(draw(st.integers(0, 2**16)))
    time = draw(st.sampled_from([t for t in LENGTHS if t <= longest]))
    for _ in range(TRIES):
        widths = _widths(spec, settings, rng)
        rates = (Fraction(1, settings["by"]), Fraction(1)) if name == "upsample" else ()
        case = Case(name, settings, widths, rates, unread, time, PREPARED.get(name))
        try:
            slowest = min(t.rate for t in (*case.types, *case.outputs))
        except RuleError:
            continue
        if max(t.size for t in case.types) > WIDEST:
            continue
        return replace(case, time=max(time, slowest.denominator))
    return None


def _widths(spec: OpSpec, settings: dict[str, Any], rng: random.Random) -> tuple[_Width, ...]:
    """A width for each port, all made of the same few numbers; often that of the port before."""
    least = LEAST.get(spec.name, 1)
    n, m = rng.randint(least, 4), rng.randint(least, 4)
    parts = [v for v in settings.values() if isinstance(v, int) and not isinstance(v, bool) and v <= MOST] or [1]
    h = rng.choice(parts)
    pool: list[_Width] = [n, 2 * n, *(p * k for p in parts for k in (n, 2 * n, 4 * n, m)), (h, n, m)]
    pool += parts if least == 1 else []
    found: list[_Width] = []
    for port in spec.ports:
        if port.optional and rng.random() < 0.5:
            break
        for _ in range(rng.randint(1, 3) if port.many else 1):
            found.append(found[-1] if found and rng.random() < 0.5 else rng.choice(pool))
    return tuple(found)
