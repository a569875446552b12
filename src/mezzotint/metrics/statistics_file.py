"""Reference statistics that others published: mean and covariance of Inception features in an npz file."""

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
    """A reference for Frechet distances alone, as ADM's, EDM's and pytorch-fid's npz files hold it.

    Arrays only: nothing in the file is executed, and a pickle inside is refused. Most files say neither how many images
    nor which extractor made them; mu and sigma are Inception's by their width, mu_s and sigma_s those of sFID. Those of
    `mezzotint stats out=FILE` say both, in arrays `count`, `extractor` and `extractor_sha256`.

    Args:
        path: the npz file.
        count: images behind the statistics; None takes the file's word, and 50,000 where it is silent.
    """

    path: str
    count: int | None = None

    def __len__(self) -> int:
        return self._told["count"]

    def digest(self) -> str:
        """sha256 of the file."""
        return sha256(self._file())

    @property
    def counted(self) -> bool:
        """Whether the number of images is known and not supposed."""
        return self._told["counted"]

    def batch(self, indices: Tensor) -> tuple[Tensor, Tensor | None]:
        """Always raises DataError: there are no images."""
        raise DataError(f"{self.path} holds statistics and no images: it serves for Frechet distances alone.")

    def fill(self, metric: FeatureMetric) -> None:
        """Gives a metric the real sums that these statistics come from.

        Raises:
            ConfigError: the metric needs more of the real images than mean and covariance.
        """
        made = metric.extractor
        if self._told["extractor_sha256"] not in (None, made.digest):
            raise ConfigError(
                f"{self.path} holds statistics of extractor={self._told['extractor']} with other weights "
                f"({self._told['extractor_sha256'][:12]}) than {made.name}'s ({made.digest[:12]}): choose that one."
            )
        for accumulator in metric.reference_accumulators:
            if accumulator.cache_key != MomentSums("real").cache_key:
                raise ConfigError(
                    f"{type(metric).__name__} needs the real images, and {self.path} serves as their mean and "
                    "covariance only. Use metrics=[fid], or the images as the reference."
                )
            accumulator.load(self._sums(metric.view, metric.width))

    def _sums(self, view: str, width: int) -> dict[str, Tensor]:
        """n, sum of x, sum of x x^T with the file's mean and unbiased covariance."""
        mean, covariance = (self._array(name, view) for name in NAMES.get(view, NAMES["pooled"]))
        if mean.shape != (width,) or covariance.shape != (width, width):
            raise DataError(
                f"{self.path} holds statistics of shape {tuple(mean.shape)} and {tuple(covariance.shape)}; "
                f"{width} features are needed: they were made with another extractor."
            )
        if not (mean.isfinite().all() and covariance.isfinite().all()):
            raise DataError(f"{self.path} holds statistics that are not finite: whatever made them failed.")
        count = len(self)
        outer = covariance * (count - 1) + count * torch.outer(mean, mean)
        return {"real_count": torch.tensor(count), "real_total": mean * count, "real_outer": outer}

    @cached_property
    def _told(self) -> dict[str, Any]:
        """What the file says of itself."""
        with self._opened() as file:
            words = {name: str(file[name]) if name in file else None for name in ("extractor", "extractor_sha256")}
            told = int(file["count"]) if "count" in file else None
            count = self.count or told
            return words | {"count": count or 50_000, "counted": count is not None}

    def _array(self, name: str, view: str) -> Tensor:
        with self._opened() as file:
            if name not in file:
                raise DataError(f"{self.path} has no array {name!r}, which view={view} needs.")
            return torch.from_numpy(np.asarray(file[name], dtype=np.float64))

    @contextmanager
    def _opened(self) -> Iterator[Any]:
        """The file's arrays; what cannot be read of them is a DataError."""
        try:
            with np.load(self._file(), allow_pickle=False) as file:
                yield file
        except MezzotintError:
            raise
        except Exception as error:  # damaged archives fail in every way there is
            raise DataError(
                f"{self.path} cannot be read as arrays ({error}). Pickled statistics are not loaded, for a pickle is "
                "a program: convert them to an npz file with the arrays mu and sigma."
            ) from error

    def _file(self) -> Path:
        path = Path(self.path).expanduser()
        if not path.is_file():
            raise DataError(f"there are no statistics at {path}.")
        return path
