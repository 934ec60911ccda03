"""No example is in two splits, and none twice in one: of every task that is drawn, however few examples there are."""

from __future__ import annotations

from typing import Any

import pytest

from archsearch.errors import ConfigError
from archsearch.tasks.base import Split, Task
from archsearch.tasks.drawn import DrawnTask
from archsearch.tasks.registry import make, names, task_class

SHORT: dict[str, Any] = {"shortest": 3, "test_length": 5, "validate": "short"}
TINY: dict[str, dict[str, Any]] = {
    "in_context_recall": {"vocabulary": 4, "length": 4},
    "fuzzy_recall": {"vocabulary": 8, "length": 6, "key_motif": 1, "value_motif": 1},
    "noisy_recall": {"vocabulary": 6, "noise_vocabulary": 2, "length": 4},
    "selective_copying": {"vocabulary": 4, "length": 7, "copies": 2},
    "compression": {"vocabulary": 3, "length": 5},
    "memorization": {"vocabulary": 9, "length": 4},
    "multi_query_recall": {"vocabulary": 6, "length": 4, "pairs": 1},
    "induction_heads": {"vocabulary": 3, "length": 5, "test_length": 6},
    "copying": {"vocabulary": 4, "shortest": 1, "longest": 3, "test_shortest": 1, "test_longest": 4},
    "parity": {**SHORT, "length": 4},
    "permutations": {**SHORT, "shortest": 1, "length": 2, "test_length": 3},
    "modular_arithmetic": {**SHORT, "shortest": 3, "length": 3, "modulus": 2},
    "generated_language": {"vocabulary": 3, "length": 3, "states": 2, "concentration": 10.0},
    "word_senses": {"words": 2, "senses": 2, "passages": 2, "clues": 1, "noise_words": 0, "distance": 0, "variety": 1},
}
"""Settings with which there are few examples, of a task whose examples are not made of real numbers."""
FEW = {"examples_train": 6, "examples_validation": 3, "examples_test": 3}


def rows(task: Task, split: Split) -> list[tuple[Any, ...]]:
    """The inputs, without what fills up their ends."""
    assert isinstance(task, DrawnTask)
    found = []
    for row in task.examples(split).inputs.flatten(1).tolist():
        while task.padding is not None and row[-1] == task.padding:
            row.pop()
        found.append(tuple(row))
    return found


def check(task: Task, sizes: dict[Split, int]) -> None:
    seen: set[tuple[Any, ...]] = set()
    for split, size in sizes.items():
        own = rows(task, split)
        assert len(own) == size
        assert len(set(own)) == size, f"an example of {split} comes twice"
        assert not seen.intersection(own), f"{split} shares an example"
        seen.update(own)


@pytest.mark.parametrize("name", [n for n in names() if issubclass(task_class(n), DrawnTask)])
def test_a_drawn_task_says_nothing_twice(name: str) -> None:
    sizes: dict[Split, int] = {"train": 3000, "validation": 1000, "test": 1000}
    check(make(name, {f"examples_{split}": size for split, size in sizes.items()}), sizes)


def test_every_task_of_tokens_is_tried_where_it_is_tiny() -> None:
    drawn = {n for n in names() if issubclass(task_class(n), DrawnTask)}
    assert set(TINY) == {n for n in drawn if make(n, {}).input.kind == "tokens"}


@pytest.mark.parametrize("name", TINY)
def test_few_examples_are_shared_out(name: str) -> None:
    check(make(name, {**TINY[name], **FEW}), {"train": 6, "validation": 3, "test": 3})


@pytest.mark.parametrize("name", TINY)
def test_more_examples_than_there_are_end_in_a_plain_error(name: str) -> None:
    with pytest.raises(ConfigError, match=r"must allow .* different examples in split .*: only .* were found. Ask for"):
        make(name, TINY[name]).examples("train")


def test_a_short_string_is_one_example_however_it_is_filled_up() -> None:
    """Strings of one or two of two letters: 6 in all, and in rows of different length in training and test."""
    settings = {"vocabulary": 4, "shortest": 1, "longest": 2, "test_shortest": 1, "test_longest": 3}
    sizes = {"examples_train": 2, "examples_validation": 4, "examples_test": 8}
    task = make("copying", {**settings, **sizes})
    check(task, {"train": 2, "validation": 4, "test": 8})
