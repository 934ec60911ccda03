"""The leaderboard: the same table in a terminal, a file and a notebook, without torch."""

from archsearch.leaderboard.board import Board, boards
from archsearch.leaderboard.fields import FIELDS, Field, Row
from archsearch.leaderboard.selection import select

__all__ = ["FIELDS", "Board", "Field", "Row", "boards", "select"]
