"""Campaigns on several tasks: a job for each, a score for each, and the mean that everything else goes by."""

import json
import os
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import pytest

from archsearch.campaign.attempt import Outcome, load_runner
from archsearch.campaign.config import CampaignConfig, Finals
from archsearch.campaign.record import CampaignRecord, architecture, load
from archsearch.campaign.run import resume, run
from archsearch.campaign.suites import resolve
from archsearch.errors import CandidateError, ConfigError, UnknownNameError
from archsearch.ranking.intervals import mean
from archsearch.training import trainer
from archsearch.training.measurement import Job
from tests.campaign import fakes

RUNNER = f"{Path(__file__).resolve()}:TaskTrainer"
PAIR = ("parity", "in_context_recall")
SCALES = {"parity": (0.5, 1.0), "in_context_recall": (0.125, 1.0)}
SPACE = """
version: 1
name: tiny
graph:
  nodes:
    mix: {op: {choose: [gru, conv, identity]}, from: in}
    more: {op: mlp, expand: {int: [1, 4]}, from: mix}
    out: {op: rms_norm, from: more}
scale: {width: 8}
"""


class TaskTrainer(fakes.HashTrainer):
    """Scores an architecture by a hash of it, a little worse on every task but `parity`."""

    def __init__(self, job: Job) -> None:
        super().__init__(job)
        self.about = {"x": self.about["x"] / (1 if job.task == "parity" else 2), "sleep": 0.002}


@pytest.fixture
def space(tmp_path: Path) -> str:
    path = tmp_path / "tiny.yaml"
    path.write_text(SPACE)
    return str(path)


def config(space: str, *sets: str, task: str = ",".join(PAIR), **flags) -> CampaignConfig:
    given = {"executor": "inline", "trials": 4, "controls": ["no_mixer"], "finals": {"top": 1, "seeds": 2}, **flags}
    return resolve(
        flags={"space": space, "task": task, **given}, sets=["training.reports=2", "training.seeds=2", *sets]
    )


def go(results: Path, settings: CampaignConfig, **more) -> CampaignRecord:
    return run(settings, results, **{"runner": RUNNER, "progress": False, **more})


def board(record: CampaignRecord) -> list:
    def scores(c):
        parts = {**c.search_tasks, **{f"final {label}": m for label, m in c.final_tasks.items()}}
        return {label: m.score for label, m in parts.items()}

    return [(c.id, c.hash, c.status, c.search and c.search.score, c.finalist, scores(c)) for c in record.candidates]


def measured(path: Path) -> list[tuple[str, ...]]:
    lines = (path / "events.jsonl").read_bytes().split(b"\n")
    events = [json.loads(line) for line in lines if line.endswith(b"}")]
    return [(e["id"], e["phase"], e["task"]) for e in events if e["event"] == "measurement"]


def desk_of_two(folder: Path, trials: int, time: float | None = None, **more):
    """A desk of a campaign on the tasks `a` and `b`, whose candidates score 60, 50, ... percent."""
    settings = fakes.config(task="a+b", members=("a", "b"), trials=trials, time=time, finals=Finals(0, 1))
    about = {**fakes.TASK, "best": 1.0}
    task = {**about, "name": "a+b", "tasks": {"a": about, "b": about}}
    agent = fakes.Scripted([{"x": 60 - 10 * i} for i in range(trials)])
    return fakes.campaign(folder / "c", agent, settings, controls={}, task=task, **more)


def test_every_candidate_is_trained_on_every_task_with_the_settings_of_each(tmp_path, space, monkeypatch):
    jobs: list[Job] = []
    monkeypatch.setattr(
        "archsearch.campaign.executors.inline.Attempt",
        lambda job, runner: jobs.append(job) or fakes.Attempt(job, runner),
    )
    record = go(tmp_path, config(space, "task.parity.length=20", "training.parity.steps=7", "seed=1"))
    assert record.status == "done"
    searched = [j for j in jobs if j.split == "validation"]
    assert Counter(j.key.split("/")[0] for j in searched) == dict.fromkeys(["no_mixer", "1", "2", "3", "4"], 2)
    assert {(j.task, j.training.steps, j.training.batch, j.seed_base) for j in searched} == {
        ("parity", 7, 64, 20_000), ("in_context_recall", 400, 32, 20_000),
    }  # fmt: skip
    assert {(j.task, j.task_settings.get("length")) for j in jobs} == {("parity", 20), ("in_context_recall", None)}
    finals = [j for j in jobs if j.split == "test"]
    assert len(finals) == 4
    assert {Path(j.save_weights).name for j in finals} == {"weights.parity.pt", "weights.in_context_recall.pt"}
    assert len({j.key for j in jobs}) == len(jobs)
    assert [(a["task"], a["metric"]) for a in [{"task": k, **v} for k, v in record.task["tasks"].items()]] == [
        ("parity", "accuracy"), ("in_context_recall", "accuracy"),
    ]  # fmt: skip


def test_the_score_is_the_mean_of_what_is_won_over_chance_seed_by_seed(tmp_path, space):
    record = go(tmp_path, config(space))
    for c in record.candidates:
        assert set(c.search_tasks) == set(PAIR)
        shares = [
            (m.score - SCALES[label][0]) / (SCALES[label][1] - SCALES[label][0]) for label, m in c.search_tasks.items()
        ]
        assert c.search.score == pytest.approx(mean(shares))
        assert [copy.seed for copy in c.search.copies] == [0, 1]
        assert c.search.steps == sum(m.steps for m in c.search_tasks.values())
    searched = [c for c in record.candidates if not c.is_control]
    best = max(searched, key=lambda c: c.search.score)
    assert [c.id for c in searched if c.finalist] == [best.id]
    assert best.final.fidelity.split == "test"
    assert record.task["name"] == "parity+in_context_recall"


def test_a_campaign_that_was_cut_anywhere_ends_the_same_and_trains_nothing_twice(tmp_path, space):
    whole = go(tmp_path, config(space, name="whole"))
    lines = (whole.path / "events.jsonl").read_bytes().splitlines(keepends=True)
    for cut in range(1, len(lines), 11):
        path = tmp_path / f"cut-{cut}"
        path.mkdir()
        (path / "space.yaml").write_bytes((whole.path / "space.yaml").read_bytes())
        (path / "events.jsonl").write_bytes(b"".join(lines[:cut]) + lines[cut][:7])
        known = measured(path)
        load(path)  # an index of what there is
        record = resume(path, runner=RUNNER, progress=False)
        assert record.status == "done"
        assert board(record) == board(whole)
        assert measured(path)[: len(known)] == known
        assert max(Counter(measured(path)).values()) == 1


@pytest.mark.slow
def test_a_driver_that_is_killed_again_and_again_ends_where_it_would_have(tmp_path, space):
    settings = config(space, name="c", trials=8)
    whole = go(tmp_path / "whole", settings)
    file = tmp_path / "campaign.yaml"
    file.write_text(settings.to_yaml())
    code = f"""
import sys; sys.path.insert(0, {str(Path(fakes.__file__).parents[2])!r})
from pathlib import Path
from archsearch.campaign.config import read_file, CampaignConfig
from archsearch.campaign.run import resume, run
results = Path(sys.argv[1])
if (results / "c" / "events.jsonl").exists():
    resume(results / "c", runner={RUNNER!r}, progress=False)
else:
    run(CampaignConfig.from_dict(read_file({str(file)!r})), results, runner={RUNNER!r}, progress=False)
"""
    path, known = tmp_path / "killed" / "c", []
    for size in (9_000, 25_000, None):
        driver = subprocess.Popen([sys.executable, "-c", code, str(path.parent)], env=dict(os.environ))
        events = path / "events.jsonl"
        while size and driver.poll() is None and (not events.exists() or events.stat().st_size < size):
            time.sleep(0.002)
        if size:
            assert driver.poll() is None, "it was over before it could be killed"
            driver.kill()
        driver.wait()
        assert measured(path)[: len(known)] == known
        known = measured(path)
    assert board(load(path)) == board(whole)
    assert max(Counter(known).values()) == 1


@pytest.mark.parametrize("phase", ["validation", "test"])
def test_who_fails_on_one_task_fails_and_the_task_is_named(tmp_path, space, monkeypatch, phase):
    fails = [True]

    def advance(self, real=fakes.FakeTrainer.advance):
        if fails[0] and self.job.key.startswith("2/") and (self.job.split, self.job.task) == (phase, "parity"):
            raise CandidateError("diverged", "all 2 copies diverged")
        return real(self)

    monkeypatch.setattr(load_runner(RUNNER), "advance", advance)
    record = go(tmp_path, config(space, finals={"top": 4, "seeds": 2}))
    two = record.candidate("2")
    assert two.failure == ("diverged", "on parity: all 2 copies diverged")
    if phase == "validation":
        assert (two.status, two.search, dict(two.search_tasks)) == ("failed", None, {}), "the other task is let be"
        assert record.candidate("1").status == "done"
        return
    assert (two.status, two.final, dict(two.final_tasks)) == ("done", None, {})
    fails[0] = False
    mended = resume(record.path, runner=RUNNER, progress=False).candidate("2")
    assert (set(mended.final_tasks), mended.failure) == (set(PAIR), None)
    assert mended.final is not None


def test_a_worker_on_another_task_of_a_failed_candidate_is_told_to_stop(tmp_path):
    store, desk = desk_of_two(tmp_path, 1)
    with store:
        first, second = desk.next(), desk.next()
        assert (first.key, second.key) == ("1/search/1/a", "1/search/1/b")
        trainer_of_second = fakes.FakeTrainer(second)
        assert desk.report(second.key, trainer_of_second.advance())
        desk.finish(first.key, Outcome("failed", reason="error", message="boom"))
        assert desk.report(second.key, trainer_of_second.advance()) is False
        desk.finish(second.key, Outcome("stopped"))
        assert desk.closed
    record = load(tmp_path / "c")
    assert (record.status, record.candidate("1").status) == ("no_success", "failed")
    assert record.candidate("1").failure == ("error", "on a: boom")


def test_seeds_that_diverge_by_turns_leave_no_mean(tmp_path):
    store, desk = desk_of_two(tmp_path, 1)
    with store:
        for seed in (0, 1):
            job = desk.next()
            one = fakes.FakeTrainer(job).measurement()
            copies = tuple(
                type(c)(**{**vars(c), "seed": s, "score": 0.5 if s == seed else None,
                           "status": "done" if s == seed else "diverged"})
                for s in (0, 1) for c in one.copies[:1]
            )  # fmt: skip
            desk.finish(job.key, Outcome("done", type(one)(**{**vars(one), "copies": copies})))
        assert desk.closed
    assert load(tmp_path / "c").candidate("1").failure[0] == "diverged"


def test_a_candidate_that_has_begun_is_seen_through_when_the_time_is_over(tmp_path):
    now = [0.0]
    store, desk = desk_of_two(tmp_path, 9, time=10.0, clock=lambda: now[0])
    with store:
        job = desk.next()
        now[0] = 11.0
        desk.finish(job.key, Outcome("done", fakes.FakeTrainer(job).measurement()))
        keys = fakes.work(desk)
    record = load(tmp_path / "c")
    assert keys == ["1/search/1/b"]
    assert [c.status for c in record.candidates[:2]] == ["done", "pending"]
    assert record.candidate("1").search.score == pytest.approx(5 / 9)
    assert record.status == "time"


def test_tasks_without_a_scale_and_a_space_that_looks_ahead_are_refused_before_anything_trains(tmp_path, space):
    mine = tmp_path / "odd.py"
    text = Path(fakes.__file__).parents[2].joinpath("README.md").read_text()
    code = text.split("<!-- test: task -->\n```python\n")[1].split("```")[0]
    mine.write_text(code.replace("chance, ceiling = 0.5, 1.0", 'chance, ceiling = 0.5, None\n    metric = "joy"'))
    with pytest.raises(ConfigError, match=r"must have a `ceiling`.* but `odd` \(joy\) has none"):
        go(tmp_path / "r", config(space, task=f"parity,{mine}"))
    mine.write_text(code.replace("chance, ceiling = 0.5, 1.0", "chance, ceiling = 0.5, 0.5"))
    with pytest.raises(ConfigError, match=r"must leave something to learn, but of `odd` chance is 0\.5"):
        go(tmp_path / "r", config(space, task=f"parity,{mine}"))
    with pytest.raises(ConfigError, match="Task `parity` asks at every step"):
        go(tmp_path / "r", config("mlp", task="digits,parity"))
    assert not (tmp_path / "r").exists()


def test_data_of_one_task_that_changed_are_refused_on_resume(tmp_path, space):
    path = go(tmp_path, config(space)).path
    events = (path / "events.jsonl").read_bytes().splitlines(keepends=True)[:-1]
    digest = load(path).task["tasks"]["in_context_recall"]["digest"].encode()
    (path / "events.jsonl").write_bytes(b"".join(events).replace(digest, b"0" * 16))
    (path / "results.db").unlink()
    with pytest.raises(ConfigError, match=f"task `in_context_recall` has the digest {digest.decode()} here"):
        resume(path, runner=RUNNER, progress=False)


REAL = (
    "task.parity.length=12", "task.parity.examples_train=64", "task.in_context_recall.length=16",
    "task.in_context_recall.examples_train=64", "training.steps=4", "training.batch=8",
    "training.evaluation_examples=32", "training.device=cpu", "gpus_per_trial=0",
)  # fmt: skip


def copies(record: CampaignRecord) -> dict[str, tuple]:
    parts = [(c.id, phase, label, m) for c in record.candidates for phase in ("search", "final")
             for label, m in c.parts(phase).items()]  # fmt: skip
    return {f"{name}/{phase}/{label}": m.copies for name, phase, label, m in parts}


@pytest.fixture
def inline(tmp_path, space) -> CampaignRecord:
    return run(config(space, *REAL, trials=2, name="inline"), tmp_path / "real", progress=False)


def test_a_candidate_scores_on_each_task_as_it_does_alone(inline):
    assert inline.status == "done"
    settings = CampaignConfig.from_dict(inline.config)
    one = inline.candidate("1")
    graph = architecture(inline.path, "1").to_dict()
    for choice in settings.tasks:
        job = Job("alone/search/1", graph, choice.task, choice.settings, choice.training, settings.search_seed)
        assert trainer.run(job).copies == one.search_tasks[choice.label].copies
    best = next(c for c in inline.candidates if c.final and not c.is_control)
    from archsearch.api import Campaign

    frame = Campaign(inline.path).leaderboard()
    assert list(frame.columns[-2:]) == ["task.parity", "task.in_context_recall"]
    assert frame["task.parity"].notna().all()
    built = Campaign(inline.path)[best.id]
    with pytest.raises(ConfigError, match="for one of the tasks parity, in_context_recall"):
        built.build()
    with pytest.raises(UnknownNameError, match="Did you mean `parity`"):
        built.build(task="parit")
    assert built.build(task="parity").stem.weight.shape != built.build(task="in_context_recall").stem.weight.shape


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
@pytest.mark.xdist_group("ray")
def test_two_workers_give_the_bits_of_one(inline, tmp_path, space):
    pytest.importorskip("ray")
    settings = config(space, *REAL, trials=2, name="ray", executor="ray", workers=2)
    assert copies(run(settings, tmp_path / "real", progress=False)) == copies(inline)
