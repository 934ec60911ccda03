"""Kernel regression (Nadaraya 1964, Watson 1964) with Gaussian kernels, as softmax attention.

`−|q − k|²/2σ² = (q · k − |k|²/2)/σ²` but for a term in q alone, which cancels in the quotient. So with `−|k|²/2` as
one more feature of a key, beside a one in the query, the fused kernel of attention gives the regression, chunked over
queries and without a matrix of all pairs.

N = copies × batch; E copies, B batch, T time, H heads, C features of a head.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

__all__ = ["regress", "regress_last"]


def regress(q: Tensor, k: Tensor, v: Tensor, log_bandwidth: Tensor) -> Tensor:
    """The regression on all steps up to each.

    Args:
        q, k: `(E, B, T, H·C)`.
        v: `(E, B, T, H·C')`.
        log_bandwidth: log σ, `(E, H)`.

    Returns:
        `(E, B, T, H·C')`.
    """
    y = F.scaled_dot_product_attention(*_as_attention(q, k, v, log_bandwidth), is_causal=True, scale=1.0)
    return y.transpose(1, 2).reshape(v.shape)


def regress_last(q: Tensor, keys: Tensor, values: Tensor, log_bandwidth: Tensor) -> Tensor:
    """The regression on all steps, asked by the newest: `q` is `(E, B, H·C)`, the result `(E, B, H·C')`."""
    attention = _as_attention(q.unsqueeze(2), keys, values, log_bandwidth)
    return F.scaled_dot_product_attention(*attention, scale=1.0).reshape(*q.shape[:2], -1)


def _as_attention(q: Tensor, k: Tensor, v: Tensor, log_bandwidth: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Queries, keys and values of heads, `(N, H, T, ·)`, whose products are the exponents."""
    heads = log_bandwidth.shape[1]
    precision = torch.exp(-2.0 * log_bandwidth)[:, None, None, :, None]
    query, key, value = (x.unflatten(3, (heads, -1)) for x in (q, k, v))
    query = torch.cat([query, torch.ones_like(query[..., :1])], -1) * precision
    key = torch.cat([key, -0.5 * key.square().sum(-1, keepdim=True)], -1)
    n_query, n_key, n_value = (x.flatten(0, 1).transpose(1, 2) for x in (query, key, value))
    return n_query, n_key, n_value
