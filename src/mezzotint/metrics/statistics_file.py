"""Published reference statistics: mean and covariance of Inception features in an npz file."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from mezzotint.errors import ConfigError, DataError, MezzotintError
from mezzotint.metrics.accumulators import MomentSums
from mezzotint.metrics.extractors.base import sha256
from mezzotint.metrics.feature_metric import FeatureMetric

NAMES = {"pooled": ("mu", "sigma"), "spatial": ("mu_s", "sigma_s")}


@dataclass(frozen=True)
class StatisticsFile:
    """A reference for Frechet distances only, as in the npz files of ADM, EDM and pytorch-fid.

    Only arrays are read: nothing in the file is executed, and pickles are refused. Most files contain neither the
    number of images nor the extractor; mu and sigma are Inception's by their width, mu_s and sigma_s those of sFID.
    Files of `mezzotint stats out=FILE` contain both, in the arrays `count`, `extractor` and `extractor_sha256`.

    Args:
        path: the npz file.
        count: number of images behind the statistics; None reads it from the file, or assumes 50,000.
    """

    path: str
    count: int | None = None

    def __len__(self) -> int:
        return self._metadata["count"]

    def digest(self) -> str:
        """The sha256 of the file."""
        return sha256(self._file())

    @property
    def counted(self) -> bool:
        """True if the number of images is known rather than assumed."""
        return self._metadata["counted"]

    def batch(self, indices: Tensor) -> tuple[Tensor, Tensor | None]:
        """Always raises DataError: there are no images."""
        raise DataError(f"{self.path} holds statistics and no images: it only serves for Frechet distances.")

    def fill(self, metric: FeatureMetric) -> None:
        """Load the sums behind these statistics into a metric.

        Raises:
            ConfigError: the metric needs more than mean and covariance, or another extractor made the statistics.
        """
        made = metric.extractor
        if self._metadata["extractor_sha256"] not in (None, made.digest):
            raise ConfigError(
                f"{self.path} holds statistics of extractor={self._metadata['extractor']} with other weights "
                f"({self._metadata['extractor_sha256'][:12]}) than {made.name}'s ({made.digest[:12]}): choose that one."
            )
        for accumulator in metric.reference_accumulators:
            if accumulator.cache_key != MomentSums("real").cache_key:
                raise ConfigError(
                    f"{type(metric).__name__} needs the real images, and {self.path} serves as their mean and "
                    "covariance only. Use metrics=[fid], or the images as the reference."
                )
            accumulator.load(self._sums(metric.view, metric.width))

    def _sums(self, view: str, width: int) -> dict[str, Tensor]:
        """Return n and the sums of x and x x^T that give the file's mean and unbiased covariance."""
        mean, covariance = (self._array(name, view) for name in NAMES.get(view, NAMES["pooled"]))
        if mean.shape != (width,) or covariance.shape != (width, width):
            raise DataError(
                f"{self.path} holds statistics of shape {tuple(mean.shape)} and {tuple(covariance.shape)}; "
                f"{width} features are needed: they were made with another extractor."
            )
        if not (mean.isfinite().all() and covariance.isfinite().all()):
            raise DataError(f"{self.path} holds statistics that are not finite: compute them again.")
        count = len(self)
        outer = covariance * (count - 1) + count * torch.outer(mean, mean)
        return {"real_count": torch.tensor(count), "real_total": mean * count, "real_outer": outer}

    @cached_property
    def _metadata(self) -> dict[str, Any]:
        """Number of images and extractor, as far as the file contains them."""
        with self._opened() as file:
            extractor = {name: str(file[name]) if name in file else None for name in ("extractor", "extractor_sha256")}
            stored = int(file["count"]) if "count" in file else None
            count = self.count or stored
            return extractor | {"count": count or 50_000, "counted": count is not None}

    def _array(self, name: str, view: str) -> Tensor:
        with self._opened() as file:
            if name not in file:
                raise DataError(f"{self.path} has no array {name!r}, which view={view} needs.")
            return torch.from_numpy(np.asarray(file[name], dtype=np.float64))

    @contextmanager
    def _opened(self) -> Iterator[Any]:
        """The file's arrays. Raises DataError if they cannot be read."""
        try:
            with np.load(self._file(), allow_pickle=False) as file:
                yield file
        except MezzotintError:
            raise
        except Exception as error:  # damaged archives raise errors of any type
            raise DataError(
                f"{self.path} cannot be read as arrays ({error}). Pickled statistics are not loaded, because a "
                "pickle can run code: convert them to an npz file with the arrays mu and sigma."
            ) from error

    def _file(self) -> Path:
        path = Path(self.path).expanduser()
        if not path.is_file():
            raise DataError(f"there are no statistics at {path}. Give an existing npz file.")
        return path
