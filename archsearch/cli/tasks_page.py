"""docs/tasks.md: every task on one page, from what the registry knows of it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from archsearch.cli.ops import setting_text
from archsearch.cli.ops_page import markdown_table
from archsearch.errors import ConfigError

if TYPE_CHECKING:
    from archsearch.tasks.base import Task

__all__ = ["page"]

_HEAD = """# Tasks

<!-- Made by `archsearch tasks docs -o docs/tasks.md`; a test holds it fresh. Change the tasks, not this page. -->

A task is data and a metric. Chance is the score of knowing nothing but the frequencies of the targets, the ceiling the
best score there is, both with default settings. `archsearch tasks show NAME` prints a task's settings,
`--set task.NAME=VALUE` changes them, and `--set task.metric=NAME` chooses [what ranks](data.md#metrics).
"""

_SUITES = """## Suites

A suite is several tasks under one name, `--task mad`: a candidate is trained on each and scored by the
[mean](protocol.md#several-tasks).
"""

_MAD = """## MAD's protocol

The space `mad` is the base protocol of MAD with its grid: 20,000 steps of 128 examples at width 128, three learning
rates; the campaign with weight decay 0 is a second one. It takes a GPU. On a laptop the recommended training of each
task does, and what it loses by that is comparability with the paper, not the order of what is compared.

```sh
archsearch run mad
archsearch run mad --set training.weight_decay=0 --name mad_without_decay
archsearch run mad --task selective_copying
archsearch run mad --task mad --set training.memorization.steps=400
archsearch run mad --task noisy_recall --set task.targets=all --set task.noise=0.4
```

MAD trains the tasks that recall on every next token (`targets: all`) and tests on what is recalled; here `recall` is
the default, which learns in fewer steps. Other differences: tokens of selective copying lie anywhere with equal odds,
fuzzy recall is padded at its end, no pair of noisy recall is forced to recall, and one affine readout stands in place
of MAD's decoder in compression.
"""


def page() -> str:
    """The whole page."""
    from archsearch.tasks.registry import names, task_class

    kinds = [task_class(name) for name in names()]
    rows = [_row(kind) for kind in kinds]
    parts = [
        _HEAD,
        "\n".join(markdown_table(("task", "asks", "metric", "chance", "ceiling", "length", "source"), rows)),
    ]
    parts += ["\n".join(_section(kind)) for kind in kinds]
    return "\n".join([*parts, _suites(), _MAD])


def _suites() -> str:
    """The suites, each a row."""
    from archsearch.campaign import suites

    found = [suites.read(path) for path in suites.names().values()]
    rows = [(f"`{s.name}`", s.summary, ", ".join(f"[{t}](#{t})" for t in s.tasks), s.paper) for s in found]
    return "\n".join([_SUITES, *markdown_table(("suite", "asks", "tasks", "source"), rows)])


def _row(kind: type[Task]) -> tuple[str, ...]:
    metric = f"{kind.metric} {'↑' if kind.maximize else '↓'}"
    return f"[{kind.name}](#{kind.name})", kind.summary, metric, *_figures(kind), kind.paper


def _figures(kind: type[Task]) -> tuple[str, str, str]:
    """Chance, ceiling and length, which a task of a person's own data has only with them."""
    from archsearch.tasks.registry import make

    try:
        task = make(kind.name, {})
    except ConfigError:
        return "of the data", "of the data", "of the data"
    ceiling = "unknown" if task.ceiling is None else f"{task.ceiling:.3g}"
    return f"{task.chance:.2g}", ceiling, _length(task)


def _length(task: Task) -> str:
    """In training, and in the test where it is another."""
    train, test = task.length, task.length_in("test")
    return f"{train:,}" if train == test else f"{train:,}; test {test:,}"


def _section(kind: type[Task]) -> Iterator[str]:
    from archsearch.tasks.settings import settings_of

    yield f"## {kind.name}\n"
    yield f"{_about(kind)}\n"
    settings = [setting_text(s) for s in settings_of(kind)]
    yield from markdown_table(("setting", "is", "means"), [(f"`{s[0].strip()}`", *s[1:]) for s in settings])
    yield f"Recommended training: {_pairs(kind.training)}.\n"
    if kind.ladder:
        yield f"Ladder of difficulty, one setting at a time: {_pairs(kind.ladder)}.\n"


def _about(kind: type[Task]) -> str:
    """What the file says of itself, which is more than its summary."""
    import inspect
    import sys

    return inspect.cleandoc(sys.modules[kind.__module__].__doc__ or kind.summary)


def _pairs(values: Mapping[str, Any]) -> str:
    def said(value: Any) -> str:
        return ", ".join(map(str, value)) if isinstance(value, tuple | list) else str(value)

    return "; ".join(f"`{key}` {said(value)}" for key, value in values.items())
