"""Metrics that a person may choose instead of a task's own: what they are, and what else changes with them."""

from __future__ import annotations

import math
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from sklearn import metrics as known

from archsearch.errors import ConfigError, UnknownNameError
from archsearch.tasks.base import Task
from archsearch.tasks.metrics import METRICS
from archsearch.tasks.ranked import Ranked
from archsearch.tasks.registry import make
from archsearch.training.judge import Judge
from tests.tasks.test_registry import OWN, written

CLASSES, NUMBERS = METRICS["cross_entropy"], METRICS["squared_error"]
ORACLES = {
    "accuracy": lambda y, p: known.accuracy_score(y, p.argmax(-1)),
    "log_loss": lambda y, p: known.log_loss(y, p, labels=range(p.shape[-1])),
    "balanced_accuracy": lambda y, p: known.balanced_accuracy_score(y, p.argmax(-1)),
    "macro_f1": lambda y, p: known.f1_score(y, p.argmax(-1), average="macro"),
    "mse": known.mean_squared_error,
    "mae": known.mean_absolute_error,
    "r2": known.r2_score,
}


def drawn(name: str, copies: int = 2, count: int = 200, size: int = 7) -> tuple[torch.Tensor, torch.Tensor]:
    """Outputs `(E, N, S)` and targets; of the classes one is rare, one is only answered, and one neither."""
    generator = torch.Generator().manual_seed(0)
    outputs = torch.randn(copies, count, size, generator=generator)
    if name in NUMBERS:
        return outputs, outputs[0] + torch.randn(count, size, generator=generator) * torch.arange(1, size + 1) / 4
    outputs[..., -1] = -9.0
    targets = torch.randint(size - 2, (count,), generator=generator)
    targets[targets == 0] = torch.where(torch.arange(int((targets == 0).sum())) < 2, 0, 1)
    return outputs + 2.0 * torch.nn.functional.one_hot(targets, size), targets


@pytest.mark.filterwarnings("ignore:y_pred contains classes")
@pytest.mark.parametrize("name", [*CLASSES, *NUMBERS])
def test_scores_are_those_of_scikit_learn_and_add_up_over_batches(name: str) -> None:
    metric = (CLASSES | NUMBERS)[name]
    outputs, targets = drawn(name)
    parts = [metric.sums(outputs[:, rows], targets[rows]) for rows in (slice(0, 31), slice(31, 200))]
    scores = metric.score(parts[0] + parts[1])
    answers = outputs.double().softmax(-1) if name in CLASSES else outputs.double()
    wanted = [ORACLES[name](targets.double().numpy() if name in NUMBERS else targets, a.numpy()) for a in answers]
    assert scores.tolist() == pytest.approx(wanted, rel=1e-5)
    assert scores[0] != scores[1]


@pytest.mark.parametrize("name", [*CLASSES, *NUMBERS])
def test_the_truth_is_perfect(name: str) -> None:
    metric = (CLASSES | NUMBERS)[name]
    _, targets = drawn(name)
    outputs = targets if name in NUMBERS else 100.0 * torch.nn.functional.one_hot(targets, 7).float()
    assert float(metric.score(metric.sums(outputs.unsqueeze(0), targets))) == pytest.approx(metric.perfect, abs=1e-6)


def test_the_default_is_the_task_itself() -> None:
    plain = make("digits", {})
    assert make("digits", {"metric": "accuracy"}) == plain
    assert "metric" not in plain.settings()
    assert not isinstance(plain, Ranked)


def test_another_metric_is_another_identity_that_makes_itself_again() -> None:
    task = make("digits", {"patch": 4, "metric": "log_loss"})
    assert (task.metric, task.maximize, task.metrics[0]) == ("log_loss", False, "log_loss")
    assert task.settings() == {"patch": 4, "seed": 0, "metric": "log_loss"}
    assert make("digits", task.settings()) == task == pickle.loads(pickle.dumps(task))
    digests = {make("digits", {"patch": 4, "metric": m}).digest() for m in task.metrics}
    assert len(digests) == len(task.metrics) == 4


@pytest.mark.parametrize(
    ("name", "settings", "metrics"),
    [
        ("in_context_recall", {}, ["accuracy", "log_loss", "balanced_accuracy", "macro_f1"]),
        ("generated_language", {}, ["bits_per_token", "accuracy", "log_loss", "balanced_accuracy", "macro_f1"]),
        ("random_functions", {}, ["mse", "mae", "r2"]),
        ("in_context_regression", {}, ["half_mse", "mse", "mae", "r2"]),
        ("tabular", {"dataset": "diabetes"}, ["r2", "mse", "mae"]),
    ],
)
def test_a_task_offers_its_own_metric_and_those_of_its_outputs(
    name: str, settings: dict[str, Any], metrics: list[str]
) -> None:
    assert list(make(name, settings).metrics) == metrics


@pytest.mark.parametrize(
    ("name", "metric", "chance", "ceiling"),
    [
        ("in_context_recall", "log_loss", math.log(8), 0.0),
        ("in_context_recall", "balanced_accuracy", 1 / 8, 1.0),
        ("random_functions", "mae", None, 0.0),
        ("in_context_regression", "r2", 0.0, 1.0),
        ("digits", "balanced_accuracy", 0.1, None),
        ("generated_language", "log_loss", "bits", "bits"),
        ("generated_language", "accuracy", None, None),
    ],
)
def test_chance_and_ceiling_follow_the_metric(name: str, metric: str, chance: Any, ceiling: Any) -> None:
    plain, task = make(name, {}), make(name, {"metric": metric})
    if chance == "bits":
        chance, ceiling = plain.chance * math.log(2), (plain.ceiling or 0) * math.log(2)
    if chance is not None:
        assert task.chance == pytest.approx(chance, rel=0.02, abs=1e-3)
    assert task.ceiling == (None if ceiling is None else pytest.approx(ceiling))
    best = task.ceiling if task.ceiling is not None else (1.0 if task.maximize else 0.0)
    assert (best > task.chance) == task.maximize
    assert task.solved is None


@pytest.mark.parametrize("name", ["in_context_recall", "digits", "in_context_regression", "tabular", "compression"])
def test_the_own_metric_by_the_other_way_gives_the_same_scores(name: str) -> None:
    """Masks, answers at each step, one for a row and several for a sequence are counted as the task counts them."""
    task = make(name, {})
    by = {"half_mse": "mse"}.get(task.metric, task.metric)
    other = Ranked(task, METRICS[task.output.loss][by])
    size, answers = task.output.size, task.output.answers

    def forward(inputs: torch.Tensor) -> torch.Tensor:
        lead = inputs.shape[:2] if task.output.per == "steps" else (inputs.shape[0], *[answers] * (answers > 1))
        return torch.randn(2, *lead, size, generator=torch.Generator().manual_seed(inputs.shape[0]))

    mine, theirs = (Judge(t, torch.device("cpu"), limit=150, batch=60).validate(forward) for t in (task, other))
    factor = 0.5 if task.metric == "half_mse" else 1.0
    assert mine.score == pytest.approx([factor * s for s in theirs.score], rel=1e-6)
    assert mine.loss == theirs.loss


def test_a_metric_that_the_task_lacks_names_those_it_has() -> None:
    message = r"Task `digits`: `metric` must be one of accuracy, log_loss, .* got 'acuracy'. Did you mean `accuracy`"
    with pytest.raises(ConfigError, match=message):
        make("digits", {"metric": "acuracy"})
    with pytest.raises(ConfigError, match="must be one of r2, mse, mae"):
        make("tabular", {"dataset": "diabetes", "metric": "accuracy"})
    with pytest.raises(ConfigError, match="`metric` must be a name, but got True"):
        make("digits", {"metric": True})
    with pytest.raises(UnknownNameError, match="Did you mean `metric`"):
        make("digits", {"metrics": "accuracy"})


def test_a_task_of_ones_own_has_them_too_unless_it_says_otherwise(tmp_path: Path) -> None:
    path = written(tmp_path, OWN)
    assert make(path, {"metric": "log_loss"}).chance == pytest.approx(math.log(2), abs=0.2)
    own = OWN.replace("    length: int", '    metric: str = setting("hits", options=("hits",))\n    length: int')
    assert make(written(tmp_path, own), {"metric": "hits"}).metric == "hits"
    few = OWN.replace("    def digest", '    metrics = ("accuracy", "macro_f1")\n\n    def digest')
    with pytest.raises(ConfigError, match="must be one of accuracy, macro_f1, but got 'log_loss'"):
        make(written(tmp_path, few), {"metric": "log_loss"})


def test_r2_of_a_constant_target_is_no_infinity() -> None:
    metric = NUMBERS["r2"]
    score = metric.score(metric.sums(torch.zeros(1, 5, 1), torch.zeros(5, 1)))
    assert np.isfinite(float(score))


def test_ranked_is_no_task_by_name() -> None:
    assert issubclass(Ranked, Task)
    with pytest.raises(UnknownNameError):
        make("ranked", {})
