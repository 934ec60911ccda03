"""What a built model holds and keeps: parameters by part, and the memory that a backward pass needs."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from archsearch.build.model import Model

__all__ = ["Parameters", "parameters", "saved_bytes"]


@dataclass(frozen=True, slots=True)
class Parameters:
    """Trained numbers of one copy, by part."""

    stem: int
    graph: int
    readout: int

    @property
    def total(self) -> int:
        """All of them."""
        return self.stem + self.graph + self.readout


def parameters(model: Model) -> Parameters:
    """The trained numbers of one copy of `model`."""

    def count(part: nn.Module) -> int:
        return sum(p.numel() for p in part.parameters() if p.requires_grad) // model.copies

    return Parameters(count(model.stem), count(model.graph), count(model.readout))


def saved_bytes(loss: Callable[[], Any], but: Iterable[Tensor] = ()) -> int:
    """Bytes that autograd keeps for the backward pass of `loss()`: what of a step's memory grows with the data.

    Counted by storage, so that views of one tensor count once. Free of the noise of an allocator and the same on every
    machine, so that its growth with length can be fitted.

    Args:
        loss: runs the forward pass; what it returns is held until all is counted.
        but: tensors not to count, such as parameters and inputs.
    """
    known = {t.untyped_storage().data_ptr() for t in but}
    kept: dict[int, torch.UntypedStorage] = {}

    def pack(t: Tensor) -> Tensor:
        storage = t.untyped_storage()
        if storage.data_ptr() not in known:
            kept[storage.data_ptr()] = storage  # held, so that its address is not given to another tensor
        return t

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda t: t):
        held = loss()
    total = sum(s.nbytes() for s in kept.values())
    del held
    return total
