"""A trainer's state as tensors and plain data, from which another trainer of the same job goes on."""

from __future__ import annotations

import copy
import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from archsearch.training import results
from archsearch.training.results import CopyRecord

if TYPE_CHECKING:
    from archsearch.training.trainer import Trainer

__all__ = ["check", "state_of", "take_over"]

FORMAT = 2

PLAIN = ("step", "finished", "solved", "train_seconds", "saved", "solutions", "steps", "step_seconds")
"""Attributes that are carried over as they are."""


def state_of(t: Trainer) -> dict[str, Any]:
    """Everything that `take_over` needs."""
    state = {
        "format": FORMAT,
        "job": _identity(t),
        "rates": list(t.rates),
        "seconds": t.seconds,
        "plain": {name: getattr(t, name) for name in PLAIN},
        "copies": [vars(record) for record in t.copies],
        "model": t.model.state_dict(),
        "optimizer": t.optimizer.state_dict(),
        "generators": [g.get_state() for g in t.model.generators],
    }
    return copy.deepcopy(state)


def check(t: Trainer, state: Mapping[str, Any]) -> None:
    """Raises `ValueError` for a state of another job, or of another format."""
    if state.get("format") != FORMAT or state.get("job") != _identity(t):
        raise ValueError("a checkpoint must come from the same job, but this one has another format or job")


def take_over(t: Trainer, state: Mapping[str, Any]) -> None:
    """Puts a checked state into a trainer that has its copies and an optimiser of its steps."""
    for name in PLAIN:
        setattr(t, name, state["plain"][name])
    t.copies = [CopyRecord(**{**record, "curve": list(record["curve"])}) for record in state["copies"]]
    t.model.load_state_dict(state["model"])
    t.optimizer.load_state_dict(state["optimizer"])
    for generator, bits in zip(t.model.generators, state["generators"], strict=True):
        generator.set_state(bits.cpu())


def _identity(t: Trainer) -> str:
    """A hash of what a checkpoint must agree with; the key and the limits of a job may differ."""
    how = asdict(results.fidelity(t.task, t.settings, t.job.split))
    text = json.dumps([t.job.architecture, how, t.job.seed_base, t.job.learning_rates, t.job.steps], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()
