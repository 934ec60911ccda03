"""What conftest promises to every test."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest


@pytest.mark.parametrize("address", ["192.0.2.1", "2001:db8::1", "archsearch.invalid"])
def test_connections_leave_no_machine(address: str) -> None:
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with socket.socket(family) as outward, pytest.raises(AssertionError, match="must not use the network"):
        outward.connect((address, 80))


def test_connections_within_the_machine_work() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        socket.create_connection(server.getsockname()).close()


def test_results_go_to_a_folder_of_the_test(results_folder: Path) -> None:
    assert os.environ["ARCHSEARCH_RESULTS"] == str(results_folder)
    assert not results_folder.exists()


def test_torch_has_one_thread_here_and_in_children() -> None:
    import torch

    assert torch.get_num_threads() == 1
    child = [sys.executable, "-c", "import torch; print(torch.get_num_threads())"]
    assert subprocess.run(child, capture_output=True, text=True, check=True).stdout.strip() == "1"
