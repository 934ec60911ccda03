"""The desk: what is proposed when, what is trained, what counts, how it ends."""

import json
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest

from archsearch.agent import Proposal
from archsearch.campaign import loop
from archsearch.campaign.attempt import Outcome
from archsearch.campaign.config import Finals
from archsearch.campaign.record import CampaignRecord, load
from archsearch.training.measurement import Report, TrainingSettings
from tests.campaign.fakes import FakeTrainer, Scripted, Wandering, campaign, config, work


def finished(path: Path, agent, settings, **more) -> CampaignRecord:
    store, desk = campaign(path, agent, settings)
    with store:
        work(desk, **more)
    return load(path)


def points(*xs: int, **more):
    return [{"x": x, **more} for x in xs]


def test_controls_come_first_and_finals_last_from_fresh_seeds_on_the_test(tmp_path):
    settings = config(trials=3, training=TrainingSettings(reports=2, seeds=2), finals=Finals(top=2, seeds=3), seed=5)
    store, desk = campaign(tmp_path / "c", Scripted(points(30, 90, 60)), settings)
    jobs = []
    with store:
        while not desk.closed:
            job = desk.next()
            jobs.append(job)
            trainer = FakeTrainer(job)
            desk.report(job.key, trainer.advance())
            desk.report(job.key, trainer.advance())
            desk.finish(job.key, Outcome("done", trainer.measurement()))
    assert [j.key for j in jobs] == [
        "control/search/1", "1/search/1", "2/search/1", "3/search/1", "control/final/1", "2/final/1", "3/final/1",
    ]  # fmt: skip
    search, final = jobs[:4], jobs[4:]
    assert {j.split for j in search} == {"validation"}
    assert {j.split for j in final} == {"test"}
    seeds = [{j.seed_base + i for i in range(j.training.seeds)} for j in jobs]
    assert seeds[0] == seeds[1] == seeds[3]
    assert not seeds[0] & seeds[-1]
    assert [j.training.seeds for j in jobs] == [2, 2, 2, 2, 3, 3, 3]
    assert [j.save_weights is not None for j in jobs] == [False] * 4 + [True] * 3
    record = load(tmp_path / "c")
    assert record.status == "done"
    assert {c.id for c in record.candidates if c.final} == {"control", "2", "3"}
    assert record.candidate("control").is_control
    assert record.candidate("control").number is None


@pytest.mark.parametrize("ahead", [0, 2, 4])
def test_a_deterministic_campaign_says_the_same_whatever_finishes_first(tmp_path, ahead):
    settings = config(trials=15, ahead=ahead)
    boards = []
    for shuffle in range(3):
        record = finished(tmp_path / str(shuffle), Wandering(), settings, workers=3, shuffle=shuffle)
        assert record.status == "done"
        boards.append([(c.id, c.hash, c.status, c.search and c.search.score, c.finalist) for c in record.candidates])
    assert boards[0] == boards[1] == boards[2]
    assert finished(tmp_path / "free", Wandering(), replace(settings, deterministic=False)).status == "done"


def test_a_proposal_sees_exactly_the_results_up_to_its_look_back(tmp_path):
    script = points(10, 20, 20, 30, 40, 50, 60, 70)  # the third is a duplicate of the second
    script[4] = {"x": 1, "refuse": 1}
    agent = Scripted(script)
    finished(tmp_path / "c", agent, config(trials=6, ahead=2), workers=2, shuffle=1)
    told: list = []
    seen = {}
    for entry in agent.log:
        if entry[0] == "told":
            told.append(entry[1:])
        else:
            seen[entry[1]] = list(told)
    # Numbers 0, 1, 3, 5, 6, 7 are admitted: with a admitted, the first a − 2 of them are known.
    assert seen[0] == seen[1] == seen[2] == seen[3] == []
    assert seen[4] == [(0, "done", 0.1)]  # 0, 1, 3 are admitted
    assert seen[5] == seen[4]
    assert seen[6] == [(0, "done", 0.1), (1, "done", 0.2), (2, "duplicate", 0.2)]
    assert seen[7] == [*seen[6], (3, "done", 0.3), (4, "refused", None)]


def test_workers_never_wait_for_an_agent_that_is_allowed_ahead(tmp_path):
    store, desk = campaign(tmp_path / "c", Scripted(points(*range(9))), config(trials=9, ahead=4))
    with store:
        taken = [desk.next() for _ in range(7)]
        assert [j and j.key.split("/")[0] for j in taken] == ["control", "1", "2", "3", "4", "5", None]


def test_failures_count_and_duplicates_and_refusals_do_not(tmp_path):
    script = [{"x": 10}, {"x": 10}, {"x": 11, "do": "raise"}, {"x": 12, "refuse": 1}, {"x": 13, "do": "nan"}, {"x": 14}]
    record = finished(tmp_path / "c", Scripted(script), config(trials=4))
    assert Counter(c.status for c in record.candidates if not c.is_control) == {"done": 2, "failed": 2}
    assert (record.refused, record.duplicates) == (1, 1)
    assert record.candidate("2").failure == ("error", "ValueError: boom")
    assert record.candidate("3").failure == ("diverged", "no copy has a finite loss")
    trace = (tmp_path / "c/candidates/2/error.txt").read_text()
    assert "boom\nand more" in trace


def test_a_candidate_equal_to_a_control_is_not_trained_again(tmp_path):
    agent = Scripted([{"x": 1, "control": 1}, {"x": 10}, {"x": 11}])
    record = finished(tmp_path / "c", agent, config(trials=2, ahead=0))
    assert record.duplicates == 1
    assert ("told", 0, "duplicate", 0.01) in agent.log


def test_an_exhausted_space_is_said_in_words(tmp_path, monkeypatch):
    record = finished(tmp_path / "none", Scripted(points(1, 2)), config(trials=5))
    assert record.status == "exhausted"
    assert record.message == (
        "the space gave 2 distinct candidates of the 5 asked for: the agent has nothing left to propose"
    )
    monkeypatch.setattr(loop, "PATIENCE", 7)
    record = finished(tmp_path / "same", Scripted(lambda number: Proposal({"x": number % 2})), config(trials=5))
    assert record.status == "exhausted"
    assert "7 proposals in a row were known or refused (7 known and 0 refused in all)" in record.message
    assert len([c for c in record.candidates if c.final]) == 3


def test_no_success_is_a_status_of_its_own(tmp_path):
    record = finished(tmp_path / "c", Scripted(points(1, 2, do="raise")), config(trials=2))
    assert record.status == "no_success"
    assert not any(c.final for c in record.candidates)


def test_an_agent_that_raises_lets_the_running_finish_and_ends_the_campaign(tmp_path):
    def script(number):
        if number == 3:
            raise KeyError("no idea")
        return Proposal({"x": number})

    record = finished(tmp_path / "c", Scripted(script), config(trials=6))
    assert record.status == "error"
    assert record.message == "The agent raised at proposal 3: KeyError: 'no idea'"
    assert [c.status for c in record.candidates] == ["done"] * 4
    store, desk = campaign(tmp_path / "c", Scripted(points(0, 1, 2, 3, 4, 5)), config(trials=6))
    with store:
        work(desk)
    assert load(tmp_path / "c").status == "done"


def test_an_agent_that_returns_no_proposal_is_told_what_is_wrong(tmp_path):
    record = finished(tmp_path / "c", Scripted(lambda number: {"x": 1}), config(trials=6))
    assert record.status == "error"
    assert "`propose` must return a Proposal or None, but got dict" in record.message


def test_no_candidate_is_begun_after_the_time_is_over(tmp_path):
    now = [0.0]
    settings = config(trials=50, time=10.0)
    store, desk = campaign(tmp_path / "c", Scripted(points(*range(50))), settings, clock=lambda: now[0])
    with store:
        work(desk, most=4, drain=True)
        now[0] = 11.0
        work(desk)
    record = load(tmp_path / "c")
    assert record.status == "time"
    assert record.message == "the time of 10 s was over"
    assert [c.status for c in record.candidates] == ["done"] * 4 + ["pending"] * 3
    assert [c.attempts for c in record.candidates][4:] == [0] * 3
    assert sum(c.final is not None for c in record.candidates) == 3


def test_interrupted_candidates_stop_at_their_report_and_run_again(tmp_path):
    store, desk = campaign(tmp_path / "c", Scripted(points(*range(9))), config(trials=4))
    with store:
        job = desk.next()
        desk.interrupt()
        assert desk.report(job.key, Report(1, 0.1, 0.9, (0.1,), 0.1)) is False
        desk.finish(job.key, Outcome("stopped"))
        assert desk.closed
        assert desk.next() is None
    record = load(tmp_path / "c")
    assert record.status == "interrupted"
    assert record.candidate("control").status == "pending"
    store, desk = campaign(tmp_path / "c", Scripted(points(*range(9))), config(trials=4))
    with store:
        keys = work(desk)
    assert keys[0] == "control/search/2"
    record = load(tmp_path / "c")
    assert record.status == "done"
    assert len(record.candidates) == 5


def test_a_final_that_fails_leaves_the_search_score(tmp_path):
    record = finished(tmp_path / "c", Scripted(points(5, 6, do="final_raise")), config(trials=2))
    best = record.candidate("2")
    assert (best.status, best.search.score, best.final) == ("done", 0.06, None)
    assert best.failure == ("error", "ValueError: boom")
    assert record.status == "done"


def test_parents_are_named_by_candidate(tmp_path):
    def script(number):
        return Proposal({"x": number}, parent=number - 1 if number else None, reason="one more", cost={"tokens": 3})

    record = finished(tmp_path / "c", Scripted(script), config(trials=3))
    assert [c.parent for c in record.candidates] == [None, None, "1", "2"]
    assert record.candidate("2").reason == "one more"
    assert record.candidate("2").cost == {"tokens": 3}


def test_asha_stops_who_is_behind_and_no_control(tmp_path):
    settings = config(
        trials=12, scheduler="asha", deterministic=False, training=TrainingSettings(reports=9), finals=Finals(top=0)
    )
    agent = Scripted(points(90, 80, 70, 1, 2, 3, 95, 4, 5, 6, 7, 8))
    record = finished(tmp_path / "c", agent, settings, workers=1)
    status = {c.search.score if c.search else c.last[1]: c.status for c in record.candidates}
    assert status[0.01] in ("done", "stopped")
    assert record.candidate("control").status == "done"
    assert status[0.95] == "done"
    assert Counter(status.values())["stopped"] >= 6
    assert ("told", 3, "stopped", 0.01) in agent.log


def test_what_does_not_belong_to_a_running_attempt_is_ignored(tmp_path):
    store, desk = campaign(tmp_path / "c", Scripted(points(1, 2)), config(trials=2))
    with store:
        assert desk.report("9/search/1", Report(1, 0.1, 0.9, (0.1,), 0.1)) is False
        desk.finish("9/search/1", Outcome("failed", reason="error", message="late"))
        work(desk)
    assert load(tmp_path / "c").status == "done"


def test_a_final_that_fails_is_told_at_the_end(tmp_path):
    record = finished(tmp_path / "c", Scripted(points(5, 6, do="final_raise")), config(trials=2))
    assert record.message == "finals: 2 of 3 failed: 1 error (ValueError: boom), 2 error (ValueError: boom)"
    assert json.loads((tmp_path / "c/events.jsonl").read_text().splitlines()[-1])["message"] == record.message


def test_a_final_that_was_cut_off_is_told(tmp_path):
    store, desk = campaign(tmp_path / "c", Scripted(points(5, 6)), config(trials=2))
    with store:
        work(desk, workers=1, most=4, drain=True)
    record = load(tmp_path / "c")
    assert record.status == "interrupted"
    assert record.message == "its driver ended before the campaign did; finals: 2 of 3 missing: 1, 2"
