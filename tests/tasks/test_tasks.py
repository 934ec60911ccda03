"""What is particular to each task."""

from __future__ import annotations

import pydoc_data.topics

import pytest
import torch

from archsearch.tasks.base import Examples
from archsearch.tasks.registry import make


def test_recall_masks_the_values_of_keys_seen_before_and_no_others() -> None:
    task = make("in_context_recall", {"vocabulary": 8, "length": 20, "examples_train": 50})
    e = task.examples("train")
    assert e.mask is not None
    for tokens, targets, mask in zip(e.inputs.tolist(), e.targets.tolist(), e.mask.tolist(), strict=True):
        seen: dict[int, int] = {}
        for t in range(0, 20, 2):
            key, value = tokens[t], tokens[t + 1]
            assert key < 4 <= value, "keys are the lower half, values the upper"
            assert targets[t] == value
            assert mask[t] == (key in seen)
            assert not mask[t + 1]
            assert seen.setdefault(key, value) == value, "a key keeps its value"
        assert tokens[1:] == targets[:-1]


def test_recall_can_train_on_every_next_token_and_is_judged_on_recall_all_the_same() -> None:
    recall, everything = (make("in_context_recall", {"targets": t, "length": 16}) for t in ("recall", "all"))
    assert everything.examples("train").mask is None
    assert recall.examples("train").mask is not None
    for split in ("validation", "test"):
        assert torch.equal(recall.examples(split).mask, everything.examples(split).mask)


def test_recall_keeps_its_test_when_there_is_more_to_train_on() -> None:
    few, many = (make("in_context_recall", {"examples_train": n, "length": 32}) for n in (100, 5000))
    for split in ("validation", "test"):
        assert torch.equal(few.examples(split).inputs, many.examples(split).inputs)


def test_bytes_come_in_overlapping_views_to_train_on_and_disjoint_windows_to_score() -> None:
    task = make("byte_language_model", {"length": 32})
    train, validation = task.examples("train"), task.examples("validation")
    assert train.inputs.untyped_storage().nbytes() < 8 * 2 * len(train), "windows share the text"
    assert torch.equal(train.inputs[0, 1:], train.inputs[1, :-1])
    assert torch.equal(train.inputs[:100, 1:], train.targets[:100, :-1])
    text = bytes(validation.inputs[0].tolist())
    assert text.decode()


def test_bytes_hold_each_paragraph_of_the_manual_once() -> None:
    from archsearch.tasks.byte_language_model import _texts

    paragraphs = {p for topic in pydoc_data.topics.topics.values() for p in topic.split("\n\n")}
    size = sum(map(len, _texts().values()))
    assert size <= sum(len(p.encode()) + 2 for p in paragraphs)
    assert size > 0.95 * sum(len(p.encode()) for p in paragraphs)
    assert len(_texts()["test"]) > 0.05 * size


def test_overlapping_views_stay_views_when_they_move() -> None:
    text = torch.arange(100)
    windows = text.unfold(0, 11, 1)
    moved = Examples(windows[:, :-1], windows[:, 1:]).to("meta")
    assert moved.inputs.shape == (90, 10)
    assert moved.inputs.stride() == (1, 1)
    assert moved.targets.storage_offset() == 1


def test_digits_are_cut_into_patches_row_by_row() -> None:
    whole, halves = (make("digits", {"patch": p}).examples("train") for p in (8, 4))
    image = whole.inputs[0, 0].view(8, 8)
    assert torch.equal(halves.inputs[0, 1].view(4, 4), image[:4, 4:])
    assert torch.equal(halves.inputs[0, 2].view(4, 4), image[4:, :4])
    assert whole.inputs.min() >= -1.0
    assert whole.inputs.max() <= 1.0


@pytest.mark.parametrize("split", ["train", "validation", "test"])
def test_digits_have_their_share_in_every_split(split: str) -> None:
    share = make("digits", {}).examples(split).targets.bincount(minlength=10) / len(make("digits", {}).examples(split))
    assert share.min() > 0.09
    assert share.max() < 0.11
