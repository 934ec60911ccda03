"""What a training process asks of its C library."""

from __future__ import annotations

import ctypes
import platform
from collections.abc import Callable
from types import SimpleNamespace

import pytest

from archsearch.training import devices


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], list[tuple[int, int]]]:
    """Has a process with the C library of that name say how much memory it keeps; gives the calls of `mallopt`."""

    def ask(libc: str) -> list[tuple[int, int]]:
        calls: list[tuple[int, int]] = []
        fake = SimpleNamespace(mallopt=lambda parameter, value: calls.append((parameter, value)))
        monkeypatch.setattr(platform, "libc_ver", lambda: (libc, "2"))
        monkeypatch.setattr(ctypes, "CDLL", lambda name: fake)
        devices.keep_memory.__wrapped__()
        return calls

    return ask


def test_glibc_keeps_a_bounded_amount_of_memory(asked: Callable[[str], list[tuple[int, int]]]) -> None:
    trim, mapped = -1, -3
    limits = dict(asked("glibc"))
    assert limits.keys() == {trim, mapped}
    assert 64 << 20 <= limits[trim] <= 1 << 30 and limits[mapped] <= 32 << 20


@pytest.mark.parametrize("libc", ["", "musl"])
def test_other_libraries_are_left_alone(asked: Callable[[str], list[tuple[int, int]]], libc: str) -> None:
    assert asked(libc) == []


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="needs glibc")
def test_glibc_takes_the_limits() -> None:
    mallopt = ctypes.CDLL(None).mallopt
    assert all(mallopt(parameter, value) == 1 for parameter, value in devices._MALLOPT.items())
