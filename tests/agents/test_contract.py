"""What every file in agents/ promises, on every shipped space."""

import random

import pytest

from archsearch import content
from archsearch.agent import Agent, Proposal, Result
from archsearch.api import SearchSpace
from archsearch.campaign import agents

NAMES = sorted(content.names("agents"))
SPACES = ["quickstart", "hybrid", "mlp", "recurrent"]


@pytest.fixture(params=NAMES)
def name(request) -> str:
    return request.param


@pytest.fixture(params=SPACES)
def space(request) -> SearchSpace:
    return SearchSpace.read(request.param)


def score(proposal: Proposal) -> float:
    return random.Random(repr(sorted(proposal.decisions.items()))).random()


def result(number: int, proposal: Proposal) -> Result:
    status = ["done", "done", "done", "failed", "duplicate", "refused", "stopped"][number % 7]
    value = None if status in ("failed", "refused") else score(proposal)
    return Result(number, proposal.decisions, status, value, {"params": 10.0, "seconds": 1.0})


def go(agent: Agent, start: int, end: int, lag: int = 4, said: list[Proposal] | None = None) -> list[Proposal]:
    """Proposals `start` to `end`, with results that come `lag` later."""
    said = list(said or [])
    for number in range(start, end):
        if number >= lag:
            agent.observe(result(number - lag, said[number - lag]))
        proposal = agent.propose(number)
        assert proposal is not None
        said.append(proposal)
    return said


def decisions(proposals: list[Proposal]) -> list[dict]:
    return [dict(p.decisions) for p in proposals]


def test_it_is_one_agent_with_a_name_and_a_summary(name):
    kind = agents.agent_class(name)
    assert kind.name == name
    assert kind.summary.endswith(".")
    assert kind.__doc__


def test_proposals_belong_to_the_space(name, space):
    for proposal in go(agents.make(name, space, {}), 0, 15):
        sample = space.decide(proposal.decisions)
        assert list(sample.decisions) == list(proposal.decisions)


def test_the_same_seed_says_the_same_and_another_says_other_things(name):
    space = SearchSpace.read("hybrid")
    first, second, other = (go(agents.make(name, space, {}, seed=s), 0, 16) for s in (3, 3, 4))
    assert decisions(first) == decisions(second)
    assert decisions(first) != decisions(other)


@pytest.mark.parametrize("maximize", [True, False])
def test_a_replayed_agent_goes_on_as_it_would_have(name, space, maximize):
    whole = go(agents.make(name, space, {}, maximize=maximize), 0, 22)
    again = agents.make(name, space, {}, maximize=maximize)
    for number in range(17):
        if number >= 4:
            again.observe(result(number - 4, whole[number - 4]))
        recorded = Proposal(space.decide(whole[number].decisions).decisions, reason="from the events")
        again.replay(number, recorded)
    assert decisions(go(again, 17, 22, said=whole[:17])) == decisions(whole)


def test_it_takes_what_is_pending_into_account_or_does_not_mind(name):
    space = SearchSpace.read("hybrid")
    agent = agents.make(name, space, {})
    said = decisions([agent.propose(number) for number in range(12)])
    assert len({repr(d) for d in said}) >= 10


def test_it_prints_nothing(name, capfd):
    go(agents.make(name, SearchSpace.read("quickstart"), {}), 0, 15)
    assert capfd.readouterr() == ("", "")


def test_it_leaves_the_global_random_state_alone(name):
    random.seed(1)
    state = random.getstate()
    go(agents.make(name, SearchSpace.read("quickstart"), {}), 0, 15)
    assert random.getstate() == state


def test_tpe_finds_what_the_better_ones_share():
    """On a score that counts the s4d mixers, the later half of TPE's proposals has more of them than chance."""
    space = SearchSpace.read("quickstart")
    agent = agents.make("tpe", space, {})
    counts = []
    for number in range(40):
        proposal = agent.propose(number)
        counts.append(sum(v == "s4d" for v in proposal.decisions.values()))
        agent.observe(Result(number, proposal.decisions, "done", float(counts[-1])))
    assert sum(counts[20:]) / 20 >= 1.0  # of two layers; chance is 0.4
