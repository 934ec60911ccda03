"""Boards of campaigns on several tasks."""

import csv
import io
import json

import pytest

from archsearch.errors import ConfigError, UnknownNameError
from archsearch.leaderboard import FIELDS, boards, select
from archsearch.leaderboard.render import csv_text, fit, json_text, markdown_text, print_tables
from archsearch.leaderboard.selection import check_tasks
from archsearch.training.pooling import Scale, pooled

SCALES = {"recall": Scale(0.0, 1.0), "bytes": Scale(4.0, 0.0)}
ABOUT = {"settings": {}, "solved": None, "length": 64, "digest": "d"}
TASKS = {
    "recall": {**ABOUT, "metric": "accuracy", "maximize": True, "chance": 0.0, "ceiling": 1.0, "best": 1.0},
    "bytes": {**ABOUT, "metric": "bits_per_byte", "maximize": False, "chance": 4.0, "ceiling": None, "best": 0.0},
}
TASK = {"name": "recall+bytes", "metric": "mean score", "chance": 0.0, "ceiling": 1.0, "solved": None, "tasks": TASKS}


@pytest.fixture
def record(make):
    """Two finalists, one only searched, and one that failed on its second task."""

    def parts(split, **scores):
        return {label: make.measurement(s, split=split) for label, s in scores.items()}

    def candidate(id, search, final=None, **more):
        whole = {"search": pooled("recall+bytes", search, SCALES) if len(search) == 2 else None, "search_tasks": search}
        if final:
            whole |= {"final": pooled("recall+bytes", final, SCALES), "final_tasks": final, "finalist": True}
        plain = make.candidate(id, status="done" if whole["search"] else "failed", **more)
        return type(plain)(**{**vars(plain), **whole})

    return make.campaign(
        candidate(
            1, parts("validation", recall=[0.9], bytes=[2.0]), parts("test", recall=[0.8, 0.9], bytes=[2.0, 2.2])
        ),
        candidate(
            2, parts("validation", recall=[0.5], bytes=[1.0]), parts("test", recall=[0.5, 0.5], bytes=[3.0, 3.2])
        ),
        candidate(3, parts("validation", recall=[0.1], bytes=[3.0])),
        candidate(4, parts("validation", recall=[0.99]), failure=("diverged", "on bytes: all 1 copies diverged")),
        task=TASK,
    )


def test_rows_are_ranked_by_the_mean_and_say_the_score_on_each_task(record):
    (board,) = boards([record])
    rows = {r["id"]: r for r in board.rows}
    assert [r["id"] for r in board.rows] == ["1", "2", "3", "4"]
    assert [r["section"] for r in board.rows] == ["finals", "finals", "search", "unfinished"]
    assert rows["1"]["score"] == pytest.approx((0.85 + 0.475) / 2)
    assert rows["1"]["tasks"] == pytest.approx({"recall": 0.85, "bytes": 2.1})
    assert rows["1"]["search_score"] == pytest.approx(0.7)
    assert rows["1"]["shrinkage"] == pytest.approx(0.7 - rows["1"]["score"])
    assert rows["1"]["rank_low"] == rows["1"]["rank_high"] == 1, "error bars are of the mean by seed"
    assert rows["3"]["tasks"] == {"recall": 0.1, "bytes": 3.0}
    assert rows["4"]["tasks"] == {"recall": 0.99, "bytes": None}
    assert rows["4"]["failure"] == "diverged: on bytes: all 1 copies diverged"


def test_what_belongs_to_the_steps_of_one_task_is_empty(record):
    for row in boards([record])[0].rows:
        for name in ("solved", "solved_at", "reached", "steps_to_target", "flops_to_target", "learning_rate"):
            assert row[name] is None, name
    with pytest.raises(ConfigError, match="quickstart is a mean over recall, bytes"):
        boards([record], target=0.5)


def test_a_rate_at_the_edge_is_named_with_its_task(make, record):
    one = record.candidates[0]
    grid = make.measurement([0.9])
    grid = type(grid)(**{**vars(grid), "copies": (*grid.copies, type(grid.copies[0])(0, 1e-2, "done", 0.1, 0.1))})
    edged = type(one)(**{**vars(one), "search_tasks": {**one.search_tasks, "bytes": grid}})
    row = boards([make.campaign(edged, task=TASK)])[0].rows[0]
    assert row["rate_edge"] == "lowest (bytes)"


def test_every_format_has_a_column_for_each_task(record):
    (board,) = boards([record])
    (line, *_) = csv.DictReader(io.StringIO(csv_text([board])))
    assert list(line) == [*FIELDS, "task.recall", "task.bytes"]
    assert float(line["task.bytes"]) == pytest.approx(2.1)
    data = json.loads(json_text([board]))["boards"][0]
    assert data["rows"][0]["tasks"]["recall"] == pytest.approx(0.85)
    assert data["tasks"]["bytes"]["best"] == 0.0
    text = markdown_text([board])
    assert "| rank | id | architecture | score | recall | bytes |" in text
    out = io.StringIO()
    print_tables([board], file=out)
    shown = out.getvalue()
    assert "mean over 2 tasks, seed by seed" in shown
    assert "bytes: bits_per_byte, lower is better; chance 4.000 is 0 and 0.000 is 1, the best conceivable" in shown
    assert "over all tasks" in shown


def test_a_narrow_terminal_does_without_the_single_tasks_last_and_says_so(record):
    (board,) = boards([record])
    names = ["rank", "id", "score", "task.recall", "task.bytes", "seeds"]
    rows = [r for r in board.rows if r["section"] == "finals"]
    assert fit(rows, names, 200) == names
    assert fit(rows, names, 38) == [n for n in names if n != "seeds"]
    assert fit(rows, names, 30) == ["rank", "id", "score", "task.recall"]


def test_rows_are_chosen_and_sorted_by_the_score_on_a_task(record):
    (board,) = boards([record])
    assert [r["id"] for r in select(board, sort="task.recall").rows][:2] == ["2", "1"]
    assert [r["id"] for r in select(board, where='tasks["bytes"] < 2.5').rows] == ["1"]
    check_tasks(["-task.recall", "score"], [board])
    with pytest.raises(UnknownNameError, match=r"Did you mean `task\.recall`"):
        check_tasks(["task.recal"], [board])


def test_a_board_of_one_task_has_no_such_columns(usual):
    (board,) = boards([usual])
    assert board.tasks == {}
    assert all(row["tasks"] is None for row in board.rows)
    assert "task." not in csv_text([board]).splitlines()[0]


def test_boards_of_the_same_tasks_and_effort_are_one_and_of_others_apart(make, record):
    again = type(record)(**{**vars(record), "name": "again"})
    other = type(record)(**{**vars(record), "name": "other", "task": {**record.task, "digest": "d2"}})
    assert [b.campaigns for b in boards([record, again, other])] == [("quickstart", "again"), ("other",)]
