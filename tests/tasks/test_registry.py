"""Tasks by name and by file, and what a person is told when one does not fit."""

from __future__ import annotations

import pickle
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from archsearch.errors import ConfigError, FileError, UnknownNameError
from archsearch.tasks import contract
from archsearch.tasks.registry import make, names, task_class

OWN = """
from dataclasses import asdict, dataclass
import torch
from archsearch.tasks.base import Examples, InputKind, OutputKind, Task
from archsearch.tasks.digests import digest_of
from archsearch.tasks.scoring import class_sums
from archsearch.tasks.settings import setting

@dataclass(frozen=True)
class Parity(Task):
    name = "parity"
    summary = "Whether the ones so far are odd."
    length: int = setting(16, low=1, high=20, help="bits")
    input = property(lambda self: InputKind("tokens", 2))
    output = property(lambda self: OutputKind("steps", 2))
    chance = property(lambda self: 0.5)
    ceiling = property(lambda self: 1.0)

    def examples(self, split):
        seed = {"train": 0, "validation": 1, "test": 2}[split]
        bits = torch.randint(2, (10, self.length), generator=torch.Generator().manual_seed(seed))
        return Examples(bits, bits.cumsum(1) % 2)

    def digest(self): return digest_of(self)
    def settings(self): return asdict(self)
    def judge(self, outputs, targets, mask): return class_sums(outputs, targets, mask)
"""


def written(folder: Path, text: str) -> Path:
    path = folder / "my_task.py"
    path.write_text(text)
    return path


def test_names_are_the_shipped_tasks_and_load_no_torch() -> None:
    assert {"byte_language_model", "digits", "in_context_recall"} <= set(names())
    code = "import sys; from archsearch.tasks.registry import names; names(); assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_an_unknown_task_names_the_nearest() -> None:
    with pytest.raises(UnknownNameError, match=r"Unknown task `in_context_recal`. Did you mean `in_context_recall`"):
        make("in_context_recal", {})


def test_an_unknown_setting_names_the_nearest() -> None:
    with pytest.raises(UnknownNameError, match=r"setting `pach` of task `digits`. Did you mean `patch`"):
        make("digits", {"pach": 2})


@pytest.mark.parametrize(
    ("task", "settings", "message"),
    [
        ("in_context_recall", {"length": 3}, "`length` must be at least 4 and at most 65536, but got 3"),
        ("in_context_recall", {"length": "long"}, "`length` must be a whole number, but got 'long'"),
        ("in_context_recall", {"length": None}, "`length` must be a whole number, but got None"),
        ("in_context_recall", {"length": 7}, "`length` must be even, but got 7"),
        ("in_context_recall", {"targets": "most"}, "`targets` must be one of recall, all, but got 'most'"),
        ("digits", {"patch": 3}, "`patch` must divide 8, but got 3"),
    ],
)
def test_a_setting_that_cannot_be_used_says_the_rule_and_the_value(
    task: str, settings: dict[str, Any], message: str
) -> None:
    with pytest.raises(ConfigError) as caught:
        make(task, settings)
    assert message in str(caught.value)
    assert f"`{task}`" in str(caught.value)


def test_more_sequences_than_there_are_is_said_when_they_are_drawn() -> None:
    with pytest.raises(
        ConfigError, match=r"must allow 1,280 different examples in split test, but got .*vocabulary=4, length=4"
    ):
        make("in_context_recall", {"vocabulary": 4, "length": 4}).examples("train")


def test_a_file_of_ones_own_is_a_task(tmp_path: Path) -> None:
    path = written(tmp_path, OWN)
    task = make(path, {"length": 19})
    contract.check(task, ("train", "validation", "test"))
    assert (task.name, task.length) == ("parity", 19)
    assert task_class(str(path)) is type(task), "the same text is loaded once"
    assert pickle.loads(pickle.dumps(task)) == task, "its module is registered"
    with pytest.raises(ConfigError, match="`length` must be at least 1 and at most 20, but got 21"):
        make(path, {"length": 21})


def test_a_file_that_changed_is_loaded_again(tmp_path: Path) -> None:
    before = task_class(written(tmp_path, OWN))
    after = task_class(written(tmp_path, OWN.replace("setting(16", "setting(17")))
    assert before().length == 16
    assert after().length == 17


@pytest.mark.parametrize(
    ("text", "line", "message"),
    [
        ("x = 1\n", None, "must define one subclass of `Task`, but got none"),
        (OWN + "class Other(Parity): pass\n", None, "one subclass of `Task`, but got Parity, Other"),
        ("x = 1\ny = (\n", 2, "must load, but got SyntaxError"),
        ("x = 1\nraise ValueError('no')\n", 2, "must load, but got ValueError: no"),
        (OWN.replace("    def digest(self): return digest_of(self)\n", ""), 9, "`Parity` must define `digest`"),
        (OWN.replace("@dataclass(frozen=True)", "@dataclass"), 9, "must be a frozen dataclass"),
        (OWN.replace('"parity"', '""'), 9, "class attribute `name` that is not empty"),
        (OWN.replace("length: int", "length: list"), 9, "must be int, float, bool or str, but is list"),
    ],
)
def test_a_broken_file_says_where_and_which_clause(tmp_path: Path, text: str, line: int | None, message: str) -> None:
    path = written(tmp_path, text)
    with pytest.raises(FileError) as caught:
        task_class(path)
    assert message in str(caught.value)
    assert str(caught.value).startswith(f"{path}:{line}:" if line else f"{path}: ")


def test_a_missing_file_is_said(tmp_path: Path) -> None:
    with pytest.raises(FileError, match="must lead to a Python file"):
        task_class(tmp_path / "none.py")


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("bits.cumsum(1) % 2", "bits.cumsum(1)", "`targets` must lie between 0 and 1, but got 0 to"),
        ("bits.cumsum(1) % 2", "bits[:, 0]", r"`targets` must be int64 of shape \(10, 16\), but got int64 of shape"),
        ("Examples(bits,", "Examples(bits.float(),", "`inputs` must be int64 of shape"),
        ('InputKind("tokens", 2)', 'InputKind("vectors", 2)', "`inputs` must be float32 of shape"),
        ("% 2)", "% 2, bits > 1)", "at least one target must count"),
    ],
)
def test_data_that_break_the_contract_are_refused(tmp_path: Path, old: str, new: str, message: str) -> None:
    task = make(written(tmp_path, OWN.replace(old, new)), {})
    with pytest.raises(ConfigError, match=f"Task `parity`, split train: .*{message}"):
        contract.check(task, ("train",))
