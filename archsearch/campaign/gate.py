"""The static gate: what a proposal has to pass before a worker is taken for it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

from archsearch.errors import RuleError

if TYPE_CHECKING:
    from archsearch.graph.space import SearchSpace

__all__ = ["Blueprint", "Gate"]


@dataclass(frozen=True)
class Blueprint:
    """A candidate that may be trained, as plain data.

    Args:
        hash: sixteen hex digits of its normal form.
        architecture: `Architecture.to_dict()`.
        line: the architecture in one readable line.
        facts: what analysis says of it, by name.
        decisions: complete and in the order of the space.
        training: settings of its own in the place of the campaign's; controls have them.
    """

    hash: str
    architecture: Mapping[str, Any]
    line: str
    families: tuple[str, ...]
    facts: Mapping[str, Any]
    decisions: Mapping[str, Any]
    training: Mapping[str, Any] = field(default_factory=dict)


class Gate:
    """Turns decisions of `space` into blueprints.

    Args:
        time: the length of the task's sequences, on which costs depend.
    """

    def __init__(self, space: SearchSpace, time: int) -> None:
        self._space, self._time = space, time

    def __call__(self, decisions: Mapping[str, Any]) -> Blueprint:
        """The blueprint of decisions.

        Raises:
            RuleError, FileError: they do not belong to the space, or what they give breaks a rule, `require` or
                `match`.
        """
        from archsearch.graph import analysis, line, normal
        from archsearch.graph.cycles import cycles
        from archsearch.graph.decoding import decoding

        sample, registry = self._space.decide(decisions), self._space.registry
        architecture = sample.architecture
        if not architecture.nodes:
            raise RuleError("an architecture must have a node", value="none")
        facts = analysis.facts(architecture, registry, self._time)
        return Blueprint(
            hash=normal.digest(architecture, registry),
            architecture=architecture.to_dict(),
            line=line.one_line(architecture),
            families=tuple(facts.families),
            facts={
                **{k: v for k, v in asdict(facts).items() if k != "families"},
                "decoding": asdict(decoding(architecture, registry, self._time)),
                "cycles": cycles(architecture, registry),
                "fit": architecture.fit,
            },
            decisions=dict(sample.decisions),
        )
