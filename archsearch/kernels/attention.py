"""Softmax attention over heads, copies folded into the batch (a fifth axis makes the fused kernel 2.6 times slower).

No form holds the scores of all pairs of steps: those without a mask go to the fused kernel as they are, a sliding
window goes in blocks, and biases go in chunks of queries that share one mask of linear size.

N = copies × batch; E copies, B batch, T time, C features of a head; H heads of queries, G heads of keys and values,
each of which serves H / G neighbouring heads of queries.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from archsearch.kernels.dispatch import query_chunk, window_block

__all__ = ["alibi_slopes", "attend", "attend_last", "join_heads", "split_heads"]


def split_heads(x: Tensor, heads: int) -> Tensor:
    """`(E, B, T, H·C)` to `(N, T, H, C)`."""
    return x.reshape(x.shape[0] * x.shape[1], x.shape[2], heads, x.shape[3] // heads)


def join_heads(y: Tensor, copies: int) -> Tensor:
    """`(N, H, T, C)` to `(E, B, T, H·C)`."""
    n, h, t, c = y.shape
    return y.transpose(1, 2).reshape(copies, n // copies, t, h * c)


def alibi_slopes(heads: int) -> tuple[float, ...]:
    """The slopes of ALiBi: `2^(−8i / n)` for n heads, a power of two; else those, then every other one of 2n heads."""
    whole = 1 << (heads.bit_length() - 1)
    between = tuple(2.0 ** (-4.0 * (2 * i + 1) / whole) for i in range(heads - whole))
    return tuple(2.0 ** (-8.0 * (i + 1) / whole) for i in range(whole)) + between


def attend(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    *,
    causal: bool = True,
    window: int | None = None,
    slopes: tuple[float, ...] = (),
    scale: float | None = None,
) -> Tensor:
    """Attention of every step to all steps, or to those up to itself.

    Args:
        q: `(N, H, T, C)`.
        k, v: `(N, G, T, C)` and `(N, G, T, C')`; each may have a G of its own.
        window: how many steps are seen, the present one included; goes with `causal`.
        slopes: of each head of queries, what a step of distance takes off the score.
        scale: of the scores, `1 / √C` unless said.

    Returns:
        `(N, H, T, C')`.
    """
    scale = q.shape[-1] ** -0.5 if scale is None else scale
    k, v = _for_each_query_head(k, q.shape[1]), _for_each_query_head(v, q.shape[1])
    if window is not None and window < q.shape[2]:
        return _in_blocks(q, k, v, window, slopes, scale)
    if slopes:
        return _in_chunks(q, k, v, causal, slopes, scale)
    return _fused(q, k, v, scale, causal=causal)


def attend_last(
    q: Tensor, keys: Tensor, values: Tensor, *, slopes: tuple[float, ...] = (), scale: float | None = None
) -> Tensor:
    """Attention of the newest step to the cache.

    Args:
        q: `(N, H, 1, C)`, the query of step T − 1.
        keys, values: `(N, G, T, C)` and `(N, G, T, C')`; the values may have fewer heads than the keys.

    Returns:
        `(N, H, 1, C')`.
    """
    n, h, _, c = q.shape
    g, t = keys.shape[1:3]
    bias = _bias(q, slopes, (1, t), 1 - t, None, causal=True).view(1, g, h // g, t) if slopes else None
    values = _for_each_query_head(values, g)
    y = F.scaled_dot_product_attention(q.reshape(n, g, h // g, c), keys, values, bias, scale=scale)
    return y.reshape(n, h, 1, values.shape[-1])


def _for_each_query_head(x: Tensor, heads: int) -> Tensor:
    """`(N, G, T, C)` to `(N, H, T, C)`: as fast on a CPU as `enable_gqa`, which GPUs lack in single precision."""
    n, g, t, c = x.shape
    return x if g == heads else x.unsqueeze(2).expand(n, g, heads // g, t, c).flatten(1, 2)


def _fused(
    q: Tensor, k: Tensor, v: Tensor, scale: float, *, mask: Tensor | None = None, causal: bool = False
) -> Tensor:
    """The fused kernel, which wants keys and values of one size; without it scores of all pairs would be held."""
    size, keys = v.shape[-1], q.shape[-1]
    if keys < size:
        q, k = F.pad(q, (0, size - keys)), F.pad(k, (0, size - keys))
    elif size < keys:
        v = F.pad(v, (0, keys - size))
    return F.scaled_dot_product_attention(q, k, v, mask, is_causal=causal, scale=scale)[..., :size]


def _in_blocks(q: Tensor, k: Tensor, v: Tensor, window: int, slopes: tuple[float, ...], scale: float) -> Tensor:
    """A sliding window: each block of queries sees itself and as many steps before as the window reaches back.

    The first queries, which see less, go together.
    """
    n, t, back = q.shape[0], q.shape[2], window - 1
    block = window_block(q.device, window)
    lead = min(t, -(-back // block) * block or block)
    mask = _bias(q, slopes, (lead, lead), 0, window, causal=True)
    first = _fused(q[:, :, :lead], k[:, :, :lead], v[:, :, :lead], scale, mask=mask)
    if lead == t:
        return first
    blocks = -(-(t - lead) // block)
    q, k, v = (F.pad(x, (0, 0, 0, lead + blocks * block - t)) for x in (q, k, v))
    q = q[:, :, lead:].unflatten(2, (blocks, block)).transpose(1, 2).flatten(0, 1)
    k, v = (x[:, :, lead - back :].unfold(2, back + block, block) for x in (k, v))
    k, v = (x.permute(0, 2, 1, 4, 3).flatten(0, 1) for x in (k, v))
    mask = _bias(q, slopes, (block, back + block), -back, window, causal=True)
    later = _fused(q, k, v, scale, mask=mask).unflatten(0, (n, blocks)).transpose(1, 2).flatten(2, 3)
    return torch.cat([first, later], 2)[:, :, :t]


def _in_chunks(q: Tensor, k: Tensor, v: Tensor, causal: bool, slopes: tuple[float, ...], scale: float) -> Tensor:
    """Biases by distance: chunks of queries, whose masks are parts of that of the last."""
    t = q.shape[2]
    chunk = min(t, query_chunk(q.device))
    end = -(-t // chunk) * chunk
    bias = _bias(q, slopes, (chunk, end if causal else 2 * end - chunk), chunk - end, None, causal=causal)
    outs = []
    for i, rows in enumerate(q.split(chunk, 2)):
        seen = min(t, (i + 1) * chunk) if causal else t
        mask = bias[:, :, : rows.shape[2], end - (i + 1) * chunk :][..., :seen]
        outs.append(_fused(rows, k[:, :, :seen], v[:, :, :seen], scale, mask=mask))
    return torch.cat(outs, 2)


def _bias(
    like: Tensor, slopes: tuple[float, ...], size: tuple[int, int], first: int, window: int | None, *, causal: bool
) -> Tensor:
    """What is added to the scores of rows of queries, `(1, H or 1, rows, columns)`; less axes are not fused.

    Args:
        like: a value of the device and dtype.
        first: the step of the first column, counted from that of the first row.
    """
    rows, columns = (torch.arange(n, device=like.device) for n in size)
    distance = rows[:, None] - columns - first
    hidden = distance < 0 if causal else torch.zeros_like(distance, dtype=torch.bool)
    if window is not None:
        hidden = hidden | (distance >= window)
    slope = like.new_tensor(slopes or (0.0,))[None, :, None, None]
    return (-slope * distance.abs().to(like.dtype)).masked_fill(hidden, -torch.inf)
