"""Short causal convolutions, one filter a feature."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from archsearch.kernels import backends

__all__ = ["short_convolution", "short_convolution_step"]


def short_convolution(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """`y_t = b + Σ_j weight_j x_{t−K+1+j}`, zeros before the start; the last tap reads the present.

    Copies and features are the groups of one depthwise convolution.

    Args:
        x: `(E, B, T, D)`.
        weight: `(E, D, K)`.
        bias: `(E, D)`.

    Returns:
        `(E, B, T, D)`, a view with features before time in memory.
    """
    e, b, t, d = x.shape
    taps = weight.shape[-1]
    fast = backends.find("short_conv", x) if 2 <= taps <= 4 else None
    if fast is not None:
        return fast(x, weight, bias)  # type: ignore[no-any-return]
    x_bct = F.pad(x.permute(1, 0, 3, 2).reshape(b, e * d, t), (taps - 1, 0))
    flat = None if bias is None else bias.reshape(e * d)
    y_bct = F.conv1d(x_bct, weight.reshape(e * d, 1, taps), flat, groups=e * d)
    return y_bct.view(b, e, d, t).permute(1, 0, 3, 2)


def short_convolution_step(x: Tensor, window: Tensor, weight: Tensor, bias: Tensor | None) -> tuple[Tensor, Tensor]:
    """One token of `short_convolution`.

    Args:
        x: `(E, B, D)`.
        window: `(E, B, D, K − 1)`, the inputs before it, oldest first.

    Returns:
        The output `(E, B, D)` and the next window.
    """
    seen = torch.cat([window, x.unsqueeze(-1)], -1)
    y = (seen * weight.unsqueeze(1)).sum(-1)
    return y if bias is None else y + bias.unsqueeze(1), seen[..., 1:]
