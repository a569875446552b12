"""References of evaluations: a split of a dataset, a folder of images, or published statistics."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from mezzotint.app.config.job import SPLITS
from mezzotint.app.config.standalone import Standalone
from mezzotint.app.terminal import display_path
from mezzotint.data.codecs.base import Codec
from mezzotint.data.dataset import Dataset, codec_of
from mezzotint.data.external import open_external
from mezzotint.data.image_set import ImageSource
from mezzotint.data.sources.npz import Archive
from mezzotint.errors import DataError
from mezzotint.instantiate.build import build
from mezzotint.instantiate.locate import did_you_mean
from mezzotint.progress import Advance, bar
from mezzotint.randomness import permutation

if TYPE_CHECKING:
    from mezzotint.metrics import Metric, StatisticsFile

LOSSLESS = ("png", "npz", "npy", "safetensors")  # formats that leave numbers as they are


@dataclass(frozen=True)
class Reference:
    """Real images, or data of another kind, or their statistics, with their protocol entries.

    Args:
        shape: (C, *size); None for statistics.
        codec: how they become numbers for features; None for statistics.
    """

    images: "ImageSource | StatisticsFile"
    shape: tuple[int, ...] | None
    about: dict[str, Any] = field(default_factory=dict)
    codec: Codec | None = None

    @property
    def plural(self) -> str:
        """The noun for the data in messages: images, or examples."""
        images = self.shape is None or self.codec is None or self.codec.is_image(self.shape)
        return "images" if images else "examples"

    def limited(self, images: int | None) -> "Reference":
        """Return a reference of at most so many images, chosen by index alone.

        Statistics, which have no images to leave out, stay as they are.
        """
        from mezzotint.metrics import StatisticsFile

        if images is None or isinstance(self.images, StatisticsFile) or images >= len(self.images):
            return self
        indices = permutation(0, "reference", len(self.images))[:images].sort().values
        about = self.about | {"chosen": f"{images} of {len(self.images)}, by their numbers"}
        return replace(self, images=Chosen(self.images, indices), about=about)


@dataclass(frozen=True, eq=False)
class Chosen(ImageSource):
    """A subset of images, in their order."""

    images: ImageSource
    indices: Tensor

    def __len__(self) -> int:
        return len(self.indices)

    def batch(self, indices: Tensor) -> tuple[Tensor, Tensor | None]:
        return self.images.batch(self.indices[indices])

    def digest(self) -> str:
        return hashlib.sha256(f"{self.images.digest()} {self.indices.tolist()}".encode()).hexdigest()


def open_reference(named: str, dataset: Dataset | None = None) -> Reference:
    """Open `reference=`: a split of this dataset, or else a path.

    Raises:
        DataError: it is neither, or its images are of another size than the dataset's.
    """
    if dataset is not None and named in SPLITS:
        about = {"dataset": dataset.name(), "split": named, "preprocessing": dataset.preprocessing()}
        return Reference(dataset.split(named), dataset.shape, about, codec_of(dataset))
    path = Path(named).expanduser()
    if not path.exists():
        choices = f"a split ({', '.join(SPLITS)}), " if dataset is not None else ""
        close = did_you_mean(path.name, SPLITS) if dataset is not None else ""
        raise DataError(
            f"reference={display_path(path)}: there is no such folder or file{close}. Give {choices}a folder of "
            "images, an npz file with images or with statistics (mu, sigma), or a file of arrays"
        )
    found = open_path(path)
    if dataset is not None and found.shape is not None and found.codec is not None:
        check_alike(f"reference={display_path(path)}", found.shape, found.codec, dataset.shape, codec_of(dataset))
    return found


def check_alike(
    where: str, shape: tuple[int, ...], codec: Codec, other: tuple[int, ...], wanted: Codec, name: str = "the samples"
) -> None:
    """Compare the shape and the type of data with those of other data, before features of both are.

    Images may differ in their channels: grey ones are compared with RGB.

    Args:
        where: the key and the path of the data, for messages.
        name: of the other data.

    Raises:
        DataError: they differ.
    """
    if codec.is_image(shape) and wanted.is_image(other):
        if shape[1:] != other[1:]:
            raise DataError(
                f"{where}: its images are {shape[1]} x {shape[2]}, and {name} {other[1]} x {other[2]} (height x width)."
                " Resize one of them first; data=image_folder does it"
            )
        return
    if shape != other:
        raise DataError(
            f"{where}: its examples have shape {list(shape)} and {name} {list(other)} (channels, then size). "
            "Give arrays of one shape"
        )
    if codec.dtype != wanted.dtype:
        own, theirs = (str(one.dtype).removeprefix("torch.") for one in (codec, wanted))
        raise DataError(f"{where} holds {own}, and {name} {theirs}: convert it, such as by array.astype({theirs!r})")


def reference_of(job: Standalone) -> Reference:
    """Return the reference of a command without a run: a split of its dataset, or else a path."""
    dataset = build(job.data_node(), "data")
    found = open_reference(job.reference or "train", dataset)
    return replace(found, codec=build(job.codec, "codec")) if job.codec else found


def check_reference(named: str, dataset: Dataset, metrics: "Mapping[str, Metric]") -> None:
    """Check that a reference that is not a split exists and has what these metrics need.

    Raises:
        ConfigError, DataError: a file of statistics does not hold what a metric needs; or as of `open_reference`.
    """
    if named in SPLITS or not metrics:
        return
    from mezzotint.metrics import feature_metrics
    from mezzotint.metrics.statistics_file import StatisticsFile

    reference = open_reference(named, dataset)
    images = reference.images
    for metric in feature_metrics(metrics).values():
        if isinstance(images, StatisticsFile):
            images.fill(metric)
        else:
            metric.extractor.validate(reference.shape)
            metric.update_features(torch.empty(0, metric.width), real=True)  # such images have no labels
        metric.reset()


def open_path(path: Path) -> Reference:
    """Open the statistics of an npz file that has some, else the images of a folder or the examples of a file."""
    if path.suffix.lower() == ".npz" and "mu" in Archive(path).names():
        from mezzotint.metrics import StatisticsFile

        statistics = StatisticsFile(str(path))
        supposed = {} if statistics.counted else {"counted": "no, the file does not tell; this many are supposed"}
        return Reference(statistics, None, {"file": str(path)} | supposed)
    return open_images(path)


def open_images(path: Path) -> Reference:
    """Open the images of a folder, or the examples of a file, which may also hold statistics, as ADM's references."""
    loose = open_external(path)
    place = "folder" if path.is_dir() else "file"
    about = {place: str(path), "format": loose.format, "preprocessing": loose.preprocessing}
    return Reference(loose.images, loose.shape, about, loose.codec)


def storage(samples: str | None, reference: str | None) -> list[str]:
    """Return a note if the two sides were stored in different formats, because lossy compression changes distances.

    Args:
        samples, reference: formats; None if unknown.
    """
    lossless = all(kind in LOSSLESS or str(kind).endswith("uncompressed") for kind in (samples, reference))
    if not samples or not reference or lossless or samples == reference:
        return []
    return [
        f"the images are stored as {samples} and the reference as {reference}: lossy compression changes the distance "
        "by itself. Compare images that were stored alike."
    ]


@dataclass(frozen=True, eq=False)
class ProgressImages(ImageSource):
    """An image source that reports progress."""

    images: ImageSource
    advance: Advance

    def __len__(self) -> int:
        return len(self.images)

    def batch(self, indices: Tensor) -> tuple[Tensor, Tensor | None]:
        found = self.images.batch(indices)
        self.advance(len(indices))
        return found

    def digest(self) -> str:
        return self.images.digest()


def remember(metrics: "Mapping[str, Metric]", reference: Reference, device: Any, cache: str) -> list[Path]:
    """Cache the statistics of the real images for later evaluations; return the files.

    Raises:
        ConfigError: an extractor does not take these images.
    """
    from mezzotint.metrics import StatisticsFile, feature_metrics, load_references
    from mezzotint.metrics.evaluation import reset_on

    if isinstance(reference.images, StatisticsFile):
        return []
    featured = feature_metrics(metrics)
    for extractor in {metric.extractor for metric in featured.values()}:
        extractor.validate(reference.shape)
    reset_on(featured, device)
    with bar("reference", len(reference.images)) as advance:
        return load_references(featured, ProgressImages(reference.images, advance), device, cache)
