import json

import pytest

from archsearch.campaign.store import Store
from tests.cli.campaigns import TASK, admit, measurement


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


SOLVED = {
    "rows": 100, "factor": 2.0, "seconds": 0.25, "norm": 3.5, "certificate": {"residual": 2e-15}, "digest": "ab" * 8,
    "sketch": [0.1, 0.2, 0.3, 0.4],
}  # fmt: skip


@pytest.fixture
def solved(results_folder):
    """A campaign with one body fitted in two ways."""
    results_folder.mkdir(parents=True, exist_ok=True)
    with Store.create(results_folder / "solved", {"campaign.yaml": "space: tiny\n"}) as store:
        store.append("campaign", name="solved", task=TASK, config={}, agent="random_search", environment={})
        for name, fit, scores in (("1", "gradient", [0.7, 0.72]), ("2", "ridge", [0.8, 0.9])):
            admit(store, name, "tanh", decisions={"body.0.act": "tanh", "fit": fit})
            store.append("attempt", id=name, phase="search", attempt=1, key=f"{name}/search/1")
            found = measurement(scores)
            if fit == "ridge":
                paths = [
                    [{"penalty": p, "score": s, "loss": 0.5} for p, s in ((0.1, 0.6), (10.0, best))] for best in scores
                ]
                found["solutions"] = [
                    {"fit": fit, "seed": i, "penalty": 10.0, **SOLVED, "path": path, "cosines": [1.0, 0.875]}
                    for i, path in enumerate(paths)
                ]
            store.append("measurement", id=name, phase="search", key=f"{name}/search/1", measurement=found)
        store.append("end", status="done", message="", sync=True)


def test_what_was_solved_for_can_be_looked_at(call, solved):
    shown = call("show", "solved", "2").stdout
    for part in (
        "readout        ridge",
        "0.25 for 2 seeds",
        "cosine 0.8750 between seeds",
        "normal equations to 2.0e-15",
        "abababababababab",
        "penalty  seed 0   seed 1",
        "10       0.8000*  0.9000*",
        "0.1      0.6000   0.6000",
    ):
        assert part in shown, part
    assert "Solved for" not in call("show", "solved", "1").stdout


def test_a_body_fitted_in_several_ways_is_shown_side_by_side(call, solved):
    for name in ("1", "2"):
        shown = call("show", "solved", name).stdout.split("The same body, fitted in other ways")[1]
        assert [line.split()[:4] for line in shown.strip().split("\n")[1:]] == [
            ["1", "gradient", "done", "0.7100"], ["2", "ridge", "done", "0.8500"],
        ]  # fmt: skip


def test_json_has_all_of_a_solution(call, solved):
    data = json.loads(call("show", "solved", "2", "--json").stdout)
    first = data["search"]["solutions"][0]
    assert (first["digest"], first["sketch"], first["path"][1]["score"]) == ("ab" * 8, [0.1, 0.2, 0.3, 0.4], 0.8)
    assert [t["id"] for t in data["twins"]] == ["1", "2"]
