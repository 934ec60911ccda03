"""What goes wrong in a candidate is the candidate's fault: it is recorded with its reason, and the campaign goes on."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch

from archsearch.errors import CandidateError, UserError

__all__ = ["blamed_on_candidate"]

MEMORY = ("out of memory", "can't allocate memory", "not enough memory", "cannot allocate memory")


@contextmanager
def blamed_on_candidate(doing: str) -> Iterator[None]:
    """Turns whatever is raised inside into a `CandidateError`.

    Args:
        doing: what was being done, for the message: "building the model".

    Raises:
        CandidateError: `out_of_memory`, or `error` with the kind and the text of what was raised.
        UserError: as it is; no other candidate would fare better.
    """
    try:
        yield
    except (CandidateError, UserError):
        raise
    except Exception as error:  # a written op may raise anything
        reason = "out_of_memory" if _is_memory(error) else "error"
        raise CandidateError(reason, f"{doing}: {type(error).__name__}: {_text(error)}") from error


def _text(error: Exception) -> str:
    """What an error says, without the frames of C++ that torch may put behind it."""
    return str(error).split("\nException raised from ", 1)[0]


def _is_memory(error: Exception) -> bool:
    if isinstance(error, MemoryError | torch.OutOfMemoryError):
        return True
    return isinstance(error, RuntimeError) and any(words in str(error).lower() for words in MEMORY)
