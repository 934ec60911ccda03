"""A person's own files: what is made of them, and what is said of those that cannot be used."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.metrics import r2_score

from archsearch.cli.main import main
from archsearch.errors import ConfigError, UnknownNameError, UserError
from archsearch.tasks import contract
from archsearch.tasks.base import Split
from archsearch.tasks.documents import alike, line_marks
from archsearch.tasks.registry import make
from tests.tasks.own_data import poem, write_table

SPLITS: tuple[Split, ...] = ("train", "validation", "test")


def table(folder: Path, text: str, **settings: Any) -> Any:
    """The task on a CSV file with this text, and its data looked at."""
    path = folder / "mine.csv"
    path.write_text(text)
    task = make("table", {"path": str(path), "target": "y", **settings})
    contract.check(task, SPLITS)
    return task


def lines(row: Callable[[int], str], head: str = "a,b,y", count: int = 40) -> str:
    return "\n".join([head, *(row(n) for n in range(count))]) + "\n"


# Text


def test_a_text_is_cut_into_parts_and_all_of_it_is_used(tmp_path: Path) -> None:
    path = tmp_path / "book.txt"
    path.write_text(poem(0, 200))
    texts = make("text", {"path": str(path)}).texts()  # type: ignore[attr-defined]
    assert sum(map(len, texts.values())) == path.stat().st_size
    assert 0.05 < len(texts["test"]) / path.stat().st_size < 0.15


def test_paragraphs_much_like_others_do_not_cross_over(tmp_path: Path) -> None:
    path = tmp_path / "book.txt"
    paragraphs = poem(0, 100).split("\n\n")
    path.write_text("\n\n".join([*paragraphs, *(p.replace("a", "A") + " again" for p in paragraphs)]))
    texts = make("text", {"path": str(path), "length": 16}).texts()  # type: ignore[attr-defined]
    train = set(texts["train"].lower().split(b"\n\n"))
    for split in ("validation", "test"):
        assert texts[split]
        for paragraph in texts[split].lower().split(b"\n\n"):
            assert not any(paragraph[:60] in p for p in train if paragraph[:60].strip())


def test_a_folder_of_many_files_is_split_by_file_and_alike_ones_stay_together(tmp_path: Path) -> None:
    for n in range(20):
        (tmp_path / f"{n}.txt").write_text(f"file-{n}-begins\n" + poem(n, 20).replace(" ", "\n"))
        (tmp_path / f"{n}_copy.txt").write_text(f"copy-{n}-begins\n" + poem(n, 20).replace(" ", "\n"))
    texts = make("text", {"path": str(tmp_path)}).texts()  # type: ignore[attr-defined]
    for n in range(20):
        sides = [s for s, text in texts.items() if b"file-%d-" % n in text]
        assert sides == [s for s, text in texts.items() if b"copy-%d-" % n in text]
        assert len(sides) == 1


def test_documents_are_alike_through_others_and_common_lines_do_not_count() -> None:
    licence = [f"licence line number {i}" for i in range(5)]
    bodies = [[f"document {n} line {i:04}" for i in range(20)] for n in range(70)]
    bodies[2][:12] = bodies[1][:12]
    bodies[3][12:] = bodies[2][12:]
    bodies[3][:4] = bodies[2][:4]
    marks = [line_marks("\n".join(licence + body).encode()) for body in bodies]
    found = alike(marks)
    assert found[1] == found[2] == found[3] == 1
    assert found[4:] == list(range(4, 70))
    assert alike([]) == []


def test_a_data_set_saved_by_datasets_is_read_where_it_lies(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "dataset_dict.json").write_text("{}")

    class Part:
        def to_pandas(self) -> pd.DataFrame:
            return pd.DataFrame({"text": [poem(n, 10) for n in range(40)]})

    fake = ModuleType("datasets")
    fake.load_from_disk = lambda path: {"train": Part()}  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "datasets", fake)
    settings = {"path": str(tmp_path), "part": "train"}
    contract.check(make("text", settings), SPLITS)
    with pytest.raises(UnknownNameError, match=r"part `trian` of the data set .*\. Did you mean `train`"):
        make("text", {**settings, "part": "trian"}).examples("train")
    with pytest.raises(UnknownNameError, match="Did you mean `text`"):
        make("text", {**settings, "column": "txt"}).examples("train")


# Tables


def test_columns_are_scaled_by_the_training_rows_and_names_have_columns(tmp_path: Path) -> None:
    write_table(tmp_path / "t.csv")
    settings = {"path": str(tmp_path / "t.csv"), "target": "kind", "layout": "row"}
    train = make("table", settings).examples("train").inputs[:, 0]
    assert train.shape[1] == 1 + 3 + 1 + 1, "size, three colours, age, price"
    assert train[:, 0].mean().abs() < 1e-6
    assert train[:, 0].std(correction=0) == pytest.approx(1.0, abs=1e-5)
    assert torch.equal(train[:, 1:4].sum(1), torch.ones(len(train)))
    few = make("table", {**settings, "categories": 1, "ignore": "age, price"}).examples("train").inputs
    assert few.shape[2] == 1 + 2, "size, the most frequent colour and the others"


def test_the_target_says_whether_it_is_a_class_or_a_number(tmp_path: Path) -> None:
    write_table(tmp_path / "t.csv")
    made = {t: make("table", {"path": str(tmp_path / "t.csv"), "target": t}) for t in ("kind", "price", "age")}
    assert {t: (task.metric, task.output.size) for t, task in made.items()} == {
        "kind": ("accuracy", 2),
        "price": ("r2", 1),
        "age": ("r2", 1),
    }
    for task in made.values():
        contract.check(task, SPLITS)
    assert abs(made["price"].chance) < 0.2


def test_r2_is_one_for_the_truth_and_zero_for_the_mean(tmp_path: Path) -> None:
    task = make("tabular", {"dataset": "diabetes"})
    targets = task.examples("train").targets
    for outputs, wanted in ((targets, 1.0), (torch.zeros_like(targets), 0.0)):
        score, _, count = task.judge(outputs.unsqueeze(0), targets, None)
        assert float(score / count) == pytest.approx(wanted, abs=1e-5)


@pytest.mark.parametrize("split", ["train", "validation"])
def test_r2_over_batches_is_that_of_scikit_learn(split: Split) -> None:
    task = make("tabular", {"dataset": "diabetes"})
    targets = task.examples(split).targets
    outputs = targets + torch.randn(2, *targets.shape, generator=torch.Generator().manual_seed(0)) / 2
    parts = [task.sums(outputs[:, rows], targets[rows], None) for rows in (slice(0, 20), slice(20, None))]
    score, loss = task.scores(torch.stack(parts).sum(0))
    assert score.tolist() == pytest.approx([r2_score(targets, o) for o in outputs], abs=1e-6)
    assert loss.tolist() == pytest.approx([float((o - targets).double().square().mean()) for o in outputs])
    assert task.chance <= 0.0


def test_equal_rows_are_on_one_side(tmp_path: Path) -> None:
    task = table(tmp_path, lines(lambda n: f"{n % 30},0,{n % 2}", count=300))
    seen = [set(task.examples(s).inputs[:, 0, 0].tolist()) for s in SPLITS]
    assert not seen[0] & seen[1]
    assert not seen[0] & seen[2]
    assert sum(len(task.examples(s)) for s in SPLITS) == 300


def test_empty_values_can_be_filled(tmp_path: Path) -> None:
    text = lines(lambda n: f"{'' if n == 3 else n},{'' if n % 5 == 0 else 'x'},{n % 2}")
    with pytest.raises(ConfigError, match=r"column `a` must have no empty values, but got 1, the first in row 4"):
        table(tmp_path, text)
    assert table(tmp_path, text, missing="fill").examples("train").inputs.isfinite().all()


def test_parquet_is_read_like_csv(tmp_path: Path) -> None:
    pytest.importorskip("pyarrow")
    write_table(tmp_path / "t.csv")
    pd.read_csv(tmp_path / "t.csv").to_parquet(tmp_path / "t.parquet")
    csv, parquet = (make("table", {"path": str(tmp_path / f"t.{s}"), "target": "kind"}) for s in ("csv", "parquet"))
    assert csv.digest() == parquet.digest()


# Arrays and images


def test_arrays_come_with_splits_of_their_own(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    x = rng.normal(size=(60, 7, 2))
    parts = {"train": x[:40], "validation": x[35:50], "test": x[50:]}
    arrays = {f"X_{s}": v for s, v in parts.items()} | {f"y_{s}": np.arange(len(v)) % 2 for s, v in parts.items()}
    np.savez(tmp_path / "mine.npz", **arrays)
    task = make("arrays", {"path": str(tmp_path / "mine.npz"), "scale": False})
    contract.check(task, SPLITS)
    assert [len(task.examples(s)) for s in SPLITS] == [35, 15, 10], "five rows of training are in validation too"
    np.testing.assert_allclose(task.examples("test").inputs.numpy(), x[50:], rtol=1e-6)


def test_arrays_of_tokens_are_tokens(tmp_path: Path) -> None:
    np.savez(tmp_path / "mine.npz", X=np.arange(400).reshape(40, 10) % 7, y=np.arange(40) % 2)
    with pytest.raises(ConfigError, match="at least 20 different rows to split, but got 40, of them 7 different"):
        make("arrays", {"path": str(tmp_path / "mine.npz"), "tokens": True}).digest()
    np.savez(tmp_path / "mine.npz", X=np.random.default_rng(0).integers(7, size=(40, 10)), y=np.arange(40) % 2)
    task = make("arrays", {"path": str(tmp_path / "mine.npz"), "tokens": True})
    contract.check(task, SPLITS)
    assert (task.input.kind, task.input.size) == ("tokens", 7)


def test_images_are_named_by_their_folder(tmp_path: Path) -> None:
    image = pytest.importorskip("PIL.Image")
    for label, shade in (("day", 200), ("night", 20)):
        (tmp_path / label).mkdir()
        for n in range(15):
            image.new("L", (9, 7), shade + n).save(tmp_path / label / f"{n}.png")
    task = make("images", {"path": str(tmp_path), "size": 8, "patch": 4})
    contract.check(task, SPLITS)
    e = task.examples("train")
    assert e.inputs.shape[1:] == (4, 16)
    assert torch.equal(e.inputs.mean((1, 2)) > 0, e.targets == 0)


# Digests


def test_a_file_that_changed_is_another_task_and_one_that_moved_is_not(tmp_path: Path) -> None:
    path, moved = tmp_path / "t.csv", tmp_path / "moved.csv"
    write_table(path, 0)
    write_table(moved, 0)
    first = make("table", {"path": str(path), "target": "kind"}).digest()
    assert make("table", {"path": str(moved), "target": "kind"}).digest() == first
    write_table(path, 1, rows=81)
    assert make("table", {"path": str(path), "target": "kind"}).digest() != first


def test_a_path_is_found_from_anywhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_table(tmp_path / "t.csv")
    monkeypatch.chdir(tmp_path)
    task = make("table", {"path": "t.csv", "target": "kind"})
    monkeypatch.chdir(tmp_path.parent)
    assert make("table", task.settings()).digest() == task.digest()


# What cannot be used

FRACTIONS = lines(lambda n: f"{n},{n},{n / 4}")
UNUSABLE: dict[str, tuple[str, dict[str, Any], str]] = {
    "empty": ("", {}, "there must be something in the file, but got"),
    "head only": ("a,b,y\n", {}, "at least 20 different rows"),
    "three rows": (lines(lambda n: f"{n},1,{n % 2}", count=3), {}, "at least 20 different rows to split, but got 3"),
    "ragged": (lines(lambda n: f"{n},1,0" + ",7" * (n == 5)), {}, "as many values, but got .*line 7"),
    "longer than its head": (lines(lambda n: f"{n},1,2,0"), {}, "must have as many values"),
    "short line": (lines(lambda n: "5" if n == 8 else f"{n},1,0"), {}, "must have .*, but got .* row 9"),
    "one class": (lines(lambda n: f"{n},1,no"), {}, "`y` must have at least two classes, but got only `no`"),
    "nan": (lines(lambda n: f"{n},{'nan' if n == 2 else 1},{n % 2}"), {}, "task.missing=fill"),
    "infinity": (lines(lambda n: f"{n},{'inf' if n == 2 else 1},{n % 2}"), {}, "column `b` must be finite"),
    "no target": (
        lines(lambda n: f"{n},1,{'' if n == 2 else 1}"),
        {},
        "must have a value of `y`, but got none in row 3",
    ),
    "fractions": (FRACTIONS, {"kind": "classification"}, "but got 0.25 in row 2. Numbers .* task.kind=regression"),
    "words": (lines(lambda n: f"{n},1,w{n % 3}"), {"kind": "regression"}, "numbers for a regression, but got 'w0'"),
    "unknown target": (lines(lambda n: f"{n},1,2"), {"target": "Y2"}, "Unknown column `Y2` of task `table`.*y"),
    "unknown column": (lines(lambda n: f"{n},1,2", "age,b,y"), {"ignore": "agge"}, "Did you mean `age`"),
    "separator": (lines(lambda n: f"{n};1;2", "a;b;y"), {"separator": ","}, "Leave out task.separator, .* ';'"),
    "lonely": (lines(lambda n: f"{n % 2}", "y"), {}, "a column beside its target, but got only `y`"),
    "rare classes": (lines(lambda n: f"{n},1,c{n}"), {}, "must have five rows and more"),
}


@pytest.mark.parametrize("name", UNUSABLE)
def test_a_table_that_cannot_be_used_says_why(tmp_path: Path, name: str) -> None:
    text, settings, message = UNUSABLE[name]
    with pytest.raises(UserError, match=message) as caught:
        table(tmp_path, text, **settings)
    assert "Traceback" not in str(caught.value)


@pytest.mark.parametrize(
    ("content", "settings", "message"),
    [
        (b"", {}, "there must be something in the file"),
        (b"\x89PNG\x00\x01" * 900, {}, "files must be text, .*binary"),
        (b"short", {}, "`length` must be shorter than the text of every split, but got 128"),
        (poem(0, 200).encode(), {"split": "files"}, "task.split=parts"),
        (b"all the same words here\n\n" * 400, {"length": 16}, "shorter than the text|also occurs in an earlier"),
    ],
)
def test_a_text_that_cannot_be_used_says_why(
    tmp_path: Path, content: bytes, settings: dict[str, Any], message: str
) -> None:
    path = tmp_path / "book.txt"
    path.write_bytes(content)
    with pytest.raises(ConfigError, match=message):
        contract.check(make("text", {"path": str(path), **settings}), SPLITS)


@pytest.mark.parametrize(
    ("arrays", "settings", "message"),
    [
        ({"x": np.zeros((9, 2))}, {}, "there must be an array `X`, but got `x`. Did you mean `x`"),
        ({"X": np.zeros(9), "y": np.zeros(9)}, {}, r"`X` must be \(rows, steps\).*, but got shape \(9,\)"),
        ({"X": np.zeros((9, 2)), "y": np.zeros(8)}, {}, "one answer for each row of `X`, but got shape .* 9 rows"),
        ({"X": np.full((30, 2), np.nan), "y": np.arange(30) % 2}, {}, "`X` must be finite, but got NaN"),
        ({"X": np.zeros((30, 2)), "y": np.arange(30) / 4}, {"kind": "classification"}, "task.kind=regression"),
        ({"X": np.zeros((30, 2)), "y": np.arange(30) % 2}, {"tokens": True}, "whole numbers from 0 on"),
        ({"X": np.array([["a"]] * 30), "y": np.arange(30) % 2}, {}, "`X` must hold numbers"),
    ],
)
def test_arrays_that_cannot_be_used_say_why(
    tmp_path: Path, arrays: dict[str, Any], settings: dict[str, Any], message: str
) -> None:
    np.savez(tmp_path / "mine.npz", **arrays)
    with pytest.raises(ConfigError, match=message):
        make("arrays", {"path": str(tmp_path / "mine.npz"), **settings}).examples("train")


def test_a_file_that_is_no_array_says_so(tmp_path: Path) -> None:
    (tmp_path / "mine.npz").write_text("no array")
    with pytest.raises(ConfigError, match="must lead to arrays saved by NumPy"):
        make("arrays", {"path": str(tmp_path / "mine.npz")}).examples("train")


@pytest.mark.parametrize("task", ["text", "table", "arrays", "images"])
def test_a_path_that_is_missing_or_leads_nowhere_is_said(tmp_path: Path, task: str) -> None:
    target = {"target": "y"} if task == "table" else {}
    with pytest.raises(ConfigError, match=f"Task `{task}` needs the setting `path`, .*--set task.path="):
        make(task, target)
    (tmp_path / "book.txt").write_text("here")
    with pytest.raises(ConfigError, match=r"nothing is there. Did you mean `book.txt`\?"):
        make(task, {"path": str(tmp_path / "boook.txt"), **target})


@pytest.mark.parametrize(
    ("task", "package", "settings", "files"),
    [
        ("table", "pyarrow", {"target": "y"}, ["t.parquet"]),
        ("images", "PIL.Image", {}, ["cat/1.png", "dog/1.png"]),
        ("text", "datasets", {}, ["dataset_info.json"]),
    ],
)
def test_a_package_that_is_missing_is_named_with_the_command(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, task: str, package: str, settings: dict[str, Any], files: list[str]
) -> None:
    for file in files:
        (tmp_path / file).parent.mkdir(exist_ok=True)
        (tmp_path / file).write_bytes(b"x")
    monkeypatch.setitem(sys.modules, package, None)
    path = tmp_path / files[0] if task == "table" else tmp_path
    with pytest.raises(ConfigError, match=r'pip install "archsearch\[(parquet|images|hub)\]"'):
        make(task, {"path": str(path), **settings}).examples("train")


def test_the_command_line_says_it_in_one_line_and_ends_with_2(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("t.csv").write_text(UNUSABLE["one class"][0])
    for given in (["task.path=none.csv"], ["task.path=t.csv"], []):
        sets = [part for pair in [*given, "task.target=y"] for part in ("--set", pair)]
        with pytest.raises(SystemExit) as ended:
            main(["tasks", "show", "table", *sets])
        assert ended.value.code == 2
        said = capsys.readouterr().err
        assert said.startswith("Error: Task `table`")
        assert "Traceback" not in said
