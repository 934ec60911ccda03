"""Every shipped op keeps its forms together at settings, widths and lengths that hypothesis draws."""

from __future__ import annotations

import pytest
import torch
from hypothesis import HealthCheck, Phase, given, settings

from archsearch.ops.registry import op_classes
from tests.ops.contract import (
    TOLERANCE,
    Case,
    check_cost,
    check_prefill,
    check_time,
    check_types,
    check_weights,
    decodes,
    largest,
    parallel,
    results,
    stepwise,
)
from tests.ops.draws import LENGTHS, cases
from tests.ops.test_contract import CASES

UNREAD = {case.name: case.unread for case in CASES}
FEW, MANY = 5, 40
ROUNDING = 2.0**-24  # of single precision
LONGEST = {"quadratic_layer": 16}  # a step takes long, and time is not mixed


def check_forms_agree_but_for_rounding(case: Case) -> None:
    """As `check_forms_agree`, at settings where rounding alone may cost more than the tolerance.

    What a result moves by when all inputs and weights move by half a unit of single precision is no fault of a form,
    nor are twenty times as much. Gradients that cancel, to less than 1e-2 of the largest, have to be as small.
    """
    forms = {"parallel": parallel, "steps": stepwise} if decodes(case) else {"parallel": parallel}
    reference = results(case, [*forms.values()][-1], torch.float64)
    exact = results(case, parallel, torch.float64)
    moved = [results(case, parallel, torch.float64, ROUNDING, seed) for seed in (1, 2, 3)]
    steepest = max([largest(g) for name, g in reference.items() if not name.startswith("output")], default=0.0)
    for form, run in forms.items():
        for name, got in results(case, run, torch.float32).items():
            size = largest(reference[name])
            allowed = max(TOLERANCE * size, *(20 * largest(m[name] - exact[name]) for m in moved), 1e-30)
            if not name.startswith("output") and size < 1e-2 * steepest:
                allowed = max(allowed, 3e-6 * steepest)
            error = largest(got.double() - reference[name])
            assert error <= allowed, f"{form}, {name}: off by {error:.2e}, {allowed:.2e} allowed, largest {size:.2e}"


PROMISES = (
    check_types,
    check_weights,
    check_forms_agree_but_for_rounding,
    check_prefill,
    check_time,
    check_cost,
)


def drawn(name: str, count: int) -> None:
    """Holds `count` cases of an op to what they promise; at least one has to pass the type rule."""
    kept: list[Case] = []

    @settings(
        max_examples=count,
        derandomize=True,
        database=None,
        deadline=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(cases(name, UNREAD[name], LONGEST.get(name, LENGTHS[-1])))
    def hold(case: Case | None) -> None:
        if case is None:
            return
        kept.append(case)
        for promise in PROMISES:
            promise(case)

    hold()
    assert kept, "the type rule refuses all that is drawn"


@pytest.mark.parametrize("name", sorted(op_classes()))
def test_drawn_settings(name: str) -> None:
    drawn(name, FEW)


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(op_classes()))
def test_many_drawn_settings(name: str) -> None:
    drawn(name, MANY)
