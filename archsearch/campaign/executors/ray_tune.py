"""Trains candidates in Ray Tune's actors, on this machine or a cluster. The one file that imports Ray.

Tune runs the trials; it decides nothing. A `Searcher` fetches jobs from the desk, a scheduler hands reports over and
asks whether to go on, a callback watches for the hung and the dead. All three run in Tune's controller, in this
process, and an exception in one of them would end Tune, so each of them is guarded: the error is kept, the campaign
winds down, and `run` raises it. What Tune writes goes to a temporary folder: the events are the truth, not its files.
"""

from __future__ import annotations

import gc
import logging
import pickle
import shutil
import signal
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final, TypeVar

import ray
from ray import tune
from ray.tune.schedulers import FIFOScheduler, TrialScheduler
from ray.tune.search import Searcher

from archsearch.campaign.attempt import TRAINER, Attempt, Outcome, failure_of, load_runner
from archsearch.campaign.config import CampaignConfig
from archsearch.campaign.executors.quiet import ENVIRONMENT, quiet
from archsearch.campaign.loop import Campaign
from archsearch.errors import ArchsearchError, ConfigError

__all__ = ["capacity", "run"]

T = TypeVar("T")

GENERATION: Final = 300
"""Jobs for one Tuner. The memory of Tune's controller grows with its trials: a long campaign takes several Tuners."""

WAKING_SECONDS: Final = 10.0
"""So long the workers that are up wait for those that are not; a cluster may have fewer than were asked for."""


def run(
    desk: Campaign,
    config: CampaignConfig,
    *,
    runner: str = TRAINER,
    tick: Callable[[], None] = lambda: None,
) -> None:
    """Works for `desk` until it is closed.

    Args:
        config: `workers` and `gpus_per_trial` are numbers.
        runner: see `archsearch.campaign.attempt.Attempt`.
        tick: called several times a second, for a display.

    Raises:
        ConfigError: there is no cluster at `config.address`.
        StoreError: results can no longer be stored.
    """
    with (
        quiet(config.workers or 1),
        _cluster(config),
        tempfile.TemporaryDirectory(prefix="archsearch-tune-") as scratch,
    ):
        while not desk.closed:
            bridge = _Bridge(desk, config, runner, tick)
            _generation(bridge, config, scratch)
            if bridge.error:
                raise bridge.error


def capacity(config: CampaignConfig) -> tuple[int, float]:
    """Cores and GPUs of the cluster at `config.address`; raises `ConfigError`."""
    with quiet(1), _cluster(config):
        resources = ray.cluster_resources()
    return int(resources.get("CPU", 1)), float(resources.get("GPU", 0.0))


def _generation(bridge: _Bridge, config: CampaignConfig, scratch: str) -> None:
    """One Tuner, for a few hundred jobs at most."""
    token = f"{id(bridge):x}"
    _BRIDGES[token] = bridge
    try:
        trainable = tune.with_resources(_Candidate, {"cpu": 1, "gpu": config.gpus_per_trial or 0})
        settings = tune.TuneConfig(
            search_alg=_Fetch(token),
            scheduler=_Deliver(token),
            num_samples=-1,
            reuse_actors=True,
            trial_dirname_creator=_trial_id,  # else the folder's name is the whole job, as text
            trial_name_creator=_trial_id,
        )
        # verbose=0: Tune prints nothing. No checkpoints: a candidate that is interrupted starts again.
        how = tune.RunConfig(
            name=token,
            storage_path=scratch,
            verbose=0,
            callbacks=[_Watch(token)],
            failure_config=tune.FailureConfig(max_failures=0),
            checkpoint_config=tune.CheckpointConfig(checkpoint_frequency=0, checkpoint_at_end=False),
        )
        tune.Tuner(trainable, tune_config=settings, run_config=how).fit()
    finally:
        del _BRIDGES[token]


def _trial_id(trial: Any) -> str:
    return str(trial.trial_id)


def _error_of(trial: Any) -> BaseException | None:
    """What Tune wrote down of the error that ended a trial; `None` where it wrote nothing that can be read."""
    try:
        with Path(trial.pickled_error_file).open("rb") as file:
            return pickle.load(file)  # type: ignore[no-any-return]
    except Exception:  # noqa: BLE001 - an error's own unpickling may raise anything
        return None


class _Candidate(tune.Trainable):
    """A worker: one job at a time, one rung a step. Only plain data comes in and goes out."""

    def setup(self, config: dict[str, Any]) -> None:
        load_runner(config["runner"])  # torch is imported before the clock of the first job runs
        self._one_thread()
        self.reset_config(config)

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        job = new_config["job"]
        self._attempt = job and Attempt(job, new_config["runner"], worker=True)
        return True

    def step(self) -> dict[str, Any]:
        if self._attempt is None:  # a trial that only brings a worker up
            time.sleep(0.02)
            return {"awake": True}
        report, outcome = self._attempt.advance()
        if outcome is not None:
            self._attempt = None  # the model's memory, before the next one is built
            _free_memory()
        return {"said": (report, outcome), "done": outcome is not None}

    def _one_thread(self) -> None:
        if "torch" in sys.modules:
            sys.modules["torch"].set_num_threads(1)


def _free_memory() -> None:
    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_available() and torch.cuda.is_initialized():
        gc.collect()
        torch.cuda.empty_cache()


class _Bridge:
    """Between Tune's controller and the desk: every call to the desk goes through here, and no exception comes out."""

    def __init__(self, desk: Campaign, config: CampaignConfig, runner: str, tick: Callable[[], None]) -> None:
        self.desk, self.config, self.runner, self._tick = desk, config, runner, tick
        self.error: Exception | None = None
        self.workers = config.workers or 1
        self._fetched = 0
        self._waking: dict[str, bool] = {}  # trials that bring a worker up, and whether it is there
        self._awake_by = float("inf")
        self._keys: dict[str, str] = {}  # of the job that a trial runs, by trial id
        self._heard: dict[str, float] = {}  # when a trial was last heard of
        self._overdue: set[str] = set()

    def guarded(self, do: Callable[[], T], otherwise: T) -> T:
        """`do()`, or `otherwise` if it raises; the first error is kept for `run`."""
        try:
            return do()
        except Exception as error:  # noqa: BLE001 - it would end Tune's controller, and the workers with it
            self.error = self.error or error
            return otherwise

    def fetch(self, trial: str) -> Any:
        """The configuration of a new trial; `None` for not now; `Searcher.FINISHED` when no more will come."""
        if len(self._waking) < self.workers:
            # Without this there may never be a second worker: Tune gives a trial that waits for a new one to the first
            # that falls idle, and calls off the new one, whenever trials are shorter than a worker's start.
            self._waking[trial] = False
            return {"job": None, "runner": self.runner}
        while not self.error:
            if self.desk.closed or self._fetched >= GENERATION:
                break
            if self._asleep() or len(self.desk.running) >= self.workers:
                return None
            job = self.desk.next()
            if job is not None:
                self._fetched += 1
                self._keys[trial] = job.key
                return {"job": job, "runner": self.runner}
            if self.desk.running:
                return None
            # Nobody works and the agent thinks. Tune would sleep for a whole second if it were told to come again.
            self._tick()
            time.sleep(0.005)
        return Searcher.FINISHED

    def begin(self, trial: Any) -> None:
        """Starts the clock of a job; what only brings a worker up has none, however long the import of torch takes."""
        if trial.trial_id not in self._waking:
            self._heard[trial.trial_id] = time.monotonic()

    def _asleep(self) -> bool:
        """Whether workers are still to come; after a while those that are there begin."""
        return not all(self._waking.values()) and time.monotonic() < self._awake_by

    def hear(self, trial: Any, result: dict[str, Any]) -> bool:
        """Hands over a report and an outcome; returns whether the trial goes on."""
        if trial.trial_id in self._waking:
            self._waking[trial.trial_id] = True
            self._awake_by = min(self._awake_by, time.monotonic() + WAKING_SECONDS)
            return self._asleep()
        key = self._keys.get(trial.trial_id)
        if key is None or "said" not in result:
            return True
        self._heard[trial.trial_id] = time.monotonic()
        report, outcome = result["said"]
        goes_on = report is None or self.desk.report(key, report)
        if outcome is None and not goes_on:
            outcome = Outcome("stopped")
        if outcome is not None:
            self._close(trial, outcome)
        return goes_on

    def lost(self, trial: Any) -> None:
        """A trial's process died, by our hand or another's."""
        if trial.trial_id in self._waking:
            raise ArchsearchError(f"A worker of Ray could not be started: {_error_of(trial)}")
        if trial.trial_id not in self._keys:
            return
        if trial.trial_id in self._overdue:
            limit = self.config.training.time_limit
            self._close(trial, Outcome("failed", reason="timeout", message=f"no report for {limit:g} s"))
            return
        error = _error_of(trial)
        if isinstance(error, ray.exceptions.OutOfMemoryError):
            outcome = Outcome("failed", reason="out_of_memory", message="Ray ended its worker: memory ran out")
        elif error is None or isinstance(error, ray.exceptions.RayActorError):
            outcome = Outcome("failed", reason="killed", message="its worker died; memory may have run out")
        else:
            outcome = failure_of(getattr(error, "cause", None) or error)
        self._close(trial, outcome)

    def look_around(self, trials: list[Any]) -> None:
        """Moves the desk on, and ends whoever has been silent for too long."""
        self.desk.tick()
        self._tick()
        limit = self.config.training.time_limit
        if limit <= 0:
            return
        now = time.monotonic()
        late = {t for t, heard in self._heard.items() if now - heard > limit} - self._overdue
        for trial in trials if late else ():
            actor = trial.temporary_state.ray_actor
            if trial.trial_id in late and actor is not None:
                self._overdue.add(trial.trial_id)
                ray.kill(actor)

    def _close(self, trial: Any, outcome: Outcome) -> None:
        self._heard.pop(trial.trial_id, None)
        self.desk.finish(self._keys.pop(trial.trial_id), outcome)


_BRIDGES: Final[dict[str, _Bridge]] = {}
"""By token. Tune pickles searcher, scheduler and callbacks, and a desk with its open file is not to be pickled."""


class _Fetch(Searcher):
    """Gives Tune the desk's jobs."""

    def __init__(self, token: str) -> None:
        super().__init__()
        self.token = token

    def suggest(self, trial_id: str) -> Any:
        bridge = _BRIDGES[self.token]
        return bridge.guarded(lambda: bridge.fetch(trial_id), Searcher.FINISHED)

    def on_trial_complete(self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False) -> None:
        """The scheduler has said it already."""

    def save(self, checkpoint_path: str) -> None:
        """Nothing: a resume replays the events."""

    def restore(self, checkpoint_path: str) -> None:
        """Nothing: a resume replays the events."""


class _Deliver(FIFOScheduler):
    """Gives the desk Tune's results."""

    def __init__(self, token: str) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.token = token
        self._kept = False

    def on_trial_add(self, tune_controller: Any, trial: Any) -> None:
        """Has Tune keep idle workers.

        It keeps one of them and ends the others whenever trials come one by one, and a new one takes seconds to import
        torch. There is no public way to say so; without it things are slower and just as right.
        """
        cache: Any = getattr(tune_controller, "_actor_cache", None)
        if not self._kept and hasattr(cache, "increase_max"):
            cache.increase_max(trial.placement_group_factory, by=_BRIDGES[self.token].workers)
            self._kept = True

    def on_trial_result(self, tune_controller: Any, trial: Any, result: dict[str, Any]) -> str:
        return self._hear(trial, result)

    def on_trial_complete(self, tune_controller: Any, trial: Any, result: dict[str, Any]) -> None:
        self._hear(trial, result)

    def on_trial_error(self, tune_controller: Any, trial: Any) -> None:
        bridge = _BRIDGES[self.token]
        bridge.guarded(lambda: bridge.lost(trial), None)

    def _hear(self, trial: Any, result: dict[str, Any]) -> str:
        bridge = _BRIDGES[self.token]
        goes_on = bridge.guarded(lambda: bridge.hear(trial, result), False)
        return TrialScheduler.CONTINUE if goes_on and not bridge.error else TrialScheduler.STOP


class _Watch(tune.Callback):
    """Looks around between Tune's events."""

    def __init__(self, token: str) -> None:
        self.token = token

    def on_step_begin(self, iteration: int, trials: list[Any], **info: Any) -> None:
        bridge = _BRIDGES[self.token]
        bridge.guarded(lambda: bridge.look_around(trials), None)

    def on_trial_start(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        _BRIDGES[self.token].begin(trial)


@contextmanager
def _cluster(config: CampaignConfig) -> Iterator[None]:
    """Ray, started here or joined; whoever had started it before keeps it."""
    if ray.is_initialized():
        yield
        return
    # Ray puts Unix sockets in there, whose paths may have no more than 107 characters.
    files = tempfile.mkdtemp(prefix="ray-", dir=None if len(tempfile.gettempdir()) < 40 else "/tmp")
    terminate = signal.getsignal(signal.SIGTERM)
    common: dict[str, Any] = {"log_to_driver": False, "logging_level": logging.ERROR, "configure_logging": True}
    try:
        if config.address == "local":
            ray.init(
                address="local",
                num_cpus=config.workers,
                include_dashboard=False,
                _temp_dir=files,
                **common,
            )
        else:
            ray.init(address=config.address, runtime_env={"env_vars": ENVIRONMENT}, **common)
    except (ConnectionError, ValueError) as error:
        shutil.rmtree(files, ignore_errors=True)
        raise ConfigError(f"`address` must be that of a Ray cluster, but got `{config.address}`: {error}") from None
    try:
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGTERM, terminate)  # Ray has put one in its place that prints a stack of C++
        yield
    finally:
        ray.shutdown()
        shutil.rmtree(files, ignore_errors=True)
