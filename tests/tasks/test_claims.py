"""What a task is there to show, seen on trained networks; docs/tasks.md lists each with its time."""

from __future__ import annotations

import random
from typing import Any

import pytest

from archsearch import content
from archsearch.graph.architecture import Architecture
from archsearch.graph.space import SearchSpace
from archsearch.ops.registry import registry
from archsearch.tasks.in_context_regression import InContextRegression
from archsearch.tasks.registry import make
from archsearch.training.measurement import Job, TrainingSettings
from archsearch.training.trainer import run
from tests.tasks.layers import mixer

pytestmark = pytest.mark.slow


def score(architecture: Architecture, name: str, settings: dict[str, Any] | None = None, **training: Any) -> float:
    """On validation, after the training that the task recommends but for what is said."""
    task = make(name, settings or {})
    chosen = TrainingSettings(**{**task.training, "device": "cpu", **training})
    measured = run(Job(name, architecture.to_dict(), name, settings or {}, chosen))
    assert measured.score is not None
    return measured.score


def test_attention_recalls_in_context() -> None:
    assert score(mixer("attention"), "in_context_recall", {"length": 64}, steps=1000) >= 0.99


def test_attention_recalls_several_of_many_keys() -> None:
    assert score(mixer("attention"), "multi_query_recall", {"vocabulary": 256}) >= 0.99


def test_attention_finds_what_followed_the_special_token() -> None:
    assert score(mixer("attention"), "induction_heads", {"length": 64, "test_length": 64}) >= 0.99


def test_induction_goes_on_at_sixteen_times_the_length_without_positions() -> None:
    network = mixer("attention", "positions: none", before="short_conv")
    settings = {"length": 64, "test_length": 1024}
    assert score(network, "induction_heads", settings, learning_rates=(3e-3,), evaluation_examples=64) >= 0.99


def test_attention_tells_a_sequence_from_the_last_step() -> None:
    assert score(mixer("attention"), "compression", {"vocabulary": 8, "length": 8}) >= 0.99


def test_what_mamba_keeps_depends_on_what_it_reads() -> None:
    settings = {"length": 32, "copies": 4, "vocabulary": 10}
    selective, same_for_all = (
        score(mixer(name), "selective_copying", settings, steps=600, learning_rates=(4e-3,))
        for name in ("mamba", "s4d")
    )
    assert selective >= 0.95
    assert selective - same_for_all >= 0.1


@pytest.mark.parametrize(("name", "low", "high"), [("lstm", 0.99, 1.0), ("attention", 0.4, 0.6)])
def test_parity_beyond_the_lengths_of_training_needs_a_recurrence(name: str, low: float, high: float) -> None:
    assert low <= score(mixer(name), "parity") <= high


@pytest.mark.parametrize(("name", "low", "high"), [("lstm", 0.99, 1.0), ("attention", 0.1, 0.25)])
def test_permutations_beyond_the_lengths_of_training_need_a_recurrence(name: str, low: float, high: float) -> None:
    assert low <= score(mixer(name), "permutations", steps=1000 if name == "lstm" else 400) <= high


def test_linear_self_attention_learns_a_step_of_gradient_descent() -> None:
    space = SearchSpace.read(content.names("search_spaces")["linear_self_attention"], registry(), content.block_files())
    task = make("in_context_regression", {})
    assert isinstance(task, InContextRegression)
    found = score(space.sample(random.Random(0)).architecture, task.name)
    assert found == pytest.approx(task.baselines["one gradient step"], rel=0.02)
