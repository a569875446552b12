"""The extractor protocol: stored examples, mostly uint8 images, in; named views of their features out."""

from __future__ import annotations

import hashlib
from abc import abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from mezzotint.data.codecs.base import Codec
from mezzotint.errors import ConfigError
from mezzotint.finite import Finite


class Extractor(metaclass=Finite):
    """A frozen network that turns uint8 images (B, C, H, W) into features (B, d).

    It runs in eval mode, without gradients, in float32 regardless of autocast, in batches of a fixed size (the last
    bits of features depend on the batch size of a convolution, so the last batch is padded). It is not an nn.Module: as
    an attribute of a metric it never enters a checkpoint, and deep copies of the metric share it.

    A view is one set of features of the same pass: every extractor has "pooled", one row an image for Frechet and
    kernel distances; "logits" (class scores) and "spatial" (an early map, flattened) where the network offers them.
    """

    name: ClassVar[str]
    widths: ClassVar[Mapping[str, int]]
    named_fid: ClassVar[bool] = False  # whether a Frechet distance of its features is called FID
    batch: ClassVar[int] = 16
    batch_on_accelerator: ClassVar[int] = 128
    preprocessing: ClassVar[str]

    @property
    @abstractmethod
    def digest(self) -> str:
        """sha256 of the weights, in hexadecimal."""

    @property
    @abstractmethod
    def network(self) -> nn.Module:
        """The loaded network, on the device where it ran last."""

    @abstractmethod
    def validate(self, shape: tuple[int, ...]) -> None:
        """Refuse images or missing weights before anything is computed; weights are located, not fetched or loaded.

        Raises:
            ConfigError: it does not take images of this (C, H, W). DataError: the weights are not available.
        """

    @abstractmethod
    def forward(self, images: Tensor) -> dict[str, Tensor]:
        """Return all views of a batch of uint8 images on the network's device."""

    @property
    def parts(self) -> tuple[Extractor, ...]:
        """The extractors that it consists of: itself, unless it joins several."""
        return (self,)

    @property
    def features(self) -> int:
        """Width of the pooled view."""
        return self.widths["pooled"]

    @property
    def fetched(self) -> bool:
        """True if the weights can be loaded without a download."""
        return True

    def prepare(self, shape: tuple[int, ...]) -> None:
        """Validate, then fetch and load the weights."""
        self.validate(shape)
        _ = self.network, self.digest

    def resolve(self, shape: tuple[int, ...], codec: Codec | None = None) -> Extractor | None:
        """Return the extractor for examples of this shape and codec, here itself. Raises as `validate`."""
        refuse_other_data(self.name, shape, codec)
        self.validate(shape)
        return self

    def __call__(self, images: Tensor) -> Tensor:
        """Pooled features (B, d) in float32, on the images' device."""
        return self.views(images)["pooled"]

    def views(self, images: Tensor) -> dict[str, Tensor]:
        """Every view of the images, float32, on the images' device.

        Raises:
            TypeError: not uint8. ValueError: not (B, C, H, W), or a shape that this extractor does not take.
        """
        self.check(images)
        if not len(images):
            return {view: torch.empty(0, width, device=images.device) for view, width in self.widths.items()}
        on_cpu = images.device.type == "cpu"
        self.network.to(images.device, memory_format=torch.channels_last if on_cpu else torch.contiguous_format)
        with torch.no_grad(), torch.autocast(images.device.type, enabled=False), exact_arithmetic():
            size = self.batch if on_cpu else self.batch_on_accelerator
            parts = [self._batch(chunk, size) for chunk in images.split(size)]
        return {view: torch.cat([part[view] for part in parts]) for view in self.widths}

    def blank(self, shape: Sequence[int]) -> Tensor:
        """Return a stored example (1, C, *size) of zeros, such as a black image."""
        return torch.zeros(1, *shape, dtype=torch.uint8)

    def check(self, images: Tensor) -> None:
        """Refuse what is no batch of uint8 images. Raises TypeError or ValueError."""
        check_images(images, self.name)

    def _batch(self, chunk: Tensor, size: int) -> dict[str, Tensor]:
        missing = size - len(chunk)
        filled = torch.cat([chunk, chunk.new_zeros(missing, *chunk.shape[1:])]) if missing else chunk
        return {view: features[: len(chunk)].float() for view, features in self.forward(filled).items()}

    def __deepcopy__(self, memo: dict[int, Any]) -> Extractor:
        return self

    def protocol(self) -> dict[str, Any]:
        """Everything needed to reproduce the features."""
        return {
            "name": self.name,
            "sha256": self.digest,
            "features": self.features,
            "resize": self.preprocessing,
        }


def refuse_other_data(name: str, shape: Sequence[int], codec: Codec | None) -> None:
    """Raise ConfigError for data that are not images, which image networks do not take."""
    if codec is not None and not codec.is_image(shape):
        raise ConfigError(
            f"extractor={name} takes 8-bit images, and the data are {list(shape)} of {codec.format}: use "
            "extractor=raw or spectral."
        )


def check_images(images: Tensor, what: str) -> None:
    """Require uint8 (B, C, H, W). Raises TypeError or ValueError."""
    given = images.dtype if isinstance(images, Tensor) else type(images).__name__
    if given != torch.uint8:
        raise TypeError(
            f"{what} takes uint8 images of 0..255, not {given}. mezzotint.data.PixelScaling().to_uint8(x) "
            "converts: it rounds and clamps, where a plain cast wraps 1.01 to black."
        )
    if images.dim() != 4:
        raise ValueError(f"{what} takes images of shape (B, C, H, W), not {tuple(images.shape)}. Reshape them.")


def to_rgb(images: Tensor, what: str) -> Tensor:
    """Return grey images (B, 1, H, W) repeated to three equal channels, RGB unchanged."""
    if images.shape[1] not in (1, 3):
        raise ValueError(
            f"{what} takes grey or RGB images (1 or 3 channels), not {images.shape[1]} channels. Convert them."
        )
    return images.expand(-1, 3, -1, -1)


def standardised(pixels: Tensor, mean: Sequence[float], deviation: Sequence[float]) -> Tensor:
    """Return (x - mean) / deviation of RGB pixels (B, 3, H, W) in [0, 1], per channel."""
    m, s = (pixels.new_tensor(values)[:, None, None] for values in (mean, deviation))
    return (pixels - m) / s


def check_colours(shape: tuple[int, ...], name: str) -> None:
    """Raises ConfigError for images (C, H, W) that are neither grey nor RGB."""
    if shape[0] not in (1, 3):
        raise ConfigError(
            f"extractor={name} takes grey or RGB images, and the data has {shape[0]} channels. "
            "Use another extractor, or metrics=[]."
        )


def sha256(path: str | Path) -> str:
    """Return the sha256 of a file's bytes, in hexadecimal."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@contextmanager
def exact_arithmetic() -> Iterator[None]:
    """Disable TensorFloat-32 and algorithms chosen by timing, so that features are reproducible on a device.

    torch has two sets of switches that must not be mixed; only the set in use can be read.
    """
    cudnn, conv, matmul = torch.backends.cudnn, torch.backends.cudnn.conv, torch.backends.cuda.matmul
    timed = cudnn.benchmark, cudnn.deterministic
    cudnn.benchmark, cudnn.deterministic = False, True
    try:
        old = torch.get_float32_matmul_precision(), cudnn.allow_tf32
    except RuntimeError:
        old, new = None, (conv.fp32_precision, matmul.fp32_precision)
        conv.fp32_precision = matmul.fp32_precision = "ieee"
    else:
        torch.set_float32_matmul_precision("highest")
        cudnn.allow_tf32 = False
    try:
        yield
    finally:
        cudnn.benchmark, cudnn.deterministic = timed
        if old is None:
            conv.fp32_precision, matmul.fp32_precision = new
        else:
            torch.set_float32_matmul_precision(old[0])
            cudnn.allow_tf32 = old[1]
