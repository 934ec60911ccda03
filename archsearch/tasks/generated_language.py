"""Predict the next token of a language that is drawn from a seed, and of which the entropy is known.

No network can score below the ceiling: it is the loss of the language itself on the very sequences of the validation
set, each known from its start. What a network has above it is what it failed to learn.

- `hmm`: a hidden state emits the tokens (Rabiner 1989); it is drawn anew every `memory` steps on average.
- `markov`: a token depends on the `order` tokens before it, and nothing else helps.
- `pcfg`: sentences of a probabilistic context-free grammar with bounded depth. The order of words turns the two
  branches of every rule round and leaves the language as it was otherwise (White and Cotterell 2021, arXiv:2106.01044).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, ClassVar

import torch
from torch import Tensor

from archsearch.errors import ConfigError
from archsearch.tasks.base import Examples, InputKind, OutputKind, Split
from archsearch.tasks.bits import bit_sums, unigram_bits
from archsearch.tasks.drawn import DrawnTask
from archsearch.tasks.grammar import Grammar
from archsearch.tasks.languages import HiddenMarkov, Language, MarkovChain, dirichlet
from archsearch.tasks.settings import setting

__all__ = ["GeneratedLanguage"]

CONTEXTS = 2**16
"""A Markov chain has at most so many."""


@dataclass(frozen=True)
class GeneratedLanguage(DrawnTask):
    """Predict the next token of a language of known entropy."""

    name: ClassVar[str] = "generated_language"
    summary: ClassVar[str] = "Predict the next token of a random language whose entropy is known exactly."
    paper: ClassVar[str] = "Borenstein et al. 2024, What Languages are Easy to Language-Model?, arXiv:2406.04289"
    metric: ClassVar[str] = "bits_per_token"
    maximize: ClassVar[bool] = False
    training: ClassVar[Mapping[str, Any]] = {
        "steps": 400,
        "batch": 32,
        "learning_rates": (3e-3,),
        "evaluation_examples": 1280,  # all of them: the ceiling is that of just these
    }
    ladder: ClassVar[Mapping[str, tuple[Any, ...]]] = {
        "states": (4, 8, 16, 32, 64),
        "vocabulary": (16, 32, 64, 128),
        "memory": (16.0, 8.0, 4.0, 2.0),
    }

    kind: str = setting("hmm", options=("hmm", "markov", "pcfg"), help="what writes the language")
    vocabulary: int = setting(32, low=2, high=4096, help="tokens, the full stop of a grammar among them")
    length: int = setting(128, low=2, high=65536, help="tokens of one sequence")
    states: int = setting(16, low=1, high=1024, help="hidden states of an hmm, nonterminals of a pcfg")
    memory: float = setting(4.0, low=1.0, high=1e6, help="hmm: mean number of steps until the state is drawn anew")
    order: int = setting(2, low=1, high=16, help="markov: tokens that the next one depends on")
    depth: int = setting(4, low=1, high=5, help="pcfg: branchings above each other; 2^depth words at most")
    branching: float = setting(0.8, low=0.0, high=1.0, help="pcfg: how often a nonterminal becomes two")
    word_order: str = setting(
        "head_first",
        options=("head_first", "head_last", "free"),
        help="pcfg: the two branches of a rule as drawn, turned round, or either way as often",
    )
    concentration: float = setting(
        0.1, low=0.01, high=100.0, help="of the Dirichlet that every distribution is drawn from; small is predictable"
    )
    language_seed: int = setting(0, low=0, help="of the language; `seed` is that of the sequences")

    def __post_init__(self) -> None:
        if self.kind == "markov" and self.vocabulary**self.order > CONTEXTS:
            raise ConfigError(
                f"Task `{self.name}`: `vocabulary` to the power of `order` must be at most {CONTEXTS:,}, but got "
                f"{self.vocabulary}^{self.order}."
            )

    @property
    def input(self) -> InputKind:
        """Tokens of the vocabulary."""
        return InputKind("tokens", self.vocabulary)

    @property
    def output(self) -> OutputKind:
        """One distribution over the vocabulary a step."""
        return OutputKind("steps", self.vocabulary)

    @property
    def chance(self) -> float:
        """Bits a token of the validation set under the frequencies of the tokens in the training set."""
        train, validation = (self.examples(split).targets for split in ("train", "validation"))
        return unigram_bits(train, validation, self.vocabulary)

    @property
    def ceiling(self) -> float:
        """Bits a token of the validation set under the language itself: no candidate can be expected to have less."""
        return _floor(self)

    def draw(self, count: int, split: Split, generator: torch.Generator) -> Examples:
        """`(count, length)` tokens and the next one of each."""
        rows = _language(self).sample(count, self.length + 1, generator)
        return Examples(rows[:, :-1].contiguous(), rows[:, 1:].contiguous())

    def judge(self, outputs: Tensor, targets: Tensor, mask: Tensor | None) -> tuple[Tensor, Tensor, Tensor]:
        """Cross-entropy in bits."""
        return bit_sums(outputs, targets, mask)


@lru_cache(maxsize=4)
def _floor(task: GeneratedLanguage) -> float:
    e = task.examples("validation")
    return _language(task).bits(torch.cat([e.inputs, e.targets[:, -1:]], 1))


@lru_cache(maxsize=4)
def _language(task: GeneratedLanguage) -> Language:
    generator = torch.Generator().manual_seed(task.language_seed)

    def draw(*shape: int, among: int = 1) -> Tensor:
        return dirichlet(shape, task.concentration / among, generator)

    if task.kind == "markov":
        return MarkovChain(draw(task.vocabulary**task.order, task.vocabulary), task.order)
    states = task.states
    if task.kind == "hmm":
        stays = 1.0 - 1.0 / task.memory
        moves = stays * torch.eye(states, dtype=torch.float64) + (1.0 - stays) * draw(states, states)
        return HiddenMarkov(moves, draw(states, task.vocabulary))
    # Among Q² pairs as few are likely as among Q next states, or the sentences would have hardly any structure.
    pairs = draw(states, states**2, among=states).view(states, states, states)
    turned = pairs.transpose(1, 2)
    ways = {"head_first": pairs, "head_last": turned, "free": (pairs + turned) / 2}
    return Grammar(ways[task.word_order], draw(states, task.vocabulary - 1), task.branching, task.depth)
