"""Datasets of encoded images of any size, which are cropped and resized to one shape."""

from abc import abstractmethod
from dataclasses import dataclass
from typing import Protocol

from mezzotint.data.dataset import Dataset
from mezzotint.data.image_files.class_folders import few
from mezzotint.data.image_files.crops import Crop, crop_of
from mezzotint.data.image_files.on_access import OnAccess
from mezzotint.data.image_files.random_crops import RandomCrops
from mezzotint.data.image_set import ImageSource
from mezzotint.data.split import check_held_out
from mezzotint.errors import DataError
from mezzotint.networks.conditions import Condition


class StoredImages(ImageSource, Protocol):
    """Encoded images, decoded into memory or on access."""

    @property
    def on_access(self) -> OnAccess:
        """The images, decoded on access."""
        ...


@dataclass(frozen=True, kw_only=True)
class Pictures(Dataset):
    """Encoded images, cropped and resized to `shape`.

    Args:
        root: the folder or file of images.
        enlarge: enlarge images that are smaller than `shape` instead of raising an error.
        skip: skip unusable images (unsupported, damaged, too small) instead of raising an error.
        crop: "centre", the largest box of the right proportions, bicubic; or, for squares, "adm" or "edm", the
            crop that those papers publish for ImageNet, bit for bit; or "random", the random crop of ADM in training,
            drawn at every visit of an image, and its centre crop elsewhere.
        held_out: fraction of test images if there is no test folder; with 0 both splits are the entire dataset.
        memory_limit: bytes; a dataset or split up to this size is decoded once and cached, a larger one on access, and
            of a larger dataset a split of more than 20,000 images too.
    """

    shape: tuple[int, int, int]
    root: str
    enlarge: bool = False
    skip: bool = False
    crop: str = "centre"
    held_out: float = 0.05
    memory_limit: int = 1 << 30

    def __post_init__(self) -> None:
        super().__post_init__()
        check_held_out(self.held_out)
        if self.shape[0] not in (1, 3):
            raise DataError(f"shape={list(self.shape)}: image files are read as grey (1 channel) or RGB (3 channels).")
        self._crop()
        if placed := [name for name, kind in self.conditions.items() if self._tied(kind)] if self.varies() else []:
            raise DataError(
                f"crop=random moves an image at every visit, and the stored condition {few(placed)} does not move with "
                "it: use crop=adm, or a condition that is derived from the image."
            )

    @abstractmethod
    def split(self, name: str) -> StoredImages: ...

    def examples(self, split: str) -> ImageSource:
        found = self.split(split)
        return RandomCrops(found.on_access) if split == "train" and self.varies() else found

    def varies(self) -> str:
        return "crop=random" if self._crop().draw else ""

    def _tied(self, kind: Condition) -> bool:
        """Return whether a condition is an image beside the image."""
        return not kind.derived and len(kind.shape) == len(self.shape)

    def preprocessing(self) -> str:
        return f"{self._crop().recipe} to {self.shape[1]}x{self.shape[2]}"

    def _crop(self) -> Crop:
        return crop_of(self.crop, (self.shape[2], self.shape[1]))
