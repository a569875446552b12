"""Crops: how an image of any size becomes one of the wanted size, in the centre or at a random place."""

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial

from PIL import Image

from mezzotint.data.image_files.resize import Strips
from mezzotint.errors import DataError

Size = tuple[int, int]  # (width, height)
Place = tuple[float, float, float]  # scale, row and column of a random crop, each a uniform number in (0, 1)
LEAST = 0.8  # of the shorter side, which a random crop shows


@dataclass(frozen=True)
class Crop:
    """A way to crop and resize.

    Args:
        recipe: what is done, in a few words; part of the digest of decoded images: change it with `resize`.
        resize: (image, wanted size) -> the image of that size.
        reducible: whether a large JPEG may be decoded at a reduced scale, and a large PNG in strips.
        draw: (place, image, wanted size) -> the image of that size, of a crop that training draws at every visit of an
            image; `resize` is then the crop of evaluation.
    """

    recipe: str
    resize: Callable[[Strips, Size], Image.Image]
    reducible: bool = False
    draw: Callable[[Place, Strips, Size], Image.Image] | None = None

    def at(self, place: Place) -> "Crop":
        """Return the crop at a place; one that is not random is the same everywhere."""
        return self if self.draw is None else replace(self, resize=partial(self.draw, place))


def adm(strips: Strips, wanted: Size) -> Image.Image:
    """The crop of ADM: sides are halved by averages while both are twice the wanted size or more, then bicubic.

    Rounded as in its code, so that the pixels are the same bit for bit.

    Source: Dhariwal and Nichol 2021 (their code, `center_crop_arr`), https://github.com/openai/guided-diffusion
    """
    image, side = shortened(strips.put_together(strips.size[0]), wanted[0]), wanted[0]
    left, top = (image.width - side) // 2, (image.height - side) // 2
    return image.crop((left, top, left + side, top + side))


def adm_random(place: Place, strips: Strips, wanted: Size) -> Image.Image:
    """The random crop of ADM: a shorter side of n to n / 0.8 pixels and a square of n x n in it, drawn uniformly.

    Images are halved and scaled as in the centre crop, bit for bit. Other than in ADM's code, an image with a shorter
    side below n / 0.8 is not enlarged beyond its own size.

    Source: Dhariwal and Nichol 2021 (their code, `random_crop_arr`), https://github.com/openai/guided-diffusion
    """
    image, side = strips.put_together(strips.size[0]), wanted[0]
    most = max(side, min(math.ceil(side / LEAST), *image.size))
    scale, down, across = place
    image = shortened(image, side + int(scale * (most - side + 1)))
    left, top = int(across * (image.width - side + 1)), int(down * (image.height - side + 1))
    return image.crop((left, top, left + side, top + side))


def shortened(image: Image.Image, side: int) -> Image.Image:
    """Return an image with this shorter side, halved by averages while that is possible, then bicubic, as ADM."""
    while min(image.size) >= 2 * side:
        image = image.resize((image.width // 2, image.height // 2), Image.Resampling.BOX)
    scale = side / min(image.size)
    return image.resize((round(image.width * scale), round(image.height * scale)), Image.Resampling.BICUBIC)


def edm(strips: Strips, wanted: Size) -> Image.Image:
    """The crop of EDM's tool for datasets: the middle square in whole pixels, then Lanczos.

    Source: Karras et al. 2022 (their code, `center-crop` in dataset_tool.py), https://github.com/NVlabs/edm
    """
    image = strips.put_together(strips.size[0])
    side = min(image.size)
    left, top = (image.width - side) // 2, (image.height - side) // 2
    right, bottom = (image.width + side) // 2, (image.height + side) // 2
    return image.crop((left, top, right, bottom)).resize(wanted, Image.Resampling.LANCZOS)


CENTRE = Crop("upright, on white, centre, bicubic", Strips.resized, reducible=True)
CROPS = {
    "centre": CENTRE,
    "adm": Crop("upright, on white, centre as ADM, box and bicubic", adm),
    "edm": Crop("upright, on white, centre as EDM, Lanczos", edm),
    "random": Crop("upright, on white, centre as ADM, box and bicubic", adm, draw=adm_random),
}


def crop_of(name: str, size: Size) -> Crop:
    """Return a crop by its name. Raises DataError: there is none, or it makes squares only and `size` is none."""
    if name not in CROPS:
        raise DataError(f"crop={name} is not known: choose one of {', '.join(CROPS)}.")
    if name != "centre" and size[0] != size[1]:
        raise DataError(f"crop={name} makes squares, and the shape is {size[1]} x {size[0]}: use crop=centre.")
    return CROPS[name]
