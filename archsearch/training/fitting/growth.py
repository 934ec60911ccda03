"""Units that a two-layer relu network lacks: those whose weight, from zero, would make its objective smaller.

Legend of shapes: N rows, D features, K neurons, M starts, S outputs.
"""

from __future__ import annotations

import torch
from torch import Tensor

from archsearch.training.fitting.convex import Network

__all__ = ["grown"]

CLIMBS, AT_ONCE, ALIKE = 20, 8, 0.99
"""Steps of ascent, units for an output at once, and the cosine from which on two are taken for one."""


def grown(network: Network, x: Tensor, y: Tensor, beta: float, starts: Tensor, most: int) -> Network:
    """The network with units u, ‖u‖ = 1, for which |rᵀ relu(X u)| is above β with the residual r, or the same.

    They are looked for from each start by u ← Xᵀ D r / ‖Xᵀ D r‖, D the rows on which u is active: |rᵀ relu(X u)| is
    linear in u there.

    Args:
        x: rows `(N, D)` float64; y: targets `(N, S)`; starts: `(M, D)`; most: neurons of an output.
    """
    residual = (y - network(x)).mT
    sign = torch.tensor([1.0, -1.0], dtype=x.dtype).repeat_interleave(len(starts))[:, None]
    pull = residual[:, None, :] * sign
    units = starts.repeat(2, 1).expand(len(residual), -1, -1)
    best, reach = units, torch.full(units.shape[:2], -torch.inf, dtype=x.dtype)
    for _ in range(CLIMBS):
        units = units / units.norm(dim=-1, keepdim=True).clamp(min=1e-300)
        products = units @ x.mT
        now = (torch.relu(products) * pull).sum(-1)
        best, reach = torch.where((now > reach)[..., None], units, best), torch.maximum(reach, now)
        units = (pull * (products > 0)) @ x
    found = [_chosen(b, r, sign[:, 0], x, beta) for b, r in zip(best, reach, strict=True)]
    room = most - network.outer.shape[1]
    more = min(room, max(len(outer) for _, outer in found))
    if more <= 0:
        return network
    inner, outer = x.new_zeros(len(found), more, x.shape[1]), x.new_zeros(len(found), more)
    for i, (a, b) in enumerate(found):
        inner[i, : len(b)], outer[i, : len(b)] = a[:more], b[:more]
    return Network(torch.cat([network.inner, inner], 1), torch.cat([network.outer, outer], 1))


def _chosen(units: Tensor, reach: Tensor, sign: Tensor, x: Tensor, beta: float) -> tuple[Tensor, Tensor]:
    """The best units of an output, none like another, with the weights that would suit each alone, shared out."""
    taken: list[int] = []
    for i in reach.argsort(descending=True).tolist():
        if not float(reach[i]) > beta * (1 + 1e-6) or len(taken) == AT_ONCE:
            break
        if all(sign[i] != sign[j] or float(units[i] @ units[j]) < ALIKE for j in taken):
            taken.append(i)
    size = torch.relu(units[taken] @ x.mT).square().sum(-1)
    root = ((reach[taken] - beta) / size.clamp(min=1e-300) / max(len(taken), 1)).sqrt()
    return units[taken] * root[:, None], sign[taken] * root
