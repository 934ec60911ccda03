"""Trained weights on disk: one copy of a candidate, with what is needed to build it again."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import torch
from torch import nn

from archsearch.training.measurement import Job

__all__ = ["read_weights", "write_weights"]

FORMAT = 1


def write_weights(path: Path, model: nn.Module, copy: int, job: Job, seed: int) -> None:
    """Writes one copy of a model; the file appears whole or not at all.

    It holds `weights` (a state dict of a model with one copy), `architecture`, `task`, `task_settings` and `seed`.
    """
    stacked = {name for name, _ in model.named_parameters()}
    weights = {
        name: (value[copy : copy + 1] if name in stacked else value).detach().cpu().clone()
        for name, value in model.state_dict().items()
    }
    data = {
        "format": FORMAT,
        "weights": weights,
        "architecture": dict(job.architecture),
        "task": job.task,
        "task_settings": dict(job.task_settings),
        "seed": seed,
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f"{path.name}.{os.getpid()}.partial")
    try:
        torch.save(data, partial)
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)  # half a file on a full disk is in the way of everything else


def read_weights(path: Path) -> dict[str, Any]:
    """What `write_weights` wrote, on the CPU.

    Raises:
        ValueError: the file has another format.
    """
    data: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
    if data.get("format") != FORMAT:
        raise ValueError(f"weights must have format {FORMAT}, but got {data.get('format')!r} in {path}")
    return data
