"""Videos without a download: handwritten digits that move through a larger frame."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch

from mezzotint.data.dataset import LabelledDataset
from mezzotint.data.sources.digits import HELD_OUT, Digits
from mezzotint.data.split import split_indices
from mezzotint.errors import DataError
from mezzotint.randomness import KeyedRandom

SEED = 0  # of the motions, not of a run; changing it invalidates all published numbers
SIDE = 8  # pixels of a digit
VELOCITIES = [(down, right) for down in range(-2, 3) for right in range(-2, 3) if down or right]  # pixels per frame


@dataclass(frozen=True, kw_only=True)
class DigitsVideo(LabelledDataset):
    """Clips in which one digit of `Digits` moves at a constant velocity and bounces off the edges of the frame.

    A digit has `clips` motions, each with a start and one of 24 velocities of up to two pixels per frame and axis:
    functions of the digit's number and the clip's alone. The digits of the held-out clips are the held-out digits.

    Source: the idea is that of Moving MNIST, Srivastava et al. 2015, sec. 3.1, https://arxiv.org/abs/1502.04681

    Args:
        shape: (1, frames, height, width).
        clips: motions of each digit.
    """

    known_classes: ClassVar[int] = Digits.known_classes
    known_names: ClassVar[tuple[str, ...]] = Digits.known_names
    ranks: ClassVar[tuple[int, ...]] = (3,)
    wanted: ClassVar[str] = "is not the shape of a clip: give [1, frames, height, width]."

    shape: tuple[int, ...] = (1, 8, 16, 16)
    classes: int = 10
    clips: int = 4

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.shape[0] != 1 or min(self.shape[2:]) < SIDE:
            raise DataError(
                f"shape={list(self.shape)}: the clips have one channel, and frames of {SIDE} x {SIDE} or more."
            )
        if self.clips < 1:
            raise DataError(f"clips={self.clips}: give at least one motion to every digit.")

    def preprocessing(self) -> str:
        return f"{self.clips} motions of each digit, {self.shape[1]} frames, one velocity, reflected at the edges"

    def read(self, split: str) -> tuple[np.ndarray, np.ndarray]:
        digits, labels = Digits().read("all")
        chosen = split_indices(split, labels, HELD_OUT).repeat(self.clips)
        clips = chosen * self.clips + np.arange(len(chosen)) % self.clips
        corners = self.paths(torch.from_numpy(clips))
        return moving(digits[chosen, 0], corners, self.shape[2:]), labels[chosen]

    def paths(self, clips: torch.Tensor) -> np.ndarray:
        """Return the upper left corner (top, left) of the digit in each frame of these clips, int64 (N, frames, 2)."""
        random = KeyedRandom(SEED, clips)
        room = np.array(self.shape[2:]) - SIDE
        starts = np.stack([random.uniform(f"digits_video/{axis}").numpy() for axis in ("top", "left")], axis=1)
        chosen = (random.uniform("digits_video/velocity").numpy() * len(VELOCITIES)).astype(np.int64)
        steps = np.arange(self.shape[1])[:, None] * np.array(VELOCITIES)[chosen][:, None]
        return reflected((starts * (room + 1)).astype(np.int64)[:, None] + steps, room)


def reflected(places: np.ndarray, room: np.ndarray) -> np.ndarray:
    """Fold integers into 0 .. room by reflection at both ends; where there is no room, to 0."""
    return room - np.abs(room - places % np.maximum(2 * room, 1))


def moving(digits: np.ndarray, corners: np.ndarray, size: tuple[int, ...]) -> np.ndarray:
    """Return clips (N, 1, frames, *size) on black of digits (N, 8, 8) at corners (N, frames, 2)."""
    count, frames = corners.shape[:2]
    clips = np.zeros((count, 1, frames, *size), np.uint8)
    rows, columns = (corners[..., axis, None] + np.arange(SIDE) for axis in (0, 1))
    clip, frame = np.ogrid[:count, :frames]
    clips[clip[..., None, None], 0, frame[..., None, None], rows[..., :, None], columns[..., None, :]] = digits[:, None]
    return clips
