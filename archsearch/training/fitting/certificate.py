"""How far below a two-layer relu network another may be: a bound from the dual of the convex program.

    max_r rᵀy − ½‖r‖²    with |rᵀ D_i X u| ≤ β for every pattern D_i and every unit u in its cone, ‖u‖ ≤ 1

is at most the objective of every network whose units are active in these patterns (Pilanci and Ergen 2020,
arXiv:2002.10553, eq. 4). The residual of a network is scaled until it is feasible.

Legend of shapes: N rows, D features, P patterns, S outputs.
"""

from __future__ import annotations

import torch
from torch import Tensor

from archsearch.training.fitting.convex import Network
from archsearch.training.fitting.lacking import projected

__all__ = ["lower_bound"]

MOST, WORK = 60, 2e6
"""How many patterns of an output are projected, and numbers of rows over all of them where that are more; the further
ones count with the whole length of their pull, which is safe."""


def lower_bound(network: Network, x: Tensor, y: Tensor, active: Tensor, beta: float) -> tuple[float, int]:
    """What no network can go below whose units are active in these patterns, and how many they are.

    To the patterns of an output come those of the network's own units for it.

    Args:
        x: rows `(N, D)` float64; y: targets `(N, S)`.
        active: `(P, N)`.

    Returns:
        The bound, and the least number of patterns of an output.
    """
    total, fewest = 0.0, len(x) * len(active)
    for i, (residual, target) in enumerate(zip((y - network(x)).mT, y.mT, strict=True)):
        units = network.inner[i, network.outer[i] != 0]
        every = torch.cat([active.bool(), units @ x.mT >= 0]).unique(dim=0).to(x.dtype)
        fewest = min(fewest, len(every))
        along, size = float(residual @ target), float(residual.square().sum())
        scale = min(along / max(size, 1e-300), beta / max(_reach(residual, x, every, beta), 1e-300))
        total += scale * along - scale**2 / 2 * size
    return total, fewest


def _reach(residual: Tensor, x: Tensor, active: Tensor, beta: float) -> float:
    """The largest |residualᵀ D_i X u|, or `beta` if that is larger.

    It is never more than ‖Xᵀ D_i residual‖: patterns are gone through by that length, until no other can matter.
    """
    pulls = (active * residual) @ x
    lengths = pulls.norm(dim=1)
    most, allowed = beta, max(MOST, int(WORK / x.numel()))
    for done, i in enumerate(lengths.argsort(descending=True).tolist()):
        if float(lengths[i]) <= most:
            break
        if done == allowed:
            return float(lengths[i])
        for sign in (1.0, -1.0):
            best = projected(x.numpy(), active[i].numpy() > 0, (sign * pulls[i]).numpy())
            most = max(most, float(lengths[i]) if best is None else best[0])
    return most
