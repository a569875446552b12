"""PSNR and SSIM of samples beside their true examples, and of a small image that is only enlarged."""

from abc import abstractmethod
from dataclasses import asdict, dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor

from mezzotint.errors import ConfigError
from mezzotint.metrics.metric import Context, EvaluatedModel, Scorer
from mezzotint.metrics.paired.base import PairedMetric, named
from mezzotint.networks.conditions.image import enlarged

ROUNDING = 1 / 12 / 255**2  # mean square error of rounding to 256 values, relative to the range
WINDOW = 11  # pixels of SSIM's Gaussian window


@dataclass(frozen=True)
class Fidelity(PairedMetric):
    """A score of two images. Beside it stands that of each condition at a lower resolution, enlarged bicubically.

    Args:
        data_range: difference of the highest and the lowest stored number; None is 255 for 8-bit data.
    """

    data_range: float | None = None

    positive: ClassVar[tuple[str, ...]] = ("data_range",)

    @abstractmethod
    def compare(self, images: Tensor, truth: Tensor, data_range: float) -> Tensor:
        """Return the score (B,) of images beside true ones, both float64 (B, C, *size)."""

    def range_of(self, model: EvaluatedModel) -> float:
        """Return the range of stored numbers. Raises ConfigError: it is not known."""
        levels = model.codec.levels
        if self.data_range is None and levels is None:
            raise ConfigError(
                f"{type(self).__name__} needs the range of these data, {model.codec.format}: give "
                f"metrics.{type(self).__name__.lower()}.data_range=, the highest number less the lowest, or leave this "
                "metric out."
            )
        return self.data_range or float(levels or 0) - 1.0

    def validate(self, context: Context) -> None:
        super().validate(context)
        self.range_of(self.model(context)[0])

    def scorer(self, context: Context) -> Scorer:
        model, pairs = self.model(context)
        spread = self.range_of(model)
        size = model.codec.shape(pairs.truth(torch.arange(1)).shape[1:])[1:]
        small = [name for name, kind in pairs.kinds.items() if kind.derived and tuple(kind.shape[1:]) != tuple(size)]

        def score(images: Tensor, index: Tensor) -> dict[str, Tensor]:
            stored = pairs.truth(index).to(images.device)
            truth, values = stored.double(), pairs.values(index) if small else {}
            found = {"": self.compare(images.double(), truth, spread)}
            for name in small:
                baseline = model.codec.decode(enlarged(values[name], model.codec.shape(stored.shape[1:])[1:]))
                found[f"_bicubic_{name}"] = self.compare(baseline.to(images.device).double(), truth, spread)
            return found

        return score

    def settings(self) -> dict[str, Any]:
        return {"metric": type(self).__name__, **asdict(self)}


@dataclass(frozen=True)
class PSNR(Fidelity):
    """The peak signal-to-noise ratio in dB, 10 log10(range^2 / MSE) of each image, averaged over images.

    The mean square error counts as at least that of rounding to 256 values, so that equal images have a finite value,
    58.9 dB. A sample of an exact model has twice the mean square error of the posterior's mean, which is 3 dB less. One
    step of DDIM, grid.steps=1, is the network's estimate of that mean.

    Source: Saharia et al. 2021 (SR3), section 4.1, https://arxiv.org/abs/2104.07636
    """

    def compare(self, images: Tensor, truth: Tensor, data_range: float) -> Tensor:
        error = ((images - truth) / data_range).square().flatten(1).mean(1)
        return -10 * error.clamp_min(ROUNDING).log10()

    def reported_name(self, n: int) -> str:
        return named("psnr", n)


@dataclass(frozen=True)
class SSIM(Fidelity):
    """The structural similarity in a Gaussian window of 11 pixels, averaged over pixels, channels and images.

    Source: Wang et al. 2004, https://doi.org/10.1109/TIP.2003.819861, as torchmetrics computes it.
    """

    def validate(self, context: Context) -> None:
        super().validate(context)
        shape = self.model(context)[1].truth(torch.arange(1)).shape[1:]
        if len(shape) not in (3, 4) or min(shape[1:]) < WINDOW:
            raise ConfigError(
                f"SSIM needs images or volumes of at least {WINDOW} pixels a side, and these are {list(shape)}. Leave "
                "this metric out."
            )

    def compare(self, images: Tensor, truth: Tensor, data_range: float) -> Tensor:
        from torchmetrics.functional.image import structural_similarity_index_measure

        return structural_similarity_index_measure(images, truth, data_range=data_range, reduction="none")  # type: ignore[return-value]

    def reported_name(self, n: int) -> str:
        return named("ssim", n)
