"""The network that tasks are tried with: two layers of a mixer and a perceptron, width 64."""

from __future__ import annotations

import random

from archsearch import content
from archsearch.graph.architecture import Architecture
from archsearch.graph.space import SearchSpace
from archsearch.ops.registry import registry

__all__ = ["mixer"]

LAYERS = """
version: 1
name: two_layers
summary: Two layers of a mixer and a perceptron.
define:
  layer:
    nodes:
      norm: {op: rms_norm, from: in}
      mix: {op: MIXER, from: norm}
      join: {op: add, from: [in, mix]}
      norm2: {op: rms_norm, from: join}
      mlp: {op: mlp, expand: 4, from: norm2}
      out: {op: add, from: [join, mlp]}
graph:
  nodes:
    body: {repeat: layer, times: 2, from: in}
    out: {op: rms_norm, from: body}
scale: {width: 64}
"""


def mixer(name: str, settings: str = "", before: str = "") -> Architecture:
    """With the op or block of that name, its settings as text (`length: 40`), and perhaps another op before it."""
    text = LAYERS.replace("MIXER", f"{name}, {settings}" if settings else name)
    if before:
        text = text.replace(
            "from: norm}\n      join", f"from: before}}\n      before: {{op: {before}, from: norm}}\n      join"
        )
    return SearchSpace.parse(text, registry(), definitions=content.block_files()).sample(random.Random(0)).architecture
