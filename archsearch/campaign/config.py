"""What a campaign is to do: one frozen value, resolved from everything that has a say.

flags and --set > campaign file > the space's `campaign:` > a suite's file > the task's recommended training > built in
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Final, TypeVar

import yaml

from archsearch.campaign import layers, settings
from archsearch.campaign.values import in_values, training_settings
from archsearch.errors import ConfigError, FileError
from archsearch.graph import reader
from archsearch.graph.scalars import plain_scalar
from archsearch.training.measurement import TrainingSettings

__all__ = ["CampaignConfig", "Finals", "TaskChoice", "read_file", "resolve", "training_settings"]


RETIRED: Final[Mapping[str, Any]] = {"training.fit": "gradient"}
"""Settings that are gone, at the value that stands in the files of campaigns that had them."""


@dataclass(frozen=True)
class Finals:
    """Training the best again, on the sealed test set.

    Args:
        top: how many of the searched candidates, the best by search score; 0 for no finals.
        seeds: fresh seeds of each.
    """

    top: int = 3
    seeds: int = 3


@dataclass(frozen=True)
class TaskChoice:
    """One of the tasks that a campaign is on.

    Args:
        label: what it is called in the campaign.
        task: its name or path; `settings` are its own.
        training: how candidates are trained on it in the search.
    """

    label: str
    task: str
    settings: Mapping[str, Any]
    training: TrainingSettings


@dataclass(frozen=True)
class CampaignConfig:
    """Everything that decides what a campaign does.

    Args:
        space: a name, or the path of a YAML file.
        task, agent: a name or a path; `task_settings`, `agent_settings` are theirs. Of several tasks, `task` is what
            they are called together, and `task_settings` has a mapping for each label.
        trials: N, how many distinct candidates end in some way, failures included; controls come on top.
        time: seconds after which no further candidate is begun; `None` for no such limit.
        seed: of the campaign. The agent's and the candidates' seeds derive from it.
        executor: `ray`, or `inline` (this process, one candidate after the other).
        workers: how many candidates train at once; `None` for as many as there are cores, or GPUs.
        ahead: how many candidates the agent may be ahead of the results it has seen; `None` for twice the workers. It
            is written down, since a deterministic campaign depends on it.
        deterministic: proposal n sees exactly the results of candidates 0 ... n − 1 − ahead, in order.
        controls: names in search_spaces/controls, trained beside the candidates.
        finals: see `Finals`.
        training: how each candidate is trained.
        scheduler: `none`, or `asha`: a candidate outside the best third at a rung is stopped.
        address: of a Ray cluster; `local` starts Ray on this machine for this campaign alone.
        name: of the results folder; `None` for the space's name and a number.
        gpus_per_trial: share of a GPU that a worker books; `None` for one where there are GPUs.
        members: the tasks, if there are several; a candidate's score is then the mean over them.
        task_training: what training on one of several tasks has in the place of `training`, by label.
    """

    space: str
    task: str
    task_settings: Mapping[str, Any] = field(default_factory=dict)
    agent: str = "random_search"
    agent_settings: Mapping[str, Any] = field(default_factory=dict)
    trials: int = 24
    time: float | None = None
    seed: int = 0
    executor: str = "ray"
    workers: int | None = None
    ahead: int | None = None
    deterministic: bool = True
    controls: tuple[str, ...] = ("unigram", "no_mixer", "frozen", "transformer")
    finals: Finals = field(default_factory=Finals)
    training: TrainingSettings = field(default_factory=TrainingSettings)
    scheduler: str = "none"
    address: str = "local"
    name: str | None = None
    gpus_per_trial: float | None = None
    members: tuple[str, ...] = ()
    task_training: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)

    @property
    def tasks(self) -> tuple[TaskChoice, ...]:
        """What the campaign is on, one task or several."""
        if not self.members:
            return (TaskChoice(layers.label_of(self.task), self.task, self.task_settings, self.training),)
        return tuple(
            TaskChoice(label, task, self.task_settings.get(label, {}), self._training_on(label))
            for label, task in layers.labels_of(self.members).items()
        )

    def _training_on(self, label: str) -> TrainingSettings:
        return replace(self.training, **self.task_training.get(label, {}))

    @property
    def search_seed(self) -> int:
        """The first seed of a search run's copies: the same for all candidates, so that they are paired."""
        return 20_000 * self.seed

    @property
    def final_seed(self) -> int:
        """The first seed of a final run's copies; no search run of this campaign has used one of them."""
        return 20_000 * self.seed + 10_000

    def in_finals(self, training: TrainingSettings) -> TrainingSettings:
        """How finalists are trained: as in the search, with the seeds of the finals."""
        return replace(training, seeds=self.finals.seeds)

    @property
    def final_training(self) -> TrainingSettings:
        """`in_finals` of `training`."""
        return self.in_finals(self.training)

    def to_dict(self) -> dict[str, Any]:
        """Plain data, as it is written in a campaign file."""
        out = asdict(self)
        out["controls"] = list(self.controls)
        out["task_settings"], out["agent_settings"] = dict(self.task_settings), dict(self.agent_settings)
        members, own = list(out.pop("members")), out.pop("task_training")
        if members:  # beside `task`; the file of a campaign on one task has no such key
            out = {"space": out.pop("space"), "task": out.pop("task"), "members": members, **out}
            out["task_settings"] = {label: dict(given) for label, given in self.task_settings.items()}
        out["training"] = _listed(out["training"]) | {label: _listed(given) for label, given in own.items()}
        return out

    @staticmethod
    def from_dict(data: Mapping[str, Any]) -> CampaignConfig:
        """What `to_dict` wrote, now or in an earlier version; raises `ConfigError`."""
        flat = settings.flatten(data, "the campaign file")
        return _build({k: v for k, v in flat.items() if k not in RETIRED or v != RETIRED[k]})

    def to_yaml(self) -> str:
        """The text of a campaign file that does the same again."""
        return yaml.dump(self.to_dict(), Dumper=_Dumper, sort_keys=False, allow_unicode=True)


def _listed(values: Mapping[str, Any]) -> dict[str, Any]:
    """The same with lists for tuples, which YAML and JSON do not know."""
    return {k: list(v) if isinstance(v, tuple) else v for k, v in values.items()}


class _Dumper(yaml.SafeDumper):
    """Quotes what YAML 1.2 would not read as text: PyYAML goes by 1.1, where a bare `1e5` is a name."""


def _text(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    style = None if isinstance(plain_scalar(text), str) else "'"
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style=style)


_Dumper.add_representer(str, _text)


def resolve(
    *,
    flags: Mapping[str, Any],
    sets: Iterable[str] = (),
    file: Mapping[str, Any] | None = None,
    space_defaults: Mapping[str, Any] | None = None,
    task_training: Callable[[str], Mapping[str, Any]] = lambda task: {},
    suite: Callable[[str], layers.SuiteLike | None] = lambda name: None,
) -> CampaignConfig:
    """The configuration that all layers together give.

    Args:
        flags: from the command line or keyword arguments, in the form of a campaign file; `None` means not given.
        sets: `name=value` texts, which win over `flags`.
        file: a campaign file.
        space_defaults: the `campaign:` of the space.
        task_training: the recommended training settings of a task, by its name.
        suite: the suite of a name or a file, if it is one.

    Raises:
        ConfigError: an unknown setting, an ill value, no task, or settings that exclude each other.
    """
    given = {k: v for k, v in settings.flatten(flags, "the arguments").items() if v is not None}
    found = [
        settings.flatten(space_defaults or {}, "the space's `campaign`"),
        settings.flatten(file or {}, "the campaign file"),
        {**given, **settings.parse_set(sets)},
    ]
    return _build(layers.merged(found, task_training=task_training, suite=suite))


def read_file(path: Path | str) -> dict[str, Any]:
    """A campaign file as plain data: `space:` and any setting of a campaign.

    Raises:
        FileError: it is no YAML mapping, or a name in it is unknown, with line and nearest names.
    """
    document = reader.load(path)
    data = reader.plain(document.root)
    if not isinstance(data, dict):
        raise FileError(
            path, 1, 1, "a campaign file must be a mapping with `space:` and settings", value=repr(data)[:60]
        )
    for mistake in in_values(data, lambda keys, rule: document.find(*keys).error(rule), "the campaign file"):
        raise mistake
    return data


T = TypeVar("T")


def _build(flat: Mapping[str, Any]) -> CampaignConfig:
    """The configuration of dotted names, every value checked."""
    values = {k: settings.check(k, v) for k, v in flat.items()}

    def under(prefix: str) -> dict[str, Any]:
        return {k.removeprefix(prefix): v for k, v in values.items() if k.startswith(prefix)}

    def owned(prefix: str) -> dict[str, dict[str, Any]]:
        """Settings of one of several tasks, by its label."""
        return {label: own for label in layers.labels_of(members) if (own := under(f"{prefix}{label}."))}

    top = {k: v for k, v in values.items() if "." not in k}
    members = top.get("members") or ()
    optional = {"time", "workers", "ahead", "name", "gpus_per_trial"}
    config = CampaignConfig(
        **{k: v for k, v in top.items() if v is not None or k in optional},
        task_settings=owned("task.") if members else under("task."),
        agent_settings=under("agent."),
        finals=Finals(**{k: v for k, v in under("finals.").items() if v is not None}),
        training=training_settings({k: v for k, v in under("training.").items() if "." not in k}),
        task_training={label: _only(own) for label, own in owned("training.").items()},
    )
    _check_together(config)
    return config


def _only(values: Mapping[str, Any]) -> dict[str, Any]:
    """Training settings, checked, without those that were not given."""
    checked = training_settings(values)
    return {name: getattr(checked, name) for name in values}


def _check_together(config: CampaignConfig) -> None:
    if config.scheduler == "asha" and config.members:
        raise ConfigError(
            "`scheduler: asha` compares candidates in the middle of a training, and a mean over tasks is there only "
            f"once all are trained, so it takes one task, but got {len(config.members)}: --set scheduler=none."
        )
    if config.scheduler == "asha" and config.deterministic:
        raise ConfigError(
            "`scheduler: asha` stops candidates by what has arrived so far, so `deterministic` must be false, but got "
            "true: --set deterministic=false."
        )
    if max(config.training.seeds, config.finals.seeds) > 10_000:
        raise ConfigError("`seeds` must be at most 10000, so that search and finals share none.")
    if config.name is not None and (not config.name or "/" in config.name or config.name.startswith(".")):
        raise ConfigError(f"`name` must be the name of a folder, without `/` and not hidden, but got {config.name!r}.")
