"""The one place that chooses between formulations of one op, by device and size; each choice is a measurement.

Where nothing stands here, one formulation was the fastest at every size that was tried: FFT convolution beside Toeplitz
products, `F.conv1d` beside shifted sums, torch's LSTM (oneDNN, cuDNN) beside a loop of our own.
"""

from __future__ import annotations

import functools

import torch

__all__ = [
    "chunk_length",
    "gru_in_one_loop",
    "linears_at_once",
    "lstm_steps",
    "pairs_at_once",
    "query_chunk",
    "rnn_in_one_loop",
    "scaled_chunk",
    "scan_chunk",
    "selective_chunk",
    "system_chunk",
    "window_block",
]

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


def pairs_at_once(device: torch.device) -> int:
    """The features of pairs of steps that additive attention holds at a time.

    On one CPU thread, forward and backward, with 16 sequences of 256 steps and 64 features, 2¹⁹ take 0.3 of the time of
    all pairs at once, 2¹⁷ 0.35 and 2¹⁶ 0.5; with four of 1,024 steps 0.3, 0.35 and 0.5.
    """
    return 1 << 19 if device.type == "cpu" else 1 << 26


def rnn_in_one_loop(device: torch.device) -> bool:
    """Whether `kernels.rnn` beats `torch.rnn_tanh`, which takes the copies one by one.

    On one CPU thread, forward and backward, it takes 0.5 of the time with one copy of width 64 (batch 16), 0.1 with six
    of width 16 (batch 32), and 0.9 with one of width 256 at batch 64. On a GPU a loop is bound by launches.
    """
    return device.type == "cpu"


_LINEARS_SIZE = 1 << 16


def linears_at_once(device: torch.device, size: int) -> bool:
    """Whether the gradient of a value that several linear maps read is summed up within their products.

    On one CPU thread, forward and backward, two maps of width 64 take 0.93 of the time at a million numbers; below some
    ten thousand what Python costs is more. Not tried on a GPU.

    Args:
        size: numbers of the value.
    """
    return device.type == "cpu" and size >= _LINEARS_SIZE


_LSTM_SIZE = 1 << 18


def lstm_steps(device: torch.device, lanes: int) -> int | None:
    """The steps that `torch.lstm` takes at a time; `None` for all of them.

    On one CPU thread, forward and backward, 1,024 steps take 95 ms at once with 16 sequences of width 64, 67 in halves,
    68 in parts of 256 and 74 in parts of 64; with 64 sequences 365, 304, 251 and 258; with 16 of width 128 256, 227,
    201 and 212. What oneDNN keeps of more steps for the backward pass goes back to the system and comes as new pages.
    Not tried on a GPU, where all steps are one call.

    Args:
        lanes: batch × width of the state.
    """
    return max(32, _LSTM_SIZE // lanes) if device.type == "cpu" else None


_SCAN_LANES = 2048
_SCAN_STEPS = 32
_SCAN_SIZE = 1 << 15


@functools.cache
def scan_chunk(device: torch.device, lanes: int, time: int) -> int:
    """The steps of a chunk of a linear recurrence; 1 for one step after the other, 0 for the odd/even scan.

    On one CPU thread chunks take 0.45 of the time of one step after the other at 1,024 lanes and 1,024 steps, 0.4 at
    256 steps and a third at 4,096; at 4,096 lanes they take 1.1, below 32 steps 1.5. The odd/even scan takes 1.2 to
    2.7 times as long as chunks there; it has fewer operations, and on a GPU a loop is bound by launches.

    Args:
        lanes: those of all sequences.
        time: steps.
    """
    if device.type != "cpu":
        return 0
    if lanes > _SCAN_LANES or time <= _SCAN_STEPS:
        return 1
    fit = range(max(2, -(-time * lanes // _SCAN_SIZE)), time)  # all chunks at one step stay in a processor's cache
    return min(fit, key=lambda c: 3 * c + time // c + time % c)  # operations


def chunk_length(device: torch.device, rows: int) -> int:
    """The steps of a chunk of fast weights, a power of two.

    On one CPU thread, forward and backward, width 64, 512 steps, 16 sequences, chunks of 8, 16, 32 and 64 steps
    take, in milliseconds:

        rows of a state                           16                  64
        the delta rule                            35, 27, 32, 49      51, 37, 32, 35
        mLSTM                                     32, 26, 34, 59      47, 33, 28, 31
        RWKV-7                                    80, 58, 70, 107     152, 98, 79, 84
        linear attention, decays multiplied up    26, 19, 25, 36      45, 31, 26, 27
        the same, a decay a row                   54, 59, 65, 70
        state-space duality                                           42, 31, 26, 25

    Two sequences have the same order. On a GPU nothing has been measured; 64 to 128 are usual there.

    Args:
        rows: features of a key, or states.
    """
    if device.type != "cpu":
        return 64
    return 16 if rows <= 16 else 32


def scaled_chunk(device: torch.device, rows: int, time: int) -> int:
    """The steps of a chunk of linear attention whose decays stay in range, an even number.

    On one CPU thread, forward and backward, width 64, 512 steps, 16 sequences, chunks of 16, 32, 64 and 128 steps take
    23, 28, 44 and 79 ms with 8 rows, 12, 12, 17 and 29 with 16, and 20, 16, 17 and 22 with 64; with 128, width 128, 70,
    53, 48 and 57. Two sequences and decays a row have the same order. On a GPU nothing has been measured.

    Args:
        rows: features of a key.
        time: steps of the sequence.
    """
    most = (16 if rows <= 8 else 32 if rows <= 64 else 64) if device.type == "cpu" else 64
    return _even(min(most, time))


def system_chunk(device: torch.device, rows: int, time: int) -> int:
    """What `chunk_length` gives, or less where there are less steps; an even number."""
    return _even(min(chunk_length(device, rows), time))


def _even(length: int) -> int:
    return 2 * max(1, length // 2)


def selective_chunk(device: torch.device, time: int) -> int:
    """The steps of a selective scan whose states are held at a time.

    On one CPU thread, forward and backward, with 16 sequences of 1,024 steps, 64 features and 16 states, chunks of 8
    steps take 1.25 times as long as those of 32, which stay in the cache, and those of 64 take 1.2 times as long.
    """
    return min(time, 32 if device.type == "cpu" else 128)


def query_chunk(device: torch.device) -> int:
    """The queries that are taken at a time where biases go by distance.

    On one CPU thread, forward and backward, 64 or 128 take as long as attention without biases at 1,024 steps (batch 4,
    four heads of 16 features), 32 take 1.15 times as long and 512 take 1.4. Fewer and larger launches suit a GPU.
    """
    return 128 if device.type == "cpu" else 512


def window_block(device: torch.device, window: int) -> int:
    """The queries of a block of a sliding window; keys are copied 1 + window / block times.

    On one CPU thread, forward and backward, at 4,096 steps and a window of 8, blocks of 32 take 0.08 of the time of
    full attention, of 64 0.09 and of 128 0.11; at a window of 128, blocks of 32 take 0.126, of 64 0.136, of 16 0.144
    and of 128 0.16. Fewer and larger blocks suit a GPU.
    """
    return max(32, window // 2) if device.type == "cpu" else max(64, window)
