"""The text of equations: where it stands in its file, how Python's parser reads it, and words for what is refused."""

from __future__ import annotations

import ast
import re
from dataclasses import dataclass
from typing import NoReturn

from archsearch.graph.reader import Leaf, Located, Mark

__all__ = ["DOLLAR", "Text", "refusal", "words_of"]

DOLLAR = "ß"
"""Stands for `$` while Python parses: a letter, of one character, that no name of the language has."""
MAX_LENGTH = 20_000
MAX_DEPTH = 120
_DEEP = f"an equation nests at most {MAX_DEPTH} deep, and has as many terms"
_NAME = re.compile(r"\$(?=[A-Za-z_])")


@dataclass(frozen=True, slots=True)
class Text:
    """A block of equations.

    Args:
        lines: as Python sees them.
        start: where its first line starts in the file; block: whether it was written with `|`, one line a line.
    """

    lines: tuple[str, ...]
    start: Mark
    block: bool

    @classmethod
    def of(cls, value: Located) -> Text:
        """The text at `equations:`; raises `FileError` unless it is text."""
        if not isinstance(value, Leaf) or not isinstance(value.value, str):
            raise value.mark.error("`equations` must be text", value="no text", hint="Write `equations: |`.")
        if len(value.value) > MAX_LENGTH:
            rule = f"`equations` has at most {MAX_LENGTH:,} characters"
            raise value.mark.error(rule, value=f"{len(value.value):,}")
        lines = tuple(_NAME.sub(DOLLAR, value.value).split("\n"))
        if value.indent is not None:
            return cls(lines, Mark(value.mark.file, value.mark.line + 1, value.indent + 1), True)
        quote = 0 if value.plain else 1
        return cls(lines, Mark(value.mark.file, value.mark.line, value.mark.column + quote), False)

    def parse(self) -> ast.Module:
        """The statements; raises `FileError` where Python's grammar ends."""
        try:
            module = ast.parse("\n".join(self.lines))
        except SyntaxError as error:
            line = max(error.lineno or 1, 1)
            mark = self.at(line, max((error.offset or 1) - 1, 0))
            raise mark.error("equations are assignments, as h = tanh(x)", **self._problem(error, line)) from None
        except (ValueError, RecursionError, MemoryError):
            raise self.start.error(_DEEP, value="more than Python can parse") from None
        if deep := _deeper(module, MAX_DEPTH):
            raise self.mark(deep).error(_DEEP, value="more")
        return module

    def _problem(self, error: SyntaxError, line: int) -> dict[str, str]:
        here = self.lines[line - 1].replace(DOLLAR, "$").strip() if line <= len(self.lines) else ""
        details = {"value": f"`{here if len(here) <= 60 else here[:60] + '…'}` ({error.msg})"}
        if re.search(r"\bin\b", here):
            details["hint"] = "The input is called `x`, unless `in:` gives it another name."
        elif not self.block and "=" in here[here.find("=") + 1 :]:
            details["hint"] = "Write `equations: |` and one equation a line."
        return details

    def at(self, line: int, column: int) -> Mark:
        """The place in the file of a line, from 1, and a column, from 0, of the text."""
        if self.block:
            return Mark(self.start.file, self.start.line + line - 1, self.start.column + column)
        return Mark(self.start.file, self.start.line, self.start.column + (column if line == 1 else 0))

    def mark(self, e: ast.AST) -> Mark:
        """The place of a piece of syntax."""
        line, offset = getattr(e, "lineno", 1), getattr(e, "col_offset", 0)
        return self.at(line, len(self.lines[line - 1].encode()[:offset].decode(errors="ignore")))

    def source(self, e: ast.AST) -> str:
        """What was written, on one line."""
        return " ".join(ast.unparse(e).replace(DOLLAR, "$").split())


def _deeper(tree: ast.AST, limit: int) -> ast.AST | None:
    """A piece of `tree` with a place that lies deeper than `limit`, found without recursion."""
    level: list[ast.AST] = [tree]
    for _ in range(limit):
        level = [child for part in level for child in ast.iter_child_nodes(part)]
    return next((part for part in level if hasattr(part, "lineno")), None)


_OPERATORS = {ast.Add: "add", ast.Sub: "subtract", ast.Mult: "multiply", ast.MatMult: "matmul", ast.Div: "scale"}


def words_of(e: ast.expr) -> str:
    """The name of the op that an expression becomes, for the name of its node."""
    match e:
        case ast.Call(func=ast.Name(id=name)):
            return name.removeprefix(DOLLAR)
        case ast.BinOp(left=ast.Constant(), op=ast.Sub()):
            return "one_minus"
        case ast.BinOp(op=operator):
            return _OPERATORS.get(type(operator), "value")
        case ast.UnaryOp():
            return "neg"
    return "value"


_REFUSED: dict[type[ast.AST], tuple[str, str]] = {
    ast.Import: ("equations import nothing", "Ops and definitions are known by name."),
    ast.ImportFrom: ("equations import nothing", "Ops and definitions are known by name."),
    ast.Compare: ("equations do not compare", "A gate is soft: sigmoid(...)."),
    ast.BoolOp: ("equations have no `and`, `or`, `not`", ""),
    ast.IfExp: ("equations have no `if`", "A gate is soft: z * a + (1 - z) * b."),
    ast.If: ("equations have no `if`", "A gate is soft: z * a + (1 - z) * b."),
    ast.For: ("equations have no loops", "Time is a delay, as h[t-1]; layers are a `repeat`."),
    ast.While: ("equations have no loops", "Time is a delay, as h[t-1]; layers are a `repeat`."),
    ast.FunctionDef: ("equations define no functions", "Write a definition of its own under `define:`."),
    ast.Lambda: ("equations define no functions", "Write a definition of its own under `define:`."),
    ast.AugAssign: ("a name is assigned once, since it is a node", 'Its past is "h[t-1]".'),
    ast.Div: ("equations divide by numbers only", "Multiply by a value in (0, 1), or scale."),
    ast.Pow: ("equations have no powers", "Write x * x."),
    ast.Starred: ("equations take their inputs one by one", ""),
    ast.Expr: ("an equation assigns to a name, as h = ...", ""),
}


def refusal(e: ast.AST, mark: Mark) -> NoReturn:
    """Raises the `FileError` that says in words why `e` is no part of an equation."""
    kind: type[ast.AST] = type(e.op) if isinstance(e, ast.BinOp) else type(e)
    rule, hint = _REFUSED.get(kind, ("equations have names, numbers, + - * @, calls and delays", ""))
    shown = " ".join(ast.unparse(e).replace(DOLLAR, "$").split())
    raise mark.error(rule, value=f"`{shown[:60]}`", hint=hint or None)
