"""Labels that are wrong and inputs that are missing: knobs that tasks share, each a setting and what it does.

Labels are wrong in training alone, so that a score still says how well the truth was found. Inputs are missing in all
splits, as they would be in use.

Legend of shapes: N examples, F features.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from archsearch.tasks.settings import setting

__all__ = [
    "label_noise",
    "missing_inputs",
    "noise_of_values",
    "with_missing",
    "with_noisy_values",
    "with_wrong_classes",
]


def label_noise() -> Any:
    """The setting for classes."""
    return setting(0.0, low=0.0, high=1.0, help="the share of training labels that are drawn anew")


def noise_of_values() -> Any:
    """The setting for numbers."""
    return setting(0.0, low=0.0, high=100.0, help="standard deviation of the noise on the targets to train on")


def missing_inputs() -> Any:
    """The setting for inputs."""
    return setting(0.0, low=0.0, high=0.99, help="the share of input numbers that are missing, and 0 instead")


def with_wrong_classes(targets: Tensor, share: float, classes: int, generator: torch.Generator) -> Tensor:
    """Targets of which a share is drawn anew from all classes, the right one among them; no draw for a share of 0."""
    if not share:
        return targets
    wrong = torch.rand(targets.shape, generator=generator) < share
    return torch.where(wrong, torch.randint(classes, targets.shape, generator=generator), targets)


def with_noisy_values(targets: Tensor, deviation: float, generator: torch.Generator) -> Tensor:
    """Targets with normal noise; no draw for a deviation of 0."""
    return targets + deviation * torch.randn(targets.shape, generator=generator) if deviation else targets


def with_missing(inputs: Tensor, share: float, generator: torch.Generator) -> Tensor:
    """Vectors `(N, T, F)` of whose numbers a share is 0; no draw for a share of 0."""
    return inputs * (torch.rand(inputs.shape, generator=generator) >= share) if share else inputs
