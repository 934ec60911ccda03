"""Runs campaigns: puts space, task, agent, store and executor together, and goes on with what was interrupted."""

from __future__ import annotations

import json
import os
import signal
import sys
import threading
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, nullcontext
from dataclasses import replace
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any

from archsearch import content
from archsearch.campaign import agents, controls, environment, judged, record
from archsearch.campaign.attempt import TRAINER
from archsearch.campaign.config import CampaignConfig
from archsearch.campaign.gate import Gate
from archsearch.campaign.loop import Campaign
from archsearch.campaign.progress import Progress
from archsearch.campaign.record import CampaignRecord
from archsearch.campaign.store import Store, free_name
from archsearch.errors import ConfigError, StoreError
from archsearch.training.pooling import METRIC

if TYPE_CHECKING:
    from archsearch.agent import Agent
    from archsearch.graph.space import SearchSpace
    from archsearch.tasks.base import Task

__all__ = ["resume", "run"]

SPACE = "space.yaml"
GRACE = 20.0
"""Seconds from SIGTERM to the end of the process; schedulers kill after 30 or more."""
OVER = ("done", "time", "exhausted", "no_success")


def run(
    config: CampaignConfig,
    results: Path | str = "results",
    *,
    runner: str = TRAINER,
    progress: bool = True,
) -> CampaignRecord:
    """Begins a campaign and stays with it to its end.

    Args:
        results: the folder of campaigns.
        runner: what trains a candidate; see `archsearch.campaign.attempt.Attempt`.
        progress: whether to show it on stderr.

    Returns:
        The record. Its `status` says how it ended: `done`, `time`, `exhausted`, `no_success`, `interrupted` (resume it)
        or `error` (the agent raised).

    Raises:
        UserError: a name, a file or a setting that cannot be used, or a folder that cannot be written.
    """
    environment.check_device(config)
    config = environment.settled(_absolute(config))
    tasks = judged.tasks_of(config)
    config = judged.with_absolute_paths(config)
    space = _read(content.find("search_spaces", config.space))
    judged.check_causal(space, tasks)
    _check_space(space, config.seed)
    agent = _agent(config, space, tasks)
    stand = controls.blueprints(config.controls, space, judged.length(tasks))
    name = config.name or free_name(Path(results), space.name)
    config = replace(config, name=name)
    about = environment.describe()
    files = {
        "campaign.yaml": config.to_yaml(),
        SPACE: Path(space.path).read_text(encoding="utf-8"),
        "environment.json": json.dumps(about, indent=2) + "\n",
        **{f"{Path(SPACE).stem}.ops/{file}": text for file, text in space.own_ops().items()},
    }
    with Store.create(Path(results) / name, files) as store:
        facts = judged.facts(config, tasks)
        kind = type(agent).name
        store.append(
            "campaign", sync=True, name=name, config=config.to_dict(), task=facts, environment=about, agent=kind
        )
        _work(config, store, space, tasks, agent, stand, runner, progress)
    return record.load(store.path)


def resume(path: Path | str, *, runner: str = TRAINER, progress: bool = True) -> CampaignRecord:
    """Goes on with a campaign whose driver ended before it did, or of which finals failed: those are tried again.

    One that is over and has all its finals is returned as it is.

    Raises:
        StoreError: the folder holds no campaign, another driver holds it, or it cannot be written.
        UserError: the task's data is no longer the same, or a file that the campaign names is gone.
    """
    before = record.load(path)
    if before.status in OVER and not record.open_finals(before.candidates):
        return before
    with Store.open(Path(path)) as store:
        config = CampaignConfig.from_dict(before.config)
        environment.check_device(config)
        tasks = judged.tasks_of(config)
        for choice in config.tasks:
            about = before.task["tasks"][choice.label] if config.members else before.task
            _check_data(choice.task, tasks[choice.label], about["digest"])
        space = _read(store.path / SPACE)
        agent = _agent(config, space, tasks)
        stand = controls.blueprints(config.controls, space, judged.length(tasks))
        store.append("resume", sync=True, environment=environment.describe())
        _work(config, store, space, tasks, agent, stand, runner, progress)
    return record.load(store.path)


def _agent(config: CampaignConfig, space: SearchSpace, tasks: Mapping[str, Task]) -> Agent:
    better = judged.maximize(tasks)
    return agents.make(config.agent, space, config.agent_settings, seed=config.seed, maximize=better)


def _check_data(name: str, task: Task, before: str) -> None:
    """Raises `ConfigError` if a task has another digest than it had."""
    if task.digest() != before:
        raise ConfigError(
            f"A campaign must go on with the data that it began with, but task `{name}` has the digest "
            f"{task.digest()} here and had {before}; {_data(task)} or its Python has changed."
        )


def _data(task: Task) -> str:
    """What a task reads, in words."""
    from archsearch.tasks.settings import paths_of

    files = ", ".join(str(task.settings()[name]) for name in paths_of(type(task)))
    return f"its data, {files}," if files else "its data"


def _work(
    config: CampaignConfig,
    store: Store,
    space: SearchSpace,
    tasks: Mapping[str, Task],
    agent: Agent,
    stand: dict[str, Any],
    runner: str,
    progress: bool,
) -> None:
    on_ray = config.executor == "ray"
    thread = ThreadPoolExecutor(1, "agent") if on_ray else None
    gate, better = Gate(space, judged.length(tasks)), judged.maximize(tasks)
    metric = METRIC if config.members else next(iter(tasks.values())).metric
    try:
        desk = Campaign(config, store, agent, gate, maximize=better, controls=stand, thread=thread)
        show = Progress(desk, metric) if progress else None
        tick = show.tick if show else lambda: None
        with _interrupts(desk, store.path.name), show or nullcontext():
            if on_ray:
                from archsearch.campaign.executors import ray_tune

                ray_tune.run(desk, config, runner=runner, tick=tick)
            else:
                from archsearch.campaign.executors import inline

                inline.run(desk, runner=runner, tick=tick)
    finally:
        if thread:
            thread.shutdown(wait=False, cancel_futures=True)


@contextmanager
def _interrupts(desk: Campaign, name: str = "NAME") -> Iterator[None]:
    """The first Ctrl-C or SIGTERM lets running candidates report and stop; the second ends at once, as Python does.

    Who sends SIGTERM to a whole process group, as job schedulers do, ends Ray with it, and Ray would be waited for. So
    after `GRACE` seconds the process ends where it stands: the record is complete, and a resume goes on from it.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    at_once = {signal.SIGINT: signal.default_int_handler, signal.SIGTERM: signal.default_int_handler}
    last = threading.Timer(GRACE, _end, [name])
    last.daemon = True

    def once(number: int, frame: FrameType | None) -> None:
        for each, handler in at_once.items():
            signal.signal(each, handler)
        if number == signal.SIGTERM:
            last.start()
        desk.interrupt()

    before = {each: signal.signal(each, once) for each in at_once}
    try:
        yield
    finally:
        last.cancel()
        for each, handler in before.items():
            signal.signal(each, handler)


def _end(name: str) -> None:
    print(f"Ended by SIGTERM. Go on with: archsearch resume {name}", file=sys.stderr, flush=True)
    os._exit(130)


def _absolute(config: CampaignConfig) -> CampaignConfig:
    """Paths as they are found from anywhere, since a resume may start elsewhere."""
    paths = {
        key: str(Path(value).expanduser().resolve())
        for key, value in (("space", config.space), ("task", config.task), ("agent", config.agent))
        if content.is_path(value) and not (key == "task" and config.members)
    }
    members = tuple(str(Path(m).expanduser().resolve()) if content.is_path(m) else m for m in config.members)
    return replace(config, members=members, **paths)  # type: ignore[arg-type]


def _check_space(space: SearchSpace, seed: int) -> None:
    """Raises the first mistake in any alternative, before the controls are trained and not when an agent meets it."""
    report = space.check(seed=seed)
    if not report.ok:
        raise report.mistakes[0]


def _read(path: Path) -> SearchSpace:
    from archsearch.graph.space import SearchSpace
    from archsearch.ops.registry import registry

    if not path.is_file():
        raise StoreError(f"A results folder must hold {SPACE}, but {path.parent} does not.")
    return SearchSpace.read(path, registry(), content.block_files())
