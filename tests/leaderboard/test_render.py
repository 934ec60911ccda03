import csv
import io
import json
import re

import pytest

from archsearch.leaderboard import FIELDS, boards
from archsearch.leaderboard.render import csv_text, json_text, markdown_text, print_tables
from archsearch.leaderboard.text import interval, legend, short_bytes, short_count, solved


def printed(found, columns=None, **more):
    out = io.StringIO()
    print_tables(found, columns, file=out, **more)
    return out.getvalue()


def test_the_table_marks_controls_estimates_and_failures(usual):
    text = printed(boards([usual]))
    assert "in_context_recall: accuracy, higher is better · chance 0.062 · ceiling 1.000" in text
    assert "no_mixer (control)" in text
    assert "0.995 ±0.010" in text
    finals, rest = text.split("Searched only")
    searched, unfinished = rest.split("Not ranked")
    assert finals.count("quickstart") == 0
    assert "~1" in searched
    assert "out_of_memory: tried to allocate" in unfinished
    assert "3 GiB" not in unfinished


def test_the_default_table_says_nothing_that_changes_between_equal_runs(make):
    one = make.campaign(make.candidate(1, [0.5]), name="one")
    other = make.campaign(make.candidate(1, [0.5], seconds=99.0), name="other")
    assert printed(boards([one])) == printed(boards([other]))


def test_several_campaigns_are_named(make):
    a = make.campaign(make.candidate(1, [0.5]), name="first_one")
    b = make.campaign(make.candidate(1, [0.6]), name="second_one")
    assert "first_one, second_one · in_context_recall" in printed(boards([a, b]))
    apart = make.campaign(make.candidate(1, [0.6]), name="apart", task={"digest": "d2"})
    assert "apart · in_context_recall" in printed(boards([a, apart]))


def test_columns_can_be_chosen_and_hidden_rows_are_counted(usual):
    text = printed(boards([usual]), ["id", "hash", "seconds", "decisions"], hidden=3)
    assert "3.5 s" in text
    assert "body.0.mix=gru, body.0.mlp.expand=2" in text
    assert "3 more: --top 0 shows all." in text


@pytest.mark.parametrize("width", [56, 70, 80, 100, 150])
def test_a_narrow_terminal_gets_the_telling_columns_whole(usual, monkeypatch, width):
    class Terminal(io.StringIO):
        def isatty(self):
            return True

    monkeypatch.setenv("COLUMNS", str(width))
    out = Terminal()
    print_tables(boards([usual]), file=out)
    lines = re.sub(r"\x1b\[\d*m", "", out.getvalue()).splitlines()
    assert max(map(len, lines)) <= width
    assert any("0.995 ±0.010" in line for line in lines)
    assert ("Too narrow for" in out.getvalue()) == (width < 150)
    heads = [line for line in lines if line.startswith("rank ")]
    assert all("architecture" in head for head in heads)


def test_json_is_one_document_of_plain_rows(usual):
    data = json.loads(json_text(boards([usual])))
    assert [r["id"] for r in data["boards"][0]["rows"]][:3] == ["1", "2", "no_mixer"]


def test_csv_has_every_field_and_row_unrounded(usual):
    lines = list(csv.DictReader(io.StringIO(csv_text(boards([usual])))))
    assert list(lines[0]) == list(FIELDS)
    assert len(lines) == 7
    assert lines[0]["families"] == "recurrence+perceptron"
    assert json.loads(lines[0]["decisions"])["body.0.mix"] == "gru"
    assert float(lines[0]["search_score"]) == 0.99


def test_markdown_tables_have_as_many_cells_as_heads(make):
    text = markdown_text(boards([make.campaign(make.candidate(1, [0.5], line="a | b"), make.candidate(2))]))
    tables = [line for line in text.splitlines() if line.startswith("|")]
    assert "a \\| b" in text
    widths = {line.replace("\\|", "").count("|") for line in tables[:3]}
    assert len(widths) == 1
    assert "### Not ranked" in text


@pytest.mark.parametrize(
    ("n", "text"),
    [(0, "0"), (947, "947"), (12_345, "12.3k"), (999_900, "1M"), (4_560_000, "4.56M"), (2.5e9, "2.5G"), (0.5, "0.5")],
)
def test_counts_in_a_few_characters(n, text):
    assert short_count(n) == text


@pytest.mark.parametrize(
    ("n", "text"), [(512, "512 B"), (4096, "4.0 KiB"), (1.5 * 2**20, "1.5 MiB"), (2**31, "2.0 GiB")]
)
def test_bytes_in_a_few_characters(n, text):
    assert short_bytes(n) == text


def test_an_interval_stays_within_what_an_accuracy_can_be():
    assert interval(-0.33, 0.59, "accuracy") == "0.000 to 0.590"
    assert interval(0.9, 1.1, "masked_accuracy", 4) == "0.9000 to 1.0000"
    assert interval(0.9, 1.1, "bits_per_byte") == "0.900 to 1.100"
    assert interval(None, None, "accuracy") == ""


def test_the_share_of_seeds_that_solved_the_task(make):
    assert solved(make.measurement([0.995, 0.1])) == "1 of 2 seeds"
    assert solved(make.measurement([0.2, 0.1])) is None


def test_a_table_cuts_a_long_failure_and_json_does_not(make):
    words = "diverged, " + "the loss is no number any more, " * 8
    found = boards([make.campaign(make.candidate(1, status="failed", failure=("diverged", words)))])
    text = printed(found)
    assert "…" in text
    assert max(map(len, text.splitlines())) < 140
    assert json.loads(json_text(found))["boards"][0]["rows"][0]["failure"] == f"diverged: {words}"


def test_the_legend_explains_what_is_shown_and_nothing_else(usual, make):
    text = printed(boards([usual])).replace("\n", " ")
    for part in ("± 95 % interval", "~ an estimate, from one seed", "pareto 1: the front", "worse the final is"):
        assert text.count(part) == 1
    assert "±" not in printed(boards([make.campaign(make.candidate(1, [0.5]))]))
    assert "pareto" not in printed(boards([usual]), ["id", "score"])
    assert legend([], ["id", "score"]) == ""


def test_scores_of_candidates_that_all_stopped_are_not_called_missing(make):
    stopped = make.candidate(1, status="failed", failure=("diverged", "in step 300"), last=(200, 0.7))
    text = printed(boards([make.campaign(stopped)]))
    assert "none was trained to its end" in text
    assert "0.700" in text
    assert "No candidate has a score yet" in printed(boards([make.campaign(make.candidate(1))]))
