"""Accelerated libraries: which of them can be used on this machine, which op each has a kernel for, and the choice.

Everything runs without them, on torch alone. `training.backend` is `auto`, `torch`, or one of them by name:

    auto        each op takes its library's kernel, where that is installed, its values are on a CUDA device, and the
                kernel keeps their precision: those made of matrix products round float32, and wait for bfloat16
    torch       none is used
    fla, ...    this one is, in any precision, and no other; ops that it has no kernel for run on torch

No run on a GPU has been made of any of them yet; see `archsearch.kernels.adapters`.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from importlib import metadata
from types import MappingProxyType
from typing import Any, Final

import torch
from torch import Tensor

from archsearch.errors import ConfigError, nearest
from archsearch.kernels import adapters

__all__ = ["LIBRARIES", "NAMES", "Library", "attention_kernels", "check", "describe", "find", "unusable", "use"]


@dataclass(frozen=True, slots=True)
class Library:
    """An accelerated library.

    Args:
        package: what pip calls it.
        module: what Python calls it.
    """

    package: str
    module: str

    def version(self) -> str | None:
        """Its version; `None` if it is not installed. It is not imported."""
        if importlib.util.find_spec(self.module) is None:
            return None
        try:
            return metadata.version(self.package)
        except metadata.PackageNotFoundError:
            return "unknown"


LIBRARIES: Final[Mapping[str, Library]] = MappingProxyType(
    {
        "fla": Library("flash-linear-attention", "fla"),
        "mamba_ssm": Library("mamba-ssm", "mamba_ssm"),
        "causal_conv1d": Library("causal-conv1d", "causal_conv1d"),
    }
)

NAMES: Final = ("auto", "torch", *LIBRARIES)


@dataclass(frozen=True, slots=True)
class Kernel:
    """A library's kernel for an op.

    Args:
        run: its adapter.
        is_precise: whether it keeps the precision of float32.
    """

    library: str
    run: Callable[..., Any]
    is_precise: bool


KERNELS: Final[Mapping[str, Kernel]] = MappingProxyType(
    {
        "linear_attention_core": Kernel("fla", adapters.linear_attention, False),
        "delta_rule_core": Kernel("fla", adapters.delta_rule, False),
        "ssd": Kernel("fla", adapters.ssd, False),
        "selective_scan": Kernel("mamba_ssm", adapters.selective_scan, True),
        "short_conv": Kernel("causal_conv1d", adapters.causal_conv1d, True),
    }
)
"""The kernels by the name of the op, or of what several ops share."""

_asked: ContextVar[str] = ContextVar("backend", default="auto")


@contextmanager
def use(name: str) -> Iterator[None]:
    """Forward passes inside take the back end `name`, one of `NAMES`."""
    token = _asked.set(name)
    try:
        yield
    finally:
        _asked.reset(token)


def find(op: str, x: Tensor) -> Callable[..., Any] | None:
    """The adapter that an op is to run with on values like `x`; `None` for torch."""
    asked, kernel = _asked.get(), KERNELS[op]
    if asked not in ("auto", kernel.library) or unusable(kernel.library, x.device):
        return None
    if x.dtype not in (torch.float32, torch.bfloat16, torch.float16):
        return None
    # Under autocast single precision is what norms and softplus leave behind, and no promise.
    may_round = x.dtype != torch.float32 or torch.is_autocast_enabled(x.device.type)
    return kernel.run if may_round or kernel.is_precise or asked == kernel.library else None


def unusable(library: str, device: torch.device) -> str:
    """Why a library cannot be used on a device, in words; empty if it can."""
    if device.type != "cuda":
        return "needs a CUDA device"
    return "" if _is_installed(library) else f"not installed: pip install {LIBRARIES[library].package}"


_found: dict[str, bool] = {}


def _is_installed(library: str) -> bool:
    """Looked up once: a forward pass asks at every op."""
    if library not in _found:
        _found[library] = LIBRARIES[library].version() is not None
    return _found[library]


def check(name: str, device: torch.device) -> None:
    """Whether the back end `name` can be used on a device.

    Raises:
        ConfigError: there is no such back end; or it is a library that is not installed, or there is no GPU.
    """
    if name not in NAMES:
        near = nearest(name, NAMES)
        guess = f" Did you mean `{near[0]}`?" if near else ""
        raise ConfigError(f"`training.backend` must be one of {', '.join(NAMES)}, but got {name!r}.{guess}")
    if name not in LIBRARIES:
        return
    library = LIBRARIES[name]
    if library.version() is None:
        raise ConfigError(f"`training.backend` {name!r} is not installed: pip install {library.package}")
    if device.type != "cuda":
        raise ConfigError(f"`training.backend` {name!r} needs a CUDA device, but training is on {device.type}.")


def describe(name: str, device: torch.device) -> str:
    """What is written down of a back end: `eager`, or `eager with fla 0.6.0`, where libraries may be asked."""
    asked = [n for n in LIBRARIES if name in ("auto", n) and not unusable(n, device)]
    versions = [f"{n} {LIBRARIES[n].version()}" for n in asked]
    return " with ".join(filter(None, ["eager", ", ".join(versions)]))


def attention_kernels(device: torch.device) -> list[str]:
    """The fused kernels that torch's attention chooses from on a device."""
    if device.type != "cuda":
        return ["flash (CPU)"] if device.type == "cpu" else []
    states = {
        "flash": torch.backends.cuda.flash_sdp_enabled,
        "memory-efficient": torch.backends.cuda.mem_efficient_sdp_enabled,
        "cuDNN": torch.backends.cuda.cudnn_sdp_enabled,
    }
    return [name for name, is_enabled in states.items() if is_enabled()]  # type: ignore[no-untyped-call]
