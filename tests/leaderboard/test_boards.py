import json
from dataclasses import replace

from archsearch.leaderboard import boards
from archsearch.leaderboard.board import sections


def banners(record):
    return " ".join(boards([record])[0].banners)


def test_campaigns_of_one_task_and_fidelity_share_a_board(make):
    a = make.campaign(make.candidate(1, [0.5]), name="a")
    b = make.campaign(make.candidate(1, [0.6]), name="b")
    (board,) = boards([a, b])
    assert [(r["campaign"], r["rank"]) for r in board.rows] == [("b", 1), ("a", 2)]


def test_campaigns_of_other_data_or_effort_stand_apart(make):
    a = make.campaign(make.candidate(1, [0.5]), name="a")
    data = make.campaign(make.candidate(1, [0.6]), name="data", task={"digest": "d2"})
    longer = replace(make.candidate(1), status="done", search=make.measurement([0.6], steps=800))
    found = boards([a, data, make.campaign(longer, name="longer"), make.campaign(name="empty")])
    assert [b.campaigns for b in found] == [("a",), ("data",), ("longer",), ("empty",)]


def test_unmatched_sizes_are_a_banner_with_their_correlation(make):
    candidates = [make.candidate(i, [0.1 * i], params=10_000 * i) for i in range(1, 6)]
    text = banners(make.campaign(*candidates))
    assert "Sizes are not matched: 10,000 to 50,000" in text
    assert "+1.00 over 5 candidates" in text


def test_the_correlation_follows_success_not_the_raw_score(make):
    candidates = [make.candidate(i, [0.1 * i], params=10_000 * i) for i in range(1, 6)]
    assert "-1.00 over 5" in banners(make.campaign(*candidates, task={"maximize": False}))


def test_matched_sizes_are_no_banner_and_controls_do_not_count(make):
    control = make.candidate("no_mixer", [0.1], role="control", params=500)
    record = make.campaign(control, make.candidate(1, [0.5], params=49_000), make.candidate(2, [0.6], params=51_000))
    assert banners(record) == ""


def test_two_devices_are_a_banner(make):
    other = make.measurement([0.6], environment={"device": "cuda", "device_name": "a graphics card"})
    gpu = replace(make.candidate(2), status="done", search=other)
    text = banners(make.campaign(make.candidate(1, [0.5]), gpu))
    assert "2 devices and not comparable: a graphics card; a processor, float32, 1 threads" in text


def test_a_campaign_without_any_score_says_so(make):
    assert "No candidate has a score yet" in banners(make.campaign(make.candidate(1)))


def test_headings_tell_fidelities_apart_by_as_little_as_it_takes(make):
    longer = replace(make.candidate(3), status="done", search=make.measurement([0.6], steps=800))
    other = replace(make.candidate(4), status="done", search=make.measurement([0.6], settings="cd34"))
    first, second = make.candidate(1, [0.5]), make.candidate(2, [0.5])

    def headings(*candidates):
        return [heading.split("steps")[0] + heading.split(" of 32")[1] for heading, _ in sections(board(*candidates))]

    def board(*candidates):
        return boards([make.campaign(*candidates)])[0].rows

    assert headings(first, second, longer) == [
        "Searched only (validation, 1 seed, 400 ): ranks are estimates",
        "Searched only (validation, 1 seed, 800 ): ranks are estimates",
    ]
    assert [h.count("(ab12)") + h.count("(cd34)") for h in headings(first, second, other)] == [1, 1]


def test_a_board_is_plain_json(usual):
    (board,) = boards([usual])
    data = json.loads(json.dumps(board.to_dict(), allow_nan=False))
    assert data["metric"] == "accuracy"
    assert data["rows"][0]["decisions"] == {"body.0.mix": "gru", "body.0.mlp.expand": 2}


def test_finals_that_failed_or_are_missing_are_a_banner_and_keep_their_search_score(make):
    one = make.candidate(1, [0.9], [0.8, 0.9])
    two = make.candidate(2, [0.8], finalist=True, failure=("timeout", "no report for 9 s"))
    three = make.candidate(3, [0.7], finalist=True)
    (board,) = boards([make.campaign(one, two, three)])
    assert board.banners[0] == (
        "quickstart, finals: 1 of 3 failed: 2 timeout (no report for 9 s); 1 of 3 missing: 3. "
        "Try them with: archsearch resume quickstart"
    )
    rows = {r["id"]: (r["section"], r["score"], r["failure"]) for r in board.rows}
    assert rows["2"] == ("search", 0.8, "final: timeout: no report for 9 s")
    assert not boards([make.campaign(two, status="running")])[0].banners
