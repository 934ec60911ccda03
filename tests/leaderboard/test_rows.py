import csv
from dataclasses import replace

import pytest

from archsearch.leaderboard import FIELDS, boards
from archsearch.leaderboard.render import csv_text
from archsearch.leaderboard.selection import select

ASKED_FOR = [
    "rank",
    "id",
    "hash",
    "architecture",
    "families",
    "decisions",
    "status",
    "score",
    "score_low",
    "score_high",
    "metric",
    "seeds",
    "steps",
    "params",
    "flops_per_token",
    "tokens_per_second",
    "peak_memory_bytes",
    "state_bytes",
    "parallel_in_time",
    "agent",
    "parent",
    "seconds",
]


def rows(record):
    return list(boards([record])[0].rows)


def by_id(record):
    return {r["id"]: r for r in rows(record)}


def test_every_row_has_every_field_in_order(usual):
    assert all(list(r) == list(FIELDS) for r in rows(usual))
    assert set(ASKED_FOR) <= set(FIELDS)


def test_finals_then_searched_then_the_rest(usual):
    assert [(r["id"], r["section"], r["rank"]) for r in rows(usual)] == [
        ("1", "finals", 1),
        ("2", "finals", 2),
        ("no_mixer", "finals", 3),
        ("3", "search", 1),
        ("5", "unfinished", None),
        ("4", "unfinished", None),
        ("6", "unfinished", None),
    ]


def test_a_finalist_carries_its_test_score_and_its_shrinkage(usual):
    row = by_id(usual)["2"]
    assert row["score"] == row["test_score"] == pytest.approx(0.41)
    assert row["search_score"] == 0.60
    assert row["shrinkage"] == pytest.approx(0.19)
    assert (row["seeds"], row["steps"], row["score_low"]) == (3, 400, pytest.approx(0.40))


def test_shrinkage_is_positive_for_worse_where_less_is_better(make):
    record = make.campaign(make.candidate(1, [2.0], [2.5, 2.5]), task={"maximize": False, "metric": "bits_per_byte"})
    assert by_id(record)["1"]["shrinkage"] == pytest.approx(0.5)


def test_controls_are_ranked_in_place_and_marked(usual):
    assert by_id(usual)["no_mixer"]["role"] == "control"


def test_a_control_with_settings_of_its_own_is_ranked_beside_the_others(make):
    frozen = make.candidate("frozen", [0.7], role="control")
    frozen = replace(frozen, search=make.measurement([0.7], settings="ff00"))
    found = by_id(make.campaign(frozen, make.candidate(1, [0.8]), make.candidate(2, [0.6])))
    assert [found[i]["rank"] for i in ("1", "frozen", "2")] == [1, 2, 3]


def test_a_candidate_of_other_steps_is_ranked_apart(make):
    longer = replace(make.candidate(3), status="done", search=make.measurement([0.99], steps=800))
    found = rows(make.campaign(make.candidate(1, [0.8]), make.candidate(2, [0.6]), longer))
    assert [(r["id"], r["rank"], r["steps"]) for r in found] == [("1", 1, 400), ("2", 2, 400), ("3", 1, 800)]


def test_indistinguishable_finalists_share_a_rank(make):
    found = by_id(
        make.campaign(make.candidate(1, [0.9], [0.90, 0.92, 0.91]), make.candidate(2, [0.9], [0.92, 0.90, 0.905]))
    )
    assert [(r["rank"], r["rank_low"], r["rank_high"]) for r in found.values()] == [(1, 1, 2)] * 2
    assert {r["place"] for r in found.values()} == {1, 2}


def test_equal_scores_are_ordered_by_the_steps_to_solve(make):
    slow, fast = make.candidate(1, [1.0]), make.candidate(2, [1.0])
    early = tuple(replace(c, solved_at=100) for c in fast.search.copies)
    fast = replace(fast, search=replace(fast.search, copies=early))
    assert [(r["id"], r["solved"], r["solved_at"]) for r in rows(make.campaign(slow, fast))] == [
        ("2", 1, 100),
        ("1", 1, 200),
    ]


def test_diverged_seeds_are_counted_and_lend_no_score(make):
    record = make.campaign(make.candidate(1, [0.9], [0.8, None, 0.9]))
    row = by_id(record)["1"]
    assert (row["seeds"], row["diverged"], row["score"]) == (2, 1, pytest.approx(0.85))
    assert any("diverged" in b for b in boards([record])[0].banners)


def test_an_unmeasured_candidate_shows_what_analysis_knows(usual):
    row = by_id(usual)["6"]
    assert (row["body_params"], row["flops_per_token"], row["parallel_in_time"]) == (50_000, 100_000.0, False)
    assert row["params"] is None


def test_a_failed_final_leaves_the_searched_rank_and_says_why(make):
    record = make.campaign(make.candidate(1, [0.9], finalist=True, failure=("timeout", "after 60 s")))
    row = by_id(record)["1"]
    assert (row["section"], row["rank"], row["failure"]) == ("search", 1, "final: timeout: after 60 s")


@pytest.fixture
def fitted(make):
    """The same body trained and solved, one that is not measured yet, and the frequencies."""

    def solved(id, fit, scores, **more):
        found = make.candidate(id, scores, decisions={"fit": fit}, **more)
        fidelity = replace(found.search.fidelity, seeds=3)
        return replace(found, search=replace(found.search, fidelity=fidelity, solutions=({"fit": fit, "seed": 0},)))

    open_one = replace(make.candidate(4), facts={"params": 1, "fit": "svm"})
    return make.campaign(
        make.candidate(1, [0.80, 0.82, 0.81]),
        solved(2, "ridge", [0.70, 0.72, 0.71]),
        solved(3, "ridge", [0.90, 0.92, 0.91]),
        open_one,
        solved("unigram", "frequencies", [0.78], role="control"),
    )


def test_a_row_says_how_its_weights_were_found(fitted):
    assert {i: r["fit"] for i, r in by_id(fitted).items()} == {
        "1": "gradient", "2": "ridge", "3": "ridge", "4": "svm", "unigram": "frequencies",
    }  # fmt: skip


def test_a_score_that_no_seed_changes_shares_no_rank_for_want_of_seeds(fitted):
    ranks = {i: (r["rank_low"], r["rank_high"]) for i, r in by_id(fitted).items()}
    assert ranks == {"3": (1, 1), "1": (2, 2), "unigram": (3, 3), "2": (4, 4), "4": (None, None)}


def test_rows_are_chosen_and_sorted_by_fit(fitted):
    (board,) = boards([fitted])
    assert [r["id"] for r in select(board, where='fit == "ridge"').rows] == ["3", "2"]
    assert [r["id"] for r in select(board, where='fit != "gradient" and role == "search"').rows] == ["3", "2", "4"]
    assert [r["fit"] for r in select(board, sort="fit,-score").rows] == [
        "frequencies", "gradient", "ridge", "ridge", "svm",
    ]  # fmt: skip


def test_csv_and_json_have_the_fit(fitted):
    (board,) = boards([fitted])
    listed = list(csv.DictReader(csv_text([board]).splitlines()))
    assert [row["fit"] for row in listed] == ["ridge", "gradient", "frequencies", "ridge", "svm"]
    assert [row["fit"] for row in board.to_dict()["rows"]] == [row["fit"] for row in listed]
