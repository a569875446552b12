"""Images in one NumPy archive, as other tools write them."""

import zipfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np

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
        arrays = load_arrays(Path(self.root).expanduser())
        stored = next((arrays[name] for name in IMAGES if name in arrays), None)
        labels = next((arrays[name] for name in LABELS if name in arrays), None)
        if stored is None:
            raise DataError(f"{self.root} holds {', '.join(arrays) or 'nothing'}, but no array `images` or `arr_0`.")
        pixels = self._channels_first(stored)
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
        pixels = stored[:, None] if stored.ndim == 3 else stored
        if pixels.shape[1:] == self.shape:
            return pixels
        return pixels.transpose(0, 3, 1, 2) if pixels.shape[-1] == self.shape[0] else pixels


def load_arrays(file: Path, cure: str = "give data.root=FILE with an .npz file.") -> dict[str, np.ndarray]:
    """All arrays of an archive; none of them may be a pickle.

    Raises:
        DataError: where the file is missing, with the cure, damaged or no archive.
    """
    if not file.is_file():
        raise DataError(f"{file} does not exist: {cure}")
    try:
        with file.open("rb") as opened, np.load(opened, allow_pickle=False) as archive:
            return {name: archive[name] for name in archive.files}
    except (OSError, ValueError, EOFError, AttributeError, TypeError, zipfile.BadZipFile) as error:
        raise DataError(f"{file} is no readable .npz archive of plain arrays ({error}): write it again.") from error
