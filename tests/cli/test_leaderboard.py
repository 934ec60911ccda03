import csv
import io
import json
import os
import shutil

import pytest


def ids(result):
    return [r["id"] for board in json.loads(result.stdout)["boards"] for r in board["rows"]]


def test_the_board_goes_to_stdout_and_what_it_is_of_to_stderr(call, campaign):
    result = call("leaderboard", "first")
    assert "no_mixer (control)" in result.stdout
    assert "diverged: in step 7" in result.stdout
    assert f"{campaign}: done; 3 done, 1 failed" in result.stderr
    assert "seconds" not in result.stdout


def test_json_is_one_document(call, campaign):
    assert ids(call("leaderboard", "first", "--json")) == ["1", "no_mixer", "2", "3", "4"]
    assert call("leaderboard", "first", "--json").stdout == call("leaderboard", "first", "--format", "json").stdout


def test_without_a_name_the_newest_is_shown_and_the_others_are_named(call, another):
    os.utime(another / "events.jsonl", (2e9, 2e9))
    result = call("leaderboard", "--json")
    assert json.loads(result.stdout)["boards"][0]["campaigns"] == ["second"]
    assert "there are also first" in result.stderr


def test_campaigns_that_agree_share_a_board(call, another):
    result = call("leaderboard", "first", "second", "--json")
    (board,) = json.loads(result.stdout)["boards"]
    assert board["campaigns"] == ["first", "second"]
    assert len(board["rows"]) == 10


def test_a_copied_folder_opens_by_its_path(call, campaign, tmp_path):
    copy = tmp_path / "copied"
    shutil.copytree(campaign, copy)
    (copy / "results.db").unlink()
    assert ids(call("leaderboard", str(copy), "--json"))[0] == "1"


def test_where_sort_top_and_columns(call, campaign):
    assert ids(call("leaderboard", "first", "--where", "score < 0.6", "--sort", "score", "--json")) == [
        "no_mixer",
        "3",
        "2",
    ]
    assert ids(call("leaderboard", "first", "--top", "2", "--json")) == ["1", "no_mixer"]
    out = call("leaderboard", "first", "--format", "csv", "--columns", "id,score").stdout
    assert next(csv.reader(io.StringIO(out))) == ["id", "score"]
    assert call("leaderboard", "first", "--format", "markdown").stdout.startswith("## in_context_recall")


def test_only_the_table_is_cut_and_it_says_so(call, campaign, monkeypatch):
    monkeypatch.setattr("archsearch.cli.leaderboard.SHOWN", 2)
    assert "3 more: --top 0 shows all" in call("leaderboard", "first").stdout
    assert "more:" not in call("leaderboard", "first", "--top", "0").stdout
    assert len(ids(call("leaderboard", "first", "--json"))) == 5


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (["frist"], "Did you mean `first`"),
        (["first", "--where", "scor > 1"], "Did you mean `score`"),
        (["first", "--where", "import os"], "must be an expression"),
        (["first", "--sort", "scor"], "Did you mean `score`"),
        (["first", "--columns", "scor"], "Did you mean `score`"),
        (["first", "--format", "xml"], "'xml' is not one of"),
        (["first", "--top", "-1"], "x>=0"),
        (["first", "--nonsense"], "No such option"),
    ],
)
def test_bad_input_exits_2_and_says_why(call, campaign, args, message):
    result = call("leaderboard", *args, code=2)
    assert message in result.stderr
    assert result.stdout == ""


def test_no_campaign_at_all_says_how_to_start_one(call):
    assert "archsearch run quickstart" in call("leaderboard", code=2).stderr


def test_an_unreadable_results_folder(call, campaign, monkeypatch):
    def denied(path):
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr("archsearch.leaderboard.folders.os.scandir", denied)  # root may read what the mode forbids
    result = call("leaderboard", code=2)
    assert f"must be readable, but {campaign.parent} is not: Permission denied" in result.stderr


def test_a_results_folder_that_is_a_file(call, tmp_path):
    file = tmp_path / "file"
    file.write_text("")
    assert "must be readable" in call("leaderboard", "--results", str(file), code=2).stderr


def test_damaged_events(call, campaign):
    (campaign / "results.db").unlink()
    lines = (campaign / "events.jsonl").read_text().splitlines()
    (campaign / "events.jsonl").write_text("\n".join([lines[0], "{damaged", *lines[1:]]) + "\n")
    assert "is damaged" in call("leaderboard", "first", code=2).stderr


@pytest.mark.parametrize("form", ["table", "json", "csv"])
def test_no_row_is_said_to_be_none(call, campaign, form):
    result = call("leaderboard", "first", "--where", "score > 2", "--format", form)
    assert "No row meets `score > 2`; without it there are 5." in result.stderr
    assert "No row" not in call("leaderboard", "first", "--where", "score > 0.1").stderr


def test_a_target_shows_what_it_took(call, campaign):
    table = call("leaderboard", "first", "--target", "0.1").stdout
    assert "reached" in table and "FLOPs to it" in table
    (board,) = json.loads(call("leaderboard", "first", "--target", "0.1", "--json").stdout)["boards"]
    assert board["rows"][0]["steps_to_target"] > 0
    shown = call("show", "first", "1", "--target", "0.1").stdout
    assert "Target\n" in shown and "to target" in shown
