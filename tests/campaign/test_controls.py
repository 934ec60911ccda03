"""Controls: what they are trained with, where they are ranked, and that they stand in nobody's way."""

from dataclasses import replace

import pytest

from archsearch import content
from archsearch.api import SearchSpace
from archsearch.campaign.attempt import Outcome
from archsearch.campaign.config import CampaignConfig
from archsearch.campaign.controls import blueprints
from archsearch.campaign.record import load
from archsearch.errors import ConfigError
from archsearch.training.measurement import TrainingSettings
from tests.campaign.fakes import FakeTrainer, Scripted, campaign, config, gate

ALL = CampaignConfig("a", "b").controls


def jobs_of(tmp_path, settings, script, controls):
    """The jobs of a campaign that a fake trains, and its record."""
    store, desk = campaign(tmp_path / "c", Scripted(script), settings, controls=controls)
    jobs = []
    with store:
        while not desk.closed:
            jobs.append(desk.next())
            trainer = FakeTrainer(jobs[-1])
            for _ in range(settings.training.reports):
                desk.report(jobs[-1].key, trainer.advance())
            desk.finish(jobs[-1].key, Outcome("done", trainer.measurement()))
    return {j.key: j for j in jobs}, load(tmp_path / "c")


def test_every_shipped_control_is_in_every_campaign():
    assert set(ALL) == {path.stem for path in content.control_files()}


def test_shipped_controls_say_how_they_are_trained():
    found = blueprints(ALL, SearchSpace.read("hybrid"), 64)
    assert {name: dict(b.training) for name, b in found.items()} == {
        "unigram": {},
        "no_mixer": {},
        "frozen": {"freeze": "body"},
        "transformer": {"rate_factors": (0.33, 1.0, 3.0)},
    }
    assert found["frozen"].line == f"{found['transformer'].line.partition(' (')[0]} (freeze: body)"
    assert found["unigram"].facts["params"] == 0, "whatever size the space matches"
    assert {name: b.facts["fit"] for name, b in found.items() if b.facts["fit"] != "gradient"} == {
        "unigram": "frequencies"
    }


def test_a_control_is_trained_with_its_own_settings_and_the_others_are_not(tmp_path):
    controls = {"frozen": replace(gate({"x": 1, "control": 1}), training={"freeze": "body"})}
    settings = config(trials=1, training=TrainingSettings(reports=2, steps=12))
    jobs, _ = jobs_of(tmp_path, settings, [{"x": 30}], controls)
    assert {key: j.training.freeze for key, j in jobs.items()} == {
        "frozen/search/1": "body", "1/search/1": "none", "frozen/final/1": "body", "1/final/1": "none",
    }  # fmt: skip
    assert {j.training.steps for j in jobs.values()} == {12}
    assert jobs["frozen/final/1"].training.seeds == settings.finals.seeds


def test_an_architecture_that_was_only_trained_in_another_way_is_no_duplicate(tmp_path):
    shared = gate({"x": 30})
    controls = {"frozen": replace(shared, training={"freeze": "body"})}
    _, record = jobs_of(tmp_path / "own", config(trials=1), [{"x": 30}, {"x": 40}], controls)
    assert record.duplicates == 0
    _, record = jobs_of(tmp_path / "same", config(trials=1), [{"x": 30}, {"x": 40}], {"plain": shared})
    assert record.duplicates == 1


def test_finals_take_the_rate_and_the_steps_that_the_search_found(tmp_path, monkeypatch):
    def measured(self, real=FakeTrainer.measurement):
        m = real(self)
        copies = (*m.copies, replace(m.copies[0], learning_rate=1e-2))
        return replace(m, copies=copies, learning_rate=1e-2, planned_steps=77)

    monkeypatch.setattr(FakeTrainer, "measurement", measured)
    jobs, _ = jobs_of(tmp_path / "steps", config(trials=1), [{"x": 30}], {})
    assert (jobs["1/search/1"].learning_rates, jobs["1/search/1"].steps) == (None, None)
    assert (jobs["1/final/1"].learning_rates, jobs["1/final/1"].steps) == ((1e-2,), None)
    timed = config(trials=1, training=TrainingSettings(reports=2, budget="seconds"))
    jobs, _ = jobs_of(tmp_path / "seconds", timed, [{"x": 30}], {})
    assert jobs["1/final/1"].steps == 77


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("campaign: {trials: 3}", "may say `training` alone, but .* has trials"),
        ("campaign: {training: {freze: body}}", "no setting `training.freze`. Did you mean `training.freeze`"),
    ],
)
def test_a_control_with_ill_settings_is_refused(tmp_path, monkeypatch, text, message):
    file = tmp_path / "mine.yaml"
    file.write_text(f"version: 1\nname: mine\ngraph: {{nodes: {{out: {{op: relu, from: in}}}}}}\n{text}\n")
    monkeypatch.setattr(content, "control_files", lambda: [file])
    with pytest.raises(ConfigError, match=message):
        blueprints(("mine",), SearchSpace.read("mlp"), 16)
