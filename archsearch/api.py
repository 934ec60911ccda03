"""The Python door: read a space, run a campaign, look at its board, build its best model.

    import archsearch as a

    space = a.SearchSpace.read("hybrid")
    result = a.run(space, task="in_context_recall", agent="tpe", trials=24)
    result.leaderboard()                  # a pandas DataFrame
    model = result.best().build()         # an nn.Module

Importing this module loads neither torch nor ray; reading a space loads torch, since its ops are written in it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from archsearch import content
from archsearch.errors import ConfigError, NoSuccessError, UnknownNameError
from archsearch.graph import space as language
from archsearch.leaderboard import Board, boards, folders

if TYPE_CHECKING:
    import pandas as pd

    from archsearch.build.model import Model
    from archsearch.campaign.config import CampaignConfig
    from archsearch.campaign.record import CampaignRecord, CandidateRecord
    from archsearch.graph.architecture import Architecture
    from archsearch.graph.opspec import Registry

__all__ = ["Campaign", "Candidate", "SearchSpace", "open", "plan", "run"]


class SearchSpace(language.SearchSpace):
    """A search space, read with the shipped ops and blocks unless others are handed in."""

    @classmethod
    def read(
        cls, path: Path | str, registry: Registry | None = None, definitions: Iterable[Path] | None = None
    ) -> SearchSpace:
        """The space in a YAML file, or the shipped one of this name.

        Raises:
            UnknownNameError: no shipped space has this name.
            FileError: a mistake in the file, with its line.
        """
        found = content.find("search_spaces", path)
        return super().read(found, registry or _registry(), _blocks(definitions))  # type: ignore[return-value]

    @classmethod
    def parse(
        cls,
        text: str,
        registry: Registry | None = None,
        *,
        path: str = "<string>",
        definitions: Iterable[Path] | None = None,
    ) -> SearchSpace:
        """The space that a YAML text describes; raises `FileError`."""
        definitions = _blocks(definitions)
        return super().parse(text, registry or _registry(), path=path, definitions=definitions)  # type: ignore[return-value]


def _registry() -> Registry:
    from archsearch.ops.registry import registry

    return registry()


def _blocks(given: Iterable[Path] | None) -> list[Path]:
    return content.block_files() if given is None else list(given)


class Campaign:
    """What a campaign left behind, finished or not. A copied results folder opens anywhere.

    Attributes:
        path: its folder.
    """

    def __init__(self, path: Path | str) -> None:
        self.path = Path(path)
        self._record: CampaignRecord | None = None

    @property
    def record(self) -> CampaignRecord:
        """Everything that is on record, as plain data; read once, see `refresh`."""
        if self._record is None:
            from archsearch.campaign.record import load

            self._record = load(self.path)
        return self._record

    def refresh(self) -> Campaign:
        """Reads the folder again: a running campaign has gone on. Returns itself."""
        self._record = None
        return self

    @property
    def name(self) -> str:
        """The campaign's name."""
        return self.record.name

    @property
    def status(self) -> str:
        """`running`, `interrupted`, `done`, ...; see `archsearch.campaign.record.CampaignRecord`."""
        return self.record.status

    @property
    def board(self) -> Board:
        """The ranked rows, with banners, as the command line shows them."""
        return boards([self.record])[0]

    def leaderboard(self) -> pd.DataFrame:
        """The board as a DataFrame: one row a candidate, best first; columns are `archsearch.leaderboard.FIELDS`.

        With several tasks there is one more for each, `task.NAME`.
        """
        import pandas as pd

        from archsearch.leaderboard import FIELDS
        from archsearch.leaderboard.fields import task_columns, value_of

        rows = self.board.rows
        names = [*FIELDS, *task_columns(rows)]
        return pd.DataFrame([{n: value_of(row, n) for n in names} for row in rows], columns=names)

    @property
    def candidates(self) -> tuple[Candidate, ...]:
        """All candidates, controls included, in the order in which they were admitted."""
        return tuple(Candidate(self, c) for c in self.record.candidates)

    def __getitem__(self, id: str | int) -> Candidate:
        """The candidate called `id`; raises `UnknownNameError`."""
        return Candidate(self, self.record.candidate(str(id)))

    def best(self) -> Candidate:
        """The candidate at the top of the board; controls do not count.

        Raises:
            NoSuccessError: no candidate has a score.
        """
        for row in self.board.rows:
            if row["role"] == "search" and row["rank"] is not None:
                return self[row["id"]]
        raise NoSuccessError(f"The best candidate needs a score, but no candidate of {self.path} has one.")

    def __repr__(self) -> str:
        return f"Campaign({str(self.path)!r}: {self.status}, {len(self.record.candidates)} candidates)"


class Candidate:
    """One candidate of a campaign.

    Attributes:
        campaign: where it is from.
        record: what is known of it, as plain data.
    """

    def __init__(self, campaign: Campaign, record: CandidateRecord) -> None:
        self.campaign, self.record = campaign, record

    @property
    def id(self) -> str:
        """Its name in the campaign."""
        return self.record.id

    @property
    def score(self) -> float | None:
        """On the sealed test if it was a finalist, else on validation."""
        measured = self.record.final or self.record.search
        return measured.score if measured else None

    @property
    def architecture(self) -> Architecture:
        """Its graph, as plain data."""
        from archsearch.campaign.record import architecture

        return architecture(self.campaign.path, self.id)

    def build(self, *, seed: int = 0, task: str | None = None) -> Model:
        """The candidate as an `nn.Module` with one copy, on the CPU, between the stem and the readout of its task.

        A finalist comes with the weights of its best seed, as they were at the end of its final run, and in evaluation
        mode. Any other candidate left only scores behind: its weights are drawn afresh from `seed`.

        Calling it gives `(1, batch, time, size)`, or `(1, batch, size)` where the task asks once a sequence.

        Args:
            task: of a campaign on several tasks, the one whose stem and readout, and weights, it is built with.

        Raises:
            ConfigError, UnknownNameError: the campaign is on several tasks, and `task` names none of them.
        """
        from archsearch.build.model import build
        from archsearch.campaign.config import CampaignConfig
        from archsearch.campaign.record import weights_file
        from archsearch.tasks.registry import make

        record = self.campaign.record
        config = CampaignConfig.from_dict(record.config)
        choices = {choice.label: choice for choice in config.tasks}
        if task is None and config.members:
            raise ConfigError(f"A model is built for one of the tasks {', '.join(choices)}: build(task=...).")
        if task is not None and task not in choices:
            raise UnknownNameError("task", task, choices, of="of the campaign")
        label = task or next(iter(choices))
        about = record.task["tasks"][label] if config.members else record.task
        judge = make(choices[label].task, about["settings"])
        saved = self.campaign.path / "candidates" / self.id / weights_file(label if config.members else "")
        if not saved.exists():
            return build(self.architecture, judge.input, judge.output, seeds=[seed])
        from archsearch.training.weights import read_weights

        data = read_weights(saved)
        model = build(self.architecture, judge.input, judge.output, seeds=[data["seed"]])
        model.load_state_dict(data["weights"])
        return model.eval()

    def __repr__(self) -> str:
        score = "no score" if self.score is None else f"{self.score:.3f}"
        return f"Candidate({self.id}: {self.record.line}, {self.record.status}, {score})"


def open(name: str | Path, *, results: str | Path | None = None) -> Campaign:  # noqa: A001
    """The campaign called `name` in the results folder, or the one in the folder `name`.

    Raises:
        UnknownNameError: there is none.
    """
    return Campaign(folders.find(name, folders.results_folder(results)))


def run(
    space: language.SearchSpace | str | Path,
    *,
    task: str | Sequence[str] | None = None,
    agent: str | None = None,
    trials: int | None = None,
    settings: Mapping[str, Any] | None = None,
    results: str | Path | None = None,
    **flags: Any,
) -> Campaign:
    """Searches a space until `trials` candidates are done, and trains the best again; the same as `archsearch run`.

    Args:
        space: a space that was read, or the name or path of one.
        task, agent: names or paths; the space may name them, too. Several tasks, or a suite by its name, give every
            candidate a score for each and their mean.
        settings: by dotted name, as for `--set`: `{"training.steps": 400}`.
        results: the folder of campaigns; $ARCHSEARCH_RESULTS or ./results unless given.
        flags: `name`, `time`, `seed`, `executor`, `workers`, `address`, as on the command line.

    Raises:
        UserError: something in the arguments or the space has to change.
        NoSuccessError: no candidate could be trained to its end.
    """
    given = {"task": task, "agent": agent, "trials": trials, "set": settings, **flags}
    config, found = plan(_file_of(space), given)
    if isinstance(space, language.SearchSpace) and dict(space.scale) != dict(found.scale):
        raise ConfigError(
            f"A campaign reads its space from the file, where the scale is {dict(found.scale)}, but got a space "
            f"rescaled to {dict(space.scale)}: write that scale into a file of its own."
        )
    from archsearch.campaign.run import run as start

    record = start(config, folders.results_folder(results))
    if record.status == "no_success":
        raise NoSuccessError(f"The campaign {record.path} ended without a candidate that was trained to its end.")
    return Campaign(record.path)


def _file_of(space: language.SearchSpace | str | Path) -> str | Path:
    if not isinstance(space, language.SearchSpace):
        return space
    if not Path(space.path).is_file():
        raise ConfigError(
            f"A campaign keeps a copy of its space, so it must be in a file, but got one from {space.path}."
        )
    return Path(space.path)


def plan(
    space: str | Path, flags: Mapping[str, Any], sets: Iterable[str] = ()
) -> tuple[CampaignConfig, language.SearchSpace]:
    """What a campaign on `space`, a space or a campaign file, would do, and the space itself.

    Args:
        flags: as they stand in a campaign file; `None` for what is not given.
        sets: `name=value` texts, which win over `flags`.

    Raises:
        UserError: a file, a name or a setting that cannot be used.
    """
    from archsearch.campaign import mistakes
    from archsearch.campaign.config import read_file
    from archsearch.campaign.suites import resolve
    from archsearch.graph import reader

    path = content.find("search_spaces", space) if _is_campaign_file(space) else None
    file = read_file(path) if path else None
    named = file["space"] if file else str(space)
    found = SearchSpace.read(named)
    for mistake in mistakes.in_space(found):
        raise mistake
    if file and path:
        for mistake in mistakes.in_file(file, reader.load(path), found):
            raise mistake
    config = resolve(
        flags={**flags, "space": named},
        sets=sets,
        file=file,
        space_defaults=found.campaign,
    )
    return config, found


def _is_campaign_file(path: str | Path) -> bool:
    """Whether a YAML file says `space:` and so is a campaign's, not a space itself."""
    from archsearch.graph import reader

    if not content.is_path(path):
        return False
    data = reader.plain(reader.load(content.find("search_spaces", path)).root)
    return isinstance(data, dict) and "space" in data and "graph" not in data
