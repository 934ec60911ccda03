"""Draws every open choice independently: the baseline that an agent has to beat."""

from __future__ import annotations

from archsearch.agent import Agent, Proposal

__all__ = ["RandomSearch"]


class RandomSearch(Agent):
    """Uniform draws, log-uniform where a domain says so.

    J. Bergstra and Y. Bengio, Random search for hyper-parameter optimization, JMLR 2012.
    """

    name = "random_search"
    summary = "Draws every open choice independently."

    def propose(self, number: int) -> Proposal:
        """A sample of the space that meets its rules, if one is found in a hundred draws."""
        return Proposal(self.space.sample(self.generator(number)).decisions)
