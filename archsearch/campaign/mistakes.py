"""Mistakes in what a file says of a campaign, each with its place: in a space's `campaign:` and in a campaign file."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, Final

from archsearch import content
from archsearch.campaign import settings
from archsearch.errors import ConfigError, FileError, RuleError, UnknownNameError, UserError
from archsearch.graph.reader import Document

if TYPE_CHECKING:
    from archsearch.graph.space import SearchSpace

__all__ = ["in_file", "in_space", "in_values"]

Place = Callable[[Iterable[str], str], FileError]
"""Makes the error of a rule at a path of keys of the layer."""

Located = dict[str, tuple[Any, tuple[str, ...]]]
"""Settings by dotted name: the value, and the keys under which it stands."""

OWNERS: Final = ("task", "agent")


def in_space(space: SearchSpace) -> Iterator[FileError]:
    """The mistakes in the `campaign:` of a space: names, values, task and agent and their settings."""

    def place(keys: Iterable[str], rule: str) -> FileError:
        return space.error(("campaign", *keys), rule)

    sound = {}
    for key, value in space.campaign.items():
        wrong = list(in_values({key: value}, place, "the space's `campaign`"))
        yield from wrong
        if not wrong:
            sound[key] = value
    yield from _in_names(sound, space, place)


def in_file(layer: Mapping[str, Any], document: Document, space: SearchSpace) -> Iterator[FileError]:
    """The mistakes in the names of a campaign file that `archsearch.campaign.config.read_file` accepts."""
    yield from _in_names(layer, space, lambda keys, rule: document.find(*keys).error(rule))


def in_values(layer: Mapping[str, Any], place: Place, where: str) -> Iterator[FileError]:
    """Unknown settings and values that do not fit; `where` is what a message calls the layer."""
    from archsearch.campaign.config import training_settings

    for key in layer:
        try:
            found = _located({key: layer[key]}, where)
        except ConfigError as error:
            yield place((key,), _rule(error))
            continue
        for name, (value, keys) in found.items():
            try:
                settings.check(name, value)
                if name.startswith("training."):
                    training_settings({name.removeprefix("training."): value})
            except ConfigError as error:
                yield place(keys, _rule(error))


def _located(layer: Mapping[str, Any], where: str) -> Located:
    found: Located = {}
    for key, value in layer.items():
        prefix = settings.PREFIXES.get(key)
        for name, inner in settings.flatten({key: value}, where).items():
            found[name] = inner, ((key,) if prefix is None else (key, name.removeprefix(prefix)))
    return found


def _in_names(layer: Mapping[str, Any], space: SearchSpace, place: Place) -> Iterator[FileError]:
    """Tasks, agents and controls that do not exist, and settings that they do not take."""
    found = _located(layer, "the campaign")
    for owner, check in (("task", _check_task), ("agent", _check_agent)):
        named, keys = found.get(owner, (None, ()))
        own = {n.removeprefix(f"{owner}."): v for n, v in found.items() if n.startswith(f"{owner}.")}
        if named is None:
            continue
        try:
            check(str(named), {n: value for n, (value, _) in own.items()}, space)
        except (UserError, RuleError) as error:
            if isinstance(error, FileError) and error.line:
                yield error  # a place in the owner's own file
                continue
            blamed = _blamed(str(error), own)
            yield place(own[blamed][1] if blamed else keys, _rule(error))
    names, keys = found.get("controls", ((), ()))
    for name in settings.check("controls", names) or ():
        known = {p.stem for p in content.control_files()}
        if name not in known:
            yield place(keys, _rule(UnknownNameError("control", name, known)))


def _check_task(name: str, given: Mapping[str, Any], space: SearchSpace) -> None:
    from archsearch.tasks.registry import make

    make(name, given)


def _check_agent(name: str, given: Mapping[str, Any], space: SearchSpace) -> None:
    from archsearch.campaign import agents

    agents.agent_class(name)
    if given:
        agents.make(name, space, given)


def _blamed(message: str, names: Iterable[str]) -> str | None:
    """The setting that a message speaks of first."""
    places = {n: min((i for q in (f"`{n}`", f".{n}`") if (i := message.find(q)) >= 0), default=-1) for n in names}
    said = {n: i for n, i in places.items() if i >= 0}
    return min(said, key=said.__getitem__) if said else None


def _rule(error: Exception) -> str:
    return str(error).rstrip(".")
