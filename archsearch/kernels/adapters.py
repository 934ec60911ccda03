"""What the accelerated libraries want and give, in the shapes of the kernels here. `backends` says when each is asked.

E copies, B batch, T time, D features; H heads, R rows and C columns of a state; N states of a feature; K taps. Copies
are a further part of the batch where weights allow it, and run one by one where each has its own.

No run on a GPU has been made of these: the tests hold them against references in plain torch with the same arguments.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

import torch
from torch import Tensor

__all__ = ["causal_conv1d", "delta_rule", "linear_attention", "selective_scan", "ssd"]


def linear_attention(heads: int, q: Tensor, k: Tensor, v: Tensor, decay: Tensor | None = None) -> tuple[Tensor, Tensor]:
    """`S_t = g_t ⊙ S_{t−1} + k_t v_tᵀ; y_t = S_tᵀ q_t`, by flash-linear-attention.

    Args:
        q, k: `(E, B, T, H·R)`.
        v: `(E, B, T, H·C)`.
        decay: the logarithm of g, `(E, B, T, H)` or `(E, B, T, H·R)`; above zero it counts as zero.

    Returns:
        `(E, B, T, H, C)` and the last state, `(E, B, H, R, C)`.
    """
    parts, further = _heads_of(heads, q, k, v), {"scale": 1.0, "output_final_state": True}
    if decay is None:
        run = import_module("fla.ops.linear_attn").chunk_linear_attn
        return _unfolded(q, *run(*parts, normalize=False, **further))
    if decay.shape[-1] == heads:
        run = import_module("fla.ops.simple_gla").chunk_simple_gla
        return _unfolded(q, *run(*parts, g=_log(decay).flatten(0, 1), **further))
    run = import_module("fla.ops.gla").chunk_gla
    return _unfolded(q, *run(*parts, g=_heads(_log(decay), heads), **further))


def delta_rule(
    heads: int, q: Tensor, k: Tensor, v: Tensor, beta: Tensor, decay: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """`S_t = g_t S_{t−1} + β_t k_t (v_t − g_t S_{t−1}ᵀ k_t)ᵀ; y_t = S_tᵀ q_t`, by flash-linear-attention.

    The library's rule without decay takes no float32, the one with decay does.

    Args:
        q, k: `(E, B, T, H·R)`.
        v: `(E, B, T, H·C)`.
        beta: `(E, B, T, H)`.
        decay: the logarithm of g, likewise; above zero it counts as zero.

    Returns:
        `(E, B, T, H, C)` and the last state, `(E, B, H, R, C)`.
    """
    run = import_module("fla.ops.gated_delta_rule").chunk_gated_delta_rule
    g = torch.zeros_like(beta, dtype=torch.float32) if decay is None else _log(decay)
    gates = {"g": g.flatten(0, 1), "beta": beta.flatten(0, 1)}
    return _unfolded(q, *run(*_heads_of(heads, q, k, v), **gates, scale=1.0, output_final_state=True))


def ssd(u: Tensor, log_decay: Tensor, b: Tensor, c: Tensor) -> tuple[Tensor, Tensor]:
    """Mamba-2's states, by flash-linear-attention: linear attention whose keys and queries all heads share.

    Args:
        u: `(G, T, H, C)`, G sequences, what enters the states.
        log_decay: `(G, T, H)`.
        b, c: `(G, T, N)`.

    Returns:
        `(G, T, H, C)` and the last state, `(G, N, H, C)`.
    """
    run = import_module("fla.ops.simple_gla").chunk_simple_gla
    c, b, v = _alike(c, b, u)
    q, k = (x.unsqueeze(2).expand(-1, -1, u.shape[2], -1).contiguous() for x in (c, b))
    y, last = run(q, k, v.contiguous(), g=log_decay.float(), scale=1.0, output_final_state=True)
    return y.to(u.dtype), last.transpose(1, 2).to(u.dtype)


def selective_scan(
    x: Tensor, dt: Tensor, b: Tensor, c: Tensor, bias: Tensor, a: Tensor, skip: Tensor
) -> tuple[Tensor, Tensor]:
    """Mamba's selective scan, by mamba-ssm, a copy at a time, since each has its own A.

    Args:
        x, dt: `(E, B, T, D)`, dt before its bias and softplus.
        b, c: `(E, B, T, N)`.
        bias, skip: `(E, D)`.
        a: `(E, N, D)`.

    Returns:
        `(E, B, T, D)` and the last state, `(E, B, N, D)`.
    """
    run = import_module("mamba_ssm.ops.selective_scan_interface").selective_scan_fn
    copies = zip(*(v.float().unbind(0) for v in (x, dt, b, c, a, bias, skip)), strict=True)
    found = []
    for *values, bias_e, skip_e in copies:
        u, delta, b_e, c_e, a_e = (v.mT.contiguous() for v in values)
        further = {"delta_bias": bias_e, "delta_softplus": True, "return_last_state": True}
        found.append(run(u, delta, a_e, b_e, c_e, D=skip_e, **further))
    y, last = (torch.stack(v).mT for v in zip(*found, strict=True))
    return y.to(x.dtype), last.to(x.dtype)


def causal_conv1d(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """Short causal convolutions, by causal-conv1d; copies and features are its channels.

    Args:
        x: `(E, B, T, D)`.
        weight: `(E, D, K)`, K from 2 to 4.
        bias: `(E, D)`.

    Returns:
        `(E, B, T, D)`.
    """
    e, batch, time, width = x.shape
    run = import_module("causal_conv1d").causal_conv1d_fn
    channels = x.permute(1, 0, 3, 2).reshape(batch, e * width, time)
    y = run(channels, weight.flatten(0, 1).to(x.dtype), None if bias is None else bias.flatten().to(x.dtype))
    out: Tensor = y.view(batch, e, width, time).permute(1, 0, 3, 2)
    return out


def _heads(x: Tensor, heads: int) -> Tensor:
    """`(E, B, T, H·A)` to `(E·B, T, H, A)`."""
    split: Tensor = x.flatten(0, 1).unflatten(-1, (heads, -1))
    return split.contiguous()


def _heads_of(heads: int, *parts: Tensor) -> list[Tensor]:
    return [_heads(x, heads) for x in _alike(*parts)]


def _alike(*parts: Tensor) -> list[Tensor]:
    """In the widest of their precisions: the kernels take no mixture, which is what autocast makes."""
    widest = torch.float32 if any(x.dtype == torch.float32 for x in parts) else parts[0].dtype
    return [x.to(widest) for x in parts]


def _log(decay: Tensor) -> Tensor:
    return decay.float().clamp(max=0.0)


def _unfolded(q: Tensor, y: Tensor, last: Any) -> tuple[Tensor, Tensor]:
    """Copies and batch apart again."""
    return y.to(q.dtype).unflatten(0, q.shape[:2]), last.unflatten(0, q.shape[:2])
