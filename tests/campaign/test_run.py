"""Campaigns on real spaces, tasks and agents, with a trainer that takes no time."""

from pathlib import Path

import pytest

from archsearch.campaign.attempt import load_runner
from archsearch.campaign.config import CampaignConfig, Finals, resolve
from archsearch.campaign.controls import blueprints
from archsearch.campaign.record import architecture, load
from archsearch.campaign.run import resume, run
from archsearch.errors import CandidateError, ConfigError, StoreError, UnknownNameError
from archsearch.training.measurement import TrainingSettings
from tests.campaign import fakes

RUNNER = f"{Path(fakes.__file__)}:HashTrainer"


def config(space: str = "quickstart", **changes) -> CampaignConfig:
    values = {"task": "in_context_recall", "executor": "inline", "trials": 5, "ahead": 3, "finals": Finals(2, 2)}
    return CampaignConfig(space=space, **{**values, "training": TrainingSettings(reports=2), **changes})


def go(results: Path, settings: CampaignConfig, **more):
    return run(settings, results, runner=RUNNER, progress=False, **more)


def board(record):
    return [(c.id, c.hash, c.line, c.decisions, c.search and c.search.score, c.finalist) for c in record.candidates]


@pytest.mark.parametrize("agent", ["random_search", "tpe"])
def test_the_same_seed_gives_the_same_campaign_and_another_seed_another(tmp_path, agent):
    first, second, other = (
        go(tmp_path / str(i), config("hybrid", agent=agent, trials=14, seed=seed)) for i, seed in enumerate((0, 0, 1))
    )
    assert first.status == "done"
    assert board(first) == board(second)
    assert board(first)[2:] != board(other)[2:]
    assert len([c for c in first.candidates if not c.is_control]) == 14


def test_a_folder_holds_everything_that_a_stranger_needs(tmp_path):
    record = go(tmp_path, config())
    assert record.name == "quickstart-1"
    assert {p.name for p in record.path.iterdir()} >= {
        "campaign.yaml", "space.yaml", "environment.json", "events.jsonl", "results.db", "candidates",
    }  # fmt: skip
    from archsearch.graph import reader

    assert reader.plain(reader.load(record.path / "campaign.yaml").root) == record.config
    assert record.task["metric"] == "accuracy"
    assert record.task["maximize"] is True
    assert 0 < record.task["chance"] < 0.5
    assert len(record.task["digest"]) == 16
    assert record.environment["packages"]["torch"]
    found = architecture(record.path, "1")
    assert found.nodes
    assert record.candidate("1").families
    assert record.candidate("1").facts["params"] > 0
    assert go(tmp_path, config()).name == "quickstart-2"


@pytest.mark.parametrize("agent", ["random_search", "tpe"])
def test_a_campaign_that_was_cut_anywhere_ends_the_same(tmp_path, agent):
    whole = go(tmp_path, config("hybrid", agent=agent, trials=8, name="whole"))
    lines = (whole.path / "events.jsonl").read_bytes().splitlines(keepends=True)
    for cut in range(1, len(lines), 9):
        path = tmp_path / f"cut-{cut}"
        path.mkdir()
        (path / "space.yaml").write_bytes((whole.path / "space.yaml").read_bytes())
        (path / "events.jsonl").write_bytes(b"".join(lines[:cut]) + lines[cut][:7])
        assert load(path).status == "interrupted"
        record = resume(path, runner=RUNNER, progress=False)
        assert record.status == "done"
        assert board(record) == board(whole)


def test_a_campaign_that_is_over_is_returned_as_it_is(tmp_path):
    record = go(tmp_path, config())
    size = (record.path / "events.jsonl").stat().st_size
    assert resume(record.path, runner=RUNNER, progress=False) == record
    assert (record.path / "events.jsonl").stat().st_size == size


def test_data_that_changed_is_refused_on_resume(tmp_path):
    path = go(tmp_path, config()).path
    events = (path / "events.jsonl").read_bytes().splitlines(keepends=True)[:-1]
    digest = load(path).task["digest"].encode()
    (path / "events.jsonl").write_bytes(b"".join(events).replace(digest, b"0" * 16))
    (path / "results.db").unlink()
    with pytest.raises(ConfigError, match=f"digest {digest.decode()} here and had {'0' * 16}"):
        resume(path, runner=RUNNER, progress=False)


def test_names_that_exist_and_names_that_do_not(tmp_path):
    go(tmp_path, config(name="a", trials=1))
    with pytest.raises(ConfigError, match="needs a name that is free"):
        go(tmp_path, config(name="a", trials=1))
    for changes, message in [
        ({"task": "in_context_recal"}, "Did you mean `in_context_recall`"),
        ({"agent": "random_serch"}, "Did you mean `random_search`"),
        ({"space": "quickstrat"}, "Did you mean `quickstart`"),
        ({"controls": ("no_mixr",)}, "Did you mean `no_mixer`"),
    ]:
        with pytest.raises(UnknownNameError, match=message):
            go(tmp_path, config(**changes))
    with pytest.raises(StoreError, match=r"must hold events\.jsonl"):
        resume(tmp_path / "nothing")
    assert [p.name for p in tmp_path.iterdir()] == ["a"], "a mistake must leave no folder behind"


def test_a_task_that_asks_at_every_step_needs_a_causal_space(tmp_path):
    with pytest.raises(ConfigError, match="could read their own targets"):
        go(tmp_path, config("mlp"))
    assert go(tmp_path, config("mlp", task="digits")).status == "done"


def test_controls_take_the_size_of_the_space(tmp_path):
    from archsearch.api import SearchSpace

    space = SearchSpace.read("hybrid")
    target = 100_000
    found = blueprints(("no_mixer", "transformer"), space, 64)
    assert all(abs(b.facts["params"] / target - 1) <= 0.03 for b in found.values())
    wide = SearchSpace.read("quickstart").rescaled(width=96)
    assert {b.architecture["scale"]["width"] for b in blueprints(("no_mixer", "transformer"), wide, 64).values()} == {
        96
    }


def test_an_agent_of_a_person_is_resumed_from_anywhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("mine.py").write_text(
        "from archsearch import Agent, Proposal\n\n"
        "class Mine(Agent):\n"
        "    def propose(self, number):\n"
        "        if number == 2:\n"
        "            raise RuntimeError('not today')\n"
        "        return Proposal(self.space.sample(self.generator(number)).decisions)\n"
    )
    record = go(tmp_path / "results", config(agent="mine.py"))
    assert record.status == "error"
    assert "The agent raised at proposal 2: RuntimeError: not today" in record.message
    Path("mine.py").write_text(Path("mine.py").read_text().replace("number == 2", "number == -1"))
    monkeypatch.chdir("/")
    again = resume(record.path, runner=RUNNER, progress=False)
    assert again.status == "done"
    assert {c.agent for c in again.candidates if not c.is_control} == {"mine"}


def test_settings_reach_the_job(tmp_path, monkeypatch):
    jobs = []
    monkeypatch.setattr(
        "archsearch.campaign.executors.inline.Attempt",
        lambda job, runner: jobs.append(job) or fakes.Attempt(job, runner),
    )
    settings = resolve(
        flags={"space": "quickstart", "task": "in_context_recall", "executor": "inline", "trials": 1},
        sets=[
            "task.length=32",
            "training.steps=12",
            "training.learning_rates=[1e-3, 1e-2]",
            "finals.seeds=4",
            "seed=3",
        ],
    )
    go(tmp_path, settings)
    assert {j.task_settings["length"] for j in jobs} == {32}
    assert {j.training.steps for j in jobs} == {12}
    assert {j.training.learning_rates for j in jobs} == {(1e-3, 1e-2)}
    assert {(j.split, j.training.seeds, j.seed_base) for j in jobs} == {
        ("validation", 1, 60_000),
        ("test", 4, 70_000),
    }


def test_a_resume_tries_failed_finals_again(tmp_path, monkeypatch):
    fails = [True]

    def advance(self, real=fakes.FakeTrainer.advance):
        if fails[0] and self.job.split == "test" and self.job.key.startswith("1/"):
            raise CandidateError("timeout", "no report for 9 s")
        return real(self)

    monkeypatch.setattr(load_runner(RUNNER), "advance", advance)
    record = go(tmp_path, config(trials=2))
    assert record.status == "done"
    assert record.message == "finals: 1 of 6 failed: 1 timeout (no report for 9 s)"
    again = resume(record.path, runner=RUNNER, progress=False)
    assert again.message == record.message, "it failed once more"
    fails[0] = False
    mended = resume(record.path, runner=RUNNER, progress=False)
    assert (mended.status, mended.message) == ("done", "")
    assert mended.candidate("1").final is not None
    assert mended.candidate("1").failure is None
    assert mended.candidate("1").attempts == 4  # a search and three finals
    assert mended.candidate("2").attempts == 2


@pytest.mark.parametrize("executor", ["inline", "ray"])
@pytest.mark.parametrize(("setting", "value"), [("device", "cuda"), ("dtype", "float16")])
def test_a_device_that_is_not_there_is_said_before_anything_begins(tmp_path, monkeypatch, executor, setting, value):
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    training = TrainingSettings(reports=2, **{setting: value})
    with pytest.raises(ConfigError, match=f"`training.{setting}` must be .*, but got '{value}'"):
        go(tmp_path / "results", config(executor=executor, training=training))
    assert not (tmp_path / "results").exists()
