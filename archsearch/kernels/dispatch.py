"""The one place that chooses between formulations of one op, by device and size; each choice is a measurement.

Where nothing stands here, one formulation was the fastest at every size that was tried: FFT convolution beside Toeplitz
products, `F.conv1d` beside shifted sums, torch's LSTM (oneDNN, cuDNN) beside a loop of our own.
"""

from __future__ import annotations

import torch

__all__ = ["chunk_length", "gru_in_one_loop", "query_chunk", "rnn_in_one_loop", "scan_in_parallel", "selective_chunk", "window_block"]

_GRU_LANES = 4096


def gru_in_one_loop(device: torch.device, lanes: int) -> bool:
    """Whether `kernels.gru` beats `torch.gru`, which takes the copies one by one.

    On one CPU thread, forward and backward, it takes 0.3 of the time with six copies of width 16 (batch 32), 0.5 with
    one of width 16, 0.9 with one of width 64, and 1.2 with one of width 128 at batch 128. On a GPU a loop is bound by
    launches.

    Args:
        lanes: batch × width of the state.
    """
    return device.type == "cpu" and lanes <= _GRU_LANES


def rnn_in_one_loop(device: torch.device) -> bool:
    """Whether `kernels.rnn` beats `torch.rnn_tanh`, which takes the copies one by one.

    On one CPU thread, forward and backward, it takes 0.5 of the time with one copy of width 64 (batch 16), 0.1 with six
    of width 16 (batch 32), and 0.9 with one of width 256 at batch 64. On a GPU a loop is bound by launches.
    """
    return device.type == "cpu"


_SCAN_SIZE = 1 << 17


def scan_in_parallel(device: torch.device, lanes: int, time: int) -> bool:
    """Whether the odd/even scan beats one step after the other.

    On one CPU thread, forward and backward, it takes half of the time with 16 sequences of 256 steps and 64 lanes, and
    a third with 1,024 steps; with 1,024 lanes it takes twice as long. On a GPU a loop is bound by launches.

    Args:
        lanes: features of one sequence, those of all matrices counted.
        time: steps.
    """
    return device.type != "cpu" or lanes * time <= _SCAN_SIZE


def chunk_length(device: torch.device, *, rows: bool) -> int:
    """The steps of a chunk of linear attention or a delta rule; a power of two.

    Args:
        rows: whether every row of the state has a decay of its own, whose products between any two steps of a chunk
            have to be held.
    """
    if device.type != "cpu":
        return 16 if rows else 64
    return 8 if rows else 32


def selective_chunk(device: torch.device, time: int) -> int:
    """The steps of a selective scan whose states are held at a time."""
    return min(time, 8 if device.type == "cpu" else 128)


def query_chunk(device: torch.device) -> int:
    """The queries that are taken at a time where biases go by distance.

    TODO
    """
    return 128


def window_block(device: torch.device, window: int) -> int:
    """The queries of a block of a sliding window, at least as many as the window.

    TODO
    """
    return max(window, 32)
