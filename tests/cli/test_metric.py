"""A campaign that is ranked by another metric than the task's own."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import Result

SPACE = """
version: 1
name: tiny
graph:
  nodes:
    act: {op: {choose: [tanh, relu, gelu]}, from: in}
    out: {op: rms_norm, from: act}
scale: {width: 8}
campaign: {task: digits, executor: inline, trials: 3, controls: [unigram], training: {steps: 8, reports: 2}}
"""
QUICK = ("--set", "training.evaluation_examples=64", "--set", "finals.top=1", "--set", "finals.seeds=1")


@pytest.fixture
def tiny(tmp_path: Path) -> str:
    path = tmp_path / "tiny.yaml"
    path.write_text(SPACE)
    return str(path)


def test_a_campaign_is_ranked_by_the_metric_that_was_chosen(
    call: Callable[..., Result], tiny: str, results_folder: Path
) -> None:
    board = json.loads(call("run", tiny, *QUICK, "--set", "task.metric=log_loss", "--json").stdout)["boards"][0]
    assert (board["metric"], board["maximize"]) == ("log_loss", False)
    assert 2.2 < board["chance"] < 2.4
    scores = [r["score"] for r in board["rows"] if r["section"] == "search"]
    assert scores == sorted(scores)
    unigram = next(r["score"] for r in board["rows"] if r["role"] == "control")
    assert unigram == pytest.approx(board["chance"], abs=0.02)
    call("run", tiny, *QUICK, "--name", "plain")
    boards = json.loads(call("leaderboard", "tiny-1", "plain", "--json").stdout)["boards"]
    assert {b["metric"] for b in boards} == {"log_loss", "accuracy"}, "never on one board"


def test_a_space_may_name_the_metric(call: Callable[..., Result], tiny: str) -> None:
    text = Path(tiny).read_text().replace("task: digits", "task: digits, task_settings: {metric: macro_f1}")
    Path(tiny).write_text(text)
    assert "metric: macro_f1" in call("run", tiny, "--dry-run").stdout
    Path(tiny).write_text(text.replace("macro_f1", "macro_f2"))
    result = call("run", tiny, "--dry-run", code=2)
    assert "tiny.yaml:9" in result.stderr
    assert "must be one of accuracy, log_loss, balanced_accuracy, macro_f1, but got 'macro_f2'" in result.stderr
    assert "Did you mean `macro_f1`" in result.stderr


def test_a_metric_that_the_task_lacks_ends_with_2(call: Callable[..., Result], tiny: str) -> None:
    for command in (("run", tiny), ("tasks", "show", "digits")):
        said = call(*command, "--set", "task.metric=r2", code=2).stderr
        assert said.startswith("Error: Task `digits`: `metric` must be one of accuracy, log_loss,")


def test_one_architecture_is_scored_by_it_too(call: Callable[..., Result], tiny: str) -> None:
    Path(tiny).write_text(Path(tiny).read_text().replace("{choose: [tanh, relu, gelu]}", "tanh"))
    result = call("train", tiny, "--set", "task.metric=balanced_accuracy", "--json")
    assert 0.0 <= json.loads(result.stdout)["score"] <= 1.0
