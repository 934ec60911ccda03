"""Names and paths of shipped files, in a checkout and in an installed package."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from archsearch import content
from archsearch.errors import ConfigError, UnknownNameError

CHECKOUT = Path(__file__).parent.parent


@pytest.mark.parametrize(("kind", "suffix"), [("agents", "*.py"), ("search_spaces", "*.yaml")])
def test_names_are_the_files_of_the_checkout(kind: content.Kind, suffix: str) -> None:
    found = content.names(kind)
    assert found == {p.stem: p for p in sorted((CHECKOUT / kind).glob(suffix))}
    assert list(found) == sorted(found)
    assert found
    for name, path in found.items():
        assert content.find(kind, name) == path


def test_blocks_and_controls_are_not_search_spaces() -> None:
    parts = {*content.block_files(), *content.control_files()}
    assert {p.parent.name for p in parts} == {"blocks", "controls"}
    assert parts.isdisjoint(content.names("search_spaces").values())


def test_an_unknown_name_comes_with_the_nearest() -> None:
    with pytest.raises(UnknownNameError, match=r"Unknown search space `hybird`\. Did you mean `hybrid`"):
        content.find("search_spaces", "hybird")
    with pytest.raises(UnknownNameError, match=r"Unknown agent `nothing_like_it`\. Available: .*random_search"):
        content.find("agents", "nothing_like_it")


def test_a_path_is_taken_as_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    mine = tmp_path / "hybrid.yaml"
    mine.write_text("version: 1\n")
    (tmp_path / "hybrid").write_text("")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    assert content.find("search_spaces", "hybrid.yaml") == Path("hybrid.yaml")
    assert content.find("search_spaces", f".{os.sep}hybrid") == Path("hybrid")
    assert content.find("search_spaces", mine) == mine
    assert content.find("search_spaces", "~/hybrid.yaml") == mine
    assert content.find("search_spaces", "hybrid") == CHECKOUT / "search_spaces" / "hybrid.yaml"


def test_a_file_that_lies_here_is_hinted_at(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from archsearch.tasks.registry import task_class

    monkeypatch.chdir(tmp_path)
    for name in ("mine.yaml", "mine.py", "sorting.py"):
        (tmp_path / name).touch()
    with pytest.raises(UnknownNameError, match=r"Unknown search space `mine`\. A file .*`\./mine\.yaml`\. Available"):
        content.find("search_spaces", "mine")
    with pytest.raises(UnknownNameError, match=r"Unknown agent `mine`.*`\./mine\.py`"):
        content.find("agents", "mine")
    with pytest.raises(UnknownNameError, match=r"Unknown task `sorting`.*`\./sorting\.py`"):
        task_class("sorting")
    with pytest.raises(UnknownNameError, match=r"^((?!file).)*$"):
        task_class("elsewhere")


def test_a_missing_path_says_so(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"search space must lead to a file, but got .*mine\.yaml.*nothing there"):
        content.find("search_spaces", tmp_path / "mine.yaml")
    (tmp_path / "folder.py").mkdir()
    with pytest.raises(ConfigError, match=r"The path of an agent must lead to a file, but got .*: a folder"):
        content.find("agents", str(tmp_path / "folder.py"))


def lay_out(root: Path, *files: str) -> Path:
    """A made-up installation of empty files; returns its package folder."""
    for file in ("archsearch/content.py", *files):
        (root / file).parent.mkdir(parents=True, exist_ok=True)
        (root / file).touch()
    return root / "archsearch"


def test_installed_content_goes_before_what_lies_beside(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package = lay_out(tmp_path, "archsearch/_bundled/agents/a.py", "agents/b.py", "pyproject.toml")
    monkeypatch.setattr(content, "PACKAGE", package)
    assert set(content.names("agents")) == {"a"}


def test_a_folder_beside_an_installed_package_is_not_ours(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(content, "PACKAGE", lay_out(tmp_path, "agents/b.py"))
    with pytest.raises(ConfigError, match="`agents` must stand beside or inside the package"):
        content.names("agents")
    (tmp_path / "pyproject.toml").touch()
    assert set(content.names("agents")) == {"b"}
