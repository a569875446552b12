"""Centre crops: how an image of any size becomes one of the wanted size."""

from collections.abc import Callable
from dataclasses import dataclass

from PIL import Image

from mezzotint.data.image_files.resize import Strips
from mezzotint.errors import DataError

Size = tuple[int, int]  # (width, height)


@dataclass(frozen=True)
class Crop:
    """A way to crop and resize.

    Args:
        recipe: what is done, in a few words; part of the digest of decoded images: change it with `resize`.
        resize: (image, wanted size) -> the image of that size.
        reducible: whether a large JPEG may be decoded at a reduced scale, and a large PNG in strips.
    """

    recipe: str
    resize: Callable[[Strips, Size], Image.Image]
    reducible: bool = False


def adm(strips: Strips, wanted: Size) -> Image.Image:
    """The crop of ADM: sides are halved by averages while both are twice the wanted size or more, then bicubic.

    Rounded as in its code, so that the pixels are the same bit for bit.

    Source: Dhariwal and Nichol 2021 (their code, `center_crop_arr`), https://github.com/openai/guided-diffusion
    """
    image, side = strips.put_together(strips.size[0]), wanted[0]
    while min(image.size) >= 2 * side:
        image = image.resize((image.width // 2, image.height // 2), Image.Resampling.BOX)
    scale = side / min(image.size)
    image = image.resize((round(image.width * scale), round(image.height * scale)), Image.Resampling.BICUBIC)
    left, top = (image.width - side) // 2, (image.height - side) // 2
    return image.crop((left, top, left + side, top + side))


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
}


def crop_of(name: str, size: Size) -> Crop:
    """Return a crop by its name. Raises DataError: there is none, or it makes squares only and `size` is none."""
    if name not in CROPS:
        raise DataError(f"crop={name} is not known: choose one of {', '.join(CROPS)}.")
    if name != "centre" and size[0] != size[1]:
        raise DataError(f"crop={name} makes squares, and the shape is {size[1]} x {size[0]}: use crop=centre.")
    return CROPS[name]
