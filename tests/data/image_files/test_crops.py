"""The published crops of ImageNet, bit for bit, against second writings on arrays."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from mezzotint.data import ImageFolder
from mezzotint.data.image_files import decoder
from mezzotint.data.image_files.crops import CROPS
from mezzotint.data.image_files.decoder import TooSmall, decode, examine
from mezzotint.errors import DataError

SIZES = [
    (64, 64),
    (65, 64),
    (127, 129),
    (128, 128),
    (129, 333),
    (257, 511),
    (300, 255),
    (1023, 517),
    (50, 71),
    (63, 64),
]


def picture(width: int, height: int) -> np.ndarray:
    """Smooth colours with noise, (height, width, 3)."""
    random = np.random.default_rng(width * height)
    x, y = np.meshgrid(np.linspace(0, 7, width), np.linspace(0, 5, height))
    waves = np.stack([np.sin(x * y), np.cos(x + 2 * y), np.sin(3 * x - y)], axis=-1)
    return (127 * (waves + 1) + random.normal(0, 20, waves.shape)).clip(0, 255).astype(np.uint8)


def resized(pixels: np.ndarray, width: int, height: int, filter: Image.Resampling) -> np.ndarray:
    return np.asarray(Image.fromarray(pixels).resize((width, height), resample=filter))


def as_adm(pixels: np.ndarray, side: int) -> np.ndarray:
    """Dhariwal and Nichol 2021, `center_crop_arr`: halve, scale the shorter side, cut."""
    height, width = pixels.shape[:2]
    if min(height, width) >= 2 * side:
        return as_adm(resized(pixels, width // 2, height // 2, Image.Resampling.BOX), side)
    ratio = side / min(height, width)
    pixels = resized(pixels, round(width * ratio), round(height * ratio), Image.Resampling.BICUBIC)
    height, width = pixels.shape[:2]
    return pixels[(height - side) // 2 :, (width - side) // 2 :][:side, :side]


def as_edm(pixels: np.ndarray, side: int) -> np.ndarray:
    """Karras et al. 2022, `center-crop`: cut, scale."""
    height, width = pixels.shape[:2]
    least = min(height, width)
    rows = slice((height - least) // 2, (height + least) // 2)
    columns = slice((width - least) // 2, (width + least) // 2)
    return resized(pixels[rows, columns], side, side, Image.Resampling.LANCZOS)


@pytest.mark.parametrize("size", SIZES, ids=str)
@pytest.mark.parametrize("side", [32, 64])
@pytest.mark.parametrize(("name", "expected"), [("adm", as_adm), ("edm", as_edm)])
def test_pixels_are_those_of_the_published_crop(name, expected, side, size, tmp_path: Path) -> None:
    pixels = picture(*size)
    Image.fromarray(pixels).save(tmp_path / "a.png")
    found = decode(tmp_path / "a.png", (3, side, side), enlarge=True, crop=CROPS[name])
    np.testing.assert_array_equal(found.transpose(1, 2, 0), expected(pixels, side))


def test_the_crops_differ(tmp_path: Path) -> None:
    Image.fromarray(picture(257, 511)).save(tmp_path / "a.png")
    kinds = [decode(tmp_path / "a.png", (3, 64, 64), crop=crop) for crop in CROPS.values()]
    assert not any(np.array_equal(kinds[i], kinds[j]) for i, j in ((0, 1), (0, 2), (1, 2)))


def test_a_large_jpeg_is_not_decoded_at_a_reduced_scale(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(decoder, "GIANT", 1 << 14)
    Image.fromarray(picture(300, 255)).save(tmp_path / "a.jpg", quality=95)
    pixels = np.asarray(Image.open(tmp_path / "a.jpg"))
    examine(tmp_path / "a.jpg", (3, 32, 32), False, CROPS["adm"])
    found = decode(tmp_path / "a.jpg", (3, 32, 32), crop=CROPS["adm"])
    np.testing.assert_array_equal(found.transpose(1, 2, 0), as_adm(pixels, 32))


def test_a_folder_with_a_crop(tmp_path: Path) -> None:
    for i, size in enumerate(((129, 333), (257, 511), (50, 71), (64, 64))):
        Image.fromarray(picture(*size)).save(tmp_path / f"{i}.png")
    folders = {
        crop: ImageFolder(root=str(tmp_path), shape=(3, 32, 32), held_out=0.0, crop=crop, memory_limit=limit)
        for crop, limit in (("centre", 1 << 30), ("adm", 1 << 30), ("edm", 0))
    }
    images = {crop: folder.split("all") for crop, folder in folders.items()}
    for i, size in enumerate(((129, 333), (257, 511))):
        for crop, expected in (("adm", as_adm), ("edm", as_edm)):
            found = images[crop].batch(torch.tensor([i]))[0][0].permute(1, 2, 0).numpy()
            np.testing.assert_array_equal(found, expected(picture(*size), 32))
    assert len({source.digest() for source in images.values()}) == 3
    assert folders["adm"].preprocessing() == "upright, on white, centre as ADM, box and bicubic to 32x32"
    assert folders["centre"].preprocessing() == "upright, on white, centre, bicubic to 32x32"


def test_refusals(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="crop=dhariwal is not known: choose one of centre, adm, edm"):
        ImageFolder(root=".", shape=(3, 32, 32), crop="dhariwal")
    with pytest.raises(DataError, match="crop=adm makes squares, and the shape is 32 x 64: use crop=centre"):
        ImageFolder(root=".", shape=(3, 32, 64), crop="adm")
    Image.fromarray(picture(50, 71)).save(tmp_path / "a.png")
    with pytest.raises(TooSmall):
        decode(tmp_path / "a.png", (3, 64, 64), crop=CROPS["adm"])
