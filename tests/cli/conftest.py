"""A command line to call, and campaigns on disk to call it on."""

from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from archsearch.cli.main import main
from tests.cli.campaigns import write_campaign


@pytest.fixture
def call():
    """Runs a command in this process: `call("leaderboard", "quickstart")`; anything but `code` fails the test."""

    def run(*args: str, code: int = 0) -> Result:
        result = CliRunner().invoke(main, list(args))
        assert result.exit_code == code, (result.exit_code, result.output)
        assert "Traceback" not in result.output
        return result

    return run


@pytest.fixture
def campaign(results_folder: Path) -> Path:
    """A finished campaign called `first` in the results folder."""
    results_folder.mkdir(parents=True, exist_ok=True)
    return write_campaign(results_folder / "first")


@pytest.fixture
def another(campaign: Path) -> Path:
    """A second, newer campaign on the same task, called `second`."""
    return write_campaign(campaign.parent / "second", best=0.8)
