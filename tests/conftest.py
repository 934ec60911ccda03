"""What every test gets: one thread, a results folder of its own, and no network."""

from __future__ import annotations

import ipaddress
import os
import socket
from pathlib import Path
from typing import Any

import pytest

# Before anything loads torch or ray: scores are bit-equal only with one thread, and nothing reports home.
os.environ["OMP_NUM_THREADS"] = "1"
os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
os.environ.setdefault("RAY_TRAIN_ENABLE_V2_MIGRATION_WARNINGS", "0")

CONNECT = socket.socket.connect


@pytest.fixture(autouse=True)
def results_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder for campaigns of this test."""
    folder = tmp_path / "results"
    monkeypatch.setenv("ARCHSEARCH_RESULTS", str(folder))
    return folder


@pytest.fixture(autouse=True)
def no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    """Connections that leave the machine fail; Ray's own, within it, do not."""
    monkeypatch.setattr(socket.socket, "connect", guarded_connect)


def guarded_connect(self: socket.socket, address: Any) -> None:
    # A datagram socket sends nothing when it connects; that is how the machine's own address is found out.
    if (
        self.family in (socket.AF_INET, socket.AF_INET6)
        and self.type == socket.SOCK_STREAM
        and not is_local(address[0])
    ):
        raise AssertionError(f"a test must not use the network, but connects to {address}")
    CONNECT(self, address)


def is_local(host: str) -> bool:
    """Whether a numeric address, or `localhost`, is this machine's: only those can be bound."""
    try:
        address = ipaddress.ip_address("127.0.0.1" if host == "localhost" else host)
    except ValueError:
        return False
    family = socket.AF_INET if address.version == 4 else socket.AF_INET6
    with socket.socket(family) as probe:
        try:
            probe.bind((str(address), 0))
        except OSError:
            return False
    return True
