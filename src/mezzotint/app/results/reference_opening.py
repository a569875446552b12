"""Opening of references: `reference=`, a path, and the checks of data that are to be compared."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from mezzotint.app.config.job import SPLITS
from mezzotint.app.config.standalone import Standalone
from mezzotint.app.results.references import Reference, ReferenceImages, ReferenceStatistics
from mezzotint.app.terminal import display_path
from mezzotint.data.codecs.base import Codec
from mezzotint.data.dataset import Dataset, codec_of
from mezzotint.data.external import open_external
from mezzotint.data.sources.npz import Archive
from mezzotint.errors import DataError
from mezzotint.instantiate.build import build
from mezzotint.instantiate.locate import did_you_mean

if TYPE_CHECKING:
    from mezzotint.metrics import Metric

LOSSLESS = ("png", "npz", "npy", "safetensors")  # formats that leave numbers as they are


def open_reference(named: str, dataset: Dataset | None = None) -> Reference:
    """Open `reference=`: a split of this dataset, or else a path.

    Raises:
        DataError: it is neither, or its images are of another size than the dataset's.
    """
    if dataset is not None and named in SPLITS:
        about = {"dataset": dataset.name(), "split": named, "preprocessing": dataset.preprocessing()}
        return ReferenceImages(dataset.split(named), about, size=dataset.shape, code=codec_of(dataset))
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
    return found.coded(build(job.codec, "codec")) if job.codec else found


def check_reference(named: str, dataset: Dataset, metrics: "Mapping[str, Metric]") -> None:
    """Check that a reference that is not a split exists and has what these metrics need.

    Raises:
        ConfigError, DataError: a file of statistics does not hold what a metric needs; or as of `open_reference`.
    """
    if named in SPLITS or not metrics:
        return
    from mezzotint.metrics import feature_metrics

    reference = open_reference(named, dataset)
    for metric in feature_metrics(metrics).values():
        reference.check(metric)
        metric.reset()


def open_path(path: Path) -> Reference:
    """Open the statistics of an npz file that has some, else the images of a folder or the examples of a file."""
    if path.suffix.lower() == ".npz" and "mu" in Archive(path).names():
        from mezzotint.metrics import StatisticsFile

        statistics = StatisticsFile(str(path))
        supposed = {} if statistics.counted else {"counted": "no, the file does not tell; this many are supposed"}
        return ReferenceStatistics(statistics, {"file": str(path)} | supposed)
    return open_images(path)


def open_images(path: Path) -> ReferenceImages:
    """Open the images of a folder, or the examples of a file, which may also hold statistics, as ADM's references."""
    loose = open_external(path)
    place = "folder" if path.is_dir() else "file"
    about = {place: str(path), "format": loose.format, "preprocessing": loose.preprocessing}
    return ReferenceImages(loose.images, about, size=loose.shape, code=loose.codec)


def lossless(stored: str) -> bool:
    """Return whether a format leaves numbers as they are."""
    return stored in LOSSLESS or stored.endswith("uncompressed")


def storage(samples: str | None, reference: str | None) -> list[str]:
    """Return a note if the two sides were stored in different formats, because lossy compression changes distances.

    Args:
        samples, reference: formats; None if unknown.
    """
    if not samples or not reference or samples == reference or (lossless(samples) and lossless(reference)):
        return []
    return [
        f"the images are stored as {samples} and the reference as {reference}: lossy compression changes the distance "
        "by itself. Compare images that were stored alike."
    ]
