"""What may be loaded without torch and ray is loaded without torch and ray."""

from __future__ import annotations

import importlib
import json
import pkgutil
import subprocess
import sys

import pytest

import archsearch

HEAVY = ("torch", "ray", "optuna", "sklearn")

LIGHT = [
    "archsearch",
    "archsearch.agent",
    "archsearch.api",
    "archsearch.campaign.config",
    "archsearch.campaign.record",
    "archsearch.campaign.store",
    "archsearch.cli.main",
    "archsearch.content",
    "archsearch.errors",
    "archsearch.training.measurement",
]
LIGHT_PACKAGES = ["archsearch.cli", "archsearch.graph", "archsearch.leaderboard", "archsearch.ranking"]


def loaded_by(code: str) -> set[str]:
    """The heavy packages that a fresh interpreter has loaded after running `code`."""
    report = f"import json, sys\n{code}\nsys.stderr.write(json.dumps([m for m in {HEAVY} if m in sys.modules]))"
    done = subprocess.run([sys.executable, "-c", report], capture_output=True, text=True, check=True, timeout=60)
    return set(json.loads(done.stderr.splitlines()[-1]))


def modules_of(package: str) -> list[str]:
    found = importlib.import_module(package)
    return [m.name for m in pkgutil.walk_packages(found.__path__, package + ".")]


def test_light_modules_load_neither_torch_nor_ray() -> None:
    assert loaded_by("\n".join(f"import {m}" for m in LIGHT)) == set()


@pytest.mark.parametrize("package", LIGHT_PACKAGES)
def test_no_module_of_a_light_package_loads_torch_or_ray(package: str) -> None:
    code = "\n".join(f"import {m}" for m in [package, *modules_of(package)])
    assert loaded_by(code) & {"torch", "ray"} == set()


def test_heavy_packages_would_be_noticed() -> None:
    assert loaded_by("import sklearn") == {"sklearn"}


def test_help_is_light() -> None:
    code = (
        "from archsearch.cli.main import main\n"
        "sys.argv = ['archsearch', '--help']\n"
        "try:\n    main()\nexcept SystemExit as end:\n    assert not end.code, end.code"
    )
    assert loaded_by(code) == set()


def test_module_runs_as_a_command() -> None:
    done = subprocess.run([sys.executable, "-m", "archsearch", "--help"], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    assert "leaderboard" in done.stdout


def test_every_module_can_be_imported() -> None:
    names = [m for m in modules_of("archsearch") if "._bundled" not in m and m != "archsearch.__main__"]
    assert len(names) > 30
    code = "import importlib\nfor name in " + repr(names) + ": importlib.import_module(name)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr


def test_public_names_exist_once() -> None:
    assert len(set(archsearch.__all__)) == len(archsearch.__all__)
    for name in archsearch.__all__:
        assert getattr(archsearch, name) is not None
    assert set(archsearch.__all__) <= set(dir(archsearch))
