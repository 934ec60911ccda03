"""archsearch finds out, by experiment, which neural-network architecture fits a task and how it scales.

    import archsearch as a

    space = a.SearchSpace.read("hybrid")
    result = a.run(space, task="in_context_recall", agent="tpe", trials=24)
    result.leaderboard()
    model = result.best().build()

Names are loaded when they are first used, so that `import archsearch` costs nothing: neither torch nor ray.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from archsearch.agent import Agent, Proposal, Result
    from archsearch.api import Campaign, Candidate, SearchSpace, open, run  # noqa: A004
    from archsearch.errors import ArchsearchError, UserError
    from archsearch.graph.architecture import Architecture
    from archsearch.training.measurement import Measurement, TrainingSettings

    __version__: str

__all__ = [
    "Agent",
    "Architecture",
    "ArchsearchError",
    "Campaign",
    "Candidate",
    "Measurement",
    "Proposal",
    "Result",
    "SearchSpace",
    "TrainingSettings",
    "UserError",
    "__version__",
    "open",
    "run",
]

_HOME = {
    "Agent": "archsearch.agent",
    "ArchsearchError": "archsearch.errors",
    "Architecture": "archsearch.graph.architecture",
    "Campaign": "archsearch.api",
    "Candidate": "archsearch.api",
    "Measurement": "archsearch.training.measurement",
    "Proposal": "archsearch.agent",
    "Result": "archsearch.agent",
    "SearchSpace": "archsearch.api",
    "TrainingSettings": "archsearch.training.measurement",
    "UserError": "archsearch.errors",
    "open": "archsearch.api",
    "run": "archsearch.api",
}


def __getattr__(name: str) -> Any:
    if name == "__version__":
        value: Any = _version()
    elif name in _HOME:
        value = getattr(import_module(_HOME[name]), name)
    else:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})


def _version() -> str:
    from importlib.metadata import PackageNotFoundError, version

    try:
        return version("archsearch")
    except PackageNotFoundError:  # a source tree that was put on the path without being installed
        return "0+unknown"
