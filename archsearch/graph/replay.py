"""A chooser that replays decisions, and says which of them do not belong."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from archsearch.errors import RuleError, nearest
from archsearch.graph.domain import Domain
from archsearch.graph.options import OpenChoice
from archsearch.graph.points import first

__all__ = ["Replay"]


class Replay:
    """A chooser that gives stored decisions again; one that is not there becomes the first value and is noted.

    Attributes:
        domains: what was asked, in order; missing: paths that were asked and not decided.
    """

    def __init__(self, decisions: Mapping[str, Any]) -> None:
        self.decisions = decisions
        self.domains: dict[str, Domain] = {}
        self.missing: list[str] = []

    def __call__(self, path: str, domain: Domain) -> Any:
        self.domains[path] = domain
        if path in self.decisions:
            return self.decisions[path]
        self.missing.append(path)
        return first(domain)

    def verify(self, choices: Callable[[], Iterable[OpenChoice]]) -> None:
        """To be called after the walk.

        Args:
            choices: gives all open choices of the space, for the reason why a decision was not asked for.

        Raises:
            RuleError: a decision was asked and not there, or was there and not asked.
        """
        left = [p for p in self.decisions if p not in self.domains]
        if self.missing:
            path = self.missing[0]
            near = nearest(path, left)
            raise RuleError(f"decision `{path}` must be there", value="none", near=near)
        if left:
            known = {c.path: c for c in choices()}
            rule = "decisions must all belong to the architecture"
            near = () if left[0] in known else nearest(left[0], known)
            raise RuleError(rule, value=f"`{left[0]}`", near=near, hint=_why(known.get(left[0])))


def _why(choice: OpenChoice | None) -> str | None:
    """When a choice is asked."""
    if choice is None or not choice.condition:
        return None
    return "It is asked for " + " and ".join(f"`{k}: {v}`" for k, v in choice.condition.items()) + ", for example."
