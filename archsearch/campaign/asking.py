"""Asks the agent: when, with which results, and what became of what it said.

In a deterministic campaign proposals depend on the seed alone, whatever finishes first: when the agent is asked with n
candidates admitted, it has seen exactly the results of candidates 0 ... n − 1 − ahead, in order, refusals and
duplicates in their places between them. Results that come sooner wait.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping
from concurrent.futures import Executor, Future
from dataclasses import dataclass
from typing import Any

from archsearch.agent import Agent, Proposal, Result
from archsearch.campaign.gate import Blueprint
from archsearch.errors import ArchsearchError, FileError, RuleError

__all__ = ["AgentError", "Answer", "Asker", "Settled"]

Settled = tuple[str, float | None, Mapping[str, float]]
"""What became of a candidate: status, score, further figures; see `archsearch.agent.Result`."""


class AgentError(ArchsearchError):
    """The agent raised; the campaign lets the running candidates finish and ends."""


@dataclass(frozen=True)
class Answer:
    """What the agent said when it was asked for proposal `number`, and what the gate said of that.

    Args:
        proposal: `None` if the agent has nothing left to propose.
        blueprint: `None` if the gate refused it; `message` says why.
    """

    number: int
    proposal: Proposal | None
    blueprint: Blueprint | None
    message: str = ""


@dataclass(frozen=True)
class _Place:
    """A proposal whose result the agent has not seen: `turn` counts the admitted ones, `id` is whose result it gets."""

    number: int
    decisions: Mapping[str, Any]
    turn: int | None
    id: str | None


class Asker:
    """The one who talks to the agent.

    Args:
        agent, gate: whom to ask, and what a proposal has to pass.
        settled: looks up what became of a candidate; `None` while it is not over.
        ahead: how many admitted candidates may be without a result that the agent has seen when it is asked.
        deterministic: see the module.
        thread: where the agent thinks, so that nobody waits for it; `None` to wait.
    """

    def __init__(
        self,
        agent: Agent,
        gate: Callable[[Mapping[str, Any]], Blueprint],
        settled: Callable[[str], Settled | None],
        *,
        ahead: int,
        deterministic: bool,
        thread: Executor | None = None,
    ) -> None:
        self._agent, self._gate, self._settled = agent, gate, settled
        self._ahead, self._deterministic, self._thread = ahead, deterministic, thread
        self._places: deque[_Place] = deque()
        self._pending: Future[Answer] | None = None
        self.number = 0
        self.admitted = 0

    @property
    def answered(self) -> bool:
        """Whether there is an answer to take."""
        return self._pending is not None and self._pending.done()

    def forget(self) -> None:
        """Lets an answer that is still to come go unheard."""
        self._pending = None

    def ask(self) -> None:
        """Asks for the next proposal, unless the agent is thinking or is as far ahead as it may be."""
        if self._pending:
            return
        results, may = self._due()
        if not may:
            return
        if self._thread:
            self._pending = self._thread.submit(self._think, self.number, results)
        else:
            self._pending = Future()
            try:
                self._pending.set_result(self._think(self.number, results))
            except AgentError as error:
                self._pending.set_exception(error)

    def answer(self) -> Answer | None:
        """The agent's answer, once; `None` while there is none. Follow it with `place`.

        Raises:
            AgentError: the agent raised.
        """
        if self._pending is None or not self._pending.done():
            return None
        pending, self._pending = self._pending, None
        return pending.result()

    def place(self, decisions: Mapping[str, Any], id: str | None, *, admitted: bool) -> None:
        """Says what became of proposal `number`: admitted as `id`, known as `id`, or refused (`None`)."""
        self._places.append(_Place(self.number, decisions, self.admitted if admitted else None, id))
        self.number += 1
        self.admitted += admitted

    def replay(self, proposal: Proposal, id: str | None, *, admitted: bool) -> None:
        """As if the agent had just been asked and had said `proposal`, with which that happened.

        Raises:
            AgentError: the agent raised.
        """
        results, _ = self._due()
        try:
            for result in results:
                self._agent.observe(result)
            self._agent.replay(self.number, proposal)
        except Exception as error:
            raise _agent_error(error, f"replay of proposal {self.number}") from error
        self.place(proposal.decisions, id, admitted=admitted)

    def _due(self) -> tuple[list[Result], bool]:
        """The results that the agent is to see now, and whether it may then be asked."""
        if self._deterministic:
            return self._due_in_order()
        results, waiting = [], deque[_Place]()
        for place in self._places:
            result = self._result(place)
            results.append(result) if result else waiting.append(place)
        open_turns = sum(place.turn is not None for place in waiting)
        if open_turns <= self._ahead:
            self._places = waiting
            return results, True
        return [], False

    def _due_in_order(self) -> tuple[list[Result], bool]:
        results: list[Result] = []
        count = 0
        for place in self._places:
            if place.turn is not None and place.turn >= self.admitted - self._ahead:
                break
            result = self._result(place)
            if result is None:
                return [], False
            results.append(result)
            count += 1
        for _ in range(count):
            self._places.popleft()
        return results, True

    def _result(self, place: _Place) -> Result | None:
        if place.id is None:
            return Result(place.number, place.decisions, "refused")
        found = self._settled(place.id)
        if found is None:
            return None
        status, score, values = found
        return Result(place.number, place.decisions, status if place.turn is not None else "duplicate", score, values)

    def _think(self, number: int, results: list[Result]) -> Answer:
        try:
            for result in results:
                self._agent.observe(result)
            proposal = self._agent.propose(number)
            if proposal is not None and not isinstance(proposal, Proposal):
                raise TypeError(f"`propose` must return a Proposal or None, but got {type(proposal).__name__}")
        except Exception as error:
            raise _agent_error(error, f"proposal {number}") from error
        if proposal is None:
            return Answer(number, None, None)
        try:
            return Answer(number, proposal, self._gate(proposal.decisions))
        except (RuleError, FileError) as error:
            return Answer(number, proposal, None, str(error))


def _agent_error(error: Exception, where: str) -> AgentError:
    return AgentError(f"The agent raised at {where}: {type(error).__name__}: {error}")
