"""Name what is on a person's own images: a folder with a folder of images for each class.

archsearch run hybrid --task images --set task.path=./leaves
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray

from archsearch.errors import ConfigError
from archsearch.tasks.base import Examples
from archsearch.tasks.drawn import row_numbers
from archsearch.tasks.files import Stamp, existing, extra, problem, stamps
from archsearch.tasks.rows import Rows, RowsTask, answers, splits_of, targets_of
from archsearch.tasks.settings import setting
from archsearch.tasks.splits import patches

__all__ = ["Images"]


@dataclass(frozen=True)
class Images(RowsTask):
    """Name the class of an image."""

    name: ClassVar[str] = "images"
    summary: ClassVar[str] = "Name the class of your own images, a folder for each class, read patch by patch."
    metric: ClassVar[str] = "accuracy"

    path: str = setting("", needed=True, path=True, help="a folder that holds a folder of images for each class")
    size: int = setting(32, low=2, high=1024, help="pixels along the side that each image is brought to")
    patch: int = setting(4, low=1, high=1024, help="pixels along the side of a patch; 1 for a sequence of pixels")
    colour: bool = setting(False, help="red, green and blue instead of grey")
    seed: int = setting(0, low=0, help="of the split: three fifths to train on, one fifth each to validate and test")

    def __post_init__(self) -> None:
        if self.size % self.patch:
            raise ConfigError(
                f"Task `{self.name}`: `patch` must divide `size`, but got patch={self.patch}, size={self.size}."
            )
        existing(self.name, self.path, "a folder with a folder of images for each class", folder=True)

    def rows(self) -> Rows:
        """Patches of the images, from -1 (black) to 1 (white)."""
        return _rows(self.path, stamps(self.name, Path(self.path)), self.size, self.patch, self.colour, self.seed)


@lru_cache(maxsize=2)
def _rows(path: str, files: tuple[Stamp, ...], size: int, patch: int, colour: bool, seed: int) -> Rows:
    parts = [Path(file).relative_to(path).parts for file, _, _ in files]
    loose = next((p[0] for p in parts if len(p) < 2), None)
    if loose:
        rule = "images must lie in folders named by their class"
        raise problem(Images.name, rule, f"`{loose}` in {path} itself")
    image = extra(Images.name, "PIL.Image", "images")
    if len({p[0] for p in parts}) == 1 and all(len(p) > 2 for p in parts):
        hint = f"Name that folder: --set task.path={path}/{parts[0][0]}"
        raise problem(
            Images.name, "a folder must hold a folder of images for each class", f"only `{parts[0][0]}`", hint
        )
    asked = answers(Images.name, "folder", pd.Series([p[0] for p in parts]).astype(object), "classification")
    pixels = torch.from_numpy(np.stack([_pixels(image, file, size, colour) for file, _, _ in files]))
    inputs = patches(pixels, patch).float() / 127.5 - 1.0
    rows = splits_of(Images.name, row_numbers(inputs), asked, seed)
    targets = targets_of(asked, rows)
    return Rows({s: Examples(inputs[some], targets[s]) for s, some in rows.items()}, len(asked.classes))


def _pixels(image: Any, file: str, size: int, colour: bool) -> NDArray[np.uint8]:
    """`(size, size, channels)`."""
    try:
        with image.open(file) as opened:
            small = opened.convert("RGB" if colour else "L").resize((size, size))
    except (OSError, ValueError, SyntaxError) as error:  # what Pillow raises for what it cannot read
        said = " ".join(str(error).split())
        hint = "Take it out of the folder."
        raise problem(Images.name, "every file must be an image", f"{file}: {said}", hint) from None
    return np.asarray(small, dtype=np.uint8).reshape(size, size, -1)
