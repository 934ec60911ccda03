"""The wheel, the sdist and an editable install all bring the agents and the search spaces."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import sysconfig
import tarfile
import tomllib
import venv
import zipfile
from pathlib import Path

import pytest

CHECKOUT = Path(__file__).parent.parent
LEFT_OUT = shutil.ignore_patterns(".*", "__pycache__", "*.egg-info", "results", "build.log", "dist")
CONTENT_REPORT = """
import json, pathlib, archsearch
from archsearch import content
shipped = {kind: sorted(content.names(kind)) for kind in ("agents", "search_spaces")}
shipped["blocks"] = sorted(p.stem for p in content.block_files())
shipped["controls"] = sorted(p.stem for p in content.control_files())
shipped["suites"] = sorted(p.stem for p in content.suite_files())
print(json.dumps([str(pathlib.Path(archsearch.__file__).parent.parent), shipped]))
"""


def stems(folder: str, pattern: str) -> list[str]:
    return sorted(p.stem for p in (CHECKOUT / folder).glob(pattern))


def shipped() -> dict[str, list[str]]:
    """What the checkout holds, and every installation must."""
    return {
        "agents": stems("agents", "*.py"),
        "search_spaces": stems("search_spaces", "*.yaml"),
        "blocks": stems("search_spaces/blocks", "*.yaml"),
        "controls": stems("search_spaces/controls", "*.yaml"),
        "suites": stems("search_spaces/suites", "*.yaml"),
    }


def run(*command: str | Path, cwd: Path) -> str:
    environment = {k: v for k, v in os.environ.items() if k not in ("PYTHONPATH", "VIRTUAL_ENV")}
    done = subprocess.run(command, cwd=cwd, env=environment, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
    return done.stdout


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the checkout, so that building leaves nothing behind in it."""
    return Path(shutil.copytree(CHECKOUT, tmp_path_factory.mktemp("source") / "archsearch", ignore=LEFT_OUT))


@pytest.fixture(scope="module")
def built(source: Path) -> dict[str, Path]:
    """The sdist, and the wheel that is made from it."""
    run(sys.executable, "-m", "build", "--no-isolation", "--outdir", "dist", ".", cwd=source)
    return {"sdist": next((source / "dist").glob("*.tar.gz")), "wheel": next((source / "dist").glob("*.whl"))}


def test_the_list_of_packages_is_complete() -> None:
    listed = tomllib.loads((CHECKOUT / "pyproject.toml").read_text())["tool"]["setuptools"]["packages"]
    folders = [p.parent for p in (CHECKOUT / "archsearch").rglob("*.py") if "_bundled" not in p.parts]
    existing = {".".join(folder.relative_to(CHECKOUT).parts) for folder in folders}
    assert {name for name in listed if "_bundled" not in name} == existing


def test_content_folders_are_no_packages() -> None:
    for folder in ("agents", "search_spaces"):
        assert not list((CHECKOUT / folder).rglob("__init__.py")), f"{folder} would shadow other people's packages"


def test_wheel_holds_the_engine_and_its_content(built: dict[str, Path]) -> None:
    with zipfile.ZipFile(built["wheel"]) as wheel:
        files = {name for name in wheel.namelist() if ".dist-info/" not in name}
    bundled = "archsearch/_bundled"
    expected = {f"{bundled}/agents/{p.name}" for p in (CHECKOUT / "agents").glob("*.py")}
    expected |= {f"{bundled}/{p.relative_to(CHECKOUT)}" for p in (CHECKOUT / "search_spaces").rglob("*.yaml")}
    expected.add(f"{bundled}/search_spaces/schema.json")
    assert {f for f in files if f.startswith(bundled)} == expected
    engine = {str(p.relative_to(CHECKOUT)) for p in (CHECKOUT / "archsearch").rglob("*.py")} | {"archsearch/py.typed"}
    assert files - expected == engine


def test_sdist_holds_what_the_tests_need(built: dict[str, Path]) -> None:
    with tarfile.open(built["sdist"]) as sdist:
        files = {name.split("/", 1)[1] for name in sdist.getnames() if "/" in name}
    assert {"LICENSE", "README.md", "constraints.txt", "scripts/test", "tests/test_packaging.py"} <= files


@pytest.mark.parametrize("form", ["wheel", "sdist", "editable"])
def test_installation_finds_its_content(form: str, source: Path, built: dict[str, Path], tmp_path: Path) -> None:
    python = make_environment(tmp_path / "env")
    target = ["--editable", source] if form == "editable" else [built[form]]
    pip = [sys.executable, "-m", "pip", "--python", python, "install", "--quiet", "--ignore-installed"]
    run(*pip, "--no-deps", "--no-build-isolation", "--no-index", *target, cwd=tmp_path)

    place, found = json.loads(run(python, "-c", CONTENT_REPORT, cwd=tmp_path))
    assert Path(place) == (source if form == "editable" else next((tmp_path / "env" / "lib").glob("*/site-packages")))
    assert found == shipped()
    listing = run(python.parent / "archsearch", "spaces", "list", cwd=tmp_path)
    for name in shipped()["search_spaces"]:
        assert name in listing


def make_environment(folder: Path) -> Path:
    """A fresh environment that sees this one's libraries but not its archsearch; returns its Python."""
    venv.create(folder, with_pip=False)
    own = next((folder / "lib").glob("*/site-packages"))
    # A .pth line adds a folder without reading that folder's own .pth files, an editable archsearch among them.
    (own / "outer.pth").write_text(sysconfig.get_paths()["purelib"] + "\n")
    return folder / "bin" / "python"
