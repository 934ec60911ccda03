"""What can go wrong with a candidate, through Ray Tune: it is recorded with its reason, and the campaign goes on.

One Ray for the module: a start takes seconds.
"""

import json
import time
from pathlib import Path
from types import SimpleNamespace

import pytest

from archsearch.agent import Proposal
from archsearch.campaign.config import Finals
from archsearch.campaign.executors.quiet import quiet
from archsearch.campaign.record import CampaignRecord, load
from archsearch.errors import StoreError
from archsearch.training.measurement import TrainingSettings
from tests.campaign.fakes import RUNNER, Scripted, Wandering, campaign, config, work

ray_tune = pytest.importorskip("archsearch.campaign.executors.ray_tune")

pytestmark = [pytest.mark.filterwarnings("ignore"), pytest.mark.xdist_group("ray")]

FAULTS = ["", "raise", "nan", "memory", "hang", "die", "unbuildable", "", "", "exit", "interrupt"]


@pytest.fixture(scope="module")
def cluster():
    settings = config(workers=2)
    with quiet(2), ray_tune._cluster(settings):
        yield


@pytest.fixture(scope="module")
def faulty(cluster, tmp_path_factory, request) -> tuple[CampaignRecord, str]:
    """A campaign with one candidate of every fault, and what was printed meanwhile."""
    path = tmp_path_factory.mktemp("ray") / "faulty"
    script = [{"x": 10 + i, "do": do} for i, do in enumerate(FAULTS)]
    script.append({"x": 99, "do": "final_die"})
    settings = config(
        trials=len(script),
        workers=2,
        ahead=4,
        executor="ray",
        training=TrainingSettings(reports=2, time_limit=1.0),
        finals=Finals(top=2, seeds=2),
    )
    capture = request.config.pluginmanager.getplugin("capturemanager")
    capture.read_global_capture()
    store, desk = campaign(path, Scripted(script), settings)
    with store:
        ray_tune.run(desk, settings, runner=RUNNER)
    out, err = capture.read_global_capture()
    return load(path), out + err


def test_every_fault_has_its_reason_and_the_campaign_goes_on(faulty):
    record, _ = faulty
    assert record.status == "done"
    assert [c.status for c in record.candidates if c.id in ("1", "8", "9", "12")] == ["done"] * 4
    reasons = {do: record.candidate(str(i + 1)).failure for i, do in enumerate(FAULTS) if do}
    assert reasons["raise"] == ("error", "ValueError: boom")
    assert reasons["nan"] == ("diverged", "no copy has a finite loss")
    assert reasons["memory"][0] == "out_of_memory"
    assert reasons["hang"] == ("timeout", "no report for 1 s")
    assert reasons["die"][0] == "killed"
    assert reasons["unbuildable"] == ("error", "it cannot be built")
    assert reasons["exit"] == ("error", "SystemExit: enough")
    assert reasons["interrupt"] == ("error", "KeyboardInterrupt")


def test_a_worker_may_take_longer_to_come_up_than_a_candidate_to_report(tmp_path, monkeypatch):
    settings = config(workers=2, trials=2, training=TrainingSettings(time_limit=0.01))
    store, desk = campaign(tmp_path / "slow", Wandering(), settings)
    killed = []
    monkeypatch.setattr(ray_tune.ray, "kill", killed.append)
    with store:
        bridge = ray_tune._Bridge(desk, settings, RUNNER, lambda: None)
        trials = [
            SimpleNamespace(trial_id=i, temporary_state=SimpleNamespace(ray_actor=i)) for i in ("up", "up too", "job")
        ]
        jobs = [bridge.fetch(t.trial_id)["job"] for t in trials[:2]]
        assert jobs == [None, None]  # the first trials only bring workers up
        for trial in trials:
            bridge.begin(trial)
        time.sleep(0.05)
        bridge.look_around(trials)
    assert killed == ["job"]


def test_a_finalist_whose_worker_dies_keeps_its_search_score(faulty):
    best = faulty[0].candidate("12")
    assert best.status == "done"
    assert best.search.score == 0.99
    assert best.final is None
    assert best.failure[0] == "killed"
    assert faulty[0].message.startswith("finals: 1 of 3 failed: 12 killed (")


def test_finalists_leave_their_weights(faulty):
    record, _ = faulty
    left = {c.id for c in record.candidates if (record.path / "candidates" / c.id / "weights.pt").exists()}
    assert left == {"control", "9"}


def test_nothing_is_printed(faulty):
    assert faulty[1] == ""


def test_ray_in_two_generations_and_inline_give_the_same_campaign(cluster, tmp_path, monkeypatch):
    monkeypatch.setattr(ray_tune, "GENERATION", 9)
    boards = []
    for executor in ("ray", "inline"):
        settings = config(trials=12, ahead=4, workers=2, executor=executor)
        store, desk = campaign(tmp_path / executor, Wandering(), settings)
        with store:
            ray_tune.run(desk, settings, runner=RUNNER) if executor == "ray" else work(desk, workers=1)
        record = load(tmp_path / executor)
        boards.append(
            [
                (c.id, c.hash, c.status, c.search and c.search.score, c.final and c.final.score)
                for c in record.candidates
            ]
        )
    assert boards[0] == boards[1]


def test_an_error_of_the_desk_ends_the_campaign_in_order(cluster, tmp_path, monkeypatch):
    settings = config(trials=50, ahead=4, workers=2, executor="ray")
    store, desk = campaign(tmp_path / "c", Scripted(lambda n: Proposal({"x": n})), settings)
    real, count = store.append, [0]

    def failing(kind, **fields):
        count[0] += kind == "measurement"
        if count[0] > 3:
            raise StoreError("A results folder must be writable, but it is not: No space left on device.")
        real(kind, **fields)

    monkeypatch.setattr(store, "append", failing)
    with store, pytest.raises(StoreError, match="No space left"):
        ray_tune.run(desk, settings, runner=RUNNER)
    assert sum(c.search is not None for c in load(tmp_path / "c").candidates) == 3


def test_both_workers_are_busy_and_kept(cluster, tmp_path):
    settings = config(
        trials=16, ahead=4, workers=2, training=TrainingSettings(reports=1), finals=Finals(top=0), executor="ray"
    )
    store, desk = campaign(tmp_path / "c", Scripted([{"x": i, "sleep": 0.25} for i in range(16)]), settings)
    with store:
        ray_tune.run(desk, settings, runner=RUNNER)
    running, together = 0, []
    for line in Path(tmp_path / "c/events.jsonl").read_text().splitlines():
        kind = json.loads(line)["event"]
        if kind == "measurement":
            together.append(running)
        running += (kind == "attempt") - (kind == "measurement")
    assert sum(n >= 2 for n in together) >= len(together) // 2, "most candidates should end while another one runs"
    assert max(together) <= 2


def test_candidates_that_train_stop_at_their_report_when_interrupted(cluster, tmp_path):
    settings = config(trials=50, ahead=4, workers=2, training=TrainingSettings(reports=1000), executor="ray")
    store, desk = campaign(tmp_path / "c", Scripted([{"x": i, "sleep": 0.01} for i in range(50)]), settings)
    until = [float("inf")]

    def tick():
        if desk.running and until[0] == float("inf"):
            until[0] = time.monotonic() + 0.3
        if time.monotonic() > until[0]:
            desk.interrupt()

    with store:
        ray_tune.run(desk, settings, runner=RUNNER, tick=tick)
    record = load(tmp_path / "c")
    assert record.status == "interrupted"
    assert {c.status for c in record.candidates} == {"pending"}
    assert sum(bool(c.reports) for c in record.candidates) == 2
