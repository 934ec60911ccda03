"""Settings of shipped blocks that hypothesis draws.

A setting that a block hands to an op is drawn as that op declares it; another number stays near its default, and what
is an expression or a body stays as it is.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from hypothesis import strategies as st

from archsearch.cli.definitions import definitions
from archsearch.graph.opspec import Setting
from archsearch.graph.reader import plain
from archsearch.ops.registry import registry
from tests.ops.draws import values

HEADS = (1, 2, 3, 4)
"""Of a width of 16, some refused: more leave heads of two features, which a norm turns into signs."""

SOLVER = {"tolerance": 1e-6, "steps": 60}
"""Of a block that has both: a solver that stops early stops elsewhere in another precision."""


def settings(name: str) -> st.SearchStrategy[str]:
    """The text of settings, as `architecture` takes it; each is left out or drawn."""
    found = definitions()[name]
    handed = dict(_handed(plain(found.body).get("nodes", {})))
    said = SOLVER if found.params.keys() >= SOLVER.keys() else {}
    drawn = {key: _values(v, handed.get(key)) for key, v in found.params.items() if key not in said}
    if "heads" in drawn:
        drawn["heads"] = st.sampled_from(HEADS)
    some = st.fixed_dictionaries(
        {key: st.just(v) for key, v in said.items()}, optional={key: v for key, v in drawn.items() if v is not None}
    )
    return some.map(lambda s: ", ".join(f"{key}: {json.dumps(value)}" for key, value in s.items()))


def _values(default: Any, handed: tuple[Setting, str] | None) -> st.SearchStrategy[Any] | None:
    if isinstance(default, dict) or (isinstance(default, str) and default.startswith("=")):
        return None
    if handed is not None:
        return values(*handed)
    if isinstance(default, bool):
        return st.booleans()
    if isinstance(default, int):
        return st.integers(1, 2 * default)
    return st.floats(default / 2, default * 2) if isinstance(default, float) else None


def _handed(nodes: dict[str, Any]) -> Iterator[tuple[str, tuple[Setting, str]]]:
    """The settings of ops that are given as `$name`, and their ops, by that name."""
    for node in nodes.values():
        if isinstance(node, dict) and node.get("op") in registry():
            for s in registry()[node["op"]].settings:
                if str(node.get(s.name)).startswith("$"):
                    yield node[s.name][1:], (s, node["op"])
