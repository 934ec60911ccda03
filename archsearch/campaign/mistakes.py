"""Mistakes in what a file says of a campaign, each with its place: in a space's `campaign:` and in a campaign file."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, Final

from archsearch import content
from archsearch.campaign import layers, settings, suites
from archsearch.campaign.values import Located, Place, in_values, located, rule_of
from archsearch.errors import ConfigError, FileError, RuleError, UnknownNameError, UserError
from archsearch.graph.reader import Document

if TYPE_CHECKING:
    from archsearch.graph.space import SearchSpace

__all__ = ["in_file", "in_space"]

OF_A_TASK: Final = ("task.", "training.")


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


def _in_names(layer: Mapping[str, Any], space: SearchSpace, place: Place) -> Iterator[FileError]:
    """Tasks, agents and controls that do not exist, and settings that they do not take."""
    found = located(layer, "the campaign")
    yield from _in_tasks(found, space, place)
    agent, keys = found.get("agent", (None, ()))
    if agent is not None:
        yield from _in_owner(str(agent), keys, _under("agent.", found), space, place, _check_agent)
    names, keys = found.get("controls", ((), ()))
    for name in settings.check("controls", names) or ():
        known = {p.stem for p in content.control_files()}
        if name not in known:
            yield place(keys, rule_of(UnknownNameError("control", name, known)))


def _in_tasks(found: Located, space: SearchSpace, place: Place) -> Iterator[FileError]:
    """What is wrong with the task, or with several of them, and with what is said for each."""
    named, keys = found.get("task", (None, ()))
    if named is None:
        return
    try:
        names = layers.task_names(found["members"][0] if "members" in found else named)
        _, tasks, _ = layers.opened(names[0], names if len(names) > 1 else None, suites.find)
        labels = layers.labels_of(tasks)
    except UserError as error:
        yield error if isinstance(error, FileError) else place(keys, rule_of(error))
        return
    sound: Located = {}
    for name, value in found.items():
        try:
            if name.startswith(OF_A_TASK):
                sound |= dict.fromkeys(layers.addressed({name: None}, tuple(labels)), value)
        except ConfigError as error:
            yield place(value[1], rule_of(error))
    for label, task in labels.items():
        prefix = f"task.{label}." if len(labels) > 1 else "task."
        yield from _in_owner(task, keys, _under(prefix, sound), space, place, _check_task)


def _in_owner(
    name: str,
    keys: tuple[str, ...],
    own: Located,
    space: SearchSpace,
    place: Place,
    check: Callable[[str, Mapping[str, Any], SearchSpace], None],
) -> Iterator[FileError]:
    """What is wrong with a task or an agent that stands at `keys`, and with its own settings."""
    try:
        check(name, {n: value for n, (value, _) in own.items()}, space)
    except (UserError, RuleError) as error:
        if isinstance(error, FileError) and error.line:
            yield error  # a place in the owner's own file
            return
        blamed = _blamed(str(error), own)
        yield place(own[blamed][1] if blamed else keys, rule_of(error))


def _under(prefix: str, found: Located) -> Located:
    return {name.removeprefix(prefix): value for name, value in found.items() if name.startswith(prefix)}


def _check_task(name: str, given: Mapping[str, Any], space: SearchSpace) -> None:
    from archsearch.tasks.registry import make, task_class
    from archsearch.tasks.settings import check_given, needed_by

    kind = task_class(name)
    if all(given.get(n) for n in needed_by(kind)):
        make(name, given)
    else:  # a flag may still say where the data is
        check_given(kind, given)


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
