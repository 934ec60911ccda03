"""Regression in context, random functions, spirals and word senses: what they ask, and the figures that they state."""

from __future__ import annotations

from collections import defaultdict
from typing import Any, get_args

import pytest
import torch

from archsearch.tasks.base import Examples, Split, Task
from archsearch.tasks.drawn import DrawnTask
from archsearch.tasks.in_context_regression import InContextRegression
from archsearch.tasks.registry import make

SPLITS: tuple[Split, ...] = get_args(Split)
SETTINGS = [
    {"dimensions": 10, "pairs": 10, "bound": 0.5},
    {"dimensions": 3, "pairs": 20, "bound": 1.0},
    {"dimensions": 8, "pairs": 2, "bound": 2.0},
]


@pytest.mark.parametrize("settings", SETTINGS)
def test_regression_states_what_a_step_of_gradient_descent_scores(settings: dict[str, Any]) -> None:
    """The step is taken here, on drawn examples; others of its size are worse."""
    task = make("in_context_regression", {**settings, "examples_validation": 60_000, "examples_train": 1})
    assert isinstance(task, InContextRegression)
    e = task.examples("validation")
    x, y = e.inputs[:, :-1, :-1], e.inputs[:, :-1, -1]
    query, value = e.inputs[:, -1, :-1], e.targets[:, -1, 0]
    direction = torch.einsum("bn,bnd,bd->b", y, x, query) / task.pairs

    def half_mse(prediction: torch.Tensor) -> float:
        return float((prediction - value).square().double().mean() / 2.0)

    sizes = [share * task.step_size for share in (0.8, 1.0, 1.2)]
    shorter, best, longer = (half_mse(size * direction) for size in sizes)
    assert best == pytest.approx(task.baselines["one gradient step"], rel=0.02)
    assert best < min(shorter, longer)
    assert half_mse(torch.zeros_like(value)) == pytest.approx(task.baselines["zero"], rel=0.02)


def test_regression_states_the_published_figures() -> None:
    task = make("in_context_regression", {})
    assert isinstance(task, InContextRegression)
    assert task.baselines["one gradient step"] == pytest.approx(0.2062, abs=5e-5)
    assert task.step_size == pytest.approx(6.0606, abs=5e-5)
    assert task.chance == pytest.approx(0.4167, abs=5e-5)


@pytest.mark.parametrize("pairs", [3, 6])
def test_regression_states_what_least_squares_score(pairs: int) -> None:
    task = make("in_context_regression", {"dimensions": 6, "pairs": pairs, "examples_validation": 20_000})
    e = task.examples("validation")
    x, y = e.inputs[:, :-1, :-1].double(), e.inputs[:, :-1, -1:].double()
    weights = torch.linalg.pinv(x) @ y
    errors = (e.inputs[:, -1:, :-1].double() @ weights - e.targets[:, -1:]).square().median()
    mean = float((e.inputs[:, -1:, :-1].double() @ weights - e.targets[:, -1:]).square().mean() / 2.0)
    assert (errors > 1e-3) == (pairs < 6)
    assert pairs == 6 or mean == pytest.approx(task.ceiling, rel=0.05)


def test_regression_asks_at_the_query_whose_value_it_hides() -> None:
    e = make("in_context_regression", {"examples_train": 50}).examples("train")
    assert e.mask is not None
    assert torch.equal(e.mask.nonzero()[:, 1], torch.full((50,), 10))
    assert (e.inputs[:, -1, -1] == 0.0).all() and (e.inputs[:, :-1, -1] != 0.0).all()
    torch.testing.assert_close(e.inputs[:, :-1, -1:], e.targets[:, :-1])
    assert e.inputs[:, :, :-1].abs().max() <= 0.5


def test_a_random_function_belongs_to_its_seed_and_does_not_change_with_its_points() -> None:
    one, same, other = (make("random_functions", s) for s in ({}, {"examples_train": 50_000}, {"seed": 1}))
    assert torch.equal(one.examples("test").targets, same.examples("test").targets)
    values = torch.cat([same.examples(split).targets for split in ("train", "test")])
    assert abs(float(values.mean())) < 0.02 and float(values.var()) == pytest.approx(1.0, abs=0.02)
    assert not torch.allclose(one.examples("test").targets, other.examples("test").targets)


@pytest.mark.parametrize(("frequency", "least", "most"), [(0.5, 0.0, 0.02), (50.0, 0.5, 3.0)])
def test_a_random_function_is_as_rough_as_its_frequency(frequency: float, least: float, most: float) -> None:
    """The mean squared difference of the values at the nearest of 4,096 points."""
    e = make("random_functions", {"frequency": frequency, "examples_train": 4096}).examples("train")
    points, values = e.inputs.squeeze(1), e.targets.squeeze(1)
    near = (torch.cdist(points, points) + 10.0 * torch.eye(len(points))).argmin(1)
    assert least <= float((values - values[near]).square().mean()) <= most


def test_spirals_are_one_another_turned_by_half() -> None:
    e = make("two_spirals", {"examples_train": 4000, "turns": 2.0}).examples("train")
    x, y = e.inputs.squeeze(1).double().unbind(1)
    radius = torch.hypot(x, y)
    assert float(radius.min()) > 0.06 and float(radius.max()) <= 1.0 + 1e-6
    turned = (torch.atan2(y, x) / torch.pi - 4.0 * radius) % 2.0
    apart = ((turned - e.targets + 1.0) % 2.0 - 1.0).abs()
    assert float(apart.max()) < 1e-4


@pytest.mark.parametrize("name", ["two_spirals", "word_senses", "random_functions"])
def test_labels_are_wrong_in_training_alone(name: str) -> None:
    clean, noisy = (make(name, {"label_noise": share}) for share in (0.0, 0.5))
    for split in SPLITS:
        a, b = (drawn(task, split) for task in (clean, noisy))
        assert torch.equal(a.inputs, b.inputs)
        if split != "train":
            assert torch.equal(a.targets, b.targets)
        elif name == "random_functions":
            assert float((b.targets - a.targets).std()) == pytest.approx(0.5, rel=0.05)
        else:
            different = a.targets != b.targets
            counted = different if a.mask is None else different[a.mask]
            by_chance = 1.0 / clean.output.size
            assert float(counted.double().mean()) == pytest.approx(0.5 * (1.0 - by_chance), rel=0.1)


@pytest.mark.parametrize("name", ["two_spirals", "random_functions"])
def test_inputs_are_missing_in_every_split_and_targets_stay(name: str) -> None:
    clean, missing = (make(name, {"missing_inputs": share}) for share in (0.0, 0.3))
    for split in SPLITS:
        a, b = (drawn(task, split) for task in (clean, missing))
        assert torch.equal(a.targets, b.targets)
        gone = b.inputs == 0.0
        assert torch.equal(b.inputs[~gone], a.inputs[~gone])
        assert float(gone.double().mean()) == pytest.approx(0.3, abs=0.02)
    assert clean.ceiling is not None and missing.ceiling is None


def drawn(task: Task, split: Split) -> Examples:
    assert isinstance(task, DrawnTask)
    return task.draw(4000, split, torch.Generator().manual_seed(0))


def test_a_word_has_a_meaning_of_its_own_in_every_topic_and_passages_have_their_topics() -> None:
    task = make("word_senses", {"words": 6, "senses": 3, "clues": 2, "noise_words": 3, "distance": 2, "variety": 4})
    e = task.examples("validation")
    assert e.mask is not None
    passages = e.inputs.view(len(e), 4, 8)
    assert torch.equal(e.mask.view(len(e), 4, 8)[0, 0], torch.arange(8) == 7)
    meanings: dict[tuple[int, int], set[int]] = defaultdict(set)
    kinds = (passages - 6) // 4  # below 0: ambiguous words; 3: words without a topic
    assert (kinds[:, :, 5:7] == 3).all() and (kinds[:, :, 7] < 0).all()
    clues = kinds[:, :, :5]
    assert ((clues >= 0) & (clues < 3)).sum(2).eq(2).all()
    topics = torch.where(clues < 3, clues, -1).amax(2)
    assert torch.equal(topics, torch.where(clues < 3, clues, 9).amin(2)), "a passage has one topic"
    assert (topics != topics[:, :1]).any()
    for word, topic, meaning in zip(
        passages[:, :, 7].flatten().tolist(), topics.flatten().tolist(), e.targets[e.mask].tolist(), strict=True
    ):
        meanings[word, topic].add(meaning)
    assert len(meanings) == 18 and all(len(m) == 1 for m in meanings.values())
    for word in range(6):
        assert len(set.union(*(meanings[word, topic] for topic in range(3)))) == 3
    for topic in range(3):
        assert set.union(*(meanings[word, topic] for word in range(6))) == set(range(6))
