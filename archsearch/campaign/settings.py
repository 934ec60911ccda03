"""The settings of a campaign by dotted name: `trials`, `training.steps`, `finals.top`, each with its kind and range.

`task.*` and `agent.*` belong to the task and the agent, which check them themselves. Where a campaign is on several
tasks, `task.NAME.*` and `training.NAME.*` are for one of them.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final

from archsearch.errors import ConfigError, RuleError, nearest
from archsearch.graph import reader
from archsearch.graph.opspec import Setting

__all__ = ["COMMON", "SETTINGS", "check", "entries", "flatten", "parse_set", "seconds"]

OPEN: Final = ("task.", "agent.")
"""Settings under these are not known here."""

LITERAL: Final = tuple("*&%@`!|>#")
"""What YAML gives a meaning that no value on the command line has: `*.md` is a pattern, `|` a separator."""

PREFIXES: Final = {
    "training": "training.",
    "finals": "finals.",
    "task_settings": "task.",
    "agent_settings": "agent.",
    "set": "",
}
"""What stands before the names in a mapping of a campaign file."""

LISTS: Final = frozenset({"controls", "members", "training.learning_rates", "training.rate_factors"})

OF_A_TASK: Final = ("task.", "training.")
"""What several tasks may have their own settings under."""

COMMON: Final = frozenset({"seeds", "budget", "device", "time_limit"})
"""Settings of training that all tasks of a campaign share: a mean over tasks is taken seed by seed."""


def _settings() -> dict[str, Setting]:
    def whole(name: str, low: int | None = None) -> Setting:
        return Setting(name, int, low=low)

    def number(name: str, low: float | None = 0.0, high: float | None = None) -> Setting:
        return Setting(name, float, low=low, high=high)

    def word(name: str, *options: str) -> Setting:
        return Setting(name, str, options=options)

    found = [
        *(word(n) for n in ("space", "task", "members", "agent", "address", "name", "controls")),
        whole("trials", 1),
        number("time"),
        whole("seed", 0),
        word("executor", "ray", "inline"),
        whole("workers", 1),
        whole("ahead", 0),
        Setting("deterministic", bool),
        word("scheduler", "none", "asha"),
        number("gpus_per_trial"),
        whole("finals.top", 0),
        whole("finals.seeds", 1),
        *(whole(f"training.{n}", 1) for n in ("steps", "batch", "seeds", "reports", "evaluation_examples")),
        whole("training.evaluation_batch", 1),
        *(number(f"training.{n}") for n in ("learning_rates", "weight_decay", "clip", "time_limit")),
        number("training.rate_factors"),
        *(number(f"training.{n}", 0.0, 1.0) for n in ("warmup", "final_rate")),
        Setting("training.stop_when_solved", bool),
        Setting("training.extend_rates", bool),
        word("training.budget", "steps", "flops", "seconds"),
        *(number(f"training.{n}") for n in ("flops", "seconds")),
        word("training.freeze", "none", "body"),
        word("training.device", "auto", "cpu", "cuda", "mps"),
        word("training.dtype", "float32", "bfloat16"),
        word("training.backend", "auto", "torch", "fla", "mamba_ssm", "causal_conv1d"),
    ]
    return {s.name: s for s in found}


SETTINGS: Final[Mapping[str, Setting]] = _settings()


def check(key: str, value: Any) -> Any:
    """`value` in the kind of setting `key`.

    Raises:
        ConfigError: there is no such setting, or the value does not fit; with the nearest names.
    """
    if key.startswith(OPEN):
        return value
    if key.startswith("training.") and key.count(".") > 1:
        return _check_own(key, value)
    if key not in SETTINGS:
        raise ConfigError(_unknown(key))
    if value is None:
        return None
    if key == "time":
        value = seconds(value)
    try:
        if key not in LISTS and not (key == "task" and isinstance(value, list | tuple)):
            return SETTINGS[key].check(value)
        if isinstance(value, bool):
            raise RuleError(
                f"`{key}` must be a list",
                value=repr(value),
                hint="Write controls=[] for none." if key == "controls" else None,
            )
        items = value if isinstance(value, list | tuple) else [value]
        return tuple(SETTINGS[key].check(v) for v in items)
    except RuleError as error:
        raise ConfigError(str(error)) from None


def _check_own(key: str, value: Any) -> Any:
    """The value of `training.TASK.NAME`, in the kind of `training.NAME`."""
    name = key.rpartition(".")[2]
    if name in COMMON:
        raise ConfigError(f"`training.{name}` is common to all tasks of a campaign, but got `{key}`.")
    if f"training.{name}" not in SETTINGS:
        raise ConfigError(_unknown(key))
    return check(f"training.{name}", value)


def _unknown(key: str) -> str:
    if key in ("fit", "training.fit"):
        return f"A campaign has no setting `{key}`: how weights are found is `fit:` at the top of a space."
    near = nearest(key, SETTINGS) or nearest(key.rpartition(".")[2], SETTINGS)
    near = near or tuple(n for n in SETTINGS if n.rpartition(".")[2] == key)
    guess = f" Did you mean {' or '.join(f'`{n}`' for n in near)}?" if near else ""
    known = ", ".join([*SETTINGS, "task.*", "agent.*"])
    return f"A campaign has no setting `{key}`.{guess} Available: {known}."


def flatten(layer: Mapping[str, Any], where: str) -> dict[str, Any]:
    """A layer as it is written in YAML, by dotted name.

    `training:` and `finals:` are mappings, `task_settings:` and `agent_settings:` stand for `task.*` and `agent.*`, and
    `set:` holds dotted names. Under `training:` and `task_settings:` a mapping is what one of several tasks has.

    Raises:
        ConfigError: one of these is no mapping.
    """
    return {name: value for name, value, _ in entries(layer, where)}


def entries(layer: Mapping[str, Any], where: str) -> Iterator[tuple[str, Any, tuple[str, ...]]]:
    """As `flatten`, each with the keys under which it stands.

    Raises:
        ConfigError: what has to be a mapping is none.
    """
    for key, value in layer.items():
        if key not in PREFIXES:
            yield key, value, (key,)
        elif isinstance(value, Mapping):
            yield from _entries(PREFIXES[key], value, (key,))
        elif value is not None:
            raise ConfigError(f"`{key}` of {where} must be a mapping of names to values, but got {value!r}.")


def _entries(
    prefix: str, values: Mapping[str, Any], above: tuple[str, ...]
) -> Iterator[tuple[str, Any, tuple[str, ...]]]:
    for key, value in values.items():
        if prefix in OF_A_TASK and isinstance(value, Mapping) and value:
            yield from ((f"{prefix}{key}.{k}", v, (*above, str(key), str(k))) for k, v in value.items())
        else:
            yield prefix + str(key), value, (*above, str(key))


def parse_set(texts: Iterable[str]) -> dict[str, Any]:
    """`["training.steps=400", "controls=[no_mixer]"]` by dotted name; values are YAML 1.2, or text such as `*.md`.

    Raises:
        ConfigError: a text is not `name=value`.
        FileError: a value is not YAML.
    """
    flat: dict[str, Any] = {}
    for text in texts:
        key, equals, value = text.partition("=")
        if not equals or not key.strip():
            raise ConfigError(f"`--set` takes `name=value`, as in `--set training.steps=400`, but got `{text}`.")
        said = json.dumps(value.strip()) if value.strip().startswith(LITERAL) else value.strip()
        document = reader.parse(said or "null", f"--set {key.strip()}")
        flat[key.strip()] = reader.plain(document.root)
    return flat


_UNITS: Final = {"d": 86400.0, "h": 3600.0, "m": 60.0, "s": 1.0}
_TIME: Final = re.compile(r"(?:\s*\d+(?:\.\d+)?\s*[dhms])+\s*")


def seconds(value: Any) -> Any:
    """`"10m"`, `"1h30m"`, `"90s"` or a number, in seconds.

    Raises:
        ConfigError: it is none of these.
    """
    if not isinstance(value, str):
        return value
    if not _TIME.fullmatch(value):
        raise ConfigError(f"`time` must be a number of seconds or like 90s, 10m, 1h30m, but got {value!r}.")
    return sum(float(n) * _UNITS[u] for n, u in re.findall(r"(\d+(?:\.\d+)?)\s*([dhms])", value))
