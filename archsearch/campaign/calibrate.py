"""At which difficulty a task tells architectures apart: where a known good one is neither lost nor perfect.

A ladder is the values of one setting of the task, from easy to hard. A rung fits if the tuned transformer comes between
two shares of the way from chance to ceiling. On a task that is too easy all candidates tie at the ceiling, on one that
is too hard they tie at chance.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import TYPE_CHECKING, Any, Final

from archsearch.errors import ConfigError

if TYPE_CHECKING:
    from archsearch.tasks.base import Task
    from archsearch.training.measurement import Measurement

__all__ = ["Calibration", "Ladder", "Rung", "calibrate", "ladder_of", "scale_of", "share_of"]

EASY: Final = "too easy"
FITS: Final = "fits"
HARD: Final = "too hard"


@dataclass(frozen=True)
class Ladder:
    """One setting of a task and its values from easy to hard.

    Args:
        scales: chance and ceiling at each value.
        left_out: values of the task's own ladder that do not go with its other settings, and why.
    """

    setting: str
    values: tuple[Any, ...]
    scales: tuple[tuple[float, float], ...]
    left_out: tuple[tuple[Any, str], ...] = ()


@dataclass(frozen=True)
class Rung:
    """What came of one value.

    Args:
        score: of the tuned transformer on validation, mean over seeds at the best of its rates.
        share: of the way from chance (0) to ceiling (1), in whichever direction scores improve.
        verdict: `too easy`, `fits` or `too hard`.
        seconds: of the training with all that belongs to it.
    """

    value: Any
    chance: float
    ceiling: float
    score: float
    share: float
    verdict: str
    learning_rate: float | None
    steps: int
    seconds: float


@dataclass(frozen=True)
class Calibration:
    """The rungs that were tried, from easy to hard, and the one to take; `None` where no one fits.

    Args:
        also: settings that all rungs were tried with and that are not the task's defaults, nor set by the person.
    """

    setting: str
    between: tuple[float, float]
    rungs: tuple[Rung, ...]
    chosen: Rung | None
    also: Mapping[str, Any] = field(default_factory=dict)

    @property
    def line(self) -> str | None:
        """The chosen value, and what goes with it, as arguments of `archsearch run`."""
        if self.chosen is None:
            return None
        values = {self.setting: self.chosen.value, **self.also}
        return " ".join(f"--set task.{name}={as_text(value)}" for name, value in values.items())

    @property
    def side(self) -> str | None:
        """Where nothing fits, the side on which the ladder was left: `too easy`, `too hard`, or `between` two rungs."""
        if self.chosen is not None:
            return None
        found = {rung.verdict for rung in self.rungs}
        return found.pop() if len(found) == 1 else "between"

    @property
    def failure(self) -> str:
        """Why nothing fits, and what to do about it."""
        low, high = (f"{100 * end:g}" for end in self.between)
        wanted = f"No rung of `{self.setting}` brings the tuned transformer between {low} and {high} % of the way"
        easy = [rung for rung in self.rungs if rung.verdict == EASY]
        hard = [rung for rung in self.rungs if rung.verdict == HARD]
        if not hard:
            said = f"even the hardest, {self._said(easy[-1])}, is too easy"
            hint = f"Name harder values: --vary {self.setting}=..., or train for fewer steps."
        elif not easy:
            said = f"even the easiest, {self._said(hard[0])}, is too hard"
            hint = f"Train for longer: --set training.steps=..., or name easier values: --vary {self.setting}=..."
        else:
            said = f"{self._said(easy[-1])}, is too easy and {self._said(hard[0])}, too hard"
            hint = f"Name values between the two: --vary {self.setting}=..., or widen --between."
        return f"{wanted}: {said}. {hint}"

    def _said(self, rung: Rung) -> str:
        return f"{self._named(rung)} at {100 * rung.share:.0f} %"

    def _named(self, rung: Rung) -> str:
        return f"{self.setting}={as_text(rung.value)}"


def ladder_of(kind: type[Task], vary: str | None, given: Mapping[str, Any], ceiling: float | None = None) -> Ladder:
    """The ladder to climb on a task.

    Args:
        vary: `length=32,64,128`, the values from easy to hard; `length`, for the task's own ladder of that setting,
            which the default value begins; `None` for the first ladder of the task.
        given: other settings of the task.
        ceiling: the best score, in the place of the task's.

    Raises:
        UnknownNameError: the task has no such setting, with the nearest names.
        ConfigError: a value does not fit, there is no ladder, or the task has no scale to go by.
    """
    setting, values, own = _asked(kind, vary)
    if setting in given:
        raise ConfigError(
            f"A setting must either vary or be set, but `task.{setting}` is both: leave `--set task.{setting}=...` out."
        )
    scales: dict[Any, tuple[float, float]] = {}
    left_out: dict[Any, ConfigError] = {}
    for value in values:
        try:
            task = _made(kind, {**given, setting: value})
        except ConfigError as error:
            if not own:
                raise
            left_out[value] = error
        else:
            scales[value] = scale_of(task, ceiling)
    if not scales:
        raise next(iter(left_out.values()))
    reasons = tuple((value, str(error)) for value, error in left_out.items())
    return Ladder(setting, tuple(scales), tuple(scales.values()), reasons)


def scale_of(task: Task, ceiling: float | None = None) -> tuple[float, float]:
    """Chance and ceiling of a task, between which a score can be placed; `ceiling` takes the place of the task's.

    Raises:
        ConfigError: the ceiling is not known, or it is no better than chance.
    """
    chance, ceiling = task.chance, task.ceiling if ceiling is None else ceiling
    if ceiling is None:
        raise ConfigError(
            f"A task must have a ceiling, so that a score can be placed between chance and it, but nobody knows that "
            f"of `{task.name}` ({task.metric}). Name the score that counts as 100 %: --ceiling NUMBER."
        )
    sign = 1.0 if task.maximize else -1.0
    if not (math.isfinite(chance) and math.isfinite(ceiling) and sign * (ceiling - chance) > 0.0):
        said = ", ".join(f"{key}={as_text(value)}" for key, value in task.settings().items())
        raise ConfigError(
            f"The ceiling of task `{task.name}` must be better than chance, so that there is a way between them, but "
            f"got ceiling {ceiling:g} and chance {chance:g} ({task.metric}) with {said}."
        )
    return chance, ceiling


def share_of(score: float, chance: float, ceiling: float) -> float:
    """The share of the way from chance to ceiling; below 0 for what is worse than chance.

    It is the same whether scores rise or fall as they improve, since both differences change their sign.
    """
    return (score - chance) / (ceiling - chance)


def calibrate(
    ladder: Ladder,
    train: Callable[[Any], Measurement],
    *,
    between: tuple[float, float] = (0.6, 0.95),
    every: bool = False,
    also: Mapping[str, Any] | None = None,
    on_rung: Callable[[Rung], None] = lambda rung: None,
) -> Calibration:
    """Trains at some values of a ladder until one fits.

    Args:
        train: gives the tuned transformer's measurement at a value.
        between: the shares of the way, both inclusive, between which a rung fits.
        every: train at all values and take the one nearest to the middle of `between`. Otherwise the ladder is halved,
            the easier half first, which assumes that harder values score lower.
        also: of the calibration.
        on_rung: called after each training.

    Raises:
        CandidateError: a training failed.
    """
    tried: dict[int, Rung] = {}

    def verdict(place: int) -> str:
        tried[place] = _rung(ladder.values[place], ladder.scales[place], train(ladder.values[place]), between)
        on_rung(tried[place])
        return tried[place].verdict

    if every:
        for place in range(len(ladder.values)):
            verdict(place)
    else:
        _halve(len(ladder.values), verdict)
    rungs = tuple(tried[place] for place in sorted(tried))
    middle = sum(between) / 2
    fitting = [rung for rung in rungs if rung.verdict == FITS]
    chosen = min(fitting, key=lambda rung: abs(rung.share - middle), default=None)
    return Calibration(ladder.setting, between, rungs, chosen, also or {})


def as_text(value: Any) -> str:
    """A value as `--set` takes it."""
    return value if isinstance(value, str) else json.dumps(value)


def _halve(count: int, verdict: Callable[[int], str]) -> None:
    low, high = 0, count
    while low < high:
        middle = (low + high - 1) // 2
        match verdict(middle):
            case "too easy":
                low = middle + 1
            case "too hard":
                high = middle
            case _:
                return


def _rung(value: Any, scale: tuple[float, float], m: Measurement, between: tuple[float, float]) -> Rung:
    assert m.score is not None, "a training that did not fail has a score"
    share = share_of(m.score, *scale)
    verdict = HARD if share < between[0] else EASY if share > between[1] else FITS
    return Rung(value, *scale, m.score, share, verdict, m.learning_rate, m.steps, m.seconds)


def _asked(kind: type[Task], vary: str | None) -> tuple[str, tuple[Any, ...], bool]:
    """The setting, its values, and whether they are the task's own."""
    from archsearch.tasks.settings import check_given, settings_of

    if vary is None and not kind.ladder:
        known = ", ".join(s.name for s in settings_of(kind) if s.kind in (int, float)) or "none"
        raise ConfigError(
            f"Task `{kind.name}` has no ladder of difficulty, so `--vary` must name a setting and its values from easy "
            f"to hard: --vary NAME=1,2,3. Its numbers: {known}."
        )
    name, equals, text = (vary if vary is not None else next(iter(kind.ladder))).partition("=")
    name = name.strip().removeprefix("task.")
    default = {s.name: s.default for s in settings_of(kind)}
    check_given(kind, {name: default.get(name)})
    if equals:
        values = tuple(check_given(kind, {name: value})[name] for value in _parsed(name, text))
        _check_order(name, values)
        return name, values, False
    if name not in kind.ladder:
        known = ", ".join(kind.ladder) or "none"
        raise ConfigError(
            f"`--vary {name}` without values must name a ladder of task `{kind.name}`, which has {known}; name the "
            f"values from easy to hard: --vary {name}=1,2,3."
        )
    values = kind.ladder[name]
    return name, values if default[name] in values else (default[name], *values), True


def _parsed(name: str, text: str) -> Sequence[Any]:
    from archsearch.campaign.settings import parse_set

    (values,) = parse_set([f"{name}=[{text.strip().removeprefix('[').removesuffix(']')}]"]).values()
    if not values:
        raise ConfigError(f"`--vary` takes values from easy to hard, as in `--vary {name}=1,2,3`, but got none.")
    return list(values)


def _check_order(name: str, values: tuple[Any, ...]) -> None:
    """Raises `ConfigError` for a value that comes twice, and for numbers that go up and down."""
    steps = list(_steps(values))
    if len(set(values)) < len(values) or (min(steps, default=0) < 0 < max(steps, default=0)):
        said = ",".join(map(as_text, values))
        raise ConfigError(f"The values of `--vary` must go from easy to hard, each once, but got {name}={said}.")


def _steps(values: tuple[Any, ...]) -> Iterator[float]:
    numbers = [v for v in values if isinstance(v, int | float)]
    return (b - a for a, b in pairwise(numbers))


def _made(kind: type[Task], settings: Mapping[str, Any]) -> Task:
    from archsearch.tasks.registry import made

    return made(kind, settings)
