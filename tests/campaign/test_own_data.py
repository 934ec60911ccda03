"""Campaigns on a person's own file: found from anywhere, and held to what it was."""

from __future__ import annotations

from pathlib import Path

import pytest

from archsearch.campaign.config import CampaignConfig, Finals
from archsearch.campaign.record import load
from archsearch.campaign.run import resume, run
from archsearch.errors import ConfigError, FileError
from archsearch.training.measurement import TrainingSettings
from tests.campaign import fakes
from tests.tasks.own_data import write_table

RUNNER = f"{Path(fakes.__file__)}:HashTrainer"


@pytest.fixture
def cut(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A campaign on `t.csv`, named by a relative path, that was cut before its end."""
    monkeypatch.chdir(tmp_path)
    write_table(Path("t.csv"))
    config = CampaignConfig(
        space="quickstart",
        task="table",
        task_settings={"path": "t.csv", "target": "kind"},
        executor="inline",
        trials=3,
        ahead=2,
        finals=Finals(1, 1),
        training=TrainingSettings(reports=2),
    )
    path = run(config, tmp_path / "results", runner=RUNNER, progress=False).path
    events = (path / "events.jsonl").read_bytes().splitlines(keepends=True)
    (path / "events.jsonl").write_bytes(b"".join(events[:-1]))
    (path / "results.db").unlink()
    monkeypatch.chdir("/")
    return path


def test_a_campaign_on_a_file_goes_on_from_anywhere(cut: Path, tmp_path: Path) -> None:
    assert load(cut).config["task_settings"]["path"] == str(tmp_path / "t.csv")
    assert resume(cut, runner=RUNNER, progress=False).status == "done"


def test_a_file_that_changed_is_refused_by_name(cut: Path, tmp_path: Path) -> None:
    write_table(tmp_path / "t.csv", seed=1, rows=81)
    with pytest.raises(ConfigError, match=r"go on with the data that it began with.*its data, .*t\.csv, or its Python"):
        resume(cut, runner=RUNNER, progress=False)


def test_a_file_that_is_gone_is_said(cut: Path, tmp_path: Path) -> None:
    (tmp_path / "t.csv").rename(tmp_path / "t2.csv")
    with pytest.raises(ConfigError, match=r"t\.csv: nothing is there. Did you mean `t2\.csv`"):
        resume(cut, runner=RUNNER, progress=False)


def test_a_space_may_name_such_a_task_and_leave_the_file_to_a_flag(tmp_path: Path) -> None:
    from archsearch.api import SearchSpace
    from archsearch.campaign import mistakes

    text = "version: 1\nname: mine\ngraph: {nodes: {out: {op: linear, from: in}}}\ncampaign: {task: table}\n"
    path = tmp_path / "mine.yaml"
    path.write_text(text)
    assert list(mistakes.in_space(SearchSpace.read(path))) == []
    path.write_text(text.replace("table}", "table, task_settings: {layuot: row}}"))
    [mistake] = mistakes.in_space(SearchSpace.read(path))
    assert isinstance(mistake, FileError)
    assert "Did you mean `layout`" in str(mistake)
