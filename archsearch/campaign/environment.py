"""Where a campaign runs: versions, platform, cores; and how many workers that makes."""

from __future__ import annotations

import os
import platform
from dataclasses import replace
from importlib import metadata
from typing import Any, Final

from archsearch.campaign.config import CampaignConfig

__all__ = ["check_device", "describe", "settled"]

PACKAGES: Final = ("archsearch", "torch", "ray", "optuna", "numpy", "networkx")


def describe() -> dict[str, Any]:
    """Versions of what decides a score, and the machine of the driver."""
    versions: dict[str, str | None] = {}
    for name in PACKAGES:
        try:
            versions[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            versions[name] = None
    return {
        "python": platform.python_version(),
        "platform": platform.platform(),
        "machine": platform.machine(),
        "cores": cores(),
        "packages": versions,
    }


def cores() -> int:
    """The cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def check_device(config: CampaignConfig) -> None:
    """Whether candidates can train as `training` and the finals ask, before any begins and fails.

    Raises:
        ConfigError: no such device on this machine, where candidates train here; or a dtype that is not for training;
            or a back end that cannot be used there.
    """
    from archsearch.kernels import backends
    from archsearch.training import devices

    here = config.executor == "inline" or config.address == "local"
    searched = [choice.training for choice in config.tasks]
    for training in (*searched, *map(config.in_finals, searched)):
        device = devices.choose(training.device if here else "cpu")
        devices.autocast(device, training.dtype)
        if here:
            backends.check(training.backend, device)


def settled(config: CampaignConfig) -> CampaignConfig:
    """`config` with the number of workers, their share of a GPU, and how far the agent may be ahead.

    Raises:
        ConfigError: there is no cluster at `config.address`.
    """
    if config.executor == "inline":
        workers, share = 1, 0.0
    else:
        cpus, gpus = _capacity(config)
        given = config.gpus_per_trial
        share = given if given is not None else float(gpus > 0 and config.training.device in ("auto", "cuda"))
        workers = config.workers or max(1, int(gpus / share) if share else cpus)
    ahead = 2 * workers if config.ahead is None else config.ahead
    return replace(config, workers=workers, gpus_per_trial=share, ahead=ahead)


def _capacity(config: CampaignConfig) -> tuple[int, float]:
    """Cores and GPUs, here or on the cluster."""
    if config.address != "local":
        from archsearch.campaign.executors import ray_tune

        return ray_tune.capacity(config)
    if config.training.device not in ("auto", "cuda"):
        return cores(), 0.0
    import torch

    return cores(), float(torch.cuda.device_count())
