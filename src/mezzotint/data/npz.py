"""Images in one NumPy archive, as other tools write them."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.lib.npyio import NpzFile

from mezzotint.data.dataset import ArrayDataset
from mezzotint.data.holdout import check_held_out, part, share
from mezzotint.errors import DataError

IMAGES, LABELS = ("images", "arr_0"), ("labels", "arr_1")


@dataclass(frozen=True, kw_only=True)
class Npz(ArrayDataset):
    """uint8 images (N, H, W, C), (N, C, H, W) or (N, H, W) named `images` or `arr_0`; perhaps labels (N,).

    Args:
        root: the file; labels are called `labels` or `arr_1` there.
        held_out: fraction of the images that the test part has; with 0 both parts are the whole.
    """

    root: str
    held_out: float = 0.1

    def __post_init__(self) -> None:
        super().__post_init__()
        check_held_out(self.held_out)

    def name(self) -> str:
        return self.root

    def read(self, split: str) -> tuple[np.ndarray, np.ndarray | None]:
        archive = Archive(Path(self.root).expanduser())
        images, named = archive.choose(IMAGES), archive.choose(LABELS)
        if images is None:
            found = ", ".join(archive.names()) or "nothing"
            raise DataError(f"{self.root} holds {found}, but no array `images` or `arr_0`.")
        pixels = self._channels_first(archive.read(images))
        labels = None if named is None else archive.read(named)
        if labels is not None and (labels.shape != (len(pixels),) or labels.dtype.kind not in "iu"):
            raise DataError(
                f"the labels of {self.root} are {labels.dtype} of shape {list(labels.shape)}: "
                f"store one integer for each of the {len(pixels)} images."
            )
        strata = np.zeros(len(pixels), np.int64) if labels is None else labels
        chosen = part(split, strata, share(self.held_out, len(pixels)))
        return pixels[chosen], None if labels is None else labels[chosen]

    def _channels_first(self, stored: np.ndarray) -> np.ndarray:
        if stored.dtype != np.uint8:
            raise DataError(f"the images of {self.root} are {stored.dtype}: store them as uint8, 0 to 255.")
        if stored.ndim not in (3, 4):
            raise DataError(f"the images of {self.root} have shape {list(stored.shape)}: store (N, H, W, C).")
        if stored.ndim == 3:
            return stored[:, None]
        if stored.shape[1:] == self.shape:
            return stored
        last = stored.shape[-1] == self.shape[0] or stored.shape[-1] < stored.shape[1]
        return stored.transpose(0, 3, 1, 2) if last else stored


@dataclass(frozen=True)
class Archive:
    """An .npz file, whose arrays are read one by one when they are asked for; none of them may be a pickle.

    Every method raises DataError where the file is missing, with the cure, damaged or no archive.
    """

    file: Path
    cure: str = "give data.root=FILE with an .npz file."

    def names(self) -> list[str]:
        """Of its arrays."""
        with self._opened() as arrays:
            return list(arrays.files)

    def choose(self, names: Sequence[str]) -> str | None:
        """The first of these names that it holds."""
        held = self.names()
        return next((name for name in names if name in held), None)

    def read(self, name: str) -> np.ndarray:
        """One of its arrays."""
        with self._opened() as arrays:
            found = arrays[name]
            if not isinstance(found, np.ndarray):
                raise ValueError(f"{name} is no array")
            return found

    @contextmanager
    def _opened(self) -> Iterator[NpzFile]:
        if not self.file.is_file():
            raise DataError(f"{self.file} does not exist: {self.cure}")
        try:
            with self.file.open("rb") as opened, np.load(opened, allow_pickle=False) as arrays:
                yield arrays
        except Exception as error:  # damaged archives fail in every way there is
            raise DataError(
                f"{self.file} is no readable .npz archive of plain arrays ({error}): write it again."
            ) from error
