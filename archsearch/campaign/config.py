"""What a campaign is to do: one frozen value, resolved from everything that has a say.

flags and --set  >  campaign file  >  the space's `campaign:`  >  the task's recommended training  >  built in
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, TypeVar

import yaml

from archsearch.campaign import settings
from archsearch.campaign.values import in_values, training_settings
from archsearch.errors import ConfigError, FileError
from archsearch.graph import reader
from archsearch.graph.scalars import plain_scalar
from archsearch.training.measurement import TrainingSettings

__all__ = ["CampaignConfig", "Finals", "read_file", "resolve", "training_settings"]


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
class CampaignConfig:
    """Everything that decides what a campaign does.

    Args:
        space: a name, or the path of a YAML file.
        task, agent: a name or a path; `task_settings`, `agent_settings` are theirs.
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

    @property
    def search_seed(self) -> int:
        """The first seed of a search run's copies: the same for all candidates, so that they are paired."""
        return 20_000 * self.seed

    @property
    def final_seed(self) -> int:
        """The first seed of a final run's copies; no search run of this campaign has used one of them."""
        return 20_000 * self.seed + 10_000

    @property
    def final_training(self) -> TrainingSettings:
        """How finalists are trained: as in the search, with the seeds of the finals."""
        return replace(self.training, seeds=self.finals.seeds)

    def to_dict(self) -> dict[str, Any]:
        """Plain data, as it is written in a campaign file."""
        out = asdict(self)
        out["controls"] = list(self.controls)
        for name in ("learning_rates", "rate_factors"):
            out["training"][name] = list(getattr(self.training, name))
        out["task_settings"], out["agent_settings"] = dict(self.task_settings), dict(self.agent_settings)
        return out

    @staticmethod
    def from_dict(data: Mapping[str, Any]) -> CampaignConfig:
        """What `to_dict` wrote; raises `ConfigError`."""
        return _build(settings.flatten(data, "the campaign file"))

    def to_yaml(self) -> str:
        """The text of a campaign file that does the same again."""
        return yaml.dump(self.to_dict(), Dumper=_Dumper, sort_keys=False, allow_unicode=True)


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
) -> CampaignConfig:
    """The configuration that all layers together give.

    Args:
        flags: from the command line or keyword arguments, in the form of a campaign file; `None` means not given.
        sets: `name=value` texts, which win over `flags`.
        file: a campaign file.
        space_defaults: the `campaign:` of the space.
        task_training: the recommended training settings of a task, by its name.

    Raises:
        ConfigError: an unknown setting, an ill value, no task, or settings that exclude each other.
    """
    given = {k: v for k, v in settings.flatten(flags, "the arguments").items() if v is not None}
    layers = [
        settings.flatten(space_defaults or {}, "the space's `campaign`"),
        settings.flatten(file or {}, "the campaign file"),
        {**given, **settings.parse_set(sets)},
    ]
    merged: dict[str, Any] = {}
    for layer in layers:
        for owner in ("task", "agent"):
            if layer.get(owner, merged.get(owner)) != merged.get(owner):
                # Settings of another task or agent than the one that this layer asks for mean nothing to it.
                merged = {k: v for k, v in merged.items() if not k.startswith(f"{owner}.")}
        merged.update(layer)
    for key in ("space", "task"):
        if merged.get(key) is None:
            raise ConfigError(f"A campaign needs a {key}, but nothing names one: `{key}: NAME`, or `--{key} NAME`.")
    base = {f"training.{k}": v for k, v in task_training(str(merged["task"])).items()}
    return _build(base | merged)


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

    top = {k: v for k, v in values.items() if "." not in k}
    optional = {"time", "workers", "ahead", "name", "gpus_per_trial"}
    config = CampaignConfig(
        **{k: v for k, v in top.items() if v is not None or k in optional},
        task_settings=under("task."),
        agent_settings=under("agent."),
        finals=Finals(**{k: v for k, v in under("finals.").items() if v is not None}),
        training=training_settings(under("training.")),
    )
    _check_together(config)
    return config


def _check_together(config: CampaignConfig) -> None:
    if config.scheduler == "asha" and config.deterministic:
        raise ConfigError(
            "`scheduler: asha` stops candidates by what has arrived so far, so `deterministic` must be false, but got "
            "true: --set deterministic=false."
        )
    if max(config.training.seeds, config.finals.seeds) > 10_000:
        raise ConfigError("`seeds` must be at most 10000, so that search and finals share none.")
    if config.name is not None and (not config.name or "/" in config.name or config.name.startswith(".")):
        raise ConfigError(f"`name` must be the name of a folder, without `/` and not hidden, but got {config.name!r}.")
