"""The Python of docs/spaces.md runs, block after block."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

PAGE = Path(__file__).parent.parent.parent / "docs" / "spaces.md"


def test_the_page_runs(capsys: Any) -> None:
    names: dict[str, Any] = {}
    blocks = re.findall(r"^```python\n(.*?)^```$", PAGE.read_text(), re.MULTILINE | re.DOTALL)
    assert len(blocks) >= 6
    for block in blocks:
        exec(block, names)
    assert "dropped, the space does not ask for it" in capsys.readouterr().out
    assert names["steps"] <= names["space"].distance(names["sample"].decisions, names["child"].decisions)
