"""AdamW over stacked copies: each copy with its own rate, clipped and ended alone.

Weights carry the axis of copies in front, `(E, *shape)`. Where all copies train at one rate a weight is one tensor to
AdamW; where rates differ each copy is a slice of it, a view that shares its memory.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from archsearch.build.tree import Trained
from archsearch.training.schedule import rate_factor

__all__ = ["CopyOptimizer"]


class CopyOptimizer:
    """Steps all copies, and keeps account of which of them live.

    A copy ends at the first step where its loss or its gradient is not finite: from then on its gradient counts as
    zero, and no number of it reaches another copy.

    Args:
        trained: the weights, stacked; those that require no gradient are left as they are.
        rates: the peak learning rate of each copy.
        weight_decay: of AdamW, where a group has it.
        clip: the norm to which the gradient of each copy is clipped; 0 for no clipping.
        steps, warmup, final_rate: of the schedule, see `rate_factor`.

    Attributes:
        died: `(E,)` int64 on the device: the step, counted from 1, in which a copy ended; 0 while it lives.
    """

    def __init__(
        self,
        trained: Iterable[Trained],
        rates: Sequence[float],
        *,
        weight_decay: float,
        clip: float,
        steps: int,
        warmup: float,
        final_rate: float,
    ) -> None:
        groups: dict[tuple[float, bool], list[nn.Parameter]] = {}
        for parameter, factor, decay in trained:
            if parameter.requires_grad:
                groups.setdefault((factor, decay), []).append(parameter)
        self.parameters = [p for weights in groups.values() for p in weights]
        device = self.parameters[0].device
        self.clip, self.schedule = clip, (steps, warmup, final_rate)
        self.died = torch.zeros(len(rates), dtype=torch.int64, device=device)
        self._slices: list[tuple[nn.Parameter, list[Tensor]]] = []
        self._adamw = torch.optim.AdamW(
            [
                {"params": tensors, "peak": rate * factor, "weight_decay": weight_decay if decay else 0.0}
                for (factor, decay), weights in groups.items()
                for rate, tensors in self._by_rate(weights, rates)
            ],
            lr=1e-3,
            fused=True,
        )

    def step(self, losses: Tensor, step: int) -> None:
        """Applies the gradients of the summed losses and forgets them.

        Args:
            losses: `(E,)`, of the copies.
            step: 0, 1, ...
        """
        weights = [p for p in self.parameters if p.grad is not None]
        self._clip([p.grad for p in weights if p.grad is not None], losses, step)
        for weight, slices in self._slices:
            for copy, view in enumerate(slices):
                view.grad = None if weight.grad is None else weight.grad[copy]
        factor = rate_factor(step, *self.schedule)
        for group in self._adamw.param_groups:
            group["lr"] = group["peak"] * factor
        self._adamw.step()
        for weight in weights:
            weight.grad = None

    def freeze(self, died: Mapping[int, int]) -> None:
        """Sets the weights of dead copies to zero, where they stay.

        What is not finite would stay so for ever, and a kernel may refuse it for all copies at once.

        Args:
            died: the copies, and the step in which each of them ended.
        """
        with torch.no_grad():
            for copy, step in died.items():
                self.died[copy] = step
                for weight in self.parameters:
                    weight[copy].zero_()
                for moment in self._moments(copy):
                    moment.zero_()

    def state_dict(self) -> dict[str, Any]:
        """Everything that `load_state_dict` needs to go on."""
        return {"adamw": self._adamw.state_dict(), "died": self.died}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Takes over what `state_dict` gave."""
        self._adamw.load_state_dict(state["adamw"])
        self.died.copy_(state["died"])

    def _by_rate(self, weights: list[nn.Parameter], rates: Sequence[float]) -> list[tuple[float, list[Tensor]]]:
        if len(set(rates)) == 1:
            return [(rates[0], list(weights))]
        grouped: dict[float, list[Tensor]] = {rate: [] for rate in rates}
        for weight in weights:
            slices = list(weight.detach().unbind(0))
            self._slices.append((weight, slices))
            for rate, view in zip(rates, slices, strict=True):
                grouped[rate].append(view)
        return list(grouped.items())

    def _moments(self, copy: int) -> Iterator[Tensor]:
        """What would still move the weights of a copy whose gradient is zero: AdamW's running mean of it."""
        sliced = {weight: slices[copy] for weight, slices in self._slices}
        for weight in self.parameters:
            state = self._adamw.state.get(sliced.get(weight, weight), {})
            if "exp_avg" in state:
                yield state["exp_avg"] if weight in sliced else state["exp_avg"][copy]

    @torch.no_grad()
    def _clip(self, gradients: list[Tensor], losses: Tensor, step: int) -> None:
        norms = torch.stack([torch.linalg.vector_norm(g.flatten(1), dim=1) for g in gradients])
        norm = torch.linalg.vector_norm(norms, dim=0)
        fine = norm.isfinite() & losses.isfinite()
        self.died.copy_(torch.where((self.died == 0) & ~fine, step + 1, self.died))
        dead = self.died != 0
        scale = torch.ones_like(norm) if not self.clip else (self.clip / (norm + 1e-6)).clamp(max=1.0)
        for gradient in gradients:
            shape = (-1,) + (1,) * (gradient.ndim - 1)
            # Scaling alone would not do: 0 times infinity is not a number.
            gradient.mul_(scale.view(shape)).masked_fill_(dead.view(shape), 0.0)
