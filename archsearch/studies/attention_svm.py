"""Does one layer of attention, trained by gradient descent, become a support vector machine over tokens?

    python -m archsearch.studies.attention_svm -o plot.svg [--seed 0] [--steps 1000] [--json out.json]

The layer reads tokens x_t of an input with the weights softmax(X W z) and answers vᵀ Xᵀ softmax(X W z); W alone is
trained, by normalised gradient descent on the logistic loss. Its direction tends to that of

    min ‖W‖    with (x_opt − x_t)ᵀ W z ≥ 1 for every other token t of every input (Att-SVM)

where opt is the token that the layer comes to select (Tarzanagh, Li, Thrampoulidis and Oymak 2023, arXiv:2308.16898,
theorems 2 and 3; with a product of keys and queries in place of W it is another norm). Prints the cosine of the two
directions over training, and draws it.

Legend of shapes: N inputs, T tokens, D features.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
from scipy.optimize import nnls
from torch import Tensor

from archsearch.studies.plot import line_plot

__all__ = ["Course", "margin_direction", "study"]

FINAL = 0.95


@dataclass(frozen=True)
class Course:
    """What training did.

    Args:
        steps: those that were looked at.
        selected: cosine of W and the maximal margin over the tokens selected in the end, at each of them.
        best: likewise over the tokens of the highest score.
        losses: logistic loss; shares: mean weight of the selected tokens.
        agree: whether the selected tokens are those of the highest score.
    """

    steps: tuple[int, ...]
    selected: tuple[float, ...]
    best: tuple[float, ...]
    losses: tuple[float, ...]
    shares: tuple[float, ...]
    agree: bool


def margin_direction(x: Tensor, z: Tensor, chosen: Tensor) -> Tensor:
    """The W `(D, D)` of least norm under which the chosen token of every input leads every other by a margin of 1.

    Least distance programming by non-negative least squares (Lawson and Hanson 1974, chapter 23.4).

    Args:
        x: `(N, T, D)`; z: queries `(N, D)`; chosen: `(N,)`.

    Raises:
        ValueError: no W separates the chosen tokens.
    """
    n, t, d = x.shape
    others = torch.ones(n, t, dtype=torch.bool).scatter(1, chosen[:, None], False)
    lead = x[torch.arange(n), chosen].unsqueeze(1) - x
    rows = torch.einsum("ntd,ne->ntde", lead, z)[others].flatten(1).double().numpy()
    # All happens in the span of the constraints, whose inner products are enough.
    values, vectors = np.linalg.eigh(rows @ rows.T)
    kept = values > values.max() * 1e-12
    inside = vectors[:, kept] * np.sqrt(values[kept])
    system = np.vstack([inside.T, np.ones(len(rows))])
    target = np.zeros(len(system))
    target[-1] = 1.0
    weights, distance = nnls(system, target, maxiter=50 * len(rows))
    if distance < 1e-9:
        raise ValueError("the chosen tokens must be separable from the others, but no W separates them")
    return torch.from_numpy(rows.T @ weights / (1.0 - weights.sum())).view(d, d)


def study(
    *, inputs: int = 6, tokens: int = 8, features: int = 12, steps: int = 1000, rate: float = 0.2, seed: int = 0
) -> Course:
    """Trains the layer on random tokens of length 1 and random labels, and compares directions as it goes."""
    generator = torch.Generator().manual_seed(seed)

    def draw(*shape: int) -> Tensor:
        found = torch.randn(shape, generator=generator, dtype=torch.float64)
        scaled: Tensor = found / found.norm(dim=-1, keepdim=True)
        return scaled

    x, z, v = draw(inputs, tokens, features), draw(inputs, features), draw(features)
    y = torch.where(torch.rand(inputs, generator=generator) < 0.5, -1.0, 1.0).double()
    w = torch.zeros(features, features, dtype=torch.float64)
    scores = y[:, None] * (x @ v)
    looked = sorted({round(s) for s in np.geomspace(1, steps, 60)})
    taken: list[tuple[int, Tensor, float, float]] = []
    for step in range(1, steps + 1):
        weights = torch.softmax(torch.einsum("ntd,nd->nt", x, z @ w.mT), 1)
        margins = (weights * scores).sum(1)
        # Of log(1 + exp(−margin)), through the softmax.
        pull = -torch.sigmoid(-margins)[:, None] * weights * (scores - margins[:, None]) / inputs
        # Pulls of an input sum to zero: around its leading token the gradient keeps its digits, however small it is.
        around = x - x[torch.arange(inputs), weights.argmax(1)].unsqueeze(1)
        gradient = (pull.unsqueeze(1) @ around).squeeze(1).mT @ z
        w = w - rate * gradient / gradient.norm().clamp(min=1e-300)
        if step in looked:
            loss = float(torch.nn.functional.softplus(-margins).mean())
            taken.append((step, w, loss, float(weights.max(1).values.mean())))
    chosen, best = torch.einsum("ntd,de,ne->nt", x, w, z).argmax(1), scores.argmax(1)
    toward, ideal = margin_direction(x, z, chosen), margin_direction(x, z, best)
    return Course(
        steps=tuple(s for s, *_ in taken),
        selected=tuple(_cosine(w, toward) for _, w, *_ in taken),
        best=tuple(_cosine(w, ideal) for _, w, *_ in taken),
        losses=tuple(loss for *_, loss, _ in taken),
        shares=tuple(share for *_, share in taken),
        agree=bool((chosen == best).all()),
    )


def _cosine(a: Tensor, b: Tensor) -> float:
    return float((a * b).sum() / (a.norm() * b.norm()).clamp(min=1e-300))


def main(arguments: Sequence[str] | None = None) -> None:
    """The command."""
    parser = argparse.ArgumentParser(prog="python -m archsearch.studies.attention_svm", description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("-o", "--output", type=Path, help="where to draw it, as SVG")
    parser.add_argument("--json", type=Path, help="where to write the whole course")
    for name, default in (("seed", 0), ("steps", 1000), ("inputs", 6), ("tokens", 8), ("features", 12)):
        parser.add_argument(f"--{name}", type=int, default=default)
    given = parser.parse_args(arguments)
    if min(given.steps, given.inputs, given.features) < 1 or given.tokens < 2:
        parser.error("steps, inputs and features must be at least 1, and tokens at least 2")
    course = study(
        inputs=given.inputs, tokens=given.tokens, features=given.features, steps=given.steps, seed=given.seed
    )
    if given.json:
        given.json.write_text(json.dumps(asdict(course)), encoding="utf-8")
    if given.output:
        lines = {"the tokens it selects": course.selected, "the tokens of the highest score": course.best}
        drawn = line_plot(course.steps, lines, title="W of attention and the maximal margin", x="step", y="cosine")
        given.output.write_text(drawn, encoding="utf-8")
    last = {"cosine": course.selected[-1], "cosine_best": course.best[-1], "loss": course.losses[-1]}
    print(json.dumps({**last, "share": course.shares[-1], "agree": course.agree, "steps": course.steps[-1]}))


if __name__ == "__main__":
    main()
