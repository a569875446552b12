"""Files that `sample` writes beside its pictures: images, or arrays."""

from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Protocol, Self

import numpy as np
import torch
from torch import Tensor

from mezzotint.atomic import atomic_path

CONDITIONS = "conditions.npz"  # as data=image_folder and condition= read it
Conditions = Mapping[str, Any]  # arrays (B, ...) by name


class SampleFiles(Protocol):
    """Files that are complete when the context ends without an error."""

    paths: list[Path]

    def __init__(self, stem: Path) -> None: ...

    def __enter__(self) -> Self: ...

    def __exit__(self, *raised: Any) -> None: ...

    def add(self, images: Tensor, labels: Tensor | None, conditions: Conditions) -> None: ...


class NoFiles:
    """No files beside the grid, for save=none."""

    def __init__(self, stem: Path) -> None:
        self.paths: list[Path] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *raised: Any) -> None:
        pass

    def add(self, images: Tensor, labels: Tensor | None, conditions: Conditions) -> None:
        pass


class PngFiles:
    """One PNG an image, 000000.png on, in a folder that appears when all are written, with their conditions."""

    def __init__(self, stem: Path) -> None:
        self.paths, self.number = [stem], 0
        self.conditions: list[Conditions] = []

    def __enter__(self) -> Self:
        self.stack = ExitStack()
        self.folder = self.stack.enter_context(atomic_path(self.paths[0]))
        self.folder.mkdir()
        return self

    def __exit__(self, *raised: Any) -> None:
        if not any(raised) and (arrays := joined(self.conditions)):
            files = np.array([f"{i:06d}.png" for i in range(self.number)])
            np.savez_compressed(self.folder / CONDITIONS, files=files, **arrays)
        self.stack.__exit__(*raised)

    def add(self, images: Tensor, labels: Tensor | None, conditions: Conditions) -> None:
        from PIL import Image

        self.conditions.append(conditions)

        for image in images.permute(0, 2, 3, 1).squeeze(-1).numpy():
            Image.fromarray(image).save(self.folder / f"{self.number:06d}.png")
            self.number += 1


class NpzFile:
    """`images` uint8 (N, H, W, C), `labels` int64 (N,) where the run has classes, and conditions (N, ...) by name."""

    name = "images"

    def __init__(self, stem: Path) -> None:
        self.paths = [stem.with_name(f"{stem.name}.npz")]
        self.images: list[Tensor] = []
        self.labels: list[Tensor] = []
        self.conditions: list[Conditions] = []

    def __enter__(self) -> Self:
        return self

    def add(self, images: Tensor, labels: Tensor | None, conditions: Conditions) -> None:
        self.conditions.append(conditions)
        self.images.append(images)
        self.labels += [] if labels is None else [labels]

    def __exit__(self, kind: type[BaseException] | None, *raised: Any) -> None:
        if kind is not None:
            return
        arrays = {self.name: self.arranged(torch.cat(self.images)).numpy()}
        if self.labels:
            arrays["labels"] = torch.cat(self.labels).numpy()
        self.write(arrays, joined(self.conditions))

    def arranged(self, images: Tensor) -> Tensor:
        """Return images with their channels last, as programs for images store them."""
        return images.permute(0, 2, 3, 1)

    def write(self, arrays: dict[str, Any], conditions: Conditions) -> None:
        with atomic_path(self.paths[0]) as part:
            np.savez_compressed(part, **arrays, **conditions)


class DataNpzFile(NpzFile):
    """`data` (N, C, *size) of what is no image, in the type that was stored, and labels; `data=array` reads them."""

    name = "data"

    def arranged(self, images: Tensor) -> Tensor:
        return images


class DataNpyFile(DataNpzFile):
    """The samples alone in one file, and their labels and conditions, if there are any, in others."""

    def __init__(self, stem: Path) -> None:
        super().__init__(stem)
        self.paths = [stem.with_name(f"{stem.name}.npy")]

    def write(self, arrays: dict[str, Any], conditions: Conditions) -> None:
        if "labels" in arrays:
            self.paths.append(self.paths[0].with_name(f"{self.paths[0].stem}-labels.npy"))
        for path, array in zip(self.paths, arrays.values(), strict=True):
            with atomic_path(path) as part, part.open("wb") as file:
                np.save(file, array, allow_pickle=False)
        if conditions:
            self.paths.append(self.paths[0].with_name(f"{self.paths[0].stem}-{CONDITIONS}"))
            with atomic_path(self.paths[-1]) as part:
                np.savez_compressed(part, **conditions)


def joined(parts: list[Conditions]) -> Conditions:
    """Return the conditions of several batches as one."""
    return {name: np.concatenate([part[name] for part in parts]) for name in (parts[0] if parts else ())}


OF_IMAGES: dict[str, type[SampleFiles]] = {"none": NoFiles, "png": PngFiles, "npz": NpzFile}
OF_DATA: dict[str, type[SampleFiles]] = {"none": DataNpzFile, "npz": DataNpzFile, "npy": DataNpyFile}
