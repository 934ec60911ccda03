"""docs/tasks.md, made of what the registry knows."""

import json

from archsearch.cli.tasks_page import page
from archsearch.content import PACKAGE
from archsearch.tasks.registry import make, names, task_class

FILE = PACKAGE.parent / "docs" / "tasks.md"


def test_the_page_is_fresh():
    assert FILE.read_text(encoding="utf-8") == page(), "run: archsearch tasks docs -o docs/tasks.md"


def test_every_task_has_a_row_and_a_section():
    lines = page().splitlines()
    for name in names():
        (row,) = [line for line in lines if line.startswith(f"| [{name}](#{name}) |")]
        assert task_class(name).summary in row
        assert lines.count(f"## {name}") == 1


def test_a_row_has_the_figures_of_the_task():
    task = make("induction_heads", {})
    figures = f"accuracy ↑ | {task.chance:.2g} | 1 | {task.length}; test {task.length_in('test')} | {task.paper} |"
    assert figures in page()


def test_docs_prints_the_page(call, tmp_path):
    call("tasks", "docs", "-o", str(tmp_path / "tasks.md"))
    assert (tmp_path / "tasks.md").read_text(encoding="utf-8") == page()


def test_show_has_the_ladder(call):
    assert "vocabulary 32, 64, 128" in call("tasks", "show", "compression").stdout
    assert json.loads(call("tasks", "show", "compression", "--json").stdout)["ladder"]["length"] == [64, 128, 256]
