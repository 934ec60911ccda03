"""What the tasks of recall and copying ask, told apart from how they are drawn: by reading their sequences."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest
import torch

from archsearch.errors import ConfigError
from archsearch.tasks.base import Examples
from archsearch.tasks.digests import row_hashes
from archsearch.tasks.draws import distinct, first_places, packed
from archsearch.tasks.registry import make

FEW = {"examples_train": 40, "examples_validation": 40, "examples_test": 40}
Row = tuple[list[int], list[int], list[bool]]


def rows(e: Examples) -> Iterator[Row]:
    assert e.mask is not None
    yield from zip(e.inputs.tolist(), e.targets.tolist(), e.mask.tolist(), strict=True)


# ---- parts -----------------------------------------------------------------------------------------------------------


def test_distinct_numbers_come_in_every_order_alike() -> None:
    drawn = distinct(60_000, 3, 4, torch.Generator().manual_seed(0))
    seen = Counter(map(tuple, drawn.tolist()))
    assert len(seen) == 24, "all arrangements of three of four, and no other"
    assert min(seen.values()) > 0.9 * 2500
    assert max(seen.values()) < 1.1 * 2500
    assert distinct(5, 7, 7, torch.Generator()).sort(1).values.tolist() == [list(range(7))] * 5


@pytest.mark.parametrize("below", [9, 10_000], ids=["table", "sorted"])
def test_first_places(below: int) -> None:
    keys = torch.randint(9, (50, 30), generator=torch.Generator().manual_seed(0))
    for row, first in zip(keys.tolist(), first_places(keys, below).tolist(), strict=True):
        assert first == [row.index(key) for key in row]


def test_packed_rows_are_cut_and_filled() -> None:
    tokens = torch.arange(12).view(2, 3, 2)
    valid = torch.tensor([[[1, 0], [0, 1], [0, 0]], [[1, 1], [1, 1], [1, 0]]]).bool()
    assert packed(tokens, valid, 4, -1).tolist() == [[0, 3, -1, -1], [6, 7, 8, 9]]


# ---- MAD -------------------------------------------------------------------------------------------------------------


def motifs(tokens: list[int], keys: int, padding: int) -> list[tuple[tuple[int, ...], tuple[int, ...], int]]:
    """Key, value and the place of the value's first token, from the tokens alone."""
    found, i = [], 0
    while i < len(tokens) and tokens[i] != padding:
        key, value, start = [], [], i
        while i < len(tokens) and tokens[i] < keys:
            key.append(tokens[i])
            i += 1
        start = i
        while i < len(tokens) and keys <= tokens[i] < padding:
            value.append(tokens[i])
            i += 1
        found.append((tuple(key), tuple(value), start))
    assert set(tokens[i:]) <= {padding}
    return found


@pytest.mark.parametrize("split", ["train", "validation"])
def test_fuzzy_recall_asks_for_the_values_of_motifs_that_stood_there(split: Any) -> None:
    task = make("fuzzy_recall", FEW)
    sizes = set()
    for tokens, targets, mask in rows(task.examples(split)):
        row = [tokens[0], *targets]
        known: dict[tuple[int, ...], tuple[int, ...]] = {}
        asked = set()
        pairs = motifs(row, 7, 15)
        for key, value, start in pairs:
            sizes.add(len(key))
            assert 1 <= len(key) <= 3
            assert 1 <= len(value) <= 3
            assert len(set(key)) == len(key)
            assert len(set(value)) == len(value)
            if key in known:
                asked |= set(range(start - 1, start - 1 + len(value)))
            assert known.setdefault(key, value) == value, "a key keeps its value"
        assert pairs[-1][0] in [key for key, _, _ in pairs[:-1]], "the last key stood there before"
        assert {t for t, m in enumerate(mask) if m} == asked
        assert row.count(15) < 12, "a row is as full as pairs allow"
    assert sizes == ({1, 2, 3} if split == "train" else {3})


def test_fuzzy_recall_trains_on_every_token_but_the_padding() -> None:
    e = make("fuzzy_recall", {**FEW, "targets": "all"}).examples("train")
    assert e.mask is not None
    assert torch.equal(e.mask, e.targets != 15)


def test_noisy_recall_passes_over_noise() -> None:
    task = make("noisy_recall", {**FEW, "noise": 0.4})
    noisy = 0
    for tokens, targets, mask in rows(task.examples("train")):
        seen: dict[int, int] = {}
        for t in range(0, 128, 2):
            key, value = tokens[t : t + 2]
            assert not mask[t + 1]
            if key >= 16:
                assert value >= 16
                assert not mask[t]
                noisy += 1
                continue
            assert key < 8 <= value < 16
            assert targets[t] == value
            assert mask[t] == (key in seen)
            assert seen.setdefault(key, value) == value
    assert noisy / (40 * 64) == pytest.approx(0.4, abs=0.04)


def test_selective_copying_asks_for_all_tokens_but_blanks_in_their_order() -> None:
    places: Counter[int] = Counter()
    for tokens, targets, mask in rows(make("selective_copying", {**FEW, "length": 64, "copies": 5}).examples("train")):
        assert tokens[58] == 15
        assert tokens[59:] == [14] * 5
        copied = [t for t in tokens[:58] if t != 14]
        assert targets[59:] == copied
        assert len(copied) == 5
        assert mask == [False] * 59 + [True] * 5
        places.update(t for t in range(58) if tokens[t] != 14)
    assert len(places) > 50, "blanks lie anywhere"


def test_compression_is_told_from_the_last_step() -> None:
    task = make("compression", FEW)
    e = task.examples("train")
    assert set(e.inputs[:, -1].tolist()) == {15}
    assert torch.equal(e.targets, e.inputs[:, :-1])
    assert task.output.read == "last"
    assert task.output.shape(task.length) == (31,)
    assert not task.causal


def test_compression_can_be_learned() -> None:
    from archsearch.training.measurement import Job, TrainingSettings
    from archsearch.training.trainer import run
    from tests.build.graphs import graph

    gru = graph(64, {"core": ("gru_core", {}, "in")}, out="core")
    training = TrainingSettings(steps=400, batch=32, learning_rates=(1e-2,), device="cpu", reports=1)
    settings = {"vocabulary": 5, "length": 6, "examples_train": 800, "examples_validation": 100, "examples_test": 100}
    measured = run(Job("a", gru.to_dict(), "compression", settings, training))
    assert measured.score is not None
    assert measured.score > 0.95


def test_memorization_shows_one_map_in_all_splits_and_no_sequence_twice() -> None:
    task = make("memorization", {"examples_validation": 300, "examples_test": 300})
    known: dict[int, int] = {}
    for split in ("train", "validation", "test"):
        for tokens, targets, mask in rows(task.examples(split)):
            assert tokens[1::2] == [255] * 16, "a value is asked for and never shown"
            assert mask == [False, True] * 16
            for key, value in zip(tokens[::2], targets[1::2], strict=True):
                assert key < 127 <= value < 255
                assert known.setdefault(key, value) == value
    assert len(known) == 127
    assert len(set(known.values())) == 127
    assert not row_hashes(task.examples("train")) & row_hashes(task.examples("test"))
    assert make("memorization", {"seed": 1}).value_of().tolist() != task.value_of().tolist()  # type: ignore[attr-defined]


# ---- others ----------------------------------------------------------------------------------------------------------


def test_multi_query_recall_asks_every_key_once_behind_the_pairs() -> None:
    task = make("multi_query_recall", {**FEW, "vocabulary": 64, "length": 64, "pairs": 8})
    for tokens, targets, mask in rows(task.examples("train")):
        value_of = dict(zip(tokens[0:16:2], tokens[1:16:2], strict=True))
        assert len(value_of) == 8
        assert all(0 < key < 32 <= value for key, value in value_of.items())
        asked = [t for t, m in enumerate(mask) if m]
        assert all(t >= 16 and t % 2 == 0 for t in asked)
        assert sorted(tokens[t] for t in asked) == sorted(value_of)
        assert all(targets[t] == value_of[tokens[t]] for t in asked)


def test_multi_query_recall_asks_at_distances_by_a_power_law() -> None:
    for power in (0.01, 1.0):
        e = make("multi_query_recall", {"examples_train": 8000, "power": power, "pairs": 1}).examples("train")
        assert e.mask is not None
        slot = (e.mask.nonzero()[:, 1] - 2) // 2
        odds = torch.arange(1, 32) ** (power - 1.0)
        torch.testing.assert_close(slot.bincount(minlength=31) / 8000, odds / odds.sum(), atol=0.015, rtol=0.0)


def test_induction_heads_asks_what_followed_the_special_token() -> None:
    task = make("induction_heads", {**FEW, "length": 20, "test_length": 50})
    for split, length in (("train", 20), ("validation", 50), ("test", 50)):
        for tokens, targets, mask in rows(task.examples(split)):  # type: ignore[arg-type]
            assert len(tokens) == length
            assert tokens.count(15) == 2
            assert tokens[-1] == 15
            assert targets[-1] == tokens[tokens.index(15) + 1] != 15
            assert mask == [False] * (length - 1) + [True]


def test_copying_asks_for_the_string_again() -> None:
    settings = {"shortest": 5, "longest": 8, "test_shortest": 9, "test_longest": 12}
    task = make("copying", {**FEW, **settings})
    for split, sizes in (("train", range(5, 9)), ("test", range(9, 13))):
        found = set()
        for tokens, targets, mask in rows(task.examples(split)):  # type: ignore[arg-type]
            size = tokens.index(14)
            found.add(size)
            assert len(tokens) == 2 * sizes[-1]
            assert targets[size : 2 * size] == tokens[:size]
            assert [tokens[0], *targets][2 * size + 1 :] == [15] * (2 * (sizes[-1] - size))
            assert [t for t, m in enumerate(mask) if m] == list(range(size, 2 * size))
        assert found == set(sizes)


@pytest.mark.parametrize(
    ("task", "settings", "message"),
    [
        ("fuzzy_recall", {"length": 10}, "`length` must be at least 11 for two pairs to fit, but got 10"),
        ("fuzzy_recall", {"vocabulary": 6}, "motifs must have at most 2 tokens with this vocabulary, but got 3"),
        ("noisy_recall", {"noise_vocabulary": 30}, "must be at least 4 more than `noise_vocabulary`, but got 2 more"),
        ("noisy_recall", {"length": 9}, "`length` must be even, but got 9"),
        ("selective_copying", {"copies": 128}, "`length` must be at least 257 for 128 copies, but got 256"),
        ("memorization", {"length": 9}, "`length` must be even, but got 9"),
        ("multi_query_recall", {"pairs": 17}, "`pairs` must be at most 16, a quarter of `length`, but got 17"),
        ("multi_query_recall", {"vocabulary": 8}, "`pairs` must be at most 3, one for each key, but got 4"),
        ("copying", {"shortest": 17}, "`shortest` must be at most `longest`, but got 17 and 16"),
        ("copying", {"test_shortest": 17}, "`test_shortest` must be at most `test_longest`, but got 17 and 16"),
    ],
)
def test_settings_at_odds_are_refused(task: str, settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        make(task, settings)
    assert message in str(caught.value)


@pytest.mark.parametrize(
    ("task", "settings"),
    [
        ("fuzzy_recall", {"length": 11}),
        ("noisy_recall", {"length": 8, "vocabulary": 24, "noise": 0.0}),
        ("selective_copying", {"length": 33}),
        ("multi_query_recall", {"length": 16}),
        ("induction_heads", {"length": 3, "test_length": 4, "vocabulary": 300}),
        ("copying", {"shortest": 5, "test_longest": 40}),
    ],
)
def test_settings_at_their_limits_give_data(task: str, settings: dict[str, Any]) -> None:
    from archsearch.tasks import contract

    contract.check(make(task, {**FEW, **settings}), ("train", "validation", "test"))
