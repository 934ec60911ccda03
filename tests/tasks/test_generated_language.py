"""Languages of known entropy: that what is said to be known is true."""

from __future__ import annotations

import itertools
import math
from typing import Any

import pytest
import torch
from torch import Tensor

from archsearch.errors import ConfigError
from archsearch.tasks.generated_language import GeneratedLanguage, _language
from archsearch.tasks.registry import make

SMALL: dict[str, dict[str, Any]] = {
    "hmm": {"kind": "hmm", "vocabulary": 3, "states": 4, "concentration": 0.5},
    "markov": {"kind": "markov", "vocabulary": 3, "order": 2, "concentration": 0.5},
    "first order": {"kind": "markov", "vocabulary": 3, "order": 1, "concentration": 0.5},
    "pcfg": {"kind": "pcfg", "vocabulary": 3, "states": 3, "depth": 2, "concentration": 0.5},
    "deep pcfg": {"kind": "pcfg", "vocabulary": 3, "states": 2, "depth": 3, "concentration": 0.5, "branching": 0.6},
}


def language(settings: dict[str, Any]) -> Any:
    task = make("generated_language", settings)
    assert isinstance(task, GeneratedLanguage)
    return _language(task)


def given_the_first(settings: dict[str, Any], rows: Tensor) -> Tensor:
    """The probability of each row given its first token."""
    known = language(settings)
    return torch.tensor([2.0 ** -(known.bits(row.unsqueeze(0)) * (len(row) - 1)) for row in rows])


@pytest.mark.parametrize("name", SMALL)
def test_probabilities_of_all_that_may_follow_add_up_to_one(name: str) -> None:
    for first in (1, 2):
        rows = torch.tensor([(first, *rest) for rest in itertools.product(range(3), repeat=5)])
        assert float(given_the_first(SMALL[name], rows).sum()) == pytest.approx(1.0, abs=1e-5)


@pytest.mark.parametrize("name", SMALL)
def test_what_is_drawn_comes_as_often_as_is_said(name: str) -> None:
    drawn = language(SMALL[name]).sample(200_000, 4, torch.Generator().manual_seed(0))
    drawn = drawn[drawn[:, 0] == int(drawn[:, 0].mode().values)]
    rows, counts = drawn.unique(dim=0, return_counts=True)
    p = given_the_first(SMALL[name], rows)
    deviation = (counts / len(drawn) - p) / (p * (1 - p) / len(drawn)).sqrt().clamp(min=1e-9)
    assert float(p.sum()) == pytest.approx(1.0, abs=1e-3)
    assert float(deviation.abs().max()) < 5.0


def test_the_forward_algorithm_sums_over_all_paths() -> None:
    known = language(SMALL["hmm"])
    row = [0, 2, 1, 2]
    start, moves, emits = known._chain.start, known._chain.table, known.emits

    def p(tokens: list[int]) -> float:
        total = 0.0
        for path in itertools.product(range(4), repeat=len(tokens)):
            one = float(start[path[0]])
            for t, (state, token) in enumerate(zip(path, tokens, strict=True)):
                one *= float(emits[state, token]) * (float(moves[path[t - 1], state]) if t else 1.0)
            total += one
        return total

    assert known.bits(torch.tensor([row])) == pytest.approx(-math.log2(p(row) / p(row[:1])) / 3)


@pytest.mark.parametrize("order", [1, 2, 3])
def test_n_grams_of_the_right_order_come_within_a_hundredth_of_the_ceiling(order: int) -> None:
    settings = {"kind": "markov", "vocabulary": 8, "order": order, "length": 128, "concentration": 0.3}
    task = make("generated_language", {**settings, "examples_train": 6000, "examples_validation": 1000})
    bits = {n: n_gram_bits(task, n) for n in range(order + 1)}
    assert task.ceiling is not None
    assert bits[order] == pytest.approx(task.ceiling, rel=0.01)
    assert bits[order - 1] > 1.05 * task.ceiling, "and shorter ones do not"


def n_gram_bits(task: Any, n: int) -> float:
    """Bits a token of the validation set, each predicted from up to `n` before it by counts of the training set."""
    size, total = task.vocabulary, 0.0
    rows, judged = ((torch.cat([e.inputs, e.targets[:, -1:]], 1)) for e in map(task.examples, ("train", "validation")))
    for t in range(1, judged.shape[1]):
        seen = min(n, t)
        if t <= n:
            powers = size ** torch.arange(seen, -1, -1)
            windows = rows[:, : seen + 1] if seen < n else rows.unfold(1, n + 1, 1).flatten(0, 1)
            counts = (windows * powers).sum(1).bincount(minlength=size ** (seen + 1)).view(-1, size) + 1e-2
            table = -(counts / counts.sum(1, keepdim=True)).double().log2()
        if n == 0 and t == 1:
            counts = rows.flatten().bincount(minlength=size).view(1, size)
            table = -(counts / counts.sum()).double().log2()
        context = (judged[:, t - seen : t] * size ** torch.arange(seen - 1, -1, -1)).sum(1)
        total += float(table[context, judged[:, t]].sum())
    return total / (judged.numel() - len(judged))


def test_the_order_of_words_turns_sentences_round_and_keeps_their_entropy() -> None:
    base = {"kind": "pcfg", "vocabulary": 12, "states": 6, "length": 64}
    first, last, free = (
        make("generated_language", {**base, "word_order": o}) for o in ("head_first", "head_last", "free")
    )
    assert first.ceiling is not None
    assert first.ceiling == pytest.approx(last.ceiling, rel=0.02)
    assert free.ceiling is not None
    assert free.ceiling > 1.03 * first.ceiling
    assert first.digest() != last.digest()


def test_a_mixed_up_language_is_known_less_well() -> None:
    still, quick = (make("generated_language", {"memory": m, "length": 32}) for m in (50.0, 1.0))
    assert still.ceiling is not None
    assert quick.ceiling is not None
    assert still.ceiling < quick.ceiling


def test_as_many_sequences_as_are_asked_for_and_the_same_language() -> None:
    few, many = (make("generated_language", {"examples_train": n, "length": 16}) for n in (10, 20_000))
    assert len(many.examples("train")) == 20_000
    assert torch.equal(few.examples("validation").inputs, many.examples("validation").inputs)
    assert few.ceiling == many.ceiling


def test_too_many_contexts_are_refused() -> None:
    with pytest.raises(
        ConfigError, match=r"`vocabulary` to the power of `order` must be at most 65,536, but got 32\^4"
    ):
        make("generated_language", {"kind": "markov", "order": 4})
