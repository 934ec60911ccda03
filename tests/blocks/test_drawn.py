"""Every shipped block keeps its promises at settings that hypothesis draws."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, Phase, given
from hypothesis import settings as how

from archsearch.errors import RuleError, UserError
from tests.blocks.contract import (
    BLOCKS,
    architecture,
    check_causal,
    check_forms_agree,
    check_gradients,
    check_state,
    check_width_and_parameters,
)
from tests.blocks.draws import settings

PROMISES = (check_width_and_parameters, check_forms_agree, check_gradients, check_state, check_causal)
FEW, MANY = 2, 10


def drawn(name: str, count: int) -> None:
    """Holds a block to its promises at `count` settings; at least one has to be taken."""
    kept: list[str] = []

    @how(
        max_examples=count,
        derandomize=True,
        database=None,
        deadline=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(settings(name))
    def hold(text: str) -> None:
        try:
            architecture(name, text)
        except (RuleError, UserError):
            return
        kept.append(text)
        for promise in PROMISES:
            promise(name, text)

    hold()
    assert kept, "all that is drawn is refused"


@pytest.mark.parametrize("name", BLOCKS)
def test_drawn_settings(name: str) -> None:
    drawn(name, FEW)


@pytest.mark.slow
@pytest.mark.parametrize("name", BLOCKS)
def test_many_drawn_settings(name: str) -> None:
    drawn(name, MANY)
