"""Softmax attention over heads, copies folded into the batch (a fifth axis makes the fused kernel 2.6 times slower).

N = copies × batch; B batch, T time, H heads, C features of a head.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from archsearch.kernels.rotary import rotate

__all__ = ["attend", "attend_last", "split_heads"]


def split_heads(x: Tensor, heads: int, *, rotary: bool, position: int = 0) -> Tensor:
    """`(E, B, T, H·C)` to `(N, H, T, C)`, turned by its position where `rotary`; the first step is at `position`."""
    x_nthc = x.reshape(x.shape[0] * x.shape[1], x.shape[2], heads, x.shape[3] // heads)
    if rotary:
        x_nthc = rotate(x_nthc, position)
    return x_nthc.transpose(1, 2)


def attend(q: Tensor, k: Tensor, v: Tensor, heads: int, *, causal: bool, rotary: bool) -> Tensor:
    """Attention of every step to all steps, or to those up to itself.

    Args:
        q, k: `(E, B, T, D)`.
        v: `(E, B, T, V)`.

    Returns:
        `(E, B, T, V)`.
    """
    q_nhtc = split_heads(q, heads, rotary=rotary)
    k_nhtc = split_heads(k, heads, rotary=rotary)
    v_nhtc = split_heads(v, heads, rotary=False)
    y_nhtc = F.scaled_dot_product_attention(q_nhtc, k_nhtc, v_nhtc, is_causal=causal)
    return y_nhtc.transpose(1, 2).reshape(v.shape)


def attend_last(q: Tensor, keys: Tensor, values: Tensor, heads: int, *, rotary: bool) -> Tensor:
    """Attention of the newest step to the cache.

    Args:
        q: `(E, B, D)`, the query of step T − 1.
        keys: `(E, B, H, T, C)`, already turned.
        values: `(E, B, H, T, C')`.

    Returns:
        `(E, B, H·C')`.
    """
    q_nhtc = split_heads(q.unsqueeze(2), heads, rotary=rotary, position=keys.shape[3] - 1)
    y_nhtc = F.scaled_dot_product_attention(q_nhtc, torch.flatten(keys, 0, 1), torch.flatten(values, 0, 1))
    return y_nhtc.reshape(*q.shape[:2], -1)
