"""What drawn tasks are made of: distinct numbers, where a key came first, motifs of several lengths in one row.

Legend of shapes: N examples, P places, M tokens a place, L tokens a row.
"""

from __future__ import annotations

import torch
from torch import Tensor

__all__ = ["distinct", "first_places", "packed"]


def distinct(count: int, size: int, below: int, generator: torch.Generator) -> Tensor:
    """`(count, size)` numbers from 0 to `below - 1` in random order, no two of a row alike.

    Floyd's sampling (Bentley and Floyd 1987, doi:10.1145/30401.315746): `size` draws a row, however large `below` is.
    """
    chosen = torch.empty(count, size, dtype=torch.int64)
    for i, last in enumerate(range(below - size, below)):
        drawn = torch.randint(last + 1, (count,), generator=generator)
        taken = (chosen[:, :i] == drawn.unsqueeze(1)).any(1)
        chosen[:, i] = torch.where(taken, last, drawn)
    return chosen.gather(1, torch.rand(count, size, generator=generator).argsort(1))


def first_places(keys: Tensor, below: int) -> Tensor:
    """The place at which each of the keys `(N, P)`, all below a number, stands for the first time in its row."""
    if below <= 16 * keys.shape[1]:  # a table is filled faster than a row is sorted, as long as it is small
        places = torch.arange(keys.shape[1]).expand_as(keys)
        table = torch.full((len(keys), below), keys.shape[1])
        return table.scatter_reduce_(1, keys, places, "amin").gather(1, keys)
    ordered, places = keys.sort(dim=1, stable=True)
    starts = torch.arange(keys.shape[1]).expand_as(keys).clone()
    starts[:, 1:].masked_fill_(ordered[:, 1:] == ordered[:, :-1], 0)
    firsts = places.gather(1, starts.cummax(1).values)
    return torch.empty_like(places).scatter_(1, places, firsts)


def packed(tokens: Tensor, valid: Tensor, length: int, fill: int | bool) -> Tensor:
    """The valid ones of `(N, P, M)` tokens in their order, cut or filled up to rows of `length`."""
    valid = valid.flatten(1)
    place = valid.cumsum(1) - 1
    place = place.masked_fill(~valid | (place >= length), length)
    rows = torch.full((len(tokens), length + 1), fill, dtype=tokens.dtype)
    return rows.scatter_(1, place, tokens.flatten(1))[:, :length].contiguous()
