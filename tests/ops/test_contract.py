"""Every shipped op keeps every promise of the contract."""

from __future__ import annotations

import importlib
from dataclasses import fields, replace

import pytest
import torch

from archsearch.errors import RuleError
from archsearch.ops.base import Context
from archsearch.ops.registry import FAMILIES, op_classes, registry
from tests.ops.contract import CHECKS, Case, check_time, decodes
from tests.ops.draws import PREPARED

CASES = [
    case
    for file in [f.__name__.split(".")[-1] for f in FAMILIES]
    for case in importlib.import_module(f"tests.ops.cases.{file}").CASES
]


WORDS = {"choose", "from", "init", "into", "merge", "op", "repeat", "tie", "times", "weights"}
"""What the language itself says of a node; a setting of that name could not be given."""


def test_every_op_has_a_case() -> None:
    assert {c.name for c in CASES} == set(op_classes()) == set(registry())


@pytest.mark.parametrize("promise", CHECKS)
@pytest.mark.parametrize("case", CASES, ids=str)
def test_promise(case: Case, promise: str) -> None:
    if promise == "forms_agree" and not decodes(case):
        with pytest.raises(NotImplementedError):
            case.op.step({}, {}, *[x[:, :, 0] for x in case.inputs()], ctx=Context())
        return
    CHECKS[promise](case)


@pytest.mark.parametrize(
    "time", [16, pytest.param(128, marks=pytest.mark.slow), pytest.param(1024, marks=pytest.mark.slow)]
)
@pytest.mark.parametrize("case", [case for case in CASES if case.op.is_causal()], ids=str)
def test_no_output_depends_on_a_later_step(case: Case, time: int) -> None:
    """In double precision a leak has nowhere to hide; in single precision other formulations may be taken."""
    for dtype in (torch.float64, torch.float32):
        check_time(replace(case, time=time, prepare=PREPARED.get(case.name)), dtype)


@pytest.mark.parametrize("name", sorted(op_classes()))
def test_settings_out_of_range_are_refused(name: str) -> None:
    spec = registry()[name]
    wrong = {int: [1.5, "x", True], float: ["x", True], bool: [2, "x"], str: ["nonsense", 3]}
    for s in spec.settings:
        bad = list(wrong[s.kind]) if s.kind is not str or s.options else [3]
        bad += [] if s.low is None else [s.low - 1]
        bad += [] if s.high is None else [s.high + 1]
        for value in bad:
            with pytest.raises(RuleError, match=f"`{s.name}` must be"):
                spec.complete({s.name: value})
    with pytest.raises(RuleError, match="has the settings"):
        spec.complete({"no_such_setting": 1})


@pytest.mark.parametrize("name", sorted(op_classes()))
def test_an_op_is_documented(name: str) -> None:
    cls, spec = op_classes()[name], registry()[name]
    assert spec.summary.endswith(".") and cls.equation
    assert all(s.help for s in spec.settings)
    assert not WORDS & {s.name for s in spec.settings}
    assert [s.name for s in spec.settings] == [f.name for f in fields(cls)]  # type: ignore[arg-type]
