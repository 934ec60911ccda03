"""The matrix memory of xLSTM in chunks (Beck et al. 2024, arXiv:2405.04517, equations 19 to 27).

    C_t = f_t C_{t−1} + i_t k_t v_tᵀ        n_t = f_t n_{t−1} + i_t k_t        h_t = C_tᵀ q_t / max(|n_t · q_t|, 1)

N sequences, T time, M chunks of L steps, R rows, V columns. Gates come as logarithms. As the input gate is an
exponential, C and n are held as `exp(m) ×` what is stored, m the running maximum `m_t = max(log f_t + m_{t−1}, log
i_t)` of equation 15: no weight is above one. h does not depend on m, which therefore needs no gradient. A column of
ones beside v makes n the last column of C.
"""

from __future__ import annotations

import torch
from torch import Tensor

from archsearch.kernels.chunk_states import cut
from archsearch.kernels.dispatch import system_chunk

__all__ = ["mlstm", "mlstm_step", "normalised"]

_LEAST = 1e-6  # the denominator where exp(−m) underflows


def mlstm(q: Tensor, k: Tensor, v: Tensor, log_i: Tensor, log_f: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """All readings from an empty memory, and the memory after the last step.

    Args:
        q, k: `(N, T, R)`.
        v: `(N, T, V)`.
        log_i, log_f: `(N, T)`.

    Returns:
        h, `(N, T, V)`; C and n side by side, `(N, R, V + 1)`; m, `(N,)`.
    """
    time, length = q.shape[1], min(q.shape[1], system_chunk(q.device, q.shape[2], q.shape[1]))
    one = torch.ones_like(v[..., :1])
    q, k, v = (cut(x, length) for x in (q, k, torch.cat([v, one], -1)))
    forgot = cut(log_f.unsqueeze(-1).double(), length).squeeze(-1).cumsum(2)
    gate = cut(log_i.unsqueeze(-1).double(), length, -torch.inf).squeeze(-1)
    between, since, m, last = _weights(forgot, gate)
    between, since = between.to(v.dtype), since.to(v.dtype)
    memory, after = _memories((k * between[:, :, -1].unsqueeze(-1)).mT @ v, since[:, :, -1])
    y = ((q @ k.mT) * between) @ v + (q * since.unsqueeze(-1)) @ memory
    h = normalised(y, m.to(v.dtype))
    return h.flatten(1, 2)[:, :time], after, last.to(v.dtype)


def _weights(forgot: Tensor, gate: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """What a step finds of what each step of its chunk wrote, `(N, M, L, L)`, and of the memory before it, `(N, M, L)`.

    Also m at every step, and after the last one. In double precision: sums of logarithms cancel.
    """
    length = forgot.shape[2]
    later = torch.ones(length, length, dtype=torch.bool, device=forgot.device).triu(1)
    inside = (forgot.unsqueeze(-1) - forgot.unsqueeze(-2) + gate.unsqueeze(-2)).masked_fill(later, -torch.inf)
    with torch.no_grad():
        highest = inside.amax(-1)
        m_j, befores = torch.zeros_like(highest[:, 0, 0]), []
        for own, f in zip(highest[:, :, -1].unbind(1), forgot[:, :, -1].unbind(1), strict=True):
            befores.append(m_j)
            m_j = torch.maximum(own, f + m_j)
        before = torch.stack(befores, 1).unsqueeze(-1)
        m = torch.maximum(highest, forgot + before)
    return (inside - m.unsqueeze(-1)).exp(), (forgot + before - m).exp(), m, m_j


def _memories(written: Tensor, kept: Tensor) -> tuple[Tensor, Tensor]:
    """The memory before each chunk, `(N, M, R, V + 1)`, and after the last."""
    memory, before = torch.zeros_like(written[:, 0]), []
    for new, keep in zip(written.unbind(1), kept.unsqueeze(-1).unsqueeze(-1).unbind(1), strict=True):
        before.append(memory)
        memory = torch.addcmul(new, keep, memory)
    return torch.stack(before, 1), memory


def normalised(y: Tensor, m: Tensor) -> Tensor:
    """Readings over the larger of `|n · q|`, their last feature, and one, `exp(−m)` as it is stored."""
    size = torch.maximum(y[..., -1].abs(), torch.exp(-m)).clamp(min=_LEAST)
    return y[..., :-1] / size.unsqueeze(-1)


def mlstm_step(
    q: Tensor, k: Tensor, v: Tensor, log_i: Tensor, log_f: Tensor, memory: Tensor, m: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """One token of `mlstm`.

    Args:
        q, k, v: `(..., R)` and `(..., V)`.
        log_i, log_f, m: `(...)`.
        memory: `(..., R, V + 1)`.

    Returns:
        h, `(..., V)`, the next memory and the next m.
    """
    new = torch.maximum(log_f + m, log_i).detach()
    v = torch.cat([v, torch.ones_like(v[..., :1])], -1)
    written = k.unsqueeze(-1) * (v * torch.exp(log_i - new).unsqueeze(-1)).unsqueeze(-2)
    memory = torch.exp(log_f + m - new)[..., None, None] * memory + written
    y = (q.unsqueeze(-2) @ memory).squeeze(-2)
    return normalised(y, new), memory, new
