"""Where a candidate trains, in which precision, and what is written down about it."""

from __future__ import annotations

import ctypes
import platform
from contextlib import AbstractContextManager, nullcontext
from functools import cache
from pathlib import Path
from typing import Any

import torch

from archsearch.errors import ConfigError
from archsearch.kernels import backends

__all__ = ["autocast", "choose", "environment", "keep_memory", "reset_peak", "synchronize"]

DTYPES = ("float32", "bfloat16")


def choose(device: str) -> torch.device:
    """The device that a setting stands for; `auto` takes a GPU where there is one.

    Raises:
        ConfigError: no such device on this machine.
    """
    there = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available(), "cpu": True}
    if device == "auto":
        return torch.device(next(name for name, found in there.items() if found))
    if not there.get(device):
        options = ", ".join(["auto", *(name for name, found in there.items() if found)])
        raise ConfigError(f"`training.device` must be one of {options} on this machine, but got {device!r}.")
    return torch.device(device)


def autocast(device: torch.device, dtype: str) -> AbstractContextManager[Any]:
    """The precision of forward passes.

    Raises:
        ConfigError: another dtype than float32 and bfloat16: float16 needs its losses scaled, and is slow on a CPU.
    """
    if dtype not in DTYPES:
        raise ConfigError(f"`training.dtype` must be {' or '.join(DTYPES)}, but got {dtype!r}.")
    if dtype == "float32":
        return nullcontext()
    return torch.autocast(device.type, dtype=torch.bfloat16)


def synchronize(device: torch.device) -> None:
    """Waits until the device has done what it was told, so that a clock means something."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    elif device.type == "mps":
        torch.mps.synchronize()


def reset_peak(device: torch.device) -> None:
    """Forgets how much memory earlier candidates took on a GPU."""
    if device.type == "cuda":
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats(device)


_MALLOPT = {-1: 256 << 20, -3: 32 << 20}  # M_TRIM_THRESHOLD; M_MMAP_THRESHOLD, the largest that glibc takes


@cache
def keep_memory() -> None:
    """Has this process keep up to 256 MiB of freed memory, where the C library is glibc; elsewhere nothing is done.

    A training step frees values of some megabytes that the next step asks for again, and pages that went back to the
    system have to be filled with zeros. On one CPU thread, a step of minGRU forward and backward (batch 16, width 64)
    takes 0.95 of the time with it, at 256 steps and at 1,024, and the process is some 20 MiB larger.
    """
    if platform.libc_ver()[0] != "glibc":
        return
    mallopt = ctypes.CDLL(None).mallopt
    for parameter, value in _MALLOPT.items():
        mallopt(parameter, value)


def environment(device: torch.device, dtype: str, backend: str = "auto") -> dict[str, Any]:
    """What speeds and last digits depend on: device, dtype, versions, threads, back end."""
    return {
        "device": device.type,
        "device_name": torch.cuda.get_device_name(device) if device.type == "cuda" else _processor(),
        "dtype": dtype,
        "torch": torch.__version__,
        "python": platform.python_version(),
        "threads": torch.get_num_threads(),
        "backend": backends.describe(backend, device),
    }


@cache
def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    names = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(names, platform.processor() or platform.machine())
