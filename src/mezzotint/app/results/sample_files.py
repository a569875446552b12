"""Files that `sample` writes beside its pictures: images, or arrays."""

from contextlib import ExitStack
from pathlib import Path
from typing import Any, Protocol, Self

import torch
from torch import Tensor

from mezzotint.atomic import atomic_path


class SampleFiles(Protocol):
    """Files that are complete when the context ends without an error."""

    paths: list[Path]

    def __init__(self, stem: Path) -> None: ...

    def __enter__(self) -> Self: ...

    def __exit__(self, *raised: Any) -> None: ...

    def add(self, images: Tensor, labels: Tensor | None) -> None: ...


class NoFiles:
    """No files beside the grid, for save=none."""

    def __init__(self, stem: Path) -> None:
        self.paths: list[Path] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *raised: Any) -> None:
        pass

    def add(self, images: Tensor, labels: Tensor | None) -> None:
        pass


class PngFiles:
    """One PNG an image, 000000.png on, in a folder that appears when all are written."""

    def __init__(self, stem: Path) -> None:
        self.paths, self.number = [stem], 0

    def __enter__(self) -> Self:
        self.stack = ExitStack()
        self.folder = self.stack.enter_context(atomic_path(self.paths[0]))
        self.folder.mkdir()
        return self

    def __exit__(self, *raised: Any) -> None:
        self.stack.__exit__(*raised)

    def add(self, images: Tensor, labels: Tensor | None) -> None:
        from PIL import Image

        for image in images.permute(0, 2, 3, 1).squeeze(-1).numpy():
            Image.fromarray(image).save(self.folder / f"{self.number:06d}.png")
            self.number += 1


class NpzFile:
    """`images` uint8 (N, H, W, C), and `labels` int64 (N,) where the run has classes."""

    name = "images"

    def __init__(self, stem: Path) -> None:
        self.paths = [stem.with_name(f"{stem.name}.npz")]
        self.images: list[Tensor] = []
        self.labels: list[Tensor] = []

    def __enter__(self) -> Self:
        return self

    def add(self, images: Tensor, labels: Tensor | None) -> None:
        self.images.append(images)
        self.labels += [] if labels is None else [labels]

    def __exit__(self, kind: type[BaseException] | None, *raised: Any) -> None:
        if kind is not None:
            return
        arrays = {self.name: self.arranged(torch.cat(self.images)).numpy()}
        if self.labels:
            arrays["labels"] = torch.cat(self.labels).numpy()
        self.write(arrays)

    def arranged(self, images: Tensor) -> Tensor:
        """Return images with their channels last, as programs for images store them."""
        return images.permute(0, 2, 3, 1)

    def write(self, arrays: dict[str, Any]) -> None:
        import numpy as np

        with atomic_path(self.paths[0]) as part:
            np.savez_compressed(part, **arrays)


class DataNpzFile(NpzFile):
    """`data` (N, C, *size) of what is no image, in the type that was stored, and labels; `data=array` reads them."""

    name = "data"

    def arranged(self, images: Tensor) -> Tensor:
        return images


class DataNpyFile(DataNpzFile):
    """The samples alone in one file, and their labels, if there are any, in another."""

    def __init__(self, stem: Path) -> None:
        super().__init__(stem)
        self.paths = [stem.with_name(f"{stem.name}.npy")]

    def write(self, arrays: dict[str, Any]) -> None:
        import numpy as np

        if "labels" in arrays:
            self.paths.append(self.paths[0].with_name(f"{self.paths[0].stem}-labels.npy"))
        for path, array in zip(self.paths, arrays.values(), strict=True):
            with atomic_path(path) as part, part.open("wb") as file:
                np.save(file, array, allow_pickle=False)


OF_IMAGES: dict[str, type[SampleFiles]] = {"none": NoFiles, "png": PngFiles, "npz": NpzFile}
OF_DATA: dict[str, type[SampleFiles]] = {"none": DataNpzFile, "npz": DataNpzFile, "npy": DataNpyFile}
