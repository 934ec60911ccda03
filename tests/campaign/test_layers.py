"""Settings of a campaign on several tasks: whose they are, and which layer wins."""

from pathlib import Path
from types import SimpleNamespace

import pytest
import yaml

from archsearch.campaign import suites
from archsearch.campaign.config import CampaignConfig, resolve
from archsearch.errors import ConfigError, FileError, UnknownNameError

RECOMMENDED = {"a": {"steps": 1, "batch": 1}, "b": {"steps": 2}, "c": {"steps": 3, "seeds": 9}}
SUITES = {"abc": SimpleNamespace(name="abc", tasks=("a", "b", "c"), layer={"task.b.n": 5, "training.c.steps": 30})}


def found(flags=None, **layers) -> CampaignConfig:
    given = {"space": "s", **(flags or {})}
    return resolve(flags=given, task_training=RECOMMENDED.__getitem__, suite=SUITES.get, **layers)


def steps(config: CampaignConfig) -> dict[str, int]:
    return {choice.label: choice.training.steps for choice in config.tasks}


@pytest.mark.parametrize("task", ["a,b", "a, b", ["a", "b"], ("a", "b"), ["a,b"]])
def test_several_tasks_have_their_own_recommended_training(task):
    config = found({"task": task})
    assert (config.task, config.members) == ("a+b", ("a", "b"))
    assert steps(config) == {"a": 1, "b": 2}
    assert [choice.training.batch for choice in config.tasks] == [1, 32]


def test_one_task_is_as_it_was_whichever_way_it_is_named():
    plain = found({"task": "a"}, sets=["task.n=3", "training.steps=7"])
    for config in (
        found({"task": ["a"]}, sets=["task.n=3", "training.steps=7"]),
        found({"task": "a,"}, sets=["task.a.n=3", "training.a.steps=7"]),
    ):
        assert config == plain
    assert plain.task_settings == {"n": 3}
    assert {"members", "task_training"}.isdisjoint(plain.to_dict())
    assert set(plain.to_dict()["training"]) == set(vars(plain.training))


def test_the_nearer_layer_wins_for_all_tasks_and_within_a_layer_the_own_setting_does():
    suite = found({"task": "abc"})
    assert suite.task_settings == {"b": {"n": 5}}
    assert steps(suite) == {"a": 1, "b": 2, "c": 30}
    assert {choice.training.seeds for choice in suite.tasks} == {1}, "a mean over seeds needs the same ones"
    space = {"task": "abc", "training": {"steps": 100, "c": {"steps": 400}}}
    assert steps(found(space_defaults=space)) == {"a": 100, "b": 100, "c": 400}
    assert steps(found({}, space_defaults=space, sets=["training.steps=5"])) == {"a": 5, "b": 5, "c": 5}
    assert steps(found({}, space_defaults=space, sets=["training.a.steps=5"])) == {"a": 5, "b": 100, "c": 400}
    own = found({"task": "abc", "task_settings": {"a": {"n": 1}}}, sets=["task.b.n=2"])
    assert own.task_settings == {"a": {"n": 1}, "b": {"n": 2}}


def test_a_list_may_hold_a_suite_and_another_task_forgets_what_was_said_of_the_first():
    assert found({"task": "abc"}).members == ("a", "b", "c")
    space = {"task": "abc", "task_settings": {"a": {"n": 1}}, "training": {"a": {"steps": 9}, "clip": 2.0}}
    other = found({"task": "b"}, space_defaults=space)
    assert (other.task, other.members, other.task_settings, other.training.steps) == ("b", (), {}, 2)
    assert other.training.clip == 2.0


def test_what_is_written_down_does_the_same_again_without_the_suite():
    config = found({"task": "abc"}, sets=["training.a.learning_rates=[1e-3]", "task.a.n=1"])
    text = yaml.safe_load(config.to_yaml())
    assert text["task"] == "abc"
    assert text["members"] == ["a", "b", "c"]
    assert text["training"]["c"] == {"steps": 30}
    assert CampaignConfig.from_dict(config.to_dict()) == config
    assert resolve(flags={}, file=config.to_dict(), task_training=lambda task: {}) == config


@pytest.mark.parametrize(
    ("flags", "sets", "words"),
    [
        ({"task": "a,a"}, [], "must be different ones, but got `a` twice"),
        ({"task": ["a", "./a.py"]}, [], "must be different ones, but got `a` twice"),
        ({"task": "a,./steps.py"}, [], "called like a setting of training, but got `steps`"),
        ({"task": []}, [], "must name at least one task, but got []"),
        ({"task": ","}, [], "must name at least one task"),
        ({"task": [1]}, [], "or a list of names, but got [1]"),
        ({"task": "a,b"}, ["task.n=1"], "must say whose a setting is, as in `task.a.n`, but got `task.n`"),
        (
            {"task": "a,b"},
            ["task.c.n=1"],
            "for a task that the campaign is on, as in `task.a.n` or `task.b.n`, but got `task.c.n`",
        ),
        ({"task": "a"}, ["task.b.n=1"], "as in `task.a.n`, but got `task.b.n`"),
        (
            {"task": "a,b"},
            ["training.c.steps=1"],
            "as in `training.a.steps` or `training.b.steps`, but got `training.c.steps`",
        ),
        ({"task": "a,b"}, ["training.a.stps=1"], "no setting `training.a.stps`. Did you mean `training.steps`"),
        ({"task": "a,b"}, ["training.a.seeds=2"], "`training.seeds` is common to all tasks"),
        ({"task": "a,b"}, ["training.a.steps=0"], "`training.steps` must be at least 1, but got 0"),
        ({"task": "a,b"}, ["scheduler=asha", "deterministic=false"], "so it takes one task, but got 2"),
    ],
)
def test_what_cannot_be_used_is_said(flags, sets, words):
    with pytest.raises(ConfigError) as error:
        found(flags, sets=sets)
    assert words in str(error.value)


def test_the_shipped_suites_name_tasks_that_there_are():
    from archsearch.tasks.registry import names, task_class

    assert {"mad", "state_tracking"} <= set(suites.names())
    assert set(names()).isdisjoint(suites.names())
    for path in suites.names().values():
        suite = suites.read(path)
        assert suite.name == path.stem
        assert suite.summary
        assert [task_class(task).name for task in suite.tasks] == list(suite.tasks)
    assert suites.find("mad").tasks[0] == "in_context_recall"
    assert suites.find("parity") is None


@pytest.mark.parametrize(
    ("text", "place", "words"),
    [
        ("name: parity\ntask: [copying, digits]", ":1:1:", "a name that no task has, but got `parity`"),
        ("name: x\ntask: [digits, digits]", ":2:1:", "`digits` twice"),
        ("name: x\ntask: []", ":2:1:", "at least one task"),
        ("name: x", ":1:1:", "at least one task"),
        ("name: x\ntask: [mad, parity]", ":2:1:", "not another suite, but got `mad`"),
        ("name: x\ntsk: [parity]", ":2:1:", "Did you mean `task`"),
        ("- x", ":1:1:", "must be a mapping"),
        ("task: [parity, digits]\ntraining: {parity: {stps: 3}}", ":2:21:", "Did you mean `training.steps`"),
        (
            "task: [parity, digits]\ntask_settings: {copying: {length: 3}}",
            ":2:27:",
            "for a task that the campaign is on",
        ),
    ],
)
def test_a_mistake_in_a_suite_has_its_place(tmp_path, text, place, words):
    path = tmp_path / "mine.yaml"
    path.write_text(text)
    with pytest.raises(FileError) as error:
        suites.find(str(path))
    assert f"mine.yaml{place}" in str(error.value)
    assert words in str(error.value)


def test_a_suite_of_a_person_is_named_by_its_path(tmp_path):
    path = Path(tmp_path / "mine.yaml")
    path.write_text("task: [parity, digits]\ntask_settings: {parity: {length: 20}}\ntraining: {digits: {steps: 5}}\n")
    config = suites.resolve(flags={"space": "s", "task": str(path)}, sets=["task.digits.patch=2"])
    assert (config.task, config.members) == ("mine", ("parity", "digits"))
    assert config.task_settings == {"parity": {"length": 20}, "digits": {"patch": 2}}
    assert steps(config)["digits"] == 5


def test_names_that_stand_for_nothing_or_for_two_things():
    with pytest.raises(UnknownNameError, match="Did you mean `state_tracking`"):
        suites.resolve(flags={"space": "s", "task": "state_trackin"})
    with pytest.raises(UnknownNameError, match="Did you mean `parity`"):
        suites.resolve(flags={"space": "s", "task": "digits,parit"})
    with pytest.raises(ConfigError, match="a name together that no task has, but got `task: parity`"):
        suites.resolve(flags={"space": "s", "task": "parity", "members": ["digits", "copying"]})
