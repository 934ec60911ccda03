"""The schema beside the shipped spaces is the one of today, and each of them names it and fits it."""

from __future__ import annotations

import json
from pathlib import Path

import jsonschema
import pytest

from archsearch.content import block_files, folder, suite_files
from archsearch.graph.reader import load, plain
from archsearch.graph.schema import HEADER, schema
from archsearch.ops.registry import registry

SPACES = sorted({*folder("search_spaces").rglob("*.yaml")} - {*suite_files()})
FILE = folder("search_spaces") / "schema.json"


def test_the_file_is_fresh() -> None:
    made = json.dumps(schema(registry(), block_files()), indent=1, ensure_ascii=False) + "\n"
    assert FILE.read_text() == made, f"run: archsearch schema -o {FILE}"


@pytest.mark.parametrize("path", SPACES, ids=lambda p: f"{p.parent.name}/{p.stem}")
def test_shipped_files_name_the_schema_and_fit_it(path: Path) -> None:
    first = path.read_text().splitlines()[0]
    assert first.startswith(HEADER), f"the first line must be {HEADER}..."
    assert (path.parent / first.removeprefix(HEADER)).resolve() == FILE.resolve()
    jsonschema.Draft7Validator(json.loads(FILE.read_text())).validate(plain(load(path).root))
