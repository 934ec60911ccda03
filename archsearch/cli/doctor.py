"""`archsearch doctor`."""

from __future__ import annotations

import os
import platform
import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import click

from archsearch.cli.common import as_json, print_json, print_pairs, results

__all__ = ["doctor"]

PACKAGES = ("torch", "ray", "optuna", "numpy", "networkx", "pandas", "scikit-learn", "click", "rich", "PyYAML")


@click.command()
@as_json
@results
def doctor(as_json: bool, results: Path) -> None:
    """Say what this machine has and what is missing. Nothing is started or changed."""
    report: dict[str, Any] = {
        "archsearch": _version("archsearch"),
        "python": f"{platform.python_version()} ({sys.executable})",
        "platform": platform.platform(),
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "memory_gib": _memory(),
        "packages": {name: _version(name) for name in PACKAGES},
        "devices": _devices(),
        "backends": _backends(),
        "threads": {name: os.environ.get(name) for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS")},
        "content": _content(),
        "results": _folder(results),
    }
    if as_json:
        print_json(report)
        return
    flat = {**report, **report["packages"], **report["threads"]}
    print_pairs((k, v) for k, v in flat.items() if not isinstance(v, dict | list))
    missing = [name for name, found in report["packages"].items() if found is None]
    for device in report["devices"]:
        click.echo(f"device  {device}")
    for name, state in report["backends"].items():
        click.echo(f"back end  {name}: {state}")
    for kind, found in report["content"].items():
        click.echo(f"{kind}  {found}")
    click.echo(f"Missing: {', '.join(missing)}. Install archsearch with pip again." if missing else _verdict(results))


def _verdict(results: Path) -> str:
    if _is_usable(results):
        return "Nothing is missing."
    return f"No package is missing, but nothing can be written to {results}: --results chooses another folder."


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _memory() -> float | None:
    try:
        return round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30, 1)
    except (ValueError, OSError, AttributeError):
        return None


def _devices() -> list[str]:
    """What torch can compute on, the CPU with its vector instructions first."""
    try:
        import torch
    except ImportError:
        return []
    found = [f"cpu: {torch.get_num_threads()} threads, {torch.backends.cpu.get_cpu_capability()}"]
    found += [f"cuda:{i}: {torch.cuda.get_device_name(i)}" for i in range(torch.cuda.device_count())]
    if torch.backends.mps.is_available():
        found.append("mps")
    return found


def _backends() -> dict[str, str]:
    """The accelerated libraries and torch's fused attention: whether training uses them here, and if not, why."""
    try:
        import torch

        from archsearch.kernels import backends
    except ImportError:
        return {}
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    fused = ", ".join(backends.attention_kernels(device)) or "none"
    found = {"attention": fused if device.type == "cuda" else f"{fused}; flash, memory-efficient and cuDNN need a GPU"}
    for name, library in backends.LIBRARIES.items():
        version, missing = library.version(), backends.unusable(name, device)
        there = f"{version}, {missing or 'used'}" if version else f"not installed: pip install {library.package}"
        found[name] = there if version or device.type == "cuda" else f"{there}; it needs a CUDA device"
    return found


def _content() -> dict[str, Any]:
    from archsearch import content
    from archsearch.errors import ArchsearchError

    report = {}
    for kind in ("agents", "search_spaces"):
        try:
            report[kind] = f"{content.folder(kind)} ({', '.join(content.names(kind))})"
        except ArchsearchError as error:
            report[kind] = str(error)
    return report


def _folder(results: Path) -> str:
    from archsearch.errors import StoreError
    from archsearch.leaderboard import folders

    try:
        count = len(folders.campaigns(results))
    except StoreError as error:
        return str(error)
    writable = "writable" if _is_usable(results) else "not writable"
    return f"{results.absolute()}: {count} campaigns, {writable}"


def _is_usable(results: Path) -> bool:
    """Whether campaigns can be written there: it is a folder that is ours to write to, or can be made."""
    nearest = next(p for p in (results, *results.absolute().parents) if p.exists())
    return nearest.is_dir() and os.access(nearest, os.W_OK | os.X_OK)
