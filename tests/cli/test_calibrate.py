"""`archsearch tasks calibrate`, at a size that trains in a second."""

import json
from dataclasses import replace

import pytest

from archsearch.training import trainer

TINY = (
    *("--set", "training.steps=2", "--set", "training.reports=1", "--set", "training.batch=4"),
    *("--set", "task.examples_train=64", "--set", "task.examples_validation=32", "--set", "task.examples_test=8"),
)
RECALL = ("tasks", "calibrate", "in_context_recall", "--vary", "length=8,12", *TINY)


@pytest.fixture
def scores(monkeypatch):
    """Trains in earnest, but with these scores by length, since two steps teach nothing."""
    by_length = {8: 0.825, 12: 0.65}
    train = trainer.run

    def run(job, on_report):
        return replace(train(job, on_report), score=by_length[job.task_settings["length"]])

    monkeypatch.setattr(trainer, "run", run)
    return by_length


def test_the_table_ends_in_a_line_to_copy(call, scores):
    result = call(*RECALL)
    head, row, blank, line = result.stdout.splitlines()
    assert head.split() == ["length", "chance", "ceiling", "accuracy", "of", "the", "way", "verdict", "rate", "seconds"]
    assert row.split()[:7] == ["8", "0.1250", "1.0000", "0.8250", "80", "%", "fits"]
    assert (blank, line) == ("", "--set task.length=8")
    assert "3 rates × 1 seeds, 2 steps" in result.stderr
    assert "length=8: 80 % of the way, fits" in result.stderr


def test_json_has_every_rung_and_the_training(call, scores):
    data = json.loads(call(*RECALL, "--all", "--seeds", "2", "--json").stdout)
    assert {rung["value"]: rung["score"] for rung in data["rungs"]} == scores
    assert [rung["share"] for rung in data["rungs"]] == pytest.approx([0.8, 0.6])
    assert (data["chosen"], data["set"], data["side"]) == (8, "--set task.length=8", None)
    assert data["training"]["rate_factors"] == [0.33, 1.0, 3.0]
    assert (data["training"]["seeds"], data["training"]["steps"]) == (2, 2)
    for rung in data["rungs"]:
        assert (rung["chance"], rung["ceiling"], rung["steps"]) == (0.125, 1.0, 2)
        assert rung["learning_rate"] in (0.000495, 0.0015, 0.0045)


def test_it_exits_with_3_where_no_rung_fits_and_says_why(call):
    result = call(*RECALL, "--between", "99", "100", "--json", code=3)
    data = json.loads(result.stdout)
    assert (data["chosen"], data["set"], data["side"]) == (None, None, "too hard")
    assert "even the easiest, length=8 at" in result.stderr


def test_a_state_is_calibrated_on_the_lengths_of_training(call, monkeypatch):
    train = trainer.run
    monkeypatch.setattr(trainer, "run", lambda job, on_report: replace(train(job, on_report), score=0.9))
    parity = ("tasks", "calibrate", "parity", "--vary", "length=6,8", *TINY)
    result = call(*parity)
    assert result.stdout.splitlines()[-1] == "--set task.length=6 --set task.validate=short"
    assert "validate=short, which `parity` is calibrated with" in result.stderr
    told = call(*parity, "--set", "task.validate=long")
    assert told.stdout.splitlines()[-1] == "--set task.length=6" and "calibrated with" not in told.stderr
    assert call("tasks", "calibrate", "parity", "--vary", "validate", *TINY, code=2).stdout == ""
    varied = call("tasks", "calibrate", "parity", "--vary", "validate=short,long", *TINY)
    assert varied.stdout.splitlines()[-1] == "--set task.validate=short"


def jobs_of(monkeypatch):
    """The jobs that are trained, in the place of training them."""
    jobs = []

    def run(job, on_report):
        jobs.append(job)
        raise KeyboardInterrupt

    monkeypatch.setattr(trainer, "run", run)
    return jobs


def test_settings_of_the_person_win_over_those_of_the_control(call, monkeypatch):
    jobs = jobs_of(monkeypatch)
    call(*RECALL, "--set", "training.rate_factors=[1, 2]", code=130)
    assert jobs[0].training.rates == (1.5e-3, 3e-3)
    assert jobs[0].task_settings["length"] == 8
    assert jobs[0].task_settings["examples_train"] == 64


def test_the_transformer_takes_the_sizes_of_a_space(call, monkeypatch, tmp_path):
    path = tmp_path / "wide.yaml"
    path.write_text("version: 1\nname: wide\nscale: {width: 32}\ngraph: {nodes: {out: {op: rms_norm, from: in}}}\n")
    jobs = jobs_of(monkeypatch)
    call(*RECALL, code=130)
    call(*RECALL, "--space", str(path), code=130)
    assert [job.architecture["scale"]["width"] for job in jobs] == [64, 32]
    assert [len(job.training.rates) for job in jobs] == [3, 3]


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (("in_context_recal",), "Did you mean `in_context_recall`"),
        (("in_context_recall", "--vary", "lenght=8"), "Did you mean `length`"),
        (("in_context_recall", "--set", "trials=3"), "takes `training.*` and `task.*`, but got `trials`"),
        (("in_context_recall", "--set", "training.stps=3"), "Did you mean `training.steps`"),
        (("in_context_recall", "--between", "95", "60"), "the lower percentage first, but got 95 60"),
        (("in_context_recall", "--between", "60", "101"), "0.0<=x<=100.0"),
        (("digits",), "no ladder of difficulty"),
        (("byte_language_model", "--vary", "length=16"), "must have a ceiling"),
        (("byte_language_model", "--vary", "length=16", "--ceiling", "9"), "must be better than chance"),
        (("in_context_recall", "--space", "hybird"), "Did you mean `hybrid`"),
    ],
)
def test_bad_input_exits_2_and_says_why(call, args, message):
    assert message in call("tasks", "calibrate", *args, code=2).stderr
