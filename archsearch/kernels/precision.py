"""Recurrences accumulate: under autocast their kernels run in single precision all the same."""

from __future__ import annotations

from contextlib import nullcontext
from typing import Any

import torch
from torch import Tensor

__all__ = ["exact", "single"]


def single(x: Tensor) -> Tensor:
    """`x`, in single precision where it is in half."""
    return x.float() if x.dtype in (torch.bfloat16, torch.float16) else x


def exact(device: torch.device) -> Any:
    """A context without autocast, of which there is none where there are no numbers (`meta`)."""
    return nullcontext() if device.type == "meta" else torch.autocast(device.type, enabled=False)
