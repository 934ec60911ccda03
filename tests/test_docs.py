"""What README and docs show works: spaces are read, agents and ops run, commands and links exist.

A block is run if a comment `<!-- test: space|point|own|refused|agent|op|task -->` stands on the line before it. A
`point` is a space without choices, an `own` one uses the op that README shows; what is `refused` stands above the
message that says so. Every `archsearch ...` line in a block is looked up in the command line.
"""

from __future__ import annotations

import importlib.util
import random
import re
import shlex
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import click
import pytest

CHECKOUT = Path(__file__).parent.parent
PAGES = [CHECKOUT / "README.md", CHECKOUT / "results" / "README.md", *sorted((CHECKOUT / "docs").glob("*.md"))]
MARKED = re.compile(r"<!-- test: (\w+) -->\n```\w*\n(.*?)^```$", re.MULTILINE | re.DOTALL)
REFUSED = re.compile(r"<!-- test: refused -->\n```yaml\n(.*?)^```\n\n```\n(.*?)^```$", re.MULTILINE | re.DOTALL)
SHELL = re.compile(r"^```sh\n(.*?)^```$|^    (archsearch .*?)$", re.MULTILINE | re.DOTALL)
COMMAND = re.compile(r"^archsearch (.+)$", re.MULTILINE)
LINK = re.compile(r"\]\((?!https?:|#)([^)#]+)")


def blocks(kind: str) -> list[Any]:
    """The marked blocks of a kind, over all pages."""
    found = []
    for page in PAGES:
        for match in MARKED.finditer(page.read_text()):
            if match[1] == kind:
                line = page.read_text().count("\n", 0, match.start(2)) + 1
                found.append(pytest.param(match[2], id=f"{page.relative_to(CHECKOUT)}:{line}"))
    return found


def commands() -> list[Any]:
    """Every `archsearch ...` line of every page, with the lines that go on with it, without its comment."""
    found: dict[str, Any] = {}
    for page in PAGES:
        shell = "\n".join(match[1] or match[2] for match in SHELL.finditer(page.read_text()))
        shell = re.sub(r" *\\\n *", " ", shell)
        for match in COMMAND.finditer(shell):
            for one in alternatives(re.split(r"\s{2,}", match[1])[0]):
                found.setdefault(one, pytest.param(one, id=one))
    return list(found.values())


def alternatives(text: str) -> Iterator[str]:
    """`spaces|ops list` are two commands."""
    first, _, rest = text.partition(" ")
    for word in first.split("|"):
        yield f"{word} {rest}".strip()


def module_of(text: str, folder: Path, name: str) -> ModuleType:
    """The code of a block as a module, loaded from a file as a person's would be."""
    path = folder / f"{name}.py"
    path.write_text(text)
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    return module


def defined(module: ModuleType, base: type) -> Any:
    """The one subclass of `base` that a module defines."""
    (found,) = [
        c
        for c in vars(module).values()
        if isinstance(c, type) and issubclass(c, base) and c.__module__ == module.__name__
    ]
    return found


@pytest.fixture
def module_name(request: pytest.FixtureRequest) -> Iterator[str]:
    name = f"documented_{abs(hash(request.node.nodeid))}"
    yield name
    sys.modules.pop(name, None)


def read_space(text: str, path: Path | str = "my_space.yaml") -> Any:
    from archsearch import content
    from archsearch.graph.space import SearchSpace
    from archsearch.ops.registry import registry

    return SearchSpace.parse(text, registry(), path=str(path), definitions=content.block_files())


def runs(space: Any) -> None:
    """A sample of a space, built and fed."""
    import torch

    from archsearch.build.model import build
    from archsearch.tasks.base import InputKind, OutputKind

    architecture = space.sample(random.Random(0)).architecture
    model = build(architecture, InputKind("tokens", 5), OutputKind("steps", 3), seeds=[0])
    y = model(torch.arange(14).view(2, 7) % 5)
    assert y.shape == (1, 2, 7, 3)
    assert y.isfinite().all()


@pytest.mark.parametrize("text", blocks("space"))
def test_spaces_are_sound(text: str) -> None:
    space = read_space(text)
    report = space.check(samples=20, seed=0)
    assert report.ok, "\n".join(map(str, report.mistakes))
    assert space.choices(), "a space without choices is no example of a space"
    runs(space)


@pytest.mark.parametrize("text", blocks("point"))
def test_points_run(text: str) -> None:
    space = read_space(text)
    assert space.is_point
    assert space.check().ok
    runs(space)


@pytest.mark.parametrize("text", blocks("own"))
def test_spaces_with_an_op_of_ones_own_run(text: str, tmp_path: Path) -> None:
    (tmp_path / "token_shift.py").write_text(blocks("op")[0].values[0])
    space = read_space(text, tmp_path / "my_space.yaml")
    assert space.check().ok
    assert "TokenShift" in space.sample(random.Random(0)).architecture.sources["token_shift"]
    runs(space)


def refusals() -> list[Any]:
    """What is refused, and the message beside it."""
    found = [(page.name, *match.groups()) for page in PAGES for match in REFUSED.finditer(page.read_text())]
    return [pytest.param(text, " ".join(message.split()), id=f"{n}:{message[:40]}") for n, text, message in found]


@pytest.mark.parametrize(("text", "message"), refusals())
def test_mistakes_are_refused_in_these_words(text: str, message: str) -> None:
    assert mistake(text) == message


def mistake(text: str) -> str:
    """The first mistake in a space, found when it is read or when it is checked."""
    from archsearch.errors import FileError

    try:
        return str(read_space(text).check().mistakes[0])
    except FileError as error:
        return str(error)


def test_every_refusal_shows_its_message() -> None:
    assert len(refusals()) == len(blocks("refused"))


@pytest.mark.parametrize("text", blocks("agent"))
def test_agents_propose_and_observe(text: str, tmp_path: Path) -> None:
    from archsearch.agent import Result
    from archsearch.campaign.agents import agent_class

    space = read_space(blocks("space")[0].values[0])
    (tmp_path / "documented.py").write_text(text)
    agent = agent_class(str(tmp_path / "documented.py"))(space, seed=1)
    proposed = []
    for number in range(12):
        proposal = agent.propose(number)
        space.decide(proposal.decisions)
        proposed.append(tuple(sorted(proposal.decisions.items())))
        agent.observe(Result(number, proposal.decisions, "done", score=float(number % 5)))
    assert len(set(proposed)) >= 5


@pytest.mark.parametrize("text", blocks("op"))
def test_ops_step_as_they_run_in_parallel(text: str, tmp_path: Path, module_name: str) -> None:
    import torch

    from archsearch.graph.types import ValueType
    from archsearch.ops.base import Context, Op

    copies, batch, time, width = 2, 3, 7, 5
    op = defined(module_of(text, tmp_path, module_name), Op)()
    kind = ValueType((width,))
    generator = torch.Generator().manual_seed(0)
    drawn = {w.name: torch.stack([w.init(generator, w.shape) for _ in range(copies)]) for w in op.weights(kind)}
    weights = {name: w + 0.1 * torch.randn(w.shape, generator=generator) for name, w in drawn.items()}
    x = torch.randn(copies, batch, time, width, generator=generator)
    whole = op.forward(weights, x, ctx=Context())
    assert whole.shape == (copies, batch, time, *op.infer(kind).shape)
    state, steps = op.start(weights, batch, kind), []
    for t in range(time):
        y, state = op.step(weights, state, x[:, :, t], ctx=Context())
        steps.append(y)
    torch.testing.assert_close(torch.stack(steps, dim=2), whole)
    assert op.cost(kind, time=time).flops > 0


@pytest.mark.parametrize("text", blocks("task"))
def test_tasks_judge_their_own_targets(text: str, tmp_path: Path) -> None:
    import torch

    from archsearch.tasks.registry import make

    (tmp_path / "documented.py").write_text(text)
    task = make(tmp_path / "documented.py", {})
    assert task.digest() == task.digest()
    splits = {split: task.examples(split) for split in ("train", "validation", "test")}
    for examples in splits.values():
        assert len(examples) > 0
        assert examples.inputs.shape[1] == task.length
    same = task.examples("test")
    assert torch.equal(same.inputs, splits["test"].inputs)
    assert torch.equal(same.targets, splits["test"].targets)
    test = splits["test"]
    perfect = 20.0 * torch.nn.functional.one_hot(test.targets.clamp(min=0), task.output.size).float()[None]
    score, _, count = task.judge(perfect, test.targets, test.mask)
    assert float(score / count) == pytest.approx(task.ceiling)


@pytest.mark.parametrize("text", commands())
def test_commands_exist(text: str) -> None:
    from archsearch.cli.main import main

    command: click.Command = main
    words = shlex.split(text, comments=True)
    context = click.Context(command)
    while isinstance(command, click.Group) and words and not words[0].startswith("-"):
        found = command.get_command(context, words[0])
        assert found is not None, f"`archsearch {text}`: there is no command `{words[0]}`"
        command, words = found, words[1:]
    options = {o for p in command.get_params(context) for o in (*p.opts, *p.secondary_opts)}
    for word in words:
        if word.startswith("-"):
            assert word.split("=")[0] in options, f"`archsearch {text}`: there is no option `{word}`"


@pytest.mark.parametrize("page", PAGES, ids=lambda p: str(p.relative_to(CHECKOUT)))
def test_links_lead_somewhere(page: Path) -> None:
    for target in LINK.findall(page.read_text()):
        assert (page.parent / target).exists(), f"{page.name} links to {target}"


def test_readme_shows_one_of_each() -> None:
    assert {kind for kind in ("space", "agent", "op", "task") if blocks(kind)} == {"space", "agent", "op", "task"}
    assert len(commands()) > 8


@pytest.mark.parametrize("script", ["scripts/quickstart", "scripts/test", "scripts/check", ".ci/run"])
def test_scripts_that_docs_name_can_be_run(script: str) -> None:
    assert (CHECKOUT / script).stat().st_mode & 0o111
