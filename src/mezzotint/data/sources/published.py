"""Published datasets from their original files, local or downloaded by torchvision."""

import socket
from abc import abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import numpy as np

from mezzotint.data.dataset import LabelledDataset
from mezzotint.data.locks import download_lock
from mezzotint.errors import DataError

TIMEOUT = 20  # seconds without an answer from a server


@dataclass(frozen=True, kw_only=True)
class PublishedDataset(LabelledDataset):
    """A dataset from its original files.

    Args:
        root: folder with the original files, directly or in the usual subfolders; disables downloading.
        cache: folder to search and to download to, without a root.
        download: whether missing files may be downloaded.
    """

    root: str | None = None
    cache: str = "data"
    download: bool = True

    loader: ClassVar[str]  # name of torchvision's class
    subfolders: ClassVar[tuple[str, ...]]  # locations below root or cache that are specific to this dataset
    system: ClassVar[tuple[str, ...]] = ()  # locations of operating system packages
    hint: ClassVar[str] = ""
    packed: ClassVar[tuple[str, ...]] = ()  # names of archives and tables in which others distribute the data

    @abstractmethod
    def files(self, split: str) -> tuple[tuple[str, ...], ...]:
        """Return the files of "train" or "test", each with its possible names."""

    @abstractmethod
    def parse(self, files: list[Path]) -> tuple[np.ndarray, np.ndarray]:
        """Return images (N, C, H, W) and labels of the files."""

    def read(self, split: str) -> tuple[np.ndarray, np.ndarray]:
        if split == "all":
            train, test = self.read("train"), self.read("test")
            return np.concatenate([train[0], test[0]]), np.concatenate([train[1], test[1]])
        return self.parse(self.find(split))

    def find(self, split: str) -> list[Path]:
        """Return the files of a split, downloading them if necessary and allowed."""
        if (found := self._search(split)) is not None:
            return found
        if self.root is None and self.download:
            self._fetch()
            if (found := self._search(split)) is not None:
                return found
        self._refuse_packed()
        looked = ", ".join(str(place) for place in self._places())
        wanted = ", ".join(names[0] for names in self.files(split))
        cure = "data.root=DIR with the folder that holds them"
        cure += self.hint if self.root is None else f", or omit data.root to download it to {self.cache}"
        raise DataError(f"{self.name()} needs {wanted}, which are not in {looked}. Give {cure}.")

    def _refuse_packed(self) -> None:
        """Raise DataError if there is an archive or a table instead of the original files."""
        whole = Path(self.root or "").expanduser()
        there = [file for place in self._places() for name in self.packed for file in sorted(place.glob(name))]
        for file in [whole] if self.root and whole.is_file() else there:
            if not any(file.match(name) for name in self.packed):
                raise DataError(f"{file} is a file: give data.root=DIR with the folder that holds the original files.")
            if file.suffix == ".csv":
                raise DataError(
                    f"{file} is a table, and {self.name()} is read from its original files. Give data.root= of a "
                    "folder that holds these, or store the images as an array and read them with data=npz."
                )
            command = f"unzip {file.name}" if file.suffix == ".zip" else f"tar xf {file.name}"
            raise DataError(
                f"{file} is packed: unpack it there, cd {file.parent} && {command}, and give data.root={file.parent}."
            )

    def _places(self) -> list[Path]:
        """Return the folders to search; only a root may contain files directly, since MNIST datasets share names."""
        if self.root is not None:
            return [Path(self.root).expanduser() / below for below in ("", "raw", *self.subfolders)]
        below = [Path(self.cache).expanduser() / below for below in self.subfolders]
        return [*below, *(Path(place) for place in self.system)]

    def _search(self, split: str) -> list[Path] | None:
        for place in self._places():
            found = [_one_of(place, names) for names in self.files(split)]
            if all(found):
                return [file for file in found if file]
        return None

    def _fetch(self) -> None:
        """Download and verify with torchvision, one process at a time; the others then find the files."""
        import torchvision.datasets

        cache = Path(self.cache).expanduser()
        with download_lock(cache), socket_timeout(TIMEOUT):
            if self._search("test") is not None and self._search("train") is not None:
                return
            try:
                getattr(torchvision.datasets, self.loader)(cache, download=True)
            except (OSError, RuntimeError) as error:
                reason = str(error).strip().splitlines()[0].rstrip(":")
                raise DataError(
                    f"{self.name()} could not be downloaded to {cache} ({reason}). Without a network, "
                    f"give data.root=DIR with a folder that holds the original files{self.hint}."
                ) from error


def _one_of(place: Path, names: tuple[str, ...]) -> Path | None:
    return next((place / name for name in names if (place / name).is_file()), None)


@contextmanager
def socket_timeout(seconds: float) -> Iterator[None]:
    """Set the default timeout of new connections."""
    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(seconds)
    try:
        yield
    finally:
        socket.setdefaulttimeout(before)
