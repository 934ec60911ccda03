"""The environment that the scripts share: which Python, what is installed first, and when nothing is."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

CHECKOUT = Path(__file__).parent.parent
# A Python that writes down every call of pip instead of making it.
RECORDING_PYTHON = """#!/bin/sh
case "$*" in "-m pip "*) echo "$@" >>"{log}"; exit {status} ;; esac
exec "{python}" "$@"
"""


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A folder with a space in its name that holds what the scripts read, and nothing else."""
    folder = tmp_path / "a checkout"
    shutil.copytree(CHECKOUT / "scripts", folder / "scripts")
    for name in ("pyproject.toml", "constraints.txt"):
        shutil.copy(CHECKOUT / name, folder)
    make_python(folder)
    return folder


def make_python(checkout: Path, status: int = 0) -> None:
    python = checkout / ".venv" / "bin" / "python"
    python.parent.mkdir(parents=True, exist_ok=True)
    python.write_text(RECORDING_PYTHON.format(log=checkout / "pip.log", status=status, python=sys.executable))
    python.chmod(0o755)


def ensure(checkout: Path, extras: str, **variables: str) -> subprocess.CompletedProcess[str]:
    """Calls `ensure_env` from another working folder and prints where that leaves the script."""
    code = f'set -euo pipefail; . "{checkout}/scripts/_env.sh"; ensure_env {extras}; pwd'
    environment = {k: v for k, v in os.environ.items() if k != "ARCHSEARCH_VENV"} | variables
    return subprocess.run(
        ["bash", "-c", code], cwd=checkout.parent, env=environment, capture_output=True, text=True, timeout=60
    )


def calls(checkout: Path) -> list[str]:
    """What pip was asked to install since the last call of this function."""
    log = checkout / "pip.log"
    if not log.exists():
        return []
    lines = [line.rsplit("constraints.txt ")[-1] for line in log.read_text().splitlines()]
    log.unlink()
    return lines


def test_torch_is_installed_first_and_nothing_twice(checkout: Path) -> None:
    done = ensure(checkout, "run")
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == str(checkout)
    assert calls(checkout) == ["torch", "-e ."]
    assert ensure(checkout, "run").returncode == 0
    assert calls(checkout) == []


def test_the_larger_installation_serves_the_smaller(checkout: Path) -> None:
    ensure(checkout, "dev")
    assert calls(checkout) == ["torch", "-e .[dev]"]
    ensure(checkout, "run")
    ensure(checkout, "test")
    assert calls(checkout) == []
    ensure(checkout, "dev")
    assert calls(checkout) == []


@pytest.mark.parametrize("name", ["pyproject.toml", "constraints.txt"])
def test_a_changed_requirement_installs_again(checkout: Path, name: str) -> None:
    ensure(checkout, "test")
    calls(checkout)
    with (checkout / name).open("a") as file:
        file.write("# changed\n")
    ensure(checkout, "test")
    assert calls(checkout) == ["torch", "-e .[test]"]


def test_a_failed_installation_is_tried_again(checkout: Path) -> None:
    make_python(checkout, status=1)
    assert ensure(checkout, "run").returncode != 0
    assert calls(checkout) == ["torch"]
    make_python(checkout)
    assert ensure(checkout, "run").returncode == 0
    assert calls(checkout) == ["torch", "-e ."]


def test_an_old_python_is_named(checkout: Path, tmp_path: Path) -> None:
    shutil.rmtree(checkout / ".venv")
    tools = tmp_path / "tools"
    tools.mkdir()
    for tool in ("bash", "dirname", "cat"):
        (tools / tool).symlink_to(shutil.which(tool) or "")
    (tools / "python3").write_text("#!/bin/sh\necho Python 3.9.1; exit 1\n")
    (tools / "python3").chmod(0o755)
    done = ensure(checkout, "run", PATH=str(tools))
    assert done.returncode == 1
    assert "needs Python 3.11 or later, but found Python 3.9.1" in done.stderr
    assert not (checkout / ".venv").exists()
