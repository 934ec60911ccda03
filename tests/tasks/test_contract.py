"""What every task promises; each shipped task passes as a parameter."""

from __future__ import annotations

import dataclasses
import math
from typing import Any, get_args

import pytest
import torch

from archsearch.tasks import contract
from archsearch.tasks.base import Split, Task
from archsearch.tasks.digests import row_hashes
from archsearch.tasks.registry import make, names, task_class
from archsearch.training.measurement import TrainingSettings
from tests.tasks.own_data import given, needs

SPLITS: tuple[Split, ...] = get_args(Split)
DRAWN = {"examples_train": 1000, "examples_validation": 500, "examples_test": 500, "seed": 1}
RECALL = {**DRAWN, "length": 64, "targets": "all", "solved_at": 0.9}
TRACKED = DRAWN | {"solved_at": 0.9, "shortest": 4, "length": 30, "test_length": 64, "validate": "short"}
CORRUPTED = {"label_noise": 0.1, "missing_inputs": 0.1}
CHANGED: dict[str, dict[str, Any]] = {
    "in_context_recall": {**RECALL, "vocabulary": 8},
    "fuzzy_recall": {**RECALL, "vocabulary": 18, "key_motif": 2, "value_motif": 2},
    "noisy_recall": {**RECALL, "vocabulary": 48, "noise_vocabulary": 8, "noise": 0.4},
    "selective_copying": {**DRAWN, "solved_at": 0.9, "vocabulary": 32, "length": 64, "copies": 8},
    "compression": {**DRAWN, "solved_at": 0.9, "vocabulary": 32, "length": 64},
    "memorization": {**DRAWN, "solved_at": 0.9, "vocabulary": 128, "length": 64},
    "multi_query_recall": {**DRAWN, "solved_at": 0.9, "vocabulary": 256, "length": 128, "pairs": 8, "power": 1.0},
    "induction_heads": {**DRAWN, "solved_at": 0.9, "vocabulary": 32, "length": 128, "test_length": 128},
    "copying": {
        **DRAWN,
        "solved_at": 0.9,
        "vocabulary": 32,
        "shortest": 9,
        "longest": 15,
        "test_shortest": 9,
        "test_longest": 15,
    },
    "parity": {**TRACKED, "answers": "last"},
    "permutations": {**TRACKED, "answers": "last", "group": "s5"},
    "modular_arithmetic": {**TRACKED, "answers": "last", "brackets": True, "modulus": 7, "depth": 3},
    "in_context_regression": {**DRAWN, "dimensions": 4, "pairs": 5, "bound": 1.0},
    "random_functions": {**DRAWN, **CORRUPTED, "dimensions": 3, "terms": 8, "frequency": 1.0},
    "two_spirals": {**DRAWN, **CORRUPTED, "solved_at": 0.9, "turns": 1.0, "spread": 0.1},
    "word_senses": DRAWN
    | {"solved_at": 0.9, "label_noise": 0.1, "words": 8, "senses": 2, "passages": 2}
    | {"clues": 1, "noise_words": 2, "distance": 1, "variety": 4},
    "byte_language_model": {"length": 64},
    "source_language_model": {"length": 64, "megabytes": 2, "tests": True, "seed": 1},
    "text": {"path": "", "length": 64, "files": "*.txt", "split": "parts", "part": "a", "column": "b", "seed": 1},
    "generated_language": {
        **DRAWN,
        "kind": "markov",
        "vocabulary": 16,
        "length": 64,
        "states": 4,
        "memory": 2.0,
        "order": 1,
        "depth": 3,
        "branching": 0.5,
        "word_order": "free",
        "concentration": 0.5,
        "language_seed": 1,
    },
    "tabular": {"dataset": "wine", "layout": "row", "seed": 1},
    "table": {
        "path": "",
        "target": "price",
        "kind": "classification",
        "layout": "row",
        "ignore": "age",
        "part": "a",
        "missing": "fill",
        "categories": 2,
        "separator": ",",
        "seed": 1,
    },
    "arrays": {"path": "", "kind": "regression", "tokens": True, "scale": False, "seed": 1},
    "images": {"path": "", "size": 16, "patch": 8, "colour": True, "seed": 1},
    "digits": {"patch": 4, "seed": 1},
}
ROOM: dict[str, dict[str, Any]] = {
    "selective_copying": {"length": 1024},
    "multi_query_recall": {"length": 512},
}
"""What else has to change before the ladder can be climbed."""
SHARP: dict[str, dict[str, Any]] = {
    **{name: {"examples_validation": 40_000} for name in ("random_functions", "two_spirals", "word_senses")},
    "in_context_regression": {"examples_validation": 100_000},
    # The eight values of a sequence are asked again and again: many sequences are needed for a sharp figure.
    "in_context_recall": {"examples_validation": 40_000, "length": 32},
    "fuzzy_recall": {"examples_validation": 20_000, "length": 32},
    "noisy_recall": {"examples_validation": 40_000, "length": 32},
    "selective_copying": {"examples_validation": 40_000, "length": 64},
    "compression": {"examples_validation": 20_000},
    "copying": {"examples_validation": 40_000},
    # One value in thousands is not hit often enough, nor are those that are asked for once a sequence.
    "memorization": {"examples_train": 2000, "examples_validation": 20_000, "vocabulary": 16},
    "multi_query_recall": {"examples_train": 2000, "examples_validation": 20_000, "vocabulary": 16, "length": 32},
    "induction_heads": {"examples_validation": 50_000, "vocabulary": 5, "test_length": 32},
}


@pytest.fixture(params=names())
def task(request: pytest.FixtureRequest) -> Task:
    needs(request.param)
    return made(request.param)


def made(name: str, **changes: Any) -> Task:
    """The task with the settings that a test of it needs, some of them changed."""
    return make(name, {**given(name), **changes})


def test_is_a_frozen_dataclass_with_words_for_people(task: Task) -> None:
    assert dataclasses.is_dataclass(task)
    assert task_class(task.name) is type(task), "a shipped task is named like its file"
    assert task.summary.endswith(".")
    assert task.metric
    with pytest.raises(dataclasses.FrozenInstanceError):
        task.length = 3  # type: ignore[misc]


def test_recommends_training_settings_that_exist(task: Task) -> None:
    assert task.training
    TrainingSettings(**task.training)


def test_settings_are_plain_and_make_an_equal_task(task: Task) -> None:
    assert make(task.name, task.settings()) == task


def test_data_are_what_input_and_output_promise(task: Task) -> None:
    contract.check(task, SPLITS)


@pytest.mark.parametrize("split", SPLITS)
def test_the_same_settings_give_the_same_bits(task: Task, split: Split) -> None:
    first = task.examples(split)
    forget_caches(task)
    again = make(task.name, task.settings()).examples(split)
    assert torch.equal(first.inputs, again.inputs)
    assert torch.equal(first.targets, again.targets)
    assert (first.mask is None and again.mask is None) or torch.equal(first.mask, again.mask)


def test_the_splits_share_no_example(task: Task) -> None:
    train, validation, test = (row_hashes(task.examples(split)) for split in SPLITS)
    assert not train & validation
    assert not train & test
    assert not validation & test


def test_every_setting_changes_the_digest(task: Task) -> None:
    changed = CHANGED[task.name]
    assert set(changed) == set(task.settings()), "each setting needs a value to change to here"
    if "path" in changed:
        changed = {**changed, "path": given(task.name, other=True)["path"]}
    digests = [made(task.name, **{key: value}).digest() for key, value in changed.items()] + [task.digest()]
    assert len(set(digests)) == len(digests)
    assert all(len(d) == 16 and int(d, 16) >= 0 for d in digests)
    assert made(task.name).digest() == task.digest()


def test_chance_is_what_the_frequencies_of_the_targets_give(task: Task) -> None:
    """The judge itself scores a candidate that always answers with the log frequencies of the training targets."""
    task = made(task.name, **SHARP.get(task.name, {}))
    train, validation = task.examples("train"), task.examples("validation")
    counted = train.targets if train.mask is None else train.targets[train.mask]
    if task.output.loss == "squared_error":
        mean = counted.reshape(-1, task.output.size).mean(0)
        score, _, count = task.judge(mean.expand(1, *validation.targets.shape), validation.targets, validation.mask)
        assert float(score / count) == pytest.approx(task.chance, rel=0.02)
        return
    if train.targets.ndim == 2 and train.mask is None:
        counted = train.targets[:, 0]
    counts = counted.flatten().bincount(minlength=task.output.size).double() + 1.0
    logits = (counts / counts.sum()).log().float()
    outputs = logits.expand(1, *validation.targets.shape, -1)
    score, _, count = task.judge(outputs, validation.targets, validation.mask)
    assert float(score / count) == pytest.approx(task.chance, rel=0.02)


def test_chance_lies_short_of_the_ceiling(task: Task) -> None:
    best = task.ceiling if task.ceiling is not None else (1.0 if task.maximize else 0.0)
    assert (best > task.chance) == task.maximize
    if task.solved is not None:
        assert (task.solved > task.chance) == task.maximize


def test_the_judge_adds_up_over_batches_and_copies(task: Task) -> None:
    e = task.examples("validation")
    rows = slice(0, 12)
    targets, mask = e.targets[rows], None if e.mask is None else e.mask[rows]
    shape = targets.shape if task.output.loss == "squared_error" else (*targets.shape, task.output.size)
    outputs = torch.randn(3, *shape, generator=torch.Generator().manual_seed(0))
    whole = task.judge(outputs, targets, mask)
    parts = [
        task.judge(outputs[:, part], targets[part], None if mask is None else mask[part])
        for part in (slice(0, 5), slice(5, 12))
    ]
    for total, a, b in zip(whole, *parts, strict=True):
        assert total.shape == (3,)
        assert total.dtype == torch.float64
        torch.testing.assert_close(total, a + b, rtol=1e-6, atol=0.0)
    alone = task.judge(outputs[1:2], targets, mask)
    for total, one in zip(whole, alone, strict=True):
        torch.testing.assert_close(total[1:2], one, rtol=1e-6, atol=0.0)


def test_the_judge_knows_a_perfect_candidate(task: Task) -> None:
    e = task.examples("validation")
    if task.output.loss == "squared_error":
        outputs = e.targets[:8].unsqueeze(0)
    else:
        outputs = 100.0 * torch.nn.functional.one_hot(e.targets[:8], task.output.size).float().unsqueeze(0)
    mask = None if e.mask is None else e.mask[:8]
    score, loss, count = task.judge(outputs, e.targets[:8], mask)
    assert float(score / count) == pytest.approx(1.0 if task.maximize else 0.0)
    assert float(loss) == pytest.approx(0.0)
    answers = e.targets[:8].numel() // (task.output.size if task.output.loss == "squared_error" else 1)
    assert int(count) == (answers if mask is None else int(mask.sum()))


def test_a_task_with_a_ceiling_has_a_ladder(task: Task) -> None:
    if task.ceiling is not None:
        assert task.ladder, "something to calibrate"
    for name, value in task.calibrated_with.items():
        assert made(task.name, **{name: value}) != task


def test_steps_of_the_ladder_can_be_climbed(task: Task) -> None:
    for key, values in task.ladder.items():
        for value in values:
            if task.settings()[key] != value:
                assert make(task.name, {**ROOM.get(task.name, {}), key: value}).settings()[key] == value


def test_a_task_per_step_must_be_causal(task: Task) -> None:
    assert task.causal == (task.output.per == "steps")


def test_chance_of_bytes_is_their_entropy() -> None:
    assert 0.0 < make("byte_language_model", {}).chance < math.log2(256)


def forget_caches(task: Task) -> None:
    """Makes a task draw its data again."""
    import sys

    for value in vars(sys.modules[type(task).__module__]).values():
        if hasattr(value, "cache_clear"):
            value.cache_clear()
