"""Datasets of images in containers: zip, tar, parquet and LMDB, read by an index without unpacking."""

import math
from abc import abstractmethod
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

import numpy as np
import torch

from mezzotint.data.condition_files import Column, read_conditions
from mezzotint.data.containers.base import Container
from mezzotint.data.containers.decoded import DecodedMembers, decoded
from mezzotint.data.containers.images import ContainerImages
from mezzotint.data.containers.kinds import files_at, prefixes
from mezzotint.data.containers.listing import ContainerSource
from mezzotint.data.containers.remote import fetch, is_remote
from mezzotint.data.containers.tables import need
from mezzotint.data.dataset import SPLITS, check_split
from mezzotint.data.image_files.class_folders import few, in_order, refuse_labels
from mezzotint.data.image_files.image_set import note_once, refuse
from mezzotint.data.image_files.layout import SKIP, left_out, report_similar_names
from mezzotint.data.image_files.listing import describe_unused
from mezzotint.data.image_files.on_access import MANY
from mezzotint.data.index.images import IndexedImages
from mezzotint.data.index.source import Source
from mezzotint.data.index.usable import bad_images, report_identical
from mezzotint.data.sources.pictures import Pictures
from mezzotint.data.split import held_out_count, split_indices
from mezzotint.errors import DataError

if TYPE_CHECKING:
    from mezzotint.data.containers.parquet_tables import ParquetFiles

CAPTIONS = ("text", "caption")  # conditions that are the captions of a container


@dataclass(frozen=True, kw_only=True)
class ContainerDataset(Pictures):
    """Images in a container, in the order of their names, centre-cropped and resized to `shape`.

    Splits and classes are those of an image folder with the same names, unless the container holds labels. Files named
    train-... and test-..., or in such folders, are splits as well.

    Args:
        root: a file, a folder of files, a pattern such as shards/{000..146}.tar, or a URL of any of these.
        cache: folder to which URLs are downloaded.
    """

    cache: str = "data"

    kind: ClassVar[str]  # its choice of data=

    @abstractmethod
    def container(self, paths: tuple[Path, ...], folders: tuple[str, ...]) -> Container:
        """Return the container in some files, with the folder of the split of each of them."""

    def split(self, name: str) -> DecodedMembers | IndexedImages:
        check_split(name)
        images = self.contents()
        report_unused(images)
        rows, usable = self._rows(images), np.ones(len(images.table), bool)
        usable[list(self._bad(images, rows["all"]))] = False
        report_identical(images.table, *(rows[part][usable[rows[part]]] for part in ("train", "test")))
        chosen = usable[rows[name]]
        if not chosen.any():
            raise DataError(f"{self.root}: data.skip=true leaves no picture for {name}: fix some of them.")
        labels = self._labels(images, rows[name])[torch.from_numpy(chosen)] if self.classes else None
        table, shown = images.table, rows[name][chosen]
        found = IndexedImages(table, shown, self.shape, labels, self.enlarge, self._crop())
        return decoded(found, images.index) if self._fits(len(rows["all"])) or self._few(len(shown)) else found

    def _few(self, count: int) -> bool:
        """Return whether so many images of a set that is not decoded into memory are."""
        return count <= MANY and self._fits(count)

    def _fits(self, count: int) -> bool:
        return count * math.prod(self.shape) <= self.memory_limit

    def sources(self) -> tuple[Source, ...]:
        return (ContainerSource(self.container(*self._files())),)

    def divided(self) -> bool:
        return bool(self.contents().test)

    def stored_conditions(self, split: str, names: tuple[str, ...]) -> dict[str, Column]:
        """Return captions, named text or caption, and the values in a file of conditions beside the container."""
        images, found = self.contents(), self.split(split)
        own = [name for name in names if name in CAPTIONS and images.captioned]
        given: dict[str, Column] = dict.fromkeys(own, images.captions(found.rows)) if own else {}
        if others := tuple(name for name in names if name not in own):
            root = Path(self.root).expanduser()
            given |= read_conditions(root if root.is_dir() else root.parent).values(others, images.names(found.rows))
        return given

    def found_classes(self) -> int:
        """Return the number of classes by the labels, or by class folders if they contain all images."""
        images = self.contents()
        if images.labelled:
            return len(self._stored_names()) or images.kinds
        folders = images.class_folders()
        return len(folders) if len(folders) > 1 and "" not in folders else 0

    def class_names(self) -> tuple[str, ...]:
        if self.names or not self.classes:
            return self.names
        images = self.contents()
        return self._stored_names() if images.labelled else in_order(images.class_folders() - {""})

    def labelled_by(self) -> str:
        if not self.classes:
            return ""
        return "stored labels (folders are not classes)" if self.contents().labelled else "class folders"

    def _stored_names(self) -> tuple[str, ...]:
        """Return the names of the classes of stored labels; empty if the container has none."""
        return ()

    def contents(self) -> ContainerImages:
        """Return all images by the index of the container, which is made now unless it is there."""
        return ContainerImages.of(self.container(*self._files()), self.root, self.names)

    def _files(self) -> tuple[tuple[Path, ...], tuple[str, ...]]:
        """Return the files at the root, downloaded if it is a URL, with the folder of the split of each of them."""
        root = Path(self.root).expanduser()
        if is_remote(self.root):
            root = fetched(self.root, self.kind, Path(self.cache).expanduser())
        paths = files_at(str(root), self.kind)
        return paths, prefixes(paths, root)

    def _rows(self, images: ContainerImages) -> dict[str, np.ndarray]:
        """Return the numbers of the images of each split, usable or not."""
        train = images.part(images.train)
        if images.test:
            test = images.part(images.test)
            return {"train": train, "test": test, "all": np.concatenate([train, test])}
        strata = images.labels(train) if self.classes and images.labelled else images.strata(train)
        held_out = held_out_count(self.held_out, len(train))
        return {name: train[split_indices(name, strata, held_out)] for name in SPLITS}

    def _bad(self, images: ContainerImages, rows: np.ndarray) -> list[int]:
        """Return the numbers of unusable images. Raises DataError: there are some and they are not skipped."""
        unread = images.unread()
        if unread and not self.skip:
            raise DataError(f"{describe_unused(unread, len(rows) + len(unread), 'is not read')}; or {SKIP}.")
        used = np.zeros(len(images.table), bool)
        used[rows] = True
        found = bad_images(images.table, images.index, self, self._crop())
        bad = {row: error for row, error in found.items() if used[row]}
        if not self.skip:
            refuse(list(bad.values()), len(rows), SKIP)
        left_out([*unread, *((error.file, error.reason) for error in bad.values())], len(rows) + len(unread))
        return list(bad)

    def _labels(self, images: ContainerImages, rows: np.ndarray) -> torch.Tensor:
        if images.labelled:
            found = images.labels(rows)
            refuse_labels(self.root, np.unique(found).tolist(), self.classes)
        else:
            found = images.by_folder(rows, self._numbered())
        return torch.from_numpy(found.astype(np.int64))

    def _numbered(self) -> dict[str, int]:
        """Return the label of each class folder. Raises DataError: there is another number of them."""
        names = self.class_names()
        if not names:
            raise DataError(
                f"{self.root} has neither labels nor class folders, but data.classes={self.classes}: set "
                "data.classes=0."
            )
        report_similar_names(names)
        if len(names) != self.classes:
            raise DataError(
                f"{self.root} has {len(names)} class folders ({few(names)}), but data.classes={self.classes}: "
                f"set data.classes={len(names)}, or 0 to ignore the labels."
            )
        return {name: number for number, name in enumerate(names)}


@cache
def fetched(root: str, kind: str, folder: Path) -> Path:
    """Return what `fetch` does, which asks the server once in a process."""
    return fetch(root, kind, folder)


def report_unused(images: ContainerImages) -> None:
    """Report images that belong to neither split."""
    if images.unused:
        held = few([f"{count:,} in {top or 'no folder'}" for top, count in images.unused.items()])
        used = f"{images.train} is trained on" + (f" and {images.test} held out" if images.test else "")
        note_once(f"data: {held} of {images.where} are not used ({used}); only pictures in these folders count.")


@dataclass(frozen=True, kw_only=True)
class ZipImages(ContainerDataset):
    """Images in zip archives; labels are those of a dataset.json, as the tools of StyleGAN and EDM write it."""

    kind: ClassVar[str] = "zip"

    def container(self, paths: tuple[Path, ...], folders: tuple[str, ...]) -> Container:
        from mezzotint.data.containers.zip_files import ZipArchive

        return ZipArchive(paths, folders)


@dataclass(frozen=True, kw_only=True)
class TarImages(ContainerDataset):
    """Images in tar archives, with labels and captions of the same key as WebDataset stores them: cls, txt, json."""

    kind: ClassVar[str] = "tar"

    def container(self, paths: tuple[Path, ...], folders: tuple[str, ...]) -> Container:
        from mezzotint.data.containers.tar_shards import TarShards

        return TarShards(paths, folders)


@dataclass(frozen=True, kw_only=True)
class ParquetImages(ContainerDataset):
    """Images in parquet or Arrow files as the library `datasets` writes them.

    Args:
        image: the column of images; by default the first one of this kind.
        label: the column of labels; by default the first ClassLabel, or `label`.
        caption: the column of captions; by default `text`, `caption` or `prompt`.
    """

    image: str | None = None
    label: str | None = None
    caption: str | None = None

    kind: ClassVar[str] = "parquet"

    def container(self, paths: tuple[Path, ...], folders: tuple[str, ...]) -> "ParquetFiles":
        need("pyarrow", self.kind)
        from mezzotint.data.containers.parquet_tables import ParquetFiles

        return ParquetFiles(paths, folders, self.image, self.label, self.caption)

    def _stored_names(self) -> tuple[str, ...]:
        return self.container(*self._files()).class_names()


@dataclass(frozen=True, kw_only=True)
class LMDBImages(ContainerDataset):
    """Images in an LMDB store, one a key, in the order of the keys."""

    kind: ClassVar[str] = "lmdb"

    def container(self, paths: tuple[Path, ...], folders: tuple[str, ...]) -> Container:
        need("lmdb", self.kind)
        from mezzotint.data.containers.lmdb_store import LMDBStore

        return LMDBStore(paths[0])
