"""Measured quantities that come with matplotlib: a field of elevations and a recording of brain waves."""

from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import ClassVar

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from mezzotint.data.codecs.standardize import StandardizeCodec
from mezzotint.data.dataset import ArrayDataset
from mezzotint.errors import DataError


@dataclass(frozen=True, kw_only=True)
class MeasuredDataset(ArrayDataset):
    """Windows of one long measurement, the end of which is held out, so that no window shares a value with the other
    split.

    Attributes:
        standard: the codec of the data, with the moments of the training split.
        step: values from one window to the next.
    """

    standard: ClassVar[StandardizeCodec]
    step: ClassVar[int]

    def default_codec(self) -> StandardizeCodec:
        return self.standard


@dataclass(frozen=True, kw_only=True)
class Terrain(MeasuredDataset):
    """Windows of 16 x 16 elevations in metres, one every 90 m, around Jacksboro, Tennessee.

    The eastern fifth of 344 x 403 elevations is held out.

    Source: USGS, public domain, as distributed with matplotlib (jacksboro_fault_dem.npz).
    """

    shape: tuple[int, int, int] = (1, 16, 16)

    standard: ClassVar[StandardizeCodec] = StandardizeCodec((575.0,), (156.0,), "int16")
    step: ClassVar[int] = 4
    east: ClassVar[int] = 320  # first column of the held-out part

    def read(self, split: str) -> tuple[np.ndarray, None]:
        with np.load(sample_file("jacksboro_fault_dem.npz"), allow_pickle=False) as arrays:
            field = arrays["elevation"]
        parts = {"train": [field[:, : self.east]], "test": [field[:, self.east :]]}
        chosen = parts.get(split) or parts["train"] + parts["test"]
        windows = [sliding_window_view(part, self.shape[1:])[:: self.step, :: self.step] for part in chosen]
        return np.concatenate([window.reshape(-1, *self.shape) for window in windows]), None

    def preprocessing(self) -> str:
        return f"windows of {self.shape[1]} x {self.shape[2]}, every {self.step} elevations"


@dataclass(frozen=True, kw_only=True)
class EEG(MeasuredDataset):
    """Windows of 64 samples of an electroencephalogram with four channels, each of unit deviation.

    The last fifth of 800 samples is held out.

    Source: distributed with matplotlib (eeg.dat), under its licence.
    """

    shape: tuple[int, ...] = (4, 64)

    ranks: ClassVar[tuple[int, ...]] = (1,)
    wanted: ClassVar[str] = "is not the shape of a window: give [4, length]."
    standard: ClassVar[StandardizeCodec] = StandardizeCodec((0.0,) * 4, (1.0,) * 4)
    step: ClassVar[int] = 1
    channels: ClassVar[int] = 4
    late: ClassVar[int] = 640  # first sample of the held-out part

    def read(self, split: str) -> tuple[np.ndarray, None]:
        recording = np.fromfile(sample_file("eeg.dat")).astype(np.float32).reshape(-1, self.channels)
        parts = {"train": [recording[: self.late]], "test": [recording[self.late :]]}
        chosen = parts.get(split) or parts["train"] + parts["test"]
        return np.concatenate([sliding_window_view(part, self.shape[1], axis=0)[:: self.step] for part in chosen]), None

    def preprocessing(self) -> str:
        return f"windows of {self.shape[1]} samples, every {self.step}"


def sample_file(name: str) -> Path:
    """Return a file of matplotlib's sample data, without importing it. Raises DataError: it is not installed."""
    found = find_spec("matplotlib")
    file = Path(found.origin).parent / "mpl-data" / "sample_data" / name if found and found.origin else None
    if file is None or not file.is_file():
        raise DataError(f"{name} comes with matplotlib, which is not installed: pip install matplotlib")
    return file
