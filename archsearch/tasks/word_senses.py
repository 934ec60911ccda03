"""Word senses: one token, several meanings, and the context decides.

A sequence is a row of passages, each with a topic of its own. A passage holds words that only its topic has, among
others that say nothing, and ends with an ambiguous word, whose meaning is asked. Every ambiguous word has another
meaning in every topic, and every meaning belongs to a word of each topic: neither word nor topic alone tells it.

Legend of shapes: N examples, P passages, L tokens of a passage.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, ClassVar

import torch
from torch import Tensor

from archsearch.tasks.base import Examples, OutputKind, Split
from archsearch.tasks.corruption import label_noise, with_wrong_classes
from archsearch.tasks.settings import setting
from archsearch.tasks.tokens import TokenTask

__all__ = ["WordSenses"]


@dataclass(frozen=True)
class WordSenses(TokenTask):
    """Name the meaning of ambiguous words by their context."""

    name: ClassVar[str] = "word_senses"
    summary: ClassVar[str] = "Name the meaning that an ambiguous word has in its context, which may lie far back."
    paper: ClassVar[str] = "Navigli 2009, Word Sense Disambiguation: A Survey, doi:10.1145/1459352.1459355"
    metric: ClassVar[str] = "accuracy"
    maximize: ClassVar[bool] = True
    training: ClassVar[Mapping[str, Any]] = {"steps": 400, "batch": 32, "learning_rates": (3e-3,)}
    ladder: ClassVar[Mapping[str, tuple[Any, ...]]] = {
        "words": (16, 32, 64, 128, 256, 512),
        "senses": (2, 4, 8, 16),
        "distance": (0, 4, 16, 64),
    }

    words: int = setting(16, low=2, high=4096, help="ambiguous words, and as many meanings")
    senses: int = setting(4, low=2, high=4096, help="meanings of one word, one for each topic; at most `words`")
    passages: int = setting(4, low=1, high=4096, help="passages of one sequence, each with one ambiguous word")
    clues: int = setting(2, low=1, high=1024, help="words of the topic in a passage")
    noise_words: int = setting(6, low=0, high=4096, help="words without a topic among the clues of a passage")
    distance: int = setting(4, low=0, high=4096, help="words without a topic between the clues and the ambiguous word")
    variety: int = setting(8, low=1, high=65536, help="different clues of each topic, and words without one")
    label_noise: float = label_noise()

    def __post_init__(self) -> None:
        self.must(self.senses <= self.words, "`senses` <= `words` must hold", f"{self.senses} and {self.words}")

    @property
    def vocabulary(self) -> int:
        """Ambiguous words, the clues of each topic, and words without a topic."""
        return self.words + (self.senses + 1) * self.variety

    @property
    def output(self) -> OutputKind:
        """One distribution over the meanings a step."""
        return OutputKind("steps", self.words)

    @property
    def length(self) -> int:
        """The tokens of all passages."""
        return self.passages * (self.clues + self.noise_words + self.distance + 1)

    @property
    def chance(self) -> float:
        """All meanings are equally frequent."""
        return 1.0 / self.words

    @property
    def baselines(self) -> Mapping[str, float]:
        """What is known to those who see the ambiguous word and no context."""
        return {"the word alone": 1.0 / self.senses}

    def draw(self, count: int, split: Split, generator: torch.Generator) -> Examples:
        """`(N, length)` tokens, the meaning of the ambiguous ones, and a mask that is true at them."""
        topics = torch.randint(self.senses, (count, self.passages), generator=generator)
        words = torch.randint(self.words, topics.shape, generator=generator)
        tokens = torch.cat([self._context(topics, generator), words.unsqueeze(2)], 2)
        asked = torch.zeros_like(tokens, dtype=torch.bool)
        asked[:, :, -1] = True
        meanings = _meanings(self.words, self.senses, self.seed)[words, topics]
        if split == "train":
            meanings = with_wrong_classes(meanings, self.label_noise, self.words, generator)
        targets = torch.zeros_like(tokens)
        targets[:, :, -1] = meanings
        return Examples(tokens.flatten(1), targets.flatten(1), asked.flatten(1))

    def _context(self, topics: Tensor, generator: torch.Generator) -> Tensor:
        """`(N, P, L - 1)` tokens: clues scattered among words without a topic, then only those."""
        mixed = self.clues + self.noise_words
        size = (*topics.shape, mixed + self.distance)
        kind = torch.full(size, self.senses)  # the words without a topic stand behind those of the last topic
        order = torch.rand(*topics.shape, mixed, generator=generator).argsort(2)
        kind[:, :, :mixed] = torch.where(order < self.clues, topics.unsqueeze(2), self.senses)
        return self.words + kind * self.variety + torch.randint(self.variety, size, generator=generator)


@lru_cache(maxsize=4)
def _meanings(words: int, senses: int, seed: int) -> Tensor:
    """`(words, senses)`: what each word means in each topic, no number twice in a row or a column."""
    # Numbers of its own, apart from those of the three splits.
    generator = torch.Generator().manual_seed(2**40 + seed)
    rows, names = (torch.randperm(words, generator=generator) for _ in range(2))
    shifts = torch.randperm(words, generator=generator)[:senses]
    return names[(rows[:, None] + shifts) % words]
