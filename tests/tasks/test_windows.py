"""Windows of texts: those of one split do not occur in another."""

from __future__ import annotations

import os
import subprocess
import sys

import numpy as np
import pytest

from archsearch.tasks.registry import make
from archsearch.tasks.windows import _hashes, _occurs, _windows


@pytest.mark.parametrize(("length", "stride"), [(4, 4), (5, 1), (4, 3)])
def test_what_occurs_is_what_python_finds(length: int, stride: int) -> None:
    rng = np.random.default_rng(0)
    text, other = (rng.integers(4, size=n, dtype=np.uint8).tobytes() for n in (300, 400))
    found = _occurs(text, length, stride, other).tolist()
    wanted = [text[i : i + length] in other for i in range(0, len(text) - length + 1, stride)]
    assert found == wanted
    assert True in wanted
    assert False in wanted


def test_equal_windows_have_equal_numbers_wherever_they_stand() -> None:
    numbers = _hashes(b"abcd-abcd-" * 500, 4)
    assert len(np.unique(numbers)) == 5
    assert numbers[0] == numbers[5] == numbers[4990]


def test_windows_that_earlier_splits_have_are_left_out() -> None:
    shared = b"a passage that stands in both of them "
    train, validation = b"x" * 50 + shared + b"y" * 50, shared[:32] + b"something new, never seen before"
    out = _windows("mine", 16, train, validation, b"0123456789" * 5)
    kept = [bytes(w.tolist()) for w in out["validation"][:, :-1]]
    assert kept == [b"something new, n"]


def test_the_library_is_split_by_file_and_does_not_depend_on_hashes_of_the_process() -> None:
    code = (
        "from archsearch.tasks.registry import make; t = make('source_language_model', {'megabytes': 1}); "
        "print(t.digest())"
    )
    digests = {
        subprocess.run(
            [sys.executable, "-c", code],
            env={**os.environ, "PYTHONHASHSEED": seed},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for seed in ("1", "2")
    }
    assert len(digests) == 1
    texts = make("source_language_model", {"megabytes": 1}).texts()  # type: ignore[attr-defined]
    sizes = {split: len(text) for split, text in texts.items()}
    assert 900_000 < sum(sizes.values()) <= 1_010_000
    assert 0.05 < sizes["validation"] / sum(sizes.values()) < 0.16
    assert 0.05 < sizes["test"] / sum(sizes.values()) < 0.16
