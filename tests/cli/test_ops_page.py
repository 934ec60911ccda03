"""What `ops show` says of an op and of a block, and the page made of it."""

import json

import pytest

from archsearch.cli.definitions import definitions
from archsearch.cli.ops import by_family
from archsearch.cli.ops_page import page
from archsearch.cli.sheets import LENGTHS, block_sheet, growth, op_sheet
from archsearch.content import PACKAGE
from archsearch.graph.opspec import FAMILY_TEXTS
from archsearch.ops.registry import op_classes

FILE = PACKAGE.parent / "docs" / "ops.md"


def test_the_page_is_fresh():
    assert FILE.read_text(encoding="utf-8") == page(), "run: archsearch ops docs -o docs/ops.md"


def test_the_page_has_every_op_and_block_once():
    headings = [line for line in page().splitlines() if line.startswith("### ")]
    assert sorted(headings) == sorted(f"### {name}" for name in (*op_classes(), *definitions()))


def test_every_family_has_a_text():
    assert set(by_family()) <= set(FAMILY_TEXTS)


@pytest.mark.parametrize("name", sorted(op_classes()))
def test_an_op_has_figures(name):
    sheet = op_sheet(name)
    assert all(len(sheet["costs"][k]) == len(LENGTHS) for k in ("flops_per_token", "state_bytes", "span"))
    assert len(sheet["example"]["inputs"]) >= len(sheet["inputs"])
    for w in sheet["weights"]:
        assert w["init"] and not w["init"].startswith("<"), f"weight `{w['name']}` must say how it is drawn"
    json.dumps(sheet, allow_nan=False)


@pytest.mark.parametrize("name", sorted(definitions()))
def test_a_block_has_figures_that_add_up(name):
    sheet = block_sheet(definitions()[name])
    assert sheet["summary"].endswith(".")
    assert sheet["costs"] is not None
    for i, whole in enumerate(sheet["costs"]["flops_per_token"]):
        parts = sum(n["flops_per_token"][i] for n in sheet["nodes"])
        again = any(n["op"].startswith("fixed_point") for n in sheet["nodes"])
        assert parts < whole if again else parts == pytest.approx(whole)


def test_growth_is_said():
    assert op_sheet("softmax_attention")["costs"]["growth"] == {
        "flops_per_token": "grows with T",
        "state_bytes": "grows with T",
        "span": "constant",
    }
    assert op_sheet("gru_core")["costs"]["growth"]["state_bytes"] == "constant"
    assert growth([7.0, 10.0, 13.0]) == "grows with log T"


def test_show_says_how_a_weight_is_drawn_and_trained(call):
    shown = call("ops", "show", "s4d_core").stdout
    assert "no decay, 0.1 × the learning rate" in shown
    assert "π n" in shown
    data = json.loads(call("ops", "show", "s4d_core", "--json").stdout)
    assert {w["name"]: w["shape"] for w in data["weights"]}["c"] == [64, 16, 2]


def test_show_of_a_block_has_its_weights_by_node(call):
    shown = call("ops", "show", "gru").stdout
    assert "core.hidden" in shown
    data = json.loads(call("ops", "show", "gru", "--json").stdout)
    assert data["params"] == sum(_size(w["shape"]) for node in data["nodes"] for w in node["weights"])


def test_defaults_are_what_a_space_may_say(call):
    shown = call("ops", "show", "hopfield").stdout
    assert "default null" in shown
    assert "None" not in shown


def _size(shape):
    size = 1
    for n in shape:
        size *= n
    return size


def test_the_list_is_by_family_with_blocks(call):
    shown = call("ops", "list", "--family", "recurrence").stdout
    assert shown.startswith("recurrence: ")
    rows = [line.split()[:2] for line in shown.splitlines()[1:]]
    assert ["gru_core", "op"] in rows
    assert rows.index(["lstm_core", "op"]) < rows.index(["gru", "block"])


def test_docs_prints_the_page(call, tmp_path):
    call("ops", "docs", "-o", str(tmp_path / "ops.md"))
    assert (tmp_path / "ops.md").read_text(encoding="utf-8") == call("ops", "docs").stdout == page()
