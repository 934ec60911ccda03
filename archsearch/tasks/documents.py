"""Texts that people wrote: which of them are nearly alike, and how they are split so that alike ones stay together."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from archsearch.tasks.base import Split

__all__ = ["alike", "blocks", "by_file", "in_parts", "line_marks"]

BLOCKS = 40
"""A text is cut into so many blocks; of every ten in a row the fifth is for validation, the tenth for the test."""
SHARE = 0.5
"""Two documents are alike if one has so large a share of its marks in common with the other."""
COMMON = 64
"""A mark that so many documents have says nothing of any of them."""
WORDS = 5
"""A mark of a paragraph is so many words in a row."""
EVALUATED = 0.1
"""The share of the bytes that validation has, and the test."""


def alike(marks: Sequence[NDArray[np.int64]]) -> list[int]:
    """For each document the first one that it is alike with, straight or through others; itself if there is none.

    Two are alike if at least half the marks (hashes of lines or of words in a row) of the smaller are in the other,
    marks left aside that many documents have.
    """
    owners = np.repeat(np.arange(len(marks)), [len(np.unique(m)) for m in marks])
    values = np.concatenate([np.unique(m) for m in marks]) if marks else np.zeros(0, dtype=np.int64)
    order = np.argsort(values, kind="stable")
    values, owners = values[order], owners[order]
    _, kinds, times = np.unique(values, return_inverse=True, return_counts=True)
    rare = times[kinds] < COMMON
    values, owners = values[rare], owners[rare]
    sizes = np.bincount(owners, minlength=len(marks))
    pairs = [owners[:-d][same] * len(marks) + owners[d:][same] for d, same in _shifts(values)]
    codes, shared = np.unique(np.concatenate(pairs) if pairs else values[:0], return_counts=True)
    a, b = codes // max(len(marks), 1), codes % max(len(marks), 1)
    close = shared >= SHARE * np.minimum(sizes[a], sizes[b])
    return _joined(len(marks), zip(a[close].tolist(), b[close].tolist(), strict=True))


def by_file(documents: Sequence[bytes], seed: int, limit: int | None = None) -> dict[Split, bytes]:
    """The documents in random order, a tenth of the bytes for the test and a tenth for validation; alike ones together.

    Args:
        limit: stop when so many bytes are taken.
    """
    first = alike([line_marks(d) for d in documents])
    groups: dict[int, list[int]] = {}
    for number, group in enumerate(first):
        groups.setdefault(group, []).append(number)
    sizes = {g: sum(len(documents[n]) for n in members) for g, members in groups.items()}
    mixed = [list(groups)[i] for i in torch.randperm(len(groups), generator=torch.Generator().manual_seed(seed))]
    kept = _until(mixed, sizes, limit)
    share = EVALUATED * sum(sizes[g] for g in kept)
    filled: dict[Split, list[int]] = {"test": [], "validation": [], "train": []}
    room: dict[Split, float] = {"test": share, "validation": share}
    for g in kept:
        roomy: list[Split] = [s for s, left in room.items() if sizes[g] <= 1.5 * left]
        split = roomy[0] if roomy else "train"
        filled[split].append(g)
        if split in room:
            room[split] -= sizes[g]
            if room[split] < 0.25 * share:
                del room[split]
    return {s: b"\n".join(documents[n] for g in some for n in groups[g]) for s, some in filled.items()}


def in_parts(documents: Iterable[bytes]) -> dict[Split, bytes]:
    """Every document cut into parts along its length; a paragraph much like one of another split is in one of them."""
    pieces, sides = [], []
    for document in documents:
        own = _pieces(document)
        pieces += own
        sides += blocks([len(p) for p in own])
    rank: dict[Split, int] = {"train": 0, "validation": 1, "test": 2}
    first = alike([_word_marks(p) for p in pieces])
    best: dict[int, Split] = {}
    for group, side in zip(first, sides, strict=True):
        best[group] = min(best.get(group, side), side, key=rank.__getitem__)
    out: dict[Split, list[bytes]] = {s: [] for s in rank}
    for piece, side, group in zip(pieces, sides, first, strict=True):
        if best[group] == side:
            out[side].append(piece)
    return {side: b"".join(some) for side, some in out.items()}


def blocks(sizes: Sequence[int]) -> list[Split]:
    """The split of each piece of a text, from the sizes of the pieces in order."""
    total, position, out = max(sum(sizes), 1), 0, list[Split]()
    for size in sizes:
        block = position * BLOCKS // total
        out.append("validation" if block % 10 == 4 else "test" if block % 10 == 9 else "train")
        position += size
    return out


def line_marks(document: bytes) -> NDArray[np.int64]:
    """A hash for each line that says something."""
    lines = (line.strip() for line in document.splitlines())
    return np.array([hash(line) for line in lines if len(line) >= 12], dtype=np.int64)


def _word_marks(piece: bytes) -> NDArray[np.int64]:
    words = re.findall(rb"\w+", piece.lower())
    return np.array([hash(tuple(words[i : i + WORDS])) for i in range(len(words) - WORDS + 1)], dtype=np.int64)


def _pieces(document: bytes) -> list[bytes]:
    """Paragraphs; one that is longer than half a block is cut at its lines, and such a line anywhere."""
    longest = max(len(document) // (2 * BLOCKS), 1)
    out = []
    for paragraph in re.findall(rb"(?s).+?(?:\r?\n\s*\n|\Z)", document):
        short = len(paragraph) <= longest
        for line in [paragraph] if short else paragraph.splitlines(keepends=True):
            out += [line] if len(line) <= longest else [line[i : i + longest] for i in range(0, len(line), longest)]
    return out


def _shifts(values: NDArray[np.int64]) -> Iterable[tuple[int, NDArray[np.bool_]]]:
    """Which values equal the one d places on, for every d at which any does; the values are in order."""
    for d in range(1, COMMON):
        same = values[:-d] == values[d:]
        if not same.any():
            return
        yield d, same


def _joined(count: int, pairs: Iterable[tuple[int, int]]) -> list[int]:
    above = list(range(count))

    def top(i: int) -> int:
        while above[i] != i:
            above[i] = above[above[i]]
            i = above[i]
        return i

    for a, b in pairs:
        low, high = sorted((top(a), top(b)))
        above[high] = low
    return [top(i) for i in range(count)]


def _until(groups: list[int], sizes: dict[int, int], limit: int | None) -> list[int]:
    if limit is None:
        return groups
    kept, total = [], 0
    for g in groups:
        if total + sizes[g] <= limit:
            kept.append(g)
            total += sizes[g]
    return kept
