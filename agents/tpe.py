"""Optuna's tree-structured Parzen estimator: models which decisions the better results share, and draws such again."""

from __future__ import annotations

import warnings
from typing import Any

import optuna
from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)
from optuna.trial import TrialState, create_trial

from archsearch.agent import Agent, Proposal, Result
from archsearch.errors import ArchsearchError
from archsearch.graph.domain import Categorical, Domain, Integer, Real, Subset, describe

__all__ = ["Tpe"]


class Tpe(Agent):
    """TPE over all choices jointly (`multivariate`), conditional ones in groups, and with pending candidates counted as
    bad ones (`constant_liar`), so that several in a row differ.

    J. Bergstra et al., Algorithms for hyper-parameter optimization, NeurIPS 2011.

    Every proposal has a sampler with a seed of its own number, and the study holds nothing but what was proposed and
    observed, so a campaign that was resumed goes on as it would have.

    Args:
        startup: candidates that are drawn at random before the model begins.
        candidates: draws of which the model takes the most promising.
    """

    name = "tpe"
    summary = "Optuna's TPE, multivariate: draws what the better results so far have in common."

    def __init__(
        self, space: Any, *, seed: int = 0, maximize: bool = True, startup: int = 10, candidates: int = 24
    ) -> None:
        super().__init__(space, seed=seed, maximize=maximize)
        if startup < 1 or candidates < 1:
            raise ValueError(f"`startup` and `candidates` must be at least 1, but got {startup} and {candidates}")
        self.startup, self.candidates = startup, candidates
        optuna.logging.set_verbosity(optuna.logging.ERROR)
        self.study = optuna.create_study(direction="maximize" if maximize else "minimize")
        self._trials: dict[int, int] = {}  # Optuna's number of each proposal

    def propose(self, number: int) -> Proposal:
        """A draw from the model; the campaign refuses it if the space's rules do."""
        self.study.sampler = self._sampler(number)
        draft = self.study.ask()
        decisions: dict[str, Any] = {}

        def choose(path: str, domain: Domain) -> Any:
            decisions[path] = self._suggest(draft, path, domain, number)
            return decisions[path]

        with warnings.catch_warnings():
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            self._walk(choose)
        # The draft was for drawing only. What is kept is written by `replay`, live and resumed alike.
        self.study.tell(draft, state=TrialState.FAIL)
        proposal = Proposal(decisions)
        self.replay(number, proposal)
        return proposal

    def replay(self, number: int, proposal: Proposal) -> None:
        """Enters a proposal as pending."""
        params: dict[str, Any] = {}
        distributions: dict[str, BaseDistribution] = {}

        def choose(path: str, domain: Domain) -> Any:
            value = proposal.decisions[path]
            for name, distribution, part in _parts(path, domain, value):
                params[name], distributions[name] = part, distribution
            return tuple(value) if isinstance(value, list) else value

        self._walk(choose)
        self.study.add_trial(create_trial(state=TrialState.RUNNING, params=params, distributions=distributions))
        self._trials[number] = len(self.study.get_trials(deepcopy=False)) - 1

    def observe(self, result: Result) -> None:
        """Tells the model; what has no score counts as failed."""
        trial = self._trials.pop(result.number)
        if result.score is None or result.status in ("failed", "refused"):
            self.study.tell(trial, state=TrialState.FAIL)
        else:
            self.study.tell(trial, result.score)

    def _sampler(self, number: int) -> optuna.samplers.BaseSampler:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            return optuna.samplers.TPESampler(
                seed=self.generator(number).getrandbits(32),
                multivariate=True,
                group=True,
                constant_liar=True,
                n_startup_trials=self.startup,
                n_ei_candidates=self.candidates,
            )

    def _walk(self, choose: Any) -> None:
        try:
            self.space.walk(choose)
        except ArchsearchError:
            return  # every choice was visited; that the combination breaks a rule is the campaign's to say

    def _suggest(self, draft: optuna.Trial, path: str, domain: Domain, number: int) -> Any:
        if isinstance(domain, Subset):
            return self._subset(draft, path, domain, number)
        ((name, distribution, _),) = _parts(path, domain, None)
        if isinstance(distribution, IntDistribution):
            low, high = distribution.low, distribution.high
            return draft.suggest_int(name, low, high, step=distribution.step, log=distribution.log)
        if isinstance(distribution, FloatDistribution):
            return draft.suggest_float(name, distribution.low, distribution.high, log=distribution.log)
        assert isinstance(distribution, CategoricalDistribution)
        return draft.suggest_categorical(name, distribution.choices)

    def _subset(self, draft: optuna.Trial, path: str, domain: Subset, number: int) -> list[str]:
        """One yes or no an option; what is missing of `at_least` is drawn from the rest."""
        yes_no = {o: draft.suggest_categorical(_name(path, domain, o), [False, True]) for o in domain.options}
        rest = [option for option in domain.options if not yes_no[option]]
        missing = max(0, domain.at_least - (len(domain.options) - len(rest)))
        added = self.generator(number).sample(rest, missing)
        return [option for option in domain.options if yes_no[option] or option in added]


def _name(path: str, domain: Domain, option: str = "") -> str:
    """A parameter's name: a path whose domain depends on other choices is another parameter under each."""
    return f"{path}{f'[{option}]' if option else ''} in {describe(domain)}"


def _parts(path: str, domain: Domain, value: Any) -> list[tuple[str, BaseDistribution, Any]]:
    """A decision as Optuna's parameters: name, distribution, value; a subset is one yes or no an option."""
    name = _name(path, domain)
    match domain:
        case Categorical(options):
            return [(name, CategoricalDistribution(options), value)]
        case Integer(low, high, step, log):
            high = low + (high - low) // step * step
            log = log and step == 1 and low >= 1
            return [(name, IntDistribution(low, high, log=log, step=step), value)]
        case Real(low, high, log):
            return [(name, FloatDistribution(low, high, log=log), value)]
        case Subset(options):
            yes_no = CategoricalDistribution((False, True))
            return [(_name(path, domain, option), yes_no, option in value) for option in options]
