"""Data sets of Hugging Face's `datasets`: what is read of a folder, and what is said of what cannot be."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from archsearch.errors import ConfigError, UnknownNameError
from archsearch.tasks import contract
from archsearch.tasks.registry import make, task_class
from archsearch.tasks.settings import with_absolute_paths
from tests.tasks.own_data import poem, write_table

datasets = pytest.importorskip("datasets")

README = """---
configs:
- config_name: small
  data_files: [{split: train, path: a.csv}, {split: test, path: b.csv}]
- config_name: large
  data_files: [{split: train, path: b.csv}]
---
"""


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    monkeypatch.setattr(datasets.config, "HF_MODULES_CACHE", tmp_path / "modules")


@pytest.fixture
def tables(tmp_path: Path) -> str:
    """A folder of files with two configurations."""
    folder = tmp_path / "mine"
    folder.mkdir()
    write_table(folder / "a.csv", 0, rows=80)
    write_table(folder / "b.csv", 1, rows=60)
    (folder / "README.md").write_text(README)
    return f"hub:{folder}"


def table(path: str, **settings: Any) -> Any:
    task = make("table", {"path": path, "target": "kind", **settings})
    contract.check_all(task)
    return task


def rows(task: Any) -> int:
    return sum(len(task.examples(split)) for split in ("train", "validation", "test"))


def test_a_folder_of_files_is_read_by_configuration_and_part(tables: str) -> None:
    assert rows(table(f"{tables}:small", part="train")) == 80
    assert rows(table(f"{tables}:small", part="test")) == 60
    assert rows(table(f"{tables}:small", part="train[:30]")) == 30
    assert rows(table(f"{tables}:large")) == 60, "the only part need not be named"


def test_it_holds_the_same_as_the_file_itself(tables: str, tmp_path: Path) -> None:
    itself = table(str(tmp_path / "mine" / "a.csv"))
    assert table(f"{tables}:small", part="train").examples("train").inputs.equal(itself.examples("train").inputs)


def test_a_folder_of_texts_is_a_text(tmp_path: Path) -> None:
    (tmp_path / "texts").mkdir()
    (tmp_path / "texts" / "a.txt").write_text("\n".join(poem(0, 80).split("\n\n")))
    task = make("text", {"path": f"hub:{tmp_path}/texts"})
    contract.check_all(task)
    with pytest.raises(UnknownNameError, match="Did you mean `text`"):
        make("text", {"path": f"hub:{tmp_path}/texts", "column": "txt"}).digest()


def test_a_part_or_configuration_that_is_not_there_names_the_nearest(tables: str) -> None:
    with pytest.raises(UnknownNameError, match=r"part `trian` .* Did you mean `train`"):
        table(f"{tables}:small", part="trian")
    with pytest.raises(UnknownNameError, match=r"part `trian\[:5\]` .* Did you mean `train`"):
        table(f"{tables}:small", part="trian[:5]")
    with pytest.raises(
        ConfigError, match=r"one of the parts of a data set, but got none of train, test. .*task.part=train"
    ):
        table(f"{tables}:small")
    with pytest.raises(UnknownNameError, match=r"configuration `smal` .* Did you mean `small`"):
        table(f"{tables}:smal")
    with pytest.raises(ConfigError, match=r"needs one, but got none of small, large. --set task.path=hub:.*:small"):
        table(tables)
    with pytest.raises(UnknownNameError, match=r"column `knid` .* Did you mean `kind`"):
        table(f"{tables}:large", target="knid")


def test_a_folder_that_is_missing_or_broken_is_said(tables: str, tmp_path: Path) -> None:
    with pytest.raises(
        ConfigError, match=r"a folder of files after `hub:`, but got .*/min: nothing is there. Did you mean"
    ):
        table(tables.replace("/mine", "/min"))
    with pytest.raises(ConfigError, match="must name a data set after `hub:`"):
        table("hub:")
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken" / "a.parquet").write_bytes(b"PAR1")
    with pytest.raises(ConfigError, match=r"followed by a data set that can be loaded, but got `.*/broken`: Parquet"):
        table(f"hub:{tmp_path}/broken")


def test_a_name_out_of_reach_says_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    def load_dataset(*args: Any, **more: Any) -> None:
        asked.append((*args, more))
        raise ConnectionError(f"Couldn't reach '{args[0]}' on the Hub")

    monkeypatch.setattr(datasets, "load_dataset", load_dataset)
    with pytest.raises(ConfigError, match=r"within reach, but got `owner/name`: Couldn't .* name the folder"):
        table("hub:owner/name:config", part="train[:5]")
    assert asked == [("owner/name", "config", {"split": "train[:5]"})]


def test_classes_have_their_names_and_other_values_are_refused(tmp_path: Path) -> None:
    features = {"x": datasets.Value("int64"), "y": datasets.ClassLabel(names=["cat", "dog"])}
    held = {"x": list(range(60)), "y": [n % 2 for n in range(60)]}
    datasets.Dataset.from_dict(held, features=datasets.Features(features)).save_to_disk(tmp_path / "saved")
    assert table(str(tmp_path / "saved"), target="y").output.size == 2
    with pytest.raises(ConfigError, match="`y` must hold numbers for a regression, but got 'cat' in row 1"):
        table(str(tmp_path / "saved"), target="y", kind="regression")
    datasets.Dataset.from_dict({**held, "tags": [["a"]] * 60}).save_to_disk(tmp_path / "lists")
    with pytest.raises(ConfigError, match=r"column `tags` must hold numbers, dates or names, .* task.ignore=tags"):
        table(str(tmp_path / "lists"), target="y")
    assert rows(table(str(tmp_path / "lists"), target="y", ignore="tags")) == 60


def test_a_folder_is_found_from_anywhere_and_a_name_stays_one(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    kind = task_class("table")
    assert with_absolute_paths(kind, {"path": "hub:./mine:small"}) == {"path": f"hub:{tmp_path}/mine:small"}
    assert with_absolute_paths(kind, {"path": "hub:owner/name:c"}) == {"path": "hub:owner/name:c"}
