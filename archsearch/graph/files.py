"""What a space takes from other files: definitions known to every space, a person's own ops; and its own names."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from functools import lru_cache
from pathlib import Path

from archsearch.errors import FileError, nearest
from archsearch.graph.compiler import Definitions
from archsearch.graph.opspec import Registry
from archsearch.graph.reader import Document, Items, Leaf, Located, Mark, Table, load
from archsearch.graph.values import named_values

__all__ = ["check_ends", "elsewhere", "op_files", "shipped", "with_own_ops"]


def shipped(paths: Iterable[Path]) -> Definitions | None:
    """The `define:` entries of all files together.

    Raises:
        FileError: a file that cannot be read, a key beside `define`, a name that two files define.
    """
    files = tuple((str(p), *_version(p)) for p in paths)
    return _shipped(files) if files else None


def _version(path: Path) -> tuple[int, int]:
    """Changes when the file does, so that it is read again; a file that is not there is refused when it is read."""
    try:
        found = path.stat()
    except OSError:
        return 0, 0
    return found.st_mtime_ns, found.st_size


@lru_cache(maxsize=16)
def _shipped(files: tuple[tuple[str, int, int], ...]) -> Definitions:
    entries: dict[str, Located] = {}
    keys: dict[str, Mark] = {}
    for path, _, _ in files:
        root = load(path).root
        if not isinstance(root, Table):
            raise root.mark.error("a file of definitions must be a YAML mapping", value="something else")
        root.only(("version", "name", "summary", "define"), "a file of definitions")
        define = root.get("define")
        for name, body in named_values(define, "define").items():
            assert isinstance(define, Table)
            if name in keys:
                rule = "two shipped definitions must not share a name"
                raise define.keys[name].error(rule, value=f"`{name}`, also in {keys[name].file}")
            entries[name], keys[name] = body, define.keys[name]
    return Definitions(entries, keys)


def op_files(names: Iterable[Leaf], space: str) -> dict[str, Path]:
    """The files that `ops:` names, each relative to the space's file, by the names of their copies in a campaign.

    A campaign keeps copies, `space.ops/0_my_mixer.py` beside its `space.yaml`; where those are, they count.

    Raises:
        FileError: a path that leads to no Python file.
    """
    home = Path(space).parent
    copies = Path(space).with_suffix(".ops")
    found = {}
    for i, leaf in enumerate(names):
        copy = copies / f"{i}_{Path(leaf.text).name}"
        path = copy if copy.is_file() else home / Path(leaf.text).expanduser()
        if path.suffix != ".py" or not path.is_file():
            text = f"`{leaf.text}`" + (", and nothing is there" if path.suffix == ".py" else "")
            raise leaf.mark.error("`ops` must list Python files, relative to this one", value=text)
        found[copy.name] = path
    return found


def with_own_ops(registry: Registry, names: Iterable[Leaf], space: str) -> Registry:
    """`registry` with the ops of the files that a space names.

    Raises:
        FileError: a file that does not import, or whose ops are none, doubled, or break the contract.
    """
    names = list(names)
    for leaf, path in zip(names, op_files(names, space).values(), strict=True):
        if registry.load is None:
            raise leaf.mark.error("`ops` needs a registry that loads files", value=f"`{leaf.text}`")
        specs = list(registry.load(path))
        for spec in specs:
            if spec.name in registry:
                rule = "an op needs a name that no other op has"
                raise FileError(path, None, None, rule, value=f"`{spec.name}`", hint='Give it `@op("other_name")`.')
        registry = registry.with_ops(specs)
    return registry


def check_ends(ends: Mapping[str, str], registry: Registry, document: Document) -> None:
    """Holds the ops that a space names for its ends against what an end needs.

    Raises:
        FileError: no op has the name; the op has other ports than one, mixes time or has no setting `width`.
    """
    for end, name in ends.items():
        if name not in registry:
            raise document.find(end).error(f"`{end}` must name an op", value=f"`{name}`", near=nearest(name, registry))
        spec = registry[name]
        one = len(spec.ports) == len(spec.outputs) == 1 and not spec.mixes_time
        if not one or "width" not in (s.name for s in spec.settings):
            rule = f"`{end}` must be an op of one input and one output, a step at a time, with a setting `width`"
            raise document.find(end).error(rule, value=f"`{name}`")


def elsewhere(document: Document) -> dict[str, str]:
    """The names of all nodes of a file, and in words where each stands."""
    found: dict[str, str] = {}
    if isinstance(document.root, Table):
        for key in ("define", "graph"):
            part = document.root.get(key)
            if key == "define" and isinstance(part, Table):
                for name, body in part.entries.items():
                    found.setdefault(name, "`define`, as a definition")
                    found.update(dict.fromkeys(_node_names(body), f"`{name}`"))
            elif part is not None:
                found.update(dict.fromkeys(_node_names(part), "the graph"))
    return found


def _node_names(value: Located) -> Iterator[str]:
    """Names under any `nodes:`, however deep."""
    stack: list[Located] = [value]
    seen: set[int] = set()
    while stack:
        here = stack.pop()
        if isinstance(here, Leaf) or id(here) in seen:
            continue
        seen.add(id(here))
        if isinstance(here, Items):
            stack.extend(here)
            continue
        nodes = here.get("nodes")
        if isinstance(nodes, Table):
            yield from nodes.entries
        stack.extend(here.entries.values())
