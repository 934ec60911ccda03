"""Scores of language models in bits a token."""

from __future__ import annotations

import math

from torch import Tensor

from archsearch.tasks.scoring import class_sums

__all__ = ["bit_sums", "unigram_bits"]


def bit_sums(outputs: Tensor, targets: Tensor, mask: Tensor | None) -> tuple[Tensor, Tensor, Tensor]:
    """Bits, nats and number of the targets that count, per copy; see `class_sums`."""
    _, loss, count = class_sums(outputs, targets, mask)
    return loss / math.log(2.0), loss, count


def unigram_bits(train: Tensor, validation: Tensor, vocabulary: int) -> float:
    """Bits a token of one text under the frequencies in another, each counted once more than it occurs."""
    counts = train.flatten().bincount(minlength=vocabulary) + 1.0
    bits = -(counts.double() / counts.double().sum()).log2()
    return float(bits[validation.flatten()].mean())
