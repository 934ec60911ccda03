"""Random small spaces, as YAML: nested choices, shared and instance choices, repeats, patterns, free wiring."""

from __future__ import annotations

import random

from archsearch.graph.space import SearchSpace
from tests.graph.language_toys import read


def random_text(rng: random.Random) -> str:
    """A space of toys with up to a few thousand points."""
    text = ["choices: {wide: {choose: [8, 16, 32]}, deep: {int: [1, 2]}}", "define:"]
    names = ["leaf"]
    text += ["  leaf: {op: {choose: [tanh, sigmoid]}}"]
    for i in range(rng.randint(0, 2)):
        text += _definition(f"d{i}", list(names), rng)
        names.append(f"d{i}")
    text += ["graph:", "  nodes:"]
    text += [f"    a: {_node(names, ['in'], rng)}", f"    b: {_node(names, ['in', 'a'], rng)}"]
    text += ["    out: {op: add, from: {any_of: [in, a, b], at_least: 2}}" if rng.random() < 0.5 else
             "    out: {op: add, from: [a, b]}"]  # fmt: skip
    return "\n".join(text) + "\n"


def random_space(rng: random.Random, most: int = 600) -> SearchSpace:
    """A random space with at most `most` points."""
    while True:
        space = read(random_text(rng))
        if space.size().count <= most:
            return space


def _definition(name: str, names: list[str], rng: random.Random) -> list[str]:
    lines = [
        f"  {name}:",
        "    params: {k: {choose: [1, 2]}, n: 1}",
        "    choices: {own: {choose: [2, 3]}}",
        "    nodes:",
    ]
    lines += [f"      x: {_node(names, ['in'], rng, ('$own', '$k'))}"]
    lines += [f"      y: {_node(names, ['in', 'x'], rng, ('$own', '$n'))}"]
    return [*lines, "      out: {op: add, from: [x, y]}"]


def _node(names: list[str], before: list[str], rng: random.Random, values: tuple[str, ...] = ()) -> str:
    """One node that keeps the width, and what it reads."""
    read = f"{{choose: [{', '.join(before)}]}}" if len(before) > 1 and rng.random() < 0.4 else rng.choice(before)
    kind = rng.choice(["op", "choose", "repeat", "mlp", "definition"])
    expand = rng.choice([*values, "$deep", "{int: [1, 3]}", "{choose: [1, 4]}", "2"])
    if kind == "mlp":
        return f"{{op: mlp, expand: {expand}, from: {read}}}"
    if kind == "definition":
        name = rng.choice(names)
        given = f", n: {rng.choice(['{int: [1, 2]}', '$deep', '2'])}" if name != "leaf" else ""
        return f"{{op: {name}{given}, from: {read}}}"
    if kind == "repeat":
        what = rng.choice([*names, f"[leaf, {names[-1]}]", f"{{choose: {{p: leaf, q: [{names[-1]}, leaf]}}}}"])
        times = rng.choice(["2", "{int: [1, 2]}", "{choose: [1, 3]}", "$deep", *values])
        tie = rng.choice(["none", "choices", "weights"])
        return f"{{repeat: {what}, times: {times}, tie: {tie}, from: {read}}}"
    if kind == "choose":
        return (
            f"{{choose: {{p: {{op: mlp, expand: {expand}}}, q: {{op: tanh}}, r: {rng.choice(names)}}}, from: {read}}}"
        )
    return f"{{op: {{choose: [tanh, identity]}}, from: {read}}}"
