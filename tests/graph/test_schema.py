"""The JSON Schema accepts what the reader accepts, and refuses typical mistakes."""

from __future__ import annotations

import json
import random
from typing import Any

import jsonschema
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from archsearch.content import block_files
from archsearch.errors import FileError
from archsearch.graph.header import KEYS
from archsearch.graph.reader import parse, plain
from archsearch.graph.schema import schema
from archsearch.graph.space import SearchSpace
from archsearch.ops.registry import registry
from tests.graph.language_toys import REGISTRY, read
from tests.graph.spaces import random_text


@pytest.fixture(scope="module")
def shipped() -> Any:
    made = schema(registry(), block_files())
    jsonschema.Draft7Validator.check_schema(made)
    return jsonschema.Draft7Validator(made)


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 10**9))
def test_what_the_reader_accepts_the_schema_does(seed: int) -> None:
    text = random_text(random.Random(seed))
    read(text)
    jsonschema.Draft7Validator(TOYS).validate(plain(parse(text).root))


TOYS = schema(REGISTRY)

FINE = {
    "a delay": "graph: {nodes: {h: {op: add, from: [in, 'h[t-1]']}}, out: h}",
    "ports": "graph: {nodes: {out: {op: softmax_attention, from: {q: in, k: in, v: in}}}}",
    "into": "graph: {nodes: {s: {op: split, into: [a, b], from: in}, out: {op: concat, from: [s.a, s.b]}}}",
    "an own definition": "define: {mine: {params: {k: 3}, op: mlp, expand: $k}}\ngraph: {op: mine, k: 4}",
    "a definition of a shipped name": "define: {attention: {params: {q: 1}, op: linear}}\ngraph: {op: attention, q: 2}",
    "a bare name": "graph: linear",
    "empty tables": "define:\nchoices:\nscale:\ngraph: {op: linear}",
    "tie nothing": "graph: {nodes: {b: {repeat: linear, times: 2, tie: , from: in}}, out: b}",
    "arithmetic": "graph: {op: linear, width: '=2*width'}",
}


@pytest.mark.parametrize("text", FINE.values(), ids=FINE)
def test_what_is_fine(text: str, shipped: Any) -> None:
    SearchSpace.parse(text, registry(), definitions=block_files())
    shipped.validate(plain(parse(text).root))


MISTAKES = {
    "no graph": "name: x",
    "an unknown key": "grph: {op: linear}\ngraph: {op: linear}",
    "an unknown setting": "graph: {op: linear, widht: 3}",
    "a setting out of range": "graph: {op: linear, width: 0}",
    "a setting of another kind": "graph: {op: linear, bias: 3}",
    "a list for a setting": "graph: {op: linear, width: [1, 2]}",
    "an option out of range": "graph: {op: linear, width: {choose: [8, 0]}}",
    "an unknown range": "graph: {op: linear, width: {ints: [1, 2]}}",
    "a range of three": "graph: {op: linear, width: {int: [1, 2, 3]}}",
    "no option": "graph: {op: linear, width: {choose: []}}",
    "an unknown port": "graph: {nodes: {out: {op: softmax_attention, from: {q: in, k: in, w: in}}}}",
    "a delay of 0": "graph: {nodes: {h: {op: add, from: [in, 'h[t-0]']}}, out: h}",
    "a repeat without times": "graph: {nodes: {b: {repeat: linear, from: in}}, out: b}",
    "an unknown tie": "graph: {nodes: {b: {repeat: linear, times: 2, tie: weight, from: in}}, out: b}",
    "an unknown merge": "graph: {nodes: {out: {op: linear, merge: sum, from: [in, in]}}}",
    "an unknown start": "graph: {nodes: {out: {op: linear, init: ones, from: in}}}",
    "two kinds": "graph: {op: linear, choose: {a: linear}}",
    "no kind": "graph: {nodes: {out: {from: in}}}",
    "a node that is a name": "graph: {nodes: {out: linear}}",
    "a node with a space": "graph: {nodes: {'my node': {op: linear, from: in}}}",
    "a key beside repeat": "graph: {nodes: {b: {repeat: linear, times: 2, from: in, width: 3}}, out: b}",
    "a width of 0": "graph: {op: linear}\nscale: {width: 0}",
    "half a match": "graph: {op: linear}\nmatch: {params: 100}",
    "require without a list": "graph: {op: linear}\nrequire: params <= 3",
    "another version": "version: 2\ngraph: {op: linear}",
    "causal in words": "causal: maybe\ngraph: {op: linear}",
    "an edge that is a number": "graph: {nodes: {out: {op: linear, from: 3}}}",
}


@pytest.mark.parametrize("text", MISTAKES.values(), ids=MISTAKES)
def test_typical_mistakes(text: str, shipped: Any) -> None:
    with pytest.raises(FileError):
        SearchSpace.parse(text, registry(), definitions=block_files())
    with pytest.raises(jsonschema.ValidationError):
        shipped.validate(plain(parse(text).root))


def test_a_setting_that_an_op_needs() -> None:
    toys = jsonschema.Draft7Validator(TOYS)
    toys.validate({"graph": {"op": "scaled", "by": 2}})
    with pytest.raises(jsonschema.ValidationError, match="'by' is a required property"):
        toys.validate({"graph": {"op": "scaled"}})


def test_it_knows_every_word_and_op() -> None:
    made = schema(registry(), block_files())
    assert set(made["properties"]) == set(KEYS)
    assert all(made["properties"].values()), "a key of a space that the schema says nothing of"
    offered = {o.get("const") for o in made["definitions"]["op"]["anyOf"]}
    assert {*registry(), "attention", "gru"} <= offered
    assert json.loads(json.dumps(made)) == made
