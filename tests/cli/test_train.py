import json

import pytest

POINT = """
version: 1
name: point
campaign: {task: digits}
graph:
  nodes:
    act: {op: mlp, from: in}
    out: {op: rms_norm, from: act}
scale: {width: 8}
"""
QUICK = ("--set", "training.steps=6", "--set", "training.reports=2", "--set", "training.evaluation_examples=64")


@pytest.fixture
def point(tmp_path):
    path = tmp_path / "point.yaml"
    path.write_text(POINT)
    return str(path)


def test_one_architecture_is_trained_and_everything_printed(call, point):
    result = call("train", point, *QUICK, "--seeds", "2")
    for part in ("on validation", "without state", "parameters", "tokens a second", "parallel in time", "float32"):
        assert part in result.stdout
    assert result.stderr.count("step ") == 2


def test_json_is_the_measurement_and_comes_again_with_the_seed(call, point):
    first = json.loads(call("train", point, *QUICK, "--seed", "7", "--json").stdout)
    again = json.loads(call("train", point, *QUICK, "--seed", "7", "--json").stdout)
    assert first["fidelity"]["steps"] == 6
    assert first["copies"][0]["seed"] == 7
    assert first["score"] == again["score"]
    assert first["graph"]["nodes"]
    assert first["decoding"] == {"time": 16, "state_bytes": 0.0, "grows": [], "ahead": [], "constant": True}


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (("hybrid", "--task", "digits"), "must leave no choice open"),
        (("POINT", "--task", "digit"), "Did you mean `digits`"),
        (("POINT", "--set", "training.stps=4"), "Did you mean `training.steps`"),
        (("POINT", "--set", "training.steps=0"), "at least 1"),
        (("POINT", "--set", "trials=3"), "takes `training.*` and `task.*`, but got `trials`"),
        (("POINT", "--set", "agent.startup=3"), "but got `agent.startup`"),
        (("POINT", "--set", "trails=3"), "Did you mean `trials`"),
        (("POINT", "--set", "training.steps"), "name=value"),
        (("POINT", "--set", "task.patch=3"), "patch"),
        (("POINT", "--seeds", "0"), "x>=1"),
        (("nowhere.yaml",), "nothing there"),
    ],
)
def test_bad_input_exits_2_and_says_why(call, point, args, message):
    result = call("train", *(point if a == "POINT" else a for a in args), code=2)
    assert message in result.stderr
    assert result.stdout == ""


def test_a_candidate_that_cannot_be_trained_exits_1(call, point, monkeypatch):
    from archsearch.errors import CandidateError
    from archsearch.training import trainer

    def broken(job, on_report):
        raise CandidateError("diverged", "all copies diverged")

    monkeypatch.setattr(trainer, "run", broken)
    assert "all copies diverged" in call("train", point, *QUICK, code=1).stderr


def test_an_interval_of_seeds_that_disagree_stays_an_accuracy(call, point, monkeypatch):
    from dataclasses import replace

    from archsearch.training import trainer

    real = trainer.run
    monkeypatch.setattr(
        trainer, "run", lambda job, say: replace(real(job, say), score=0.1265, score_low=-0.33, score_high=0.59)
    )
    assert "0.1265 (95 % over seeds: 0.0000 to 0.5900)" in call("train", point, *QUICK, "--seeds", "2").stdout
