"""The words for examples of data: images, series, fields, videos, volumes."""

from dataclasses import dataclass

import torch

from mezzotint.data.codecs.base import Codec
from mezzotint.data.dataset import Dataset, codec_of


@dataclass(frozen=True)
class Noun:
    """The word for the examples of a dataset.

    Args:
        one: with its article.
    """

    one: str
    many: str


IMAGES, EXAMPLES = Noun("an image", "images"), Noun("an example", "examples")
MEASURED = {1: Noun("a series", "series"), 2: Noun("a field", "fields"), 3: Noun("a volume", "volumes")}  # by axes
PIXELS = {3: Noun("a video", "videos")}


def noun_of(dataset: Dataset) -> Noun:
    """Return the word for the examples of a dataset, by its codec and the number of their axes."""
    return noun_for(codec_of(dataset), tuple(dataset.shape))


def noun_for(codec: Codec, shape: tuple[int, ...]) -> Noun:
    """Return the word for examples of a shape (C, *size), stored as a codec says."""
    if codec.is_image(shape):
        return IMAGES
    words = PIXELS if codec.dtype == torch.uint8 else MEASURED
    return words.get(len(shape) - 1, EXAMPLES)
