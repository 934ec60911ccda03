"""The Python door: what it exports, and what a campaign on disk gives."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

import archsearch
from archsearch.errors import ConfigError, FileError, NoSuccessError, UnknownNameError
from tests.cli.campaigns import write_campaign


@pytest.fixture
def campaign(results_folder: Path) -> archsearch.Campaign:
    results_folder.mkdir()
    write_campaign(results_folder / "first")
    return archsearch.open("first")


def test_public_names_are_sorted_complete_and_load_when_used() -> None:
    assert list(archsearch.__all__) == sorted(archsearch.__all__, key=isort_key)
    assert set(archsearch.__all__) == {*archsearch._HOME, "__version__"}
    for name, home in archsearch._HOME.items():
        assert getattr(archsearch, name) is getattr(sys.modules[home], name)


def isort_key(name: str) -> tuple[int, str]:
    """Constants, then classes, then the rest, as ruff sorts them."""
    return (0 if name.isupper() else 1 if name[0].isupper() else 2, name)


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="has no attribute 'Nothing'"):
        archsearch.Nothing  # noqa: B018


def test_importing_it_loads_no_other_package() -> None:
    code = "import sys, archsearch; print([m for m in ('torch', 'ray', 'yaml', 'click', 'numpy') if m in sys.modules])"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout.strip() == "[]"


def test_spaces_are_read_by_name_path_and_text(tmp_path: Path) -> None:
    by_name = archsearch.SearchSpace.read("hybrid")
    by_path = archsearch.SearchSpace.read(by_name.path)
    by_text = archsearch.SearchSpace.parse(Path(by_name.path).read_text())
    assert by_name.name == by_path.name == by_text.name == "hybrid"
    assert isinstance(by_name, archsearch.SearchSpace)
    with pytest.raises(UnknownNameError, match="Did you mean `hybrid`"):
        archsearch.SearchSpace.read("hybird")
    with pytest.raises(FileError, match="<string>:1"):
        archsearch.SearchSpace.parse("graph: 3")


def test_a_campaign_is_opened_by_name_or_path(campaign: archsearch.Campaign) -> None:
    assert archsearch.open(campaign.path).name == campaign.name == "first"
    assert campaign.status == "done"
    assert repr(campaign).endswith("done, 5 candidates)")
    with pytest.raises(UnknownNameError, match="Did you mean `first`"):
        archsearch.open("frist")


def test_the_leaderboard_is_a_frame(campaign: archsearch.Campaign) -> None:
    frame = campaign.leaderboard()
    assert list(frame["id"]) == ["1", "no_mixer", "2", "3", "4"]
    assert frame.loc[0, "score"] == pytest.approx(0.89)


def test_the_best_is_the_first_that_is_no_control(campaign: archsearch.Campaign) -> None:
    best = campaign.best()
    assert (best.id, best.score) == ("1", pytest.approx(0.89))
    assert best.architecture.nodes[0].op == "tanh"
    assert repr(best) == "Candidate(1: 1×[tanh], done, 0.890)"
    assert [c.id for c in campaign.candidates] == ["no_mixer", "1", "2", "3", "4"]
    assert campaign[2].record.line == "1×[relu]"


def test_without_a_score_there_is_no_best(campaign: archsearch.Campaign, monkeypatch: pytest.MonkeyPatch) -> None:
    empty = type(campaign.record)(**{**vars(campaign.record), "candidates": ()})
    monkeypatch.setattr(campaign, "_record", empty)
    with pytest.raises(NoSuccessError):
        campaign.best()


def test_a_campaign_that_goes_on_is_read_again(campaign: archsearch.Campaign) -> None:
    before = campaign.record
    assert campaign.record is before
    assert campaign.refresh().record is not before


def test_a_candidate_is_built_afresh_or_with_its_weights(campaign: archsearch.Campaign) -> None:
    import torch

    from archsearch.training.measurement import Job, TrainingSettings
    from archsearch.training.weights import write_weights

    fresh = campaign.best().build(seed=3)
    tokens = torch.randint(16, (2, 64))
    assert fresh(tokens).shape[:3] == (1, 2, 64)
    assert torch.equal(fresh(tokens), campaign.best().build(seed=3)(tokens))
    assert not torch.equal(fresh(tokens), campaign.best().build(seed=4)(tokens))

    job = Job("1/final/1", campaign.best().architecture.to_dict(), "in_context_recall", {}, TrainingSettings())
    write_weights(campaign.path / "candidates" / "1" / "weights.pt", fresh, 0, job, seed=99)
    trained = campaign.best().build()
    assert torch.equal(trained(tokens), fresh(tokens))
    assert not trained.training


SPACE = """
version: 1
name: tiny
graph:
  nodes:
    act: {op: {choose: [tanh, relu]}, from: in}
    out: {op: rms_norm, from: act}
scale: {width: 8}
campaign: {task: digits, controls: []}
"""
QUICK = {"training.steps": 2, "training.reports": 1, "training.evaluation_examples": 64, "finals.top": 1}


def test_a_search_from_python(tmp_path: Path, results_folder: Path) -> None:
    (tmp_path / "tiny.yaml").write_text(SPACE)
    space = archsearch.SearchSpace.read(tmp_path / "tiny.yaml")
    result = archsearch.run(space, agent="random_search", trials=2, executor="inline", settings=QUICK)
    assert result.path == results_folder / "tiny-1"
    assert len(result.leaderboard()) == 2
    model = result.best().build()
    assert not model.training, "a finalist comes with its weights"
    assert archsearch.open("tiny-1").best().id == result.best().id


def test_a_space_that_is_not_as_its_file_says_is_refused(tmp_path: Path) -> None:
    (tmp_path / "tiny.yaml").write_text(SPACE)
    wide = archsearch.SearchSpace.read(tmp_path / "tiny.yaml").rescaled(width=16)
    with pytest.raises(ConfigError, match="rescaled to"):
        archsearch.run(wide, trials=1)
    with pytest.raises(ConfigError, match="must be in a file"):
        archsearch.run(archsearch.SearchSpace.parse(SPACE), trials=1)
