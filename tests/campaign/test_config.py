"""Where a setting comes from, and what is said of one that cannot be used."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from archsearch.campaign import settings
from archsearch.campaign.config import CampaignConfig, Finals, read_file, resolve, training_settings
from archsearch.errors import ConfigError, FileError
from archsearch.graph import reader
from archsearch.training.measurement import TrainingSettings


def test_the_nearer_wins():
    layers = {
        "task_training": lambda task: {"steps": 1, "batch": 1, "clip": 5.0, "warmup": 0.5} if task == "t" else {},
        "space_defaults": {
            "task": "t",
            "trials": 2,
            "training": {"batch": 2, "clip": 2.0},
            "set": {"training.warmup": 0.2},
        },
        "file": {"space": "s", "trials": 3, "training": {"clip": 3.0}},
        "flags": {"trials": 4, "task": None},
    }
    found = resolve(**layers, sets=["trials=5"])
    assert found.trials == 5
    assert resolve(**layers).trials == 4
    assert (found.training.steps, found.training.batch, found.training.clip, found.training.warmup) == (1, 2, 3.0, 0.2)
    assert found.agent == "random_search"


def test_settings_of_another_task_are_forgotten():
    space = {"task": "recall", "agent": "tpe", "set": {"task.length": 64, "agent.startup": 5}}
    kept = resolve(flags={"space": "s"}, space_defaults=space)
    assert (kept.task_settings, kept.agent_settings) == ({"length": 64}, {"startup": 5})
    gone = resolve(flags={"space": "s", "task": "digits", "agent": "mine.py"}, space_defaults=space)
    assert (gone.task_settings, gone.agent_settings) == ({}, {})
    both = resolve(flags={"space": "s", "task": "digits"}, sets=["task.patch=2"], space_defaults=space)
    assert both.task_settings == {"patch": 2}


def test_values_are_yaml_1_2():
    found = settings.parse_set(["a=1e-4", "b=no", "c=[1, 2]", "d=", "e=100_000", "f=a=b"])
    assert found == {"a": 1e-4, "b": "no", "c": [1, 2], "d": None, "e": 100_000, "f": "a=b"}


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("trainig.steps=3", ["`trainig.steps`", "Did you mean `training.steps`"]),
        ("steps=3", ["no setting `steps`", "Did you mean `training.steps`"]),
        ("training.steps=0", ["`training.steps` must be at least 1, but got 0"]),
        ("training.warmup=1.5", ["must be at least 0 and at most 1, but got 1.5"]),
        ("training.learning_rates=[0.0]", ["must be at least one number above 0, but got [0.0]"]),
        ("training.learning_rates=[]", ["at least one number above 0"]),
        ("training.steps=", ["`training.steps` must have a value, but got null"]),
        ("trials=many", ["`trials` must be a whole number, but got 'many'"]),
        ("deterministic=1", ["`deterministic` must be true or false, but got 1"]),
        ("executor=rai", ["must be one of ray, inline, but got 'rai'", "Did you mean `ray`"]),
        ("time=soon", ["`time` must be a number of seconds or like 90s, 10m, 1h30m, but got 'soon'"]),
        ("scheduler=asha", ["`deterministic` must be false", "--set deterministic=false"]),
        ("finals.seeds=20000", ["at most 10000"]),
        ("name=../x", ["`name` must be the name of a folder"]),
        ("trials", ["`--set` takes `name=value`", "but got `trials`"]),
    ],
)
def test_what_cannot_be_used_is_said(text, words):
    with pytest.raises(ConfigError) as error:
        resolve(flags={"space": "s", "task": "t"}, sets=[text])
    assert error.value.exit_code == 2
    for word in words:
        assert word in str(error.value)


def test_a_campaign_needs_a_space_and_a_task():
    with pytest.raises(ConfigError, match="needs a task, but nothing names one"):
        resolve(flags={"space": "s"})
    with pytest.raises(ConfigError, match="needs a space"):
        resolve(flags={"task": "t"})
    with pytest.raises(ConfigError, match="`training` of the arguments must be a mapping"):
        resolve(flags={"space": "s", "task": "t", "training": 3})


@pytest.mark.parametrize(("text", "seconds"), [("90s", 90), ("10m", 600), ("1h30m", 5400), ("1.5h", 5400), (7, 7)])
def test_times(text, seconds):
    assert resolve(flags={"space": "s", "task": "t", "time": text}).time == seconds


@given(
    trials=st.integers(1, 10**6),
    time=st.none() | st.floats(0, 1e6),
    rates=st.lists(st.floats(1e-9, 10), min_size=1, max_size=3),
    name=st.none() | st.from_regex(r"[a-z0-9][a-z0-9._-]{0,8}", fullmatch=True),
    controls=st.lists(st.sampled_from(["no_mixer", "no", "null", "1e5"]), max_size=2),
)
def test_a_written_campaign_is_read_as_it_was(trials, time, rates, name, controls):
    config = CampaignConfig(
        space="s.yaml",
        task="t",
        trials=trials,
        time=time,
        name=name,
        controls=tuple(controls),
        finals=Finals(0, 2),
        training=TrainingSettings(learning_rates=tuple(rates)),
        task_settings={"length": 64},
        agent_settings={"startup": 3},
    )
    assert CampaignConfig.from_dict(reader.plain(reader.parse(config.to_yaml()).root)) == config


def test_every_training_setting_can_be_set():
    values = TrainingSettings().__dict__
    assert training_settings(values) == TrainingSettings()
    assert {f"training.{name}" for name in values} <= set(settings.SETTINGS)


def test_a_mistake_in_a_campaign_file_has_its_line(tmp_path: Path):
    file = tmp_path / "c.yaml"
    file.write_text("space: hybrid\ntask: digits\ntraining:\n  steps: 100\n  bach: 3\n")
    with pytest.raises(FileError, match=r"c\.yaml:5:3: .*no setting `training\.bach`.*Did you mean `training\.batch`"):
        read_file(file)
    file.write_text("space: hybrid\ntrails: 3\n")
    with pytest.raises(FileError, match=r"c\.yaml:2:1: .*`trails`.*Did you mean `trials`"):
        read_file(file)
    file.write_text("- a\n")
    with pytest.raises(FileError, match="must be a mapping"):
        read_file(file)
    file.write_text("space: hybrid\nset: {training.steps: 5}\ntime: 10m\n")
    assert resolve(flags={"task": "t"}, file=read_file(file)).training.steps == 5


def test_search_and_finals_share_no_seed():
    for seed in range(3):
        config = CampaignConfig(space="s", task="t", seed=seed)
        starts = [config.search_seed, config.final_seed, CampaignConfig(space="s", task="t", seed=seed + 1).search_seed]
        assert starts[0] + 10_000 <= starts[1]
        assert starts[1] + 10_000 <= starts[2]


def test_a_campaign_of_an_earlier_version_is_read_without_the_settings_that_are_gone():
    found = resolve(flags={"space": "s", "task": "t"})
    data = found.to_dict()
    data["training"]["fit"] = "gradient"
    assert CampaignConfig.from_dict(data) == found
    data["training"]["fit"] = "frequencies"
    with pytest.raises(ConfigError, match=r"no setting `training\.fit`"):
        CampaignConfig.from_dict(data)
