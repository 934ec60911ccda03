"""Fuzzy recall: keys and values are motifs of several tokens, so that a key has to be put together before it is found.

A sequence is a row of key and value motifs, as many as fit, with padding at the end. Keys are made of other tokens than
values, and no token comes twice in a motif. In training both have from one token to their longest; validation and test
have keys of the longest kind only, so that the end of a key can be told. The last key stood in the sequence before.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor

from archsearch.tasks.base import Examples, Split
from archsearch.tasks.draws import distinct, first_places, packed
from archsearch.tasks.settings import setting
from archsearch.tasks.tokens import RecallTask

__all__ = ["FuzzyRecall"]

NONE = -(2**30)
"""Stands for no token, and stays below 0 whatever is marked."""


@dataclass(frozen=True)
class FuzzyRecall(RecallTask):
    """Recall the motif that followed a motif earlier in the same sequence."""

    name: ClassVar[str] = "fuzzy_recall"
    summary: ClassVar[str] = "Recall the motif of tokens that followed a motif earlier in the sequence (MAD)."
    paper: ClassVar[str] = "Poli et al. 2024, Mechanistic Design and Scaling of Hybrid Architectures, arXiv:2403.17844"
    metric: ClassVar[str] = "accuracy"
    maximize: ClassVar[bool] = True
    training: ClassVar[Mapping[str, Any]] = {"steps": 1500, "batch": 32, "learning_rates": (1.5e-3,)}
    ladder: ClassVar[Mapping[str, tuple[Any, ...]]] = {
        "vocabulary": (32, 64, 128),
        "length": (256, 512, 1024),
        "examples_train": (6400, 3200, 1600, 800),
    }

    vocabulary: int = setting(16, low=4, high=4096, help="tokens: keys, as many or one more values, and the padding")
    length: int = setting(128, low=4, high=65536, help="tokens of one sequence")
    key_motif: int = setting(3, low=1, high=4, help="tokens of the longest key")
    value_motif: int = setting(3, low=1, high=4, help="tokens of the longest value")

    def __post_init__(self) -> None:
        least, longest = min(self._keys, self._values), max(self.key_motif, self.value_motif)
        self.must(longest <= least, f"motifs must have at most {least} tokens with this vocabulary", longest)
        room = 2 * (self.key_motif + self.value_motif) - 1
        self.must(self.length >= room, f"`length` must be at least {room} for two pairs to fit", self.length)

    @property
    def _keys(self) -> int:
        return (self.vocabulary - 1) // 2

    @property
    def _values(self) -> int:
        return self.vocabulary - 1 - self._keys

    @property
    def chance(self) -> float:
        """All tokens of values are equally frequent."""
        return 1.0 / self._values

    def draw(self, count: int, split: Split, generator: torch.Generator) -> Examples:
        """`(count, length)` tokens, the next one of each, and a mask of the values whose keys stood there before."""
        room, shortest = self.length + 1, 1 if split == "train" else self.key_motif
        places = self._places(room, shortest)
        keys = _motifs(count, places, (shortest, self.key_motif), (0, self._keys), generator)
        values = _motifs(count, places, (1, self.value_motif), (self._keys, self._values), generator)
        first = first_places(_numbers(keys, self._keys), (self._keys + 1) ** self.key_motif)
        pairs = torch.cat([keys, _at(values, first)], 2)
        ends = (pairs >= 0).sum(2).cumsum(1)
        kept = (ends <= room - self.key_motif - self.value_motif).sum(1).clamp(max=places - 1)
        # The pair behind those that are kept is one of them again.
        again = (torch.rand(count, generator=generator) * kept).long()
        source = torch.arange(places).repeat(count, 1).scatter_(1, kept.unsqueeze(1), again.unsqueeze(1))
        pairs = _at(pairs, source)
        stands = torch.arange(places) <= kept.unsqueeze(1)
        seen = first.gather(1, source) < torch.arange(places)
        # Tokens that are asked for are marked by a number that no token has, so that one pass packs both.
        pairs[..., self.key_motif :] += self.vocabulary * seen.unsqueeze(2)
        marked = packed(pairs, (pairs >= 0) & stands.unsqueeze(2), room, self.vocabulary - 1)
        asked = marked >= self.vocabulary
        rows = marked - self.vocabulary * asked
        return self.shifted(rows, asked, split, rows != self.vocabulary - 1)

    def _places(self, room: int, shortest: int) -> int:
        """So many pairs are drawn: a third more than fit on average, or as many as can fit."""
        average = (shortest + self.key_motif + 1 + self.value_motif) / 2
        return min(room // (shortest + 1) + 1, int(4 / 3 * room / average) + 2)


def _motifs(
    count: int, places: int, lengths: tuple[int, int], tokens: tuple[int, int], generator: torch.Generator
) -> Tensor:
    """`(N, P, M)` tokens, no two of a motif alike, and far below 0 behind the end of a motif.

    Args:
        lengths: of the shortest motif and the longest.
        tokens: the first, and how many there are.
    """
    shortest, longest = lengths
    first, many = tokens
    drawn = distinct(count * places, longest, many, generator).view(count, places, longest) + first
    size = torch.randint(shortest, longest + 1, (count, places, 1), generator=generator)
    return drawn.masked_fill_(torch.arange(longest) >= size, NONE)


def _numbers(motifs: Tensor, tokens: int) -> Tensor:
    """`(N, P)`: one number for each motif `(N, P, M)` of tokens from 0."""
    return ((motifs + 1).clamp_(min=0) * (tokens + 1) ** torch.arange(motifs.shape[2])).sum(2)


def _at(motifs: Tensor, places: Tensor) -> Tensor:
    """The motifs `(N, P, M)` at places `(N, P)`."""
    return motifs.gather(1, places.unsqueeze(2).expand_as(motifs))
