"""Parity, permutations and modular arithmetic: what is asked, and how long it is."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from archsearch.build.model import build
from archsearch.errors import ConfigError
from archsearch.tasks.base import Examples, Task
from archsearch.tasks.digests import row_hashes
from archsearch.tasks.permutations import products
from archsearch.tasks.registry import make
from tests.tasks.layers import mixer

FEW = {"examples_train": 300, "examples_validation": 100, "examples_test": 100}
TASKS = ("parity", "permutations", "modular_arithmetic")


def rows(task: Task, e: Examples) -> list[tuple[list[int], list[int], list[bool]]]:
    """Symbols without their padding, and targets and mask as far."""
    assert e.mask is not None
    padding = task.input.size - 1
    ends = (e.inputs != padding).sum(1).tolist()
    several = zip(e.inputs.tolist(), e.targets.tolist(), e.mask.tolist(), ends, strict=True)
    return [(x[:n], y[:n], m[:n]) for x, y, m, n in several]


@pytest.mark.parametrize("name", TASKS)
@pytest.mark.parametrize("answers", ["every", "last"])
def test_sequences_are_padded_at_the_end_and_only_their_symbols_count(name: str, answers: str) -> None:
    task = make(name, {**FEW, "answers": answers})
    for split, low, high, first in (("train", 3, 40, 1), ("validation", 41, 256, 41), ("test", 41, 256, 41)):
        e = task.examples(split)  # type: ignore[arg-type]
        assert e.mask is not None
        step, padded = torch.arange(1, e.inputs.shape[1] + 1), e.inputs == task.input.size - 1
        ends = (~padded).sum(1)
        assert torch.equal(padded, step > ends.unsqueeze(1)), "padding stands at the end alone"
        assert low <= ends.min() and ends.max() <= high and len(ends.unique()) > 10
        assert not (e.mask & (padded | (step < first))).any()
        assert (e.mask & (step == ends.unsqueeze(1))).any(1).all(), "the whole sequence has an answer"
        assert (answers == "last") == bool((e.mask.sum(1) == 1).all())


@pytest.mark.parametrize("name", TASKS)
def test_validation_may_be_as_long_as_training(name: str) -> None:
    task = make(name, {**FEW, "validate": "short", "length": 20, "test_length": 30})
    assert [task.length_in(split) for split in ("train", "validation", "test")] == [20, 20, 30]
    mask = task.examples("validation").mask
    assert mask is not None and mask[:, 0].all()
    assert not row_hashes(task.examples("train")) & row_hashes(task.examples("validation"))


def test_parity_counts_ones() -> None:
    task = make("parity", FEW)
    for bits, targets, mask in rows(task, task.examples("train")):
        assert all(mask)
        assert targets == [sum(bits[: t + 1]) % 2 for t in range(len(bits))]


@pytest.mark.parametrize(("group", "order"), [("s3", 6), ("a5", 60), ("s5", 120)])
def test_permutations_form_a_group(group: str, order: int) -> None:
    table = products(group)
    everything = torch.arange(order)
    assert torch.equal(table[0], everything) and torch.equal(table[:, 0], everything)
    for line in (table.sort(0).values.T, table.sort(1).values):
        assert torch.equal(line, everything.expand(order, order)), "each product has one factor"
    assert torch.equal(table[table], table[:, table]), "(ab)c = a(bc)"
    assert not torch.equal(table, table.T)


def test_a5_has_no_odd_permutation() -> None:
    """The even ones are the products of squares: in S5 the squares lead to 60 elements, in A5 to all."""
    for group in ("a5", "s5"):
        table = products(group)
        reached = table.diagonal().unique()
        while True:
            more = torch.cat([reached, table[reached][:, reached].flatten()]).unique()
            if len(more) == len(reached):
                break
            reached = more
        assert len(reached) == 60


@pytest.mark.parametrize("group", ["s3", "a5", "s5"])
def test_permutations_are_multiplied_from_the_left(group: str) -> None:
    task = make("permutations", {**FEW, "group": group})
    table = products(group)
    for elements, targets, mask in rows(task, task.examples("train")):
        assert all(mask)
        state = 0
        for element, target in zip(elements, targets, strict=True):
            state = int(table[element, state])
            assert state == target


@pytest.mark.parametrize("settings", [{}, {"brackets": True}, {"brackets": True, "modulus": 3, "depth": 1}])
def test_arithmetic_gives_the_values_that_python_gives(settings: dict[str, Any]) -> None:
    task = make("modular_arithmetic", {**FEW, **settings})
    modulus = task.settings()["modulus"]
    words = [*map(str, range(modulus)), "+", "-", "*", "(", ")"]
    nested = 0
    for split in ("train", "test"):
        for tokens, targets, mask in rows(task, task.examples(split)):
            text = "".join(words[i] for i in tokens)
            assert mask[-1]
            for t in (t for t, counts in enumerate(mask) if counts):
                assert eval(text[: t + 1]) % modulus == targets[t], text
            depths = [text[:t].count("(") - text[:t].count(")") for t in range(len(text))]
            nested = max(nested, *depths)
    assert nested == (settings.get("depth", 8) if settings else 0)


def test_lengths_that_hold_no_expression_are_refused() -> None:
    with pytest.raises(ConfigError, match="`shortest` <= `length` < `test_length`"):
        make("parity", {"length": 300})
    with pytest.raises(ConfigError, match="none of 4 to 4 symbols"):
        make("modular_arithmetic", {"shortest": 4, "length": 4})


@pytest.mark.parametrize("name", ["hyena", "long_conv", "attention", "mamba"])
def test_a_model_for_short_sequences_answers_long_ones(name: str) -> None:
    """Filters of a given length, too, say something at every step beyond it, and leave the steps before as they are."""
    task = make("parity", {**FEW, "test_length": 300})
    model = build(
        mixer(name, "length: 40" if name in ("hyena", "long_conv") else ""), task.input, task.output, seeds=[0]
    )
    inputs: Tensor = task.examples("test").inputs[:2]
    with torch.no_grad():
        whole, start = model.eval()(inputs), model(inputs[:, :40])
    assert whole.shape == (1, 2, 300, 2) and whole.isfinite().all()
    torch.testing.assert_close(whole[:, :, :40], start, rtol=1e-4, atol=1e-4)
