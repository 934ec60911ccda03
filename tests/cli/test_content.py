import json

import pytest

TINY = """
version: 1
name: tiny
summary: One choice.
graph:
  nodes:
    act: {op: {choose: [tanh, relu]}, from: in}
    out: {op: rms_norm, from: act}
scale: {width: 8}
"""


def listed(result):
    return {row["name"]: row for row in json.loads(result.stdout)}


@pytest.fixture
def tiny(tmp_path):
    path = tmp_path / "tiny.yaml"
    path.write_text(TINY)
    return str(path)


@pytest.mark.parametrize(
    ("kind", "name"), [("spaces", "hybrid"), ("ops", "linear"), ("tasks", "digits"), ("agents", "random_search")]
)
def test_lists_hold_what_is_shipped_with_a_summary_each(call, kind, name):
    found = listed(call(kind, "list", "--json"))
    assert name in found
    assert all(row["summary"] for row in found.values())
    shown = call(kind, "list").stdout
    assert all(other in shown for other in found)


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (("spaces", "check", "hybird"), "Unknown search space `hybird`. Did you mean `hybrid`"),
        (("spaces", "sample", "nowhere.yaml"), "nothing there"),
        (("spaces", "size", "/"), "a folder"),
        (("ops", "show", "liner"), "Did you mean `linear`"),
        (("ops", "list", "--family", "atention"), "Did you mean `attention`"),
        (("tasks", "show", "digit"), "Did you mean `digits`"),
        (("agents", "show", "random_serch"), "Did you mean `random_search`"),
        (("spaces", "lst"), "No such command"),
        (("spaces", "sample", "hybrid", "--count", "0"), "x>=1"),
    ],
)
def test_bad_input_exits_2_and_says_why(call, args, message):
    assert message in call(*args, code=2).stderr


def test_an_op_shows_its_ports_and_settings(call):
    shown = call("ops", "show", "softmax_attention").stdout
    assert "q, k, v" in shown
    assert "heads" in shown
    data = json.loads(call("ops", "show", "softmax_attention", "--json").stdout)
    assert [p["name"] for p in data["inputs"]] == ["q", "k", "v"]


def test_a_definition_shows_its_text_and_nothing_of_the_next(call):
    shown = call("ops", "show", "gru").stdout
    assert "gru_core" in shown
    assert "lstm" not in shown
    assert json.loads(call("ops", "show", "lstm", "--json").stdout)["text"].startswith("lstm:")


def test_a_task_shows_its_scale_and_settings(call):
    data = json.loads(call("tasks", "show", "in_context_recall", "--json").stdout)
    assert data["metric"] == "accuracy"
    assert 0 < data["chance"] < 1
    assert "length" in {s["name"] for s in data["settings"]}
    assert "chance" in call("tasks", "show", "digits").stdout


def test_a_task_shows_known_scores_for_its_settings(call):
    settings = ("--set", "task.dimensions=5", "--set", "task.pairs=20")
    data = json.loads(call("tasks", "show", "in_context_regression", *settings, "--json").stdout)
    assert data["baselines"]["zero"] == data["chance"]
    assert f"one gradient step  {data['baselines']['one gradient step']:.4f}" in (
        call("tasks", "show", "in_context_regression", *settings).stdout
    )
    assert "one gradient step  0.2062" in call("tasks", "show", "in_context_regression").stdout
    refused = call("tasks", "show", "digits", "--set", "training.steps=3", code=2)
    assert "`--set` takes settings of the task here" in refused.output


def test_an_agent_shows_its_settings(call):
    data = json.loads(call("agents", "show", "random_search", "--json").stdout)
    assert data["path"].endswith("random_search.py")
    assert not {"self", "space", "seed", "maximize"} & {s["name"] for s in data["settings"]}


def test_the_settings_of_an_agent_say_what_they_are(call):
    shown = call("agents", "show", "tpe").stdout
    assert "startup     int  default 10" in shown
    assert "candidates that are drawn at random before the model begins" in shown
    settings = json.loads(call("agents", "show", "tpe", "--json").stdout)["settings"]
    assert settings[1] == {
        "name": "candidates",
        "kind": "int",
        "default": 24,
        "help": "draws of which the model takes the most promising",
    }


def test_a_sound_space_is_checked(call, tiny):
    assert "no mistake; 2 different combinations walked." in call("spaces", "check", tiny).stdout
    assert json.loads(call("spaces", "check", tiny, "--json").stdout)["covered"] == 2


def test_what_match_and_require_refuse_is_called_normal(call, tmp_path):
    path = tmp_path / "picky.yaml"
    path.write_text(TINY.replace("[tanh, relu]", "[tanh, relu, mlp]") + "require: [params > 20]\n")
    shown = call("spaces", "check", str(path)).stdout
    assert "no mistake; 3 different combinations walked." in shown
    assert "2 of them were refused: by `match`" in shown
    assert "an agent draws again" in shown
    path.write_text(TINY.replace("{choose: [tanh, relu]}", "tanh"))
    shown = call("spaces", "check", str(path)).stdout
    assert "1 different combination walked." in shown
    assert "refused" not in shown


def test_a_mistake_in_one_alternative_is_found_with_its_place(call, tmp_path):
    path = tmp_path / "wrong.yaml"
    path.write_text(
        """
version: 1
define:
  half: {choose: {a: {op: tanh}, b: {op: softmax_attention, heads: 3, from: {q: in, k: in, v: in}}}}
graph:
  nodes:
    out: {op: half, from: in}
scale: {width: 8}
"""
    )
    result = call("spaces", "check", str(path), code=2)
    assert "wrong.yaml:4" in result.stderr
    assert "heads=3" in result.stderr
    assert "1 mistake;" in result.stdout


def test_samples_are_told_apart_and_come_again_with_the_seed(call, tiny):
    rows = json.loads(call("spaces", "sample", tiny, "-n", "12", "--json").stdout)
    assert {value for r in rows for value in r["decisions"].values()} == {"tanh", "relu"}
    assert len({r["hash"] for r in rows}) == 2
    assert call("spaces", "sample", tiny).stdout == call("spaces", "sample", tiny).stdout


def test_samples_are_drawn_evenly_over_architectures(call, tiny):
    rows = json.loads(call("spaces", "sample", tiny, "-n", "12", "--uniform", "architectures", "--json").stdout)
    assert len({r["hash"] for r in rows}) == 2
    assert "'decisions', 'architectures'" in call("spaces", "sample", tiny, "--uniform", "x", code=2).stderr


def test_a_space_is_drawn(call, tiny):
    result = call("spaces", "draw", tiny, "--seed", "3")
    assert "rms_norm" in result.stdout
    assert "--seed 3" in result.stderr
    assert json.loads(call("spaces", "draw", tiny, "--json").stdout)["picture"]


def test_a_space_is_counted(call, tiny):
    assert call("spaces", "size", tiny).stdout.strip() == "2"
    assert json.loads(call("spaces", "size", tiny, "--json").stdout)["count"] == 2


def test_doctor_says_what_is_there_and_changes_nothing(call, results_folder):
    data = json.loads(call("doctor", "--json").stdout)
    assert data["devices"][0].startswith("cpu")
    assert data["packages"]["torch"]
    assert str(results_folder) in data["results"]
    assert "Nothing is missing." in call("doctor").stdout
    assert not results_folder.exists()


def test_doctor_says_that_results_cannot_be_written(call, tmp_path):
    file = tmp_path / "file"
    file.write_text("")
    shown = call("doctor", "--results", str(file / "results")).stdout
    assert "Nothing is missing." not in shown
    assert f"nothing can be written to {file / 'results'}" in shown


def test_doctor_names_what_is_missing(call, monkeypatch):
    monkeypatch.setattr("archsearch.cli.doctor.PACKAGES", ("torch", "no_such_package"))
    assert "Missing: no_such_package." in call("doctor").stdout


def test_a_space_is_drawn_in_every_format(call, tiny, tmp_path):
    assert call("spaces", "draw", tiny, "--format", "svg").stdout.startswith("<svg ")
    path = tmp_path / "tiny.mmd"
    result = call("spaces", "draw", tiny, "--format", "mermaid", "-o", str(path))
    assert result.stdout == ""
    assert "flowchart TD" in path.read_text()
    assert json.loads(call("spaces", "draw", tiny, "--format", "svg", "--json").stdout)["picture"].startswith("<svg ")
    assert "is not one of 'text', 'svg', 'mermaid'" in call("spaces", "draw", tiny, "--format", "png", code=2).stderr
