"""Several tasks at the command line: run, train, show, leaderboard, tasks."""

import json
from functools import partial
from pathlib import Path

import pytest

from archsearch.campaign import run as campaign_run
from tests.campaign import test_suites as tests_of_campaigns

TINY = """
version: 1
name: tiny
graph:
  nodes:
    mix: {op: {choose: [gru, identity]}, from: in}
    more: {op: mlp, expand: {int: [1, 4]}, from: mix}
    out: {op: rms_norm, from: more}
scale: {width: 8}
campaign:
  task: [parity, in_context_recall]
  task_settings: {parity: {length: 20}}
  executor: inline
  trials: 3
  controls: [no_mixer]
  finals: {top: 1, seeds: 2}
  training: {reports: 2, parity: {steps: 6}}
"""
POINT = """
version: 1
name: point
campaign: {task: digits}
graph:
  nodes:
    act: {op: gru, from: in}
    out: {op: rms_norm, from: act}
scale: {width: 8}
"""
QUICK = ("--set", "training.steps=4", "--set", "training.reports=2", "--set", "training.evaluation_examples=32")


@pytest.fixture
def tiny(tmp_path: Path) -> str:
    path = tmp_path / "tiny.yaml"
    path.write_text(TINY)
    return str(path)


@pytest.fixture
def quickly(monkeypatch):
    """Campaigns train with a trainer that takes no time."""
    real = campaign_run.run
    monkeypatch.setattr(campaign_run, "run", partial(real, runner=tests_of_campaigns.RUNNER))


def test_a_campaign_on_several_tasks_becomes_a_board_with_a_column_for_each(call, tiny, quickly):
    result = call("run", tiny)
    assert "mean over 2 tasks, seed by seed" in result.stdout
    assert "parity  in_context_recall" in result.stdout
    assert "best mean score" in result.stderr
    (board,) = json.loads(call("leaderboard", "tiny-1", "--json").stdout)["boards"]
    assert list(board["tasks"]) == ["parity", "in_context_recall"]
    assert set(board["rows"][0]["tasks"]) == {"parity", "in_context_recall"}
    assert board["rows"][0]["metric"] == "mean score"
    shown = call("leaderboard", "tiny-1", "--columns", "id,task.parity", "--sort", "-task.parity").stdout
    assert "parity" in shown
    call("resume", "tiny-1")


def test_one_candidate_is_shown_task_by_task_and_compared_on_each(call, tiny, quickly):
    call("run", tiny)
    text = call("show", "tiny-1", "1").stdout
    for part in ("Search\n", "Search, parity (accuracy)", "Search, in_context_recall (accuracy)"):
        assert part in text
    data = json.loads(call("show", "tiny-1", "1", "--json").stdout)
    assert set(data["search_tasks"]) == {"parity", "in_context_recall"}
    assert data["search_tasks"]["parity"]["steps"] == 6
    assert data["tasks"]["parity"] == data["search_tasks"]["parity"]["score"] or data["final_tasks"]
    assert "in_context_recall" in call("diff", "tiny-1", "1", "2").stdout
    assert set(json.loads(call("diff", "tiny-1", "1", "2", "--json").stdout)) >= {"task.parity", "score"}


def test_a_dry_run_writes_the_file_that_does_the_same_again(call, tiny, tmp_path):
    file = tmp_path / "campaign.yaml"
    file.write_text(call("run", tiny, "--dry-run", "--set", "training.in_context_recall.steps=9").stdout)
    config = json.loads(call("run", str(file), "--dry-run", "--json").stdout)["config"]
    assert config["members"] == ["parity", "in_context_recall"]
    assert (config["training"]["parity"]["steps"], config["training"]["in_context_recall"]["steps"]) == (6, 9)
    one = json.loads(call("run", tiny, "--task", "digits", "--dry-run", "--json").stdout)["config"]
    assert "members" not in one
    assert (one["task"], one["task_settings"]) == ("digits", {})


def test_an_architecture_is_trained_on_each_task(call, tmp_path):
    path = tmp_path / "point.yaml"
    path.write_text(POINT)
    args = ("train", str(path), "--task", "digits,parity", "--set", "task.parity.length=20", *QUICK)
    data = json.loads(call(*args, "--json").stdout)
    assert list(data["tasks"]) == ["digits", "parity"]
    assert [m["fidelity"]["task"] for m in data["tasks"].values()] == ["digits", "parity"]
    scores = {label: m["score"] for label, m in data["tasks"].items()}
    alone = json.loads(call("train", str(path), "--task", "digits", *QUICK, "--json").stdout)
    assert scores["digits"] == alone["score"]
    assert data["score"] < 1.0
    text = call(*args, "--seeds", "2").stdout
    for part in ("digits", "parity", "of the way", "mean score", "95 % over seeds"):
        assert part in text


def test_a_candidate_that_cannot_be_trained_names_the_task(call, tmp_path, monkeypatch):
    from archsearch.errors import CandidateError
    from archsearch.training import trainer

    def broken(job, on_report):
        raise CandidateError("diverged", "all copies diverged")

    monkeypatch.setattr(trainer, "run", broken)
    path = tmp_path / "point.yaml"
    path.write_text(POINT)
    assert "on parity: all copies diverged" in call("train", str(path), "--task", "parity,digits", code=1).stderr


def test_suites_are_listed_and_shown(call):
    assert "state_tracking  3 tasks" in call("tasks", "list").stdout
    listed = json.loads(call("tasks", "list", "--json").stdout)
    assert listed[-1]["tasks"] == ["parity", "modular_arithmetic", "permutations"]
    text = call("tasks", "show", "mad").stdout
    assert "memorization" in text
    assert "arXiv:2403.17844" in text
    assert json.loads(call("tasks", "show", "mad", "--json").stdout)["tasks"][0] == "in_context_recall"
    assert "is a suite of several" in call("tasks", "show", "mad", "--set", "task.length=3", code=2).stderr
    assert "and here one is asked for" in call("tasks", "calibrate", "mad", code=2).stderr


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (("--task", "parity,digts"), "Did you mean `digits`"),
        (("--task", "parity,parity"), "must be different ones, but got `parity` twice"),
        (("--task", ","), "must name at least one task"),
        (("--task", "state_trakcing"), "Did you mean `state_tracking`"),
        (("--set", "task.length=3"), "as in `task.parity.length`, but got `task.length`"),
        (("--set", "task.digits.patch=2"), "a task that the campaign is on, as in `task.parity.patch`"),
        (("--set", "task.parity.lenth=2"), "Did you mean `length`"),
        (("--set", "training.digits.steps=2"), "but got `training.digits.steps`"),
        (("--set", "training.parity.seeds=2"), "common to all tasks"),
        (("--set", "scheduler=asha", "--set", "deterministic=false"), "takes one task, but got 2"),
        (("--task", "parity,table"), "--set task.table.path=..."),
        (("--set", "task=[parity,digits]", "--set", "members=[copying]"), "or in `members`"),
    ],
)
def test_bad_input_exits_2_says_why_and_leaves_nothing(call, tiny, results_folder, args, message):
    result = call("run", tiny, *args, code=2)
    assert message in result.stderr
    assert result.stdout == ""
    assert not results_folder.exists()


MISTAKES = [
    ("{task: [parity, digts]}", "task", "Did you mean `digits`"),
    ("{task: [parity, parity]}", "task", "`parity` twice"),
    ("{task: []}", "task", "at least one task"),
    ("{task: [parity, digits], task_settings: {length: 3}}", "length", "as in `task.parity.length`"),
    ("{task: [parity, digits], task_settings: {copying: {length: 3}}}", "length", "but got `task.copying.length`"),
    ("{task: [parity, digits], task_settings: {parity: {lenth: 3}}}", "lenth", "Did you mean `length`"),
    ("{task: [parity, digits], training: {parity: {stps: 3}}}", "stps", "Did you mean `training.steps`"),
    ("{task: [parity, digits], training: {copying: {steps: 3}}}", "steps", "but got `training.copying.steps`"),
]


@pytest.mark.parametrize(("campaign", "blamed", "message"), MISTAKES)
@pytest.mark.parametrize("command", [("run",), ("spaces", "check")])
def test_a_mistake_in_the_campaign_of_a_space_has_its_place(call, tmp_path, command, campaign, blamed, message):
    path = tmp_path / "wrong.yaml"
    rest = TINY.partition("graph:")[2]
    path.write_text(f"version: 1\n\ncampaign: {campaign}\ngraph:" + rest.split("campaign:")[0])
    words = call(*command, str(path), code=2).stderr
    column = len("campaign: ") + campaign.index(blamed) + 1
    assert f"wrong.yaml:3:{column}:" in words
    assert message in words
