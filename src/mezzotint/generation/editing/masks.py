"""Masks of inpainting: named ones by share, and those of files."""

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from mezzotint.data.arrays.files import open_array
from mezzotint.data.external import open_given
from mezzotint.diffusion import KeyedRandom
from mezzotint.errors import DataError

Shape = tuple[int, ...]
ARRAYS = (".npy", ".npz", ".safetensors")


class Masks(Protocol):
    """The hidden part of examples."""

    def hidden(self, shape: Shape, draws: KeyedRandom, names: tuple[str, ...]) -> Tensor:
        """Return where examples of a stored shape (C, *size) are hidden, bool (B, 1 or C, *size)."""
        ...


@dataclass(frozen=True)
class Box:
    """The middle: `share` of every side."""

    share: float

    def hidden(self, shape: Shape, draws: KeyedRandom, names: tuple[str, ...]) -> Tensor:
        mask = torch.ones(1, 1, *shape[1:], dtype=torch.bool)
        for axis, side in enumerate(shape[1:], 2):
            width = round(self.share * side)
            inside = torch.zeros(side, dtype=torch.bool)
            inside[(side - width) // 2 : (side - width) // 2 + width] = True
            mask = mask & inside.reshape(-1, *(1,) * (mask.ndim - axis - 1))
        return mask.expand(len(names), *mask.shape[1:])


@dataclass(frozen=True)
class Half:
    """The end of the last axis, such as the right half of an image."""

    share: float

    def hidden(self, shape: Shape, draws: KeyedRandom, names: tuple[str, ...]) -> Tensor:
        mask = torch.zeros(1, 1, *shape[1:], dtype=torch.bool)
        mask[..., shape[-1] - round(self.share * shape[-1]) :] = True
        return mask.expand(len(names), *mask.shape[1:])


@dataclass(frozen=True)
class Random:
    """A random `share` of the places, other ones in each example."""

    share: float

    def hidden(self, shape: Shape, draws: KeyedRandom, names: tuple[str, ...]) -> Tensor:
        values = draws.normal("mask", shape[1:]).flatten(1)
        order = values.argsort(1).argsort(1)
        return (order < round(self.share * values.shape[1])).reshape(-1, 1, *shape[1:])


@dataclass(frozen=True)
class MaskFiles:
    """One mask for all examples, or a folder with a mask for each of their names: hidden where it is not 0.

    Args:
        path: an image, an array, or a folder of images.
    """

    path: Path

    @cached_property
    def masks(self) -> dict[str, Tensor]:
        """The masks by name, bool (1 or C, *size); that of a single file under an empty one. Raises DataError."""
        if self.path.suffix.lower() in ARRAYS:
            rows = open_array(self.path)
            if not rows.shape:
                raise DataError(f"mask={self.path} holds a single number: give an array of the examples' size.")
            values = torch.from_numpy(np.asarray(rows.rows(np.arange(rows.shape[0]))) != 0)
            return {"": values}
        found = open_given(self.path)
        pixels, _ = found.images.batch(torch.arange(len(found.images)))
        masks = (pixels.float().mean(1, keepdim=True) >= 128).unbind()
        return dict(zip(found.names, masks, strict=True)) if self.path.is_dir() else {"": masks[0]}

    def hidden(self, shape: Shape, draws: KeyedRandom, names: tuple[str, ...]) -> Tensor:
        return torch.stack([self.of(name, shape) for name in names])

    def of(self, name: str, shape: Shape) -> Tensor:
        """Return the mask of an example. Raises DataError: there is none, or it has another size."""
        mask = self.masks.get(name, self.masks.get(""))
        if mask is None:
            raise DataError(f"mask={self.path} holds no mask for {name}: give one of that name, or a single file.")
        if mask.ndim == len(shape) - 1:
            mask = mask[None]
        if tuple(mask.shape[1:]) != shape[1:] or len(mask) not in (1, shape[0]):
            sizes = " and ".join(" x ".join(map(str, size)) for size in (mask.shape[1:], shape[1:]))
            raise DataError(f"mask={self.path} and the examples differ in size, {sizes}: give a mask of their size.")
        return mask


NAMED = {"box": Box, "half": Half, "random": Random}


def masks_of(named: str, share: float) -> Masks:
    """Return the masks of a name or a path. Raises DataError: it is neither."""
    if named in NAMED:
        return NAMED[named](share)
    path = Path(named).expanduser()
    if not path.exists():
        raise DataError(
            f"mask={named}: there is no such file or folder. Give {', '.join(NAMED)}, an image with white where it is "
            "to be filled in, or a folder of such images"
        )
    return MaskFiles(path)
