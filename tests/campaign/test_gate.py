"""What the gate writes down of a candidate."""

import json

from archsearch.campaign.gate import Gate
from archsearch.graph.space import SearchSpace
from archsearch.ops.registry import registry

CELL = """
graph:
  nodes:
    z: {op: linear, from: in}
    gate: {op: sigmoid, from: z}
    kept: {op: KEEP, from: "h[t-1]"}
    old: {op: multiply, from: [gate, kept]}
    h: {op: add, from: [old, in]}
    out: {op: rms_norm, from: h}
"""


def gate(keep):
    return Gate(SearchSpace.parse(CELL.replace("KEEP", keep), registry()), 64)({})


def test_facts_say_how_a_cycle_runs_and_why():
    assert "scan" in gate("identity").facts["cycles"]
    assert "tanh makes" in gate("tanh").facts["cycles"]


def test_facts_are_plain_data():
    facts = gate("identity").facts
    assert json.loads(json.dumps(facts)) == json.loads(json.dumps(facts, default=str))
    assert facts["parallel_in_time"] is True
    assert gate("tanh").facts["parallel_in_time"] is False
