import json

import pytest


def test_a_candidate_is_shown_with_everything_about_it(call, campaign):
    shown = call("show", "first", "1").stdout
    for part in (
        "1×[tanh]",
        "because",
        "random_search",
        "body.0.act",
        "1 in the finals",
        "0.8900 on test",
        "400:0.900",
        "64 bytes of state a stream, constant in time",
        "body.0.act  runs as a scan",
    ):
        assert part in shown, part


def test_a_control_is_shown_as_one(call, campaign):
    assert "no_mixer (control) of first" in call("show", "first", "no_mixer").stdout


def test_a_failed_candidate_says_why_and_where_the_traceback_is(call, campaign):
    (campaign / "candidates" / "4").mkdir(parents=True)
    (campaign / "candidates" / "4" / "traceback.txt").write_text("...")
    shown = call("show", "first", "4").stdout
    assert "diverged: in step 7" in shown
    assert "candidates/4/traceback.txt" in shown


def test_json_has_the_row_the_measurements_and_the_graph(call, campaign):
    data = json.loads(call("show", "first", "1", "--json").stdout)
    assert data["rank"] == 1
    assert data["final"]["fidelity"]["split"] == "test"
    assert data["graph"]["nodes"][0]["op"] == "tanh"
    assert data["facts"]["decoding"]["grows"] == []
    assert data["reports"] == [[400, 0.9, 1.0, 3.0]]


def test_the_beginning_of_a_hash_will_do(call, campaign):
    digest = json.loads(call("show", "first", "2", "--json").stdout)["hash"]
    assert json.loads(call("show", "first", digest[:8], "--json").stdout)["id"] == "2"


@pytest.mark.parametrize("command", [("show", "first", "no_mixr"), ("diff", "first", "1", "no_mixr")])
def test_an_unknown_id_is_answered_with_the_nearest(call, campaign, command):
    assert "Did you mean `no_mixer`" in call(*command, code=2).stderr


@pytest.mark.parametrize("command", [("show", "frist", "1"), ("diff", "frist", "1", "2"), ("reindex", "frist")])
def test_an_unknown_campaign_is_answered_with_the_nearest(call, campaign, command):
    assert "Did you mean `first`" in call(*command, code=2).stderr


def test_diff_shows_only_what_differs(call, campaign):
    shown = call("diff", "first", "1", "2").stdout
    assert "body.0.act" in shown
    assert "tanh" in shown
    assert "state" not in shown
    data = json.loads(call("diff", "first", "1", "2", "--json").stdout)
    assert data["decisions"] == {"body.0.act": ["tanh", "relu"]}
    assert "decided alike" in call("diff", "first", "1", "1").stdout


def test_an_index_is_built_anew(call, campaign):
    (campaign / "results.db").write_text("damaged")
    assert "5 candidates indexed" in call("reindex", "first").stdout
    assert (campaign / "results.db").read_bytes().startswith(b"SQLite")
