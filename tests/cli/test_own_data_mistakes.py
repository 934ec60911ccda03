"""What a person is told at the command line about data that cannot be used: the rule, the place, the way out."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import Result

from tests.tasks.own_data import poem

Call = Callable[..., Result]


def lines(row: Callable[[int], str], head: str = "a,b,y", count: int = 40) -> str:
    return "\n".join([head, *(row(n) for n in range(count))]) + "\n"


def shown(call: Call, task: str, *sets: str, code: int = 0) -> Result:
    return call("tasks", "show", task, *(part for one in sets for part in ("--set", one)), code=code)


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


# Tables

TABLES: dict[str, tuple[str | bytes, tuple[str, ...], str]] = {
    "empty": ("", (), "there must be something in the file, but got TMP/t.csv, which is empty"),
    "blank": ("\n\n\n", (), "No columns to parse"),
    "binary": (bytes(range(256)), (), "a CSV file must be text, but got TMP/t.csv, which seems to be binary"),
    "image": (b"\x89PNG\r\n\x1a\n" * 9, (), "seems to be binary"),
    "latin": ("a,y\nü,1\n".encode("latin-1"), (), "byte 0xfc in line 2 of TMP/t.csv. Where it is Latin-1: iconv"),
    "utf16": (lines(lambda n: f"{n},1,0").encode("utf-16"), (), "seems to be binary"),
    "long line": (
        lines(lambda n: f"{n},1,0" + ",7" * (n == 5)),
        (),
        "4 in line 7 of TMP/t.csv where those before have 3",
    ),
    "short line": (lines(lambda n: f"{n},1" if n == 5 else f"{n},1,0"), (), "a value of `y`, but got none in row 6"),
    "twice": (lines(lambda n: f"{n},1,0", "a,a,y"), (), "different names, but got `a` twice in line 1 of TMP/t.csv"),
    "nan": (
        lines(lambda n: f"{n},{'' if n == 3 else 2},{n % 2}"),
        (),
        "column `b` must have no empty values, but got 1, the first",
    ),
    "infinity": (lines(lambda n: f"{n},{'inf' if n == 3 else 2},{n % 2}"), (), "column `b` must be finite"),
    "one class": (lines(lambda n: f"{n},1,no"), (), "`y` must have at least two classes, but got only `no`"),
    "three rows": (lines(lambda n: f"{n},1,{n % 2}", count=3), (), "at least 20 different rows to split, but got 3"),
    "fractions": (
        lines(lambda n: f"{n},1,{n % 2 + 0.5}"),
        ("task.kind=classification",),
        "whole numbers or words, but got 0.5 in row 1. Numbers are predicted with task.kind=regression",
    ),
    "word in target": (lines(lambda n: f"{n},1,{'?' if n == 7 else n / 3}"), (), "not both, but got '?' in row 8"),
    "word in column": (
        lines(lambda n: f"{n},{'?' if n == 7 else n},{n % 2}"),
        (),
        "column `b` must hold .* '?' in row 8",
    ),
    "word to regress": (
        lines(lambda n: f"{n},1,{'?' if n == 7 else n}"),
        ("task.kind=regression",),
        "numbers for a regression, but got '?' in row 8. For classes: task.kind=classification",
    ),
    "names": (
        lines(lambda n: f"{n},id{n},{n % 2}"),
        (),
        "40 different ones in 40 rows, such as 'id0'. .*task.ignore='b'",
    ),
    "target": (lines(lambda n: f"{n},1,0", "a,b,price"), ("task.target=pirce",), "`pirce` .*Did you mean `price`"),
    "separator": (
        lines(lambda n: f"{n},1,0"),
        ("task.separator=;",),
        "several columns, but got one, `a,b,y`. Leave out",
    ),
}


@pytest.mark.parametrize("name", TABLES)
def test_a_table_that_cannot_be_used(call: Call, here: Path, name: str) -> None:
    content, sets, message = TABLES[name]
    (here / "t.csv").write_bytes(content if isinstance(content, bytes) else content.encode())
    said = shown(call, "table", "task.path=t.csv", "task.target=y", *sets, code=2).stderr.replace(str(here), "TMP")
    assert said.startswith("Error: Task `table`: ") or re.match("Error: Unknown column `.*` of task `table`", said)
    assert len(said.splitlines()) == 1
    for part in message.split(" .*"):
        assert part in said


def test_a_file_that_is_missing_or_no_parquet(call: Call, here: Path) -> None:
    (here / "houses.csv").write_text("a,y\n")
    said = shown(call, "table", "task.path=house.csv", "task.target=y", code=2).stderr
    assert "house.csv: nothing is there. Did you mean `houses.csv`?" in said
    pytest.importorskip("pyarrow")
    (here / "t.parquet").write_text("a,y\n")
    said = shown(call, "table", "task.path=t.parquet", "task.target=y", code=2).stderr
    assert "the file must be Parquet as its suffix says" in said
    assert ".." not in said


READ: dict[str, tuple[str | bytes, int, str]] = {
    "byte order mark": (b"\xef\xbb\xbf" + lines(lambda n: f"{n},1,{n % 2}").encode(), 2, "accuracy"),
    "semicolons": (lines(lambda n: f"{n};1,5;{n % 2}", "a;b;y"), 2, "accuracy"),
    "decimal commas": (lines(lambda n: f"{n};{n};1.{100 + n},25", "a;b;y"), 2, "r2"),
    "tabs": (lines(lambda n: f"{n}\t1\t{n % 2}", "a\tb\ty"), 2, "accuracy"),
    "bars": (lines(lambda n: f"{n}|1|{n % 2}", "a|b|y"), 2, "accuracy"),
    "quoted line breaks": (lines(lambda n: f'{n},"k\n{n % 3}",{n % 2}'), 4, "accuracy"),
    "semicolons in quotes": (lines(lambda n: f'{n},"k;{n % 3}",{n % 2}', 'a,"b;c;d;e",y'), 4, "accuracy"),
    "dates": (lines(lambda n: f"{n},2024-01-{1 + n % 28:02},{n % 2}"), 2, "accuracy"),
    "moments": (lines(lambda n: f"{n},2024-01-{1 + n % 28:02}T12:30:00,{n % 2}"), 2, "accuracy"),
    "row numbers": (lines(lambda n: f"{n},{n * 7 % 40},{n % 2}", ",b,y"), 1, "accuracy"),
    "floats for classes": (lines(lambda n: f"{n},1,{n % 2}.0"), 2, "accuracy"),
    "halves": (lines(lambda n: f"{n},1,{n % 2 + 0.5}"), 2, "r2"),
    "true and false": (lines(lambda n: f"{n},1,{n % 2 == 0}"), 2, "accuracy"),
}


@pytest.mark.parametrize("name", READ)
def test_a_table_as_people_have_them(call: Call, here: Path, name: str) -> None:
    content, length, metric = READ[name]
    (here / "t.csv").write_bytes(content if isinstance(content, bytes) else content.encode())
    said = shown(call, "table", "task.path=t.csv", "task.target=y").stdout
    assert f"length    {length}\n" in said
    assert f"metric    {metric}," in said


def test_what_a_shell_passes_on_is_taken_as_it_is(call: Call, here: Path) -> None:
    """A column may be called 2020, a separator be `|` or `\\t`, a pattern begin with a star."""
    (here / "t.csv").write_text(lines(lambda n: f"{n}|1|{n % 2}", "a|b|2020"))
    shown(call, "table", "task.path=t.csv", "task.target=2020", "task.separator=|")
    (here / "u.csv").write_text(lines(lambda n: f"{n}\t1\t{n % 2}", "a\tb\ty"))
    shown(call, "table", "task.path=u.csv", "task.target=y", r"task.separator=\t")
    (here / "a.md").write_text(poem(0, 60))
    shown(call, "text", "task.path=.", "task.files=*.md")


# Arrays

X, Y = np.random.default_rng(0).normal(size=(60, 5)), np.arange(60) % 3
ARRAYS: dict[str, tuple[dict[str, Any], str]] = {
    "no y": ({"X": X}, "there must be an array `y`, but got `X`."),
    "small x": ({"x": X, "y": Y}, "Did you mean `x`? Call it `X`."),
    "a split": ({"X_train": X, "y_train": Y}, "there must be an array `X_test`, but got `X_train`, `y_train`."),
    "objects": ({"X": np.array([[1, None]] * 60, dtype=object), "y": Y}, "no.* Python objects, .* but got `X` in"),
    "nan": (
        {"X": np.where(X > 2.0, np.nan, X), "y": Y},
        "`X` must be finite, but got NaN or infinity, first in row 16",
    ),
    "one class": ({"X": X, "y": Y * 0}, "at least two classes, but got only `0`"),
    "three rows": ({"X": X[:3], "y": Y[:3]}, "at least 20 different rows to split, but got 3"),
    "fewer answers": ({"X": X, "y": Y[:50]}, "one answer for each row of `X`, but got shape (50,) for 60 rows"),
    "complex": ({"X": X * 1j, "y": Y}, "`X` must hold numbers, but got dtype complex128"),
    "flat": ({"X": X[:, 0], "y": Y}, "(rows, steps) or (rows, steps, features), but got shape (60,)"),
}


@pytest.mark.parametrize("name", ARRAYS)
def test_arrays_that_cannot_be_used(call: Call, here: Path, name: str) -> None:
    arrays, message = ARRAYS[name]
    np.savez(here / "a.npz", **arrays)
    said = shown(call, "arrays", "task.path=a.npz", code=2).stderr
    for part in message.split(".*"):
        assert part in said


def test_a_file_that_is_no_array_is_not_unpickled(call: Call, here: Path) -> None:
    for content in (b"a,b\n1,2\n", b"PK\x03\x04cut", b"\x93NUMPYcut"):
        (here / "a.npz").write_bytes(content)
        said = shown(call, "arrays", "task.path=a.npz", code=2).stderr
        assert "`path` must lead to arrays saved by NumPy" in said
        assert "pickle" not in said


def test_tokens_far_above_their_number_are_refused(call: Call, here: Path) -> None:
    np.savez(here / "a.npz", X=np.random.default_rng(0).integers(2**40, size=(60, 4)), y=Y)
    said = shown(call, "arrays", "task.path=a.npz", "task.tokens=true", code=2).stderr
    assert "tokens in `X` must be below 1,048,576" in said


# Texts

TEXTS: dict[str, tuple[str | bytes, str]] = {
    "empty": ("", "there must be something in the file"),
    "short": ("hello\n", "`length` must be shorter than the text of every split, but got 128 for"),
    "binary": (bytes(range(256)) * 40, "files must be text, but got TMP/t.txt, which seems to be binary"),
    "image": (b"\x89PNG\r\n\x1a\n" * 900, "seems to be binary"),
    "wide": ((poem(0, 60)).encode("utf-16"), "Text in UTF-16 has to be saved as UTF-8"),
}


@pytest.mark.parametrize("name", TEXTS)
def test_a_text_that_cannot_be_used(call: Call, here: Path, name: str) -> None:
    content, message = TEXTS[name]
    (here / "t.txt").write_bytes(content if isinstance(content, bytes) else content.encode())
    assert message in shown(call, "text", "task.path=t.txt", code=2).stderr.replace(str(here), "TMP")


# Images


def images(folder: Path, **kinds: int) -> None:
    from PIL import Image

    rng = np.random.default_rng(0)
    for kind, count in kinds.items():
        (folder / kind).mkdir(parents=True)
        for n in range(count):
            pixels = rng.integers(256, size=(8 + n % 5, 12 - n % 3, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(folder / kind / f"{n}.png")


def test_images_of_unequal_sizes_and_what_systems_leave_beside_them(call: Call, here: Path) -> None:
    pytest.importorskip("PIL")
    images(here / "pics", cat=15, dog=15)
    for name in (".DS_Store", "cat/.DS_Store", "dog/Thumbs.db"):
        (here / "pics" / name).write_bytes(b"x")
    assert "chance    0.5" in shown(call, "images", "task.path=pics").stdout


@pytest.mark.parametrize(
    ("kinds", "more", "message"),
    [
        ({"cat": 1}, {}, "at least 20 different rows to split, but got 1"),
        ({"cat": 30}, {}, "`folder` must have at least two classes, but got only `cat`"),
        (
            {"cat": 15, "dog": 15},
            {"cat/x.png": b"nope"},
            "every file must be an image, but got TMP/pics/cat/x.png: cannot",
        ),
        ({"cat": 15, "dog": 15}, {"cat/x.png": b"\x89PNG\r\n\x1a\n"}, "every file must be an image"),
        (
            {"cat": 15, "dog": 15},
            {"x.png": b"nope"},
            "folders named by their class, but got `x.png` in TMP/pics itself",
        ),
        ({"all/cat": 15, "all/dog": 15}, {}, "only `all`. Name that folder: --set task.path=TMP/pics/all"),
    ],
)
def test_images_that_cannot_be_used(
    call: Call, here: Path, kinds: dict[str, int], more: dict[str, bytes], message: str
) -> None:
    pytest.importorskip("PIL")
    images(here / "pics", **kinds)
    for name, content in more.items():
        (here / "pics" / name).write_bytes(content)
    assert message in shown(call, "images", "task.path=pics", code=2).stderr.replace(str(here), "TMP")
