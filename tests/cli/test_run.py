import json
from functools import partial
from pathlib import Path

import pytest
import yaml

from archsearch.campaign import run as campaign_run
from tests.campaign import fakes

TINY = """
version: 1
name: tiny
graph:
  nodes:
    act: {op: {choose: [tanh, relu, gelu, silu]}, from: in}
    more: {op: mlp, expand: {int: [1, 4]}, from: act}
    out: {op: rms_norm, from: more}
scale: {width: 8}
campaign: {task: digits, executor: inline, trials: 3, controls: [], finals.seeds: 2, training.reports: 2}
"""
QUICK = ("--set", "training.steps=4", "--set", "training.evaluation_examples=64", "--set", "finals.top=1")


@pytest.fixture
def tiny(tmp_path):
    path = tmp_path / "tiny.yaml"
    text = TINY.replace("finals.seeds: 2, training.reports: 2", "finals: {seeds: 2}, training: {reports: 2}")
    path.write_text(text)
    return str(path)


def test_a_space_becomes_a_board(call, tiny, results_folder):
    result = call("run", tiny, *QUICK, "--json")
    (board,) = json.loads(result.stdout)["boards"]
    assert [r["section"] for r in board["rows"]] == ["finals", "search", "search"]
    assert board["campaigns"] == ["tiny-1"]
    assert "archsearch show tiny-1 ID" in result.stderr
    assert (results_folder / "tiny-1" / "events.jsonl").exists()


def test_two_runs_with_one_seed_print_the_same_board(call, tiny):
    boards = [call("run", tiny, *QUICK, "--seed", "5").stdout for _ in range(2)]
    assert boards[0] == boards[1]
    assert "Finals" in boards[0]


def test_a_campaign_file_is_run_and_flags_override_it(call, tiny, tmp_path):
    file = tmp_path / "campaign.yaml"
    file.write_text(yaml.safe_dump({"space": tiny, "trials": 2, "name": "from_file", "training": {"steps": 2}}))
    dry = json.loads(call("run", str(file), "--trials", "4", "--dry-run", "--json").stdout)
    assert (dry["config"]["trials"], dry["config"]["training"]["steps"]) == (4, 2)
    board = json.loads(call("run", str(file), *QUICK, "--json").stdout)["boards"][0]
    assert (board["campaigns"], len(board["rows"])) == (["from_file"], 2)


def test_a_dry_run_says_what_it_would_do_and_does_nothing(call, tiny, results_folder):
    result = call("run", tiny, "--dry-run", "--set", "training.steps=7")
    assert yaml.safe_load(result.stdout)["training"]["steps"] == 7
    assert "mlp" in result.stdout
    assert not results_folder.exists()


def test_a_dry_run_of_what_is_shipped(call):
    assert "no_mixer" in call("run", "quickstart", "--dry-run").stdout


def test_a_name_that_exists_is_refused_and_another_is_found_without_one(call, tiny, campaign):
    result = call("run", tiny, "--name", "first", *QUICK, code=2)
    assert "archsearch resume first" in result.stderr
    assert "--name" in result.stderr
    assert result.stdout == ""


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (("quikstart",), "Did you mean `quickstart`"),
        (("nowhere.yaml",), "nothing there"),
        (("TINY", "--task", "digit"), "Did you mean `digits`"),
        (("TINY", "--agent", "random_serch"), "Did you mean `random_search`"),
        (("TINY", "--set", "trails=3"), "Did you mean `trials`"),
        (("TINY", "--set", "training.steps=many"), "whole number"),
        (("TINY", "--set", "training.steps"), "name=value"),
        (("TINY", "--set", "task.ptch=2"), "Did you mean `patch`"),
        (("TINY", "--set", "agent.colour=2"), "has no setting `agent.colour`"),
        (("TINY", "--set", "controls=[no_mixr]"), "Did you mean `no_mixer`"),
        (("TINY", "--set", "controls=false"), "`controls` must be a list, but got False. Write controls=[]"),
        (("TINY", "--time", "soon"), "like 90s, 10m"),
        (("TINY", "--trials", "0"), "x>=1"),
        (("TINY", "--executor", "cloud"), "'cloud' is not one of"),
        (("mlp", "--task", "in_context_recall"), "must be causal"),
        (("TINY", "--set", "training.device=abacus"), "`training.device` must be one of"),
        (("TINY", "--set", "training.dtype=float16"), "`training.dtype` must be"),
    ],
)
@pytest.mark.parametrize("dry", [True, False])
def test_bad_input_exits_2_says_why_and_leaves_nothing(call, tiny, results_folder, args, message, dry):
    words = [tiny if a == "TINY" else a for a in args]
    result = call("run", *words, *["--dry-run"] * dry, code=2)
    assert message in result.stderr
    assert result.stdout == ""
    assert not results_folder.exists()


def test_a_mistake_in_one_alternative_stops_a_dry_run(call, tmp_path):
    path = tmp_path / "wrong.yaml"
    path.write_text(TINY.split("campaign:")[0].replace("int: [1, 4]", "choose: [1, 0]") + "campaign: {task: digits}")
    assert "wrong.yaml:" in call("run", str(path), "--dry-run", code=2).stderr


MISTAKES = [
    ("{task: in_context_recal}", ":3:12:", "Did you mean `in_context_recall`"),
    ("{agnt: tpe}", ":3:12:", "Did you mean `agent`"),
    ("{training: {stps: 4}}", ":3:23:", "Did you mean `training.steps`"),
    ("{training: {steps: many}}", ":3:23:", "must be a whole number, but got 'many'"),
    ("{training: {steps: null}}", ":3:23:", "must have a value"),
    ("{training: 4}", ":3:12:", "must be a mapping"),
    ("{trials: 0}", ":3:12:", "at least 1"),
    ("{task: digits, agent: tpee}", ":3:26:", "Did you mean `tpe`"),
    ("{task: digits, agent: mine.py}", ":3:26:", "nothing there"),
    ("{task: mine.py}", ":3:12:", "nothing there"),
    ("{task: digits, controls: [no_mixr]}", ":3:26:", "Did you mean `no_mixer`"),
    ("{task: digits, task_settings: {ptch: 2}}", ":3:42:", "Did you mean `patch`"),
    ("{task: digits, set: {task.patch: 3}}", ":3:32:", "`patch`"),
    ("{task: digits, agent: tpe, agent_settings: {startup: 3, startp: 2}}", ":3:67:", "Did you mean `agent.startup`"),
    ("{task: digits, agent: tpe, agent_settings: {startup: soon}}", ":3:55:", "must be a whole number"),
    ("{task: digits, agent: tpe, agent_settings: {startup: 0}}", ":3:55:", "must be at least 1"),
]


@pytest.mark.parametrize(("campaign", "place", "message"), MISTAKES)
@pytest.mark.parametrize("command", [("run",), ("run", "--dry-run"), ("spaces", "check"), ("train",)])
def test_a_mistake_in_the_campaign_of_a_space_has_its_place(call, tmp_path, command, campaign, place, message):
    path = tmp_path / "wrong.yaml"
    rest = TINY.partition("graph:")[2]
    text = f"version: 1\n\ncampaign: {campaign}\ngraph:" + rest.split("campaign:")[0]
    if command == ("train",):
        text = text.replace("{choose: [tanh, relu, gelu, silu]}", "tanh").replace("{int: [1, 4]}", "2")
    path.write_text(text)
    words = call(command[0], *command[1:], str(path), code=2).stderr
    assert f"wrong.yaml{place}" in words
    assert message in words


def test_a_check_says_all_mistakes_of_a_campaign_at_once(call, tmp_path):
    path = tmp_path / "wrong.yaml"
    path.write_text(TINY.partition("campaign:")[0] + "campaign: {task: digit, agnt: tpe, training: {stps: 4}}")
    words = call("spaces", "check", str(path), code=2)
    assert "3 mistakes;" in words.stdout
    for near in ("`digits`", "`agent`", "`training.steps`"):
        assert f"Did you mean {near}" in words.stderr


def test_the_campaigns_of_shipped_spaces_have_no_mistakes():
    from archsearch import content
    from archsearch.api import SearchSpace
    from archsearch.campaign import mistakes

    assert [str(m) for name in content.names("search_spaces") for m in mistakes.in_space(SearchSpace.read(name))] == []


@pytest.mark.parametrize(
    ("line", "column", "message"),
    [
        ("task: digit", 1, "Did you mean `digits`"),
        ("training: 4", 1, "must be a mapping"),
        ("agent: tpee", 1, "Did you mean `tpe`"),
        ("{task: digits, task_settings: {ptch: 2}}", 32, "Did you mean `patch`"),
    ],
)
def test_a_mistake_in_a_campaign_file_has_its_place(call, tiny, tmp_path, line, column, message):
    path = tmp_path / "wrong.yaml"
    text = f"{{space: {tiny},\n{line[1:]}" if line.startswith("{") else f"space: {tiny}\n{line}"
    path.write_text(text)
    words = call("run", str(path), code=2).stderr
    assert f"wrong.yaml:2:{column - line.startswith('{')}:" in words
    assert message in words


def test_a_results_folder_that_cannot_be_made(call, tiny, tmp_path):
    file = tmp_path / "file"
    file.write_text("")
    assert "must be writable" in call("run", tiny, "--results", str(file / "results"), *QUICK, code=2).stderr


@pytest.fixture
def ending(monkeypatch):
    """Makes campaigns end as told, by a trainer that trains nothing."""

    def how(status: str):
        real = campaign_run.run

        def run(config, results):
            record = partial(real, runner=f"{Path(fakes.__file__)}:FakeTrainer")(config, results)
            return type(record)(**{**vars(record), "status": status, "message": "as told"})

        monkeypatch.setattr(campaign_run, "run", run)

    return how


@pytest.mark.parametrize(
    ("status", "code", "message"),
    [
        ("no_success", 3, "No candidate was trained to its end"),
        ("error", 1, "The agent raised: as told"),
        ("interrupted", 130, "Go on with: archsearch resume tiny-1"),
        ("exhausted", 0, "exhausted (as told)"),
    ],
)
def test_how_a_campaign_ended_decides_the_exit_code(call, tiny, ending, status, code, message):
    ending(status)
    assert message in call("run", tiny, *QUICK, code=code).stderr


def test_resume_of_a_finished_campaign_prints_its_board(call, campaign):
    assert "no_mixer (control)" in call("resume", "first").stdout


def test_resume_of_what_is_not_there(call, campaign):
    assert "Did you mean `first`" in call("resume", "frist", code=2).stderr
