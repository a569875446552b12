"""Images of any program: folders and archives in their own size, or one line that says what is wrong."""

import os
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from mezzotint.data import ZipImages
from mezzotint.data.external import open_external
from mezzotint.errors import DataError


@pytest.fixture
def pixels() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (5, 6, 4, 3), dtype=np.uint8)


def save(folder: Path, pixels: np.ndarray, ending: str = "png", **options: object) -> Path:
    folder.mkdir(exist_ok=True)
    for i, image in enumerate(pixels):
        Image.fromarray(image).save(folder / f"{i:03d}.{ending}", **options)
    return folder


def everything(loose) -> np.ndarray:
    import torch

    images, labels = loose.images.batch(torch.arange(len(loose.images)))
    assert labels is None
    return images.permute(0, 2, 3, 1).numpy()


@pytest.mark.parametrize(("ending", "options"), [("png", {}), ("webp", {"lossless": True})])
def test_a_folder_is_read_in_the_order_of_names_and_in_its_own_size(
    ending: str, options: dict, tmp_path: Path, pixels: np.ndarray
) -> None:
    loose = open_external(save(tmp_path / "a", pixels, ending, **options))
    assert (loose.shape, loose.format) == ((3, 6, 4), ending)
    assert np.array_equal(everything(loose), pixels)


def test_grey_files_are_grey_and_one_in_colour_makes_the_folder_rgb(tmp_path: Path, pixels: np.ndarray) -> None:
    folder = save(tmp_path / "a", pixels[..., 0])
    assert open_external(folder).shape == (1, 6, 4)
    Image.fromarray(pixels[0]).save(folder / "z.jpg")
    assert open_external(folder).shape == (3, 6, 4)
    assert open_external(folder).format == "jpg, png"


def test_a_container_holds_the_images_of_its_folder(tmp_path: Path, pixels: np.ndarray, monkeypatch) -> None:
    monkeypatch.setenv("MEZZOTINT_CACHE", str(tmp_path / "cache"))
    folder = save(tmp_path / "a", pixels)
    for kind in ("zip", "tar"):
        packed = open_external(Path(shutil.make_archive(str(tmp_path / "b"), kind, folder)))
        assert (packed.shape, packed.format, packed.names) == ((3, 6, 4), "png", ("000", "001", "002", "003", "004"))
        assert np.array_equal(everything(packed), pixels)
        assert packed.images.digest() == open_external(folder).images.digest()
    Image.fromarray(pixels[0, :5]).save(folder / "z.png")
    packed = Path(shutil.make_archive(str(tmp_path / "c"), "zip", folder))
    for place in (packed, folder):
        with pytest.raises(DataError, match=r"not of one size: 000.png is 6 x 4, z.png 5 x 4 \(height x width\)"):
            open_external(place)


@pytest.mark.parametrize("name", ["arr_0", "images"])
def test_an_archive_holds_the_same_images(name: str, tmp_path: Path, pixels: np.ndarray) -> None:
    np.savez(tmp_path / "a.npz", **{name: pixels})
    loose = open_external(tmp_path / "a.npz")
    assert loose.shape == (3, 6, 4)
    assert np.array_equal(everything(loose), pixels)
    np.savez(tmp_path / "b.npz", **{name: pixels.transpose(0, 3, 1, 2)})
    assert np.array_equal(everything(open_external(tmp_path / "b.npz")), pixels)
    np.savez(tmp_path / "c.npz", **{name: pixels[..., 0]})
    assert open_external(tmp_path / "c.npz").shape == (1, 6, 4)


def test_a_picture_that_lies_on_its_side_counts_as_it_is_shown(tmp_path: Path, pixels: np.ndarray) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    folder = save(tmp_path / "a", pixels, "jpg", exif=exif)
    assert open_external(folder).shape == (3, 4, 6)


def test_what_is_wrong_is_said_in_one_line(tmp_path: Path, pixels: np.ndarray) -> None:
    folder = save(tmp_path / "a", pixels)
    Image.fromarray(pixels[0, :3]).save(folder / "odd.png")
    with pytest.raises(DataError, match=r"not of one size: 000.png is 6 x 4, odd.png 3 x 4"):
        open_external(folder)
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match=r"it is empty. Give a folder of images"):
        open_external(tmp_path / "empty")
    (folder / "odd.png").write_bytes(b"no image")
    with pytest.raises(DataError, match=r"odd.png cannot be decoded"):
        open_external(folder)
    np.savez(tmp_path / "f.npz", arr_0=pixels.astype(np.float32))
    with pytest.raises(DataError, match=r"arr_0 \(float32 \[5, 6, 4, 3\]\); an array `images` or `arr_0` of uint8"):
        open_external(tmp_path / "f.npz")
    with pytest.raises(DataError, match=r"nothing does not exist: give a folder"):
        open_external(tmp_path / "nothing")
    (tmp_path / "a.pkl").write_bytes(b"")
    with pytest.raises(DataError, match="A pickle is a program and is not read"):
        open_external(tmp_path / "a.pkl")


def test_an_archive_of_one_image_is_not_taken_for_many_rows(tmp_path: Path, pixels: np.ndarray) -> None:
    np.savez(tmp_path / "a.npz", pixels[0])
    with pytest.raises(DataError, match=r"arr_0 \[6, 4, 3\]: is that one image, or are they 6 grey ones"):
        open_external(tmp_path / "a.npz")
    np.savez(tmp_path / "b.npz", images=pixels[:, :0])
    with pytest.raises(DataError, match=r"images \(uint8 \[5, 0, 4, 3\]\); an array"):
        open_external(tmp_path / "b.npz")
    np.savez(tmp_path / "c.npz", pictures=pixels)
    with pytest.raises(DataError, match=r"holds pictures; an array `images` or `arr_0`"):
        open_external(tmp_path / "c.npz")


def test_capital_endings_and_notes_beside_the_images(tmp_path: Path, pixels: np.ndarray) -> None:
    np.savez(tmp_path / "a.npz", arr_0=pixels, note=np.array([{}], dtype=object))
    (tmp_path / "a.npz").rename(tmp_path / "A.NPZ")
    assert np.array_equal(everything(open_external(tmp_path / "A.NPZ")), pixels)
    folder = save(tmp_path / "b", pixels, "PNG")
    (folder / ".DS_Store").write_bytes(b"Bud1")
    (folder / "__MACOSX").mkdir()
    (folder / "__MACOSX" / "._000.PNG").write_bytes(b"Mac OS X")
    assert np.array_equal(everything(open_external(folder)), pixels)


def test_a_kind_that_is_not_read_is_named_and_not_left_out(tmp_path: Path, pixels: np.ndarray) -> None:
    folder = save(tmp_path / "a", pixels)
    (folder / "._000.psd").write_bytes(b"Mac OS X")
    (folder / "readme.txt").write_text("about")
    assert len(open_external(folder).images) == 5
    (folder / "b").mkdir()
    Image.fromarray(pixels[0]).save(folder / "b" / "5.BMP")
    assert len(open_external(folder).images) == 6
    (folder / "b" / "6.psd").write_bytes(b"8BPS")
    with pytest.raises(DataError, match=r"1 of 7 pictures is not read: \S*b/6.psd \(Photoshop: convert it to PNG"):
        open_external(folder)


def test_sixteen_bits_palettes_and_transparency_are_read_as_they_look(tmp_path: Path, pixels: np.ndarray) -> None:
    """Each alone in a folder: grey stays grey, and what shines through is white."""
    grey = pixels[0, :, :, 0]
    kinds = {
        "16": Image.fromarray(grey.astype(np.uint16) * 257),
        "palette": Image.fromarray(grey).convert("P"),
        "bits": Image.fromarray(grey).convert("1"),
        "alpha": Image.fromarray(np.dstack([grey, np.zeros_like(grey)])),
        "cmyk": Image.fromarray(pixels[0]).convert("CMYK"),
    }
    found = {}
    for name, image in kinds.items():
        (tmp_path / name).mkdir()
        image.save(tmp_path / name / ("ä b=c.jpg" if name == "cmyk" else "ä b=c.png"))
        found[name] = open_external(tmp_path / name)
    assert [found[name].shape[0] for name in kinds] == [1, 3, 1, 1, 3]
    assert np.array_equal(everything(found["16"])[0, :, :, 0], grey)
    assert np.array_equal(everything(found["palette"])[0], np.dstack([grey] * 3))
    assert set(np.unique(everything(found["bits"]))) <= {0, 255}
    assert (everything(found["alpha"]) == 255).all()


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="the system has no named pipes")
def test_a_named_pipe_is_refused_and_never_opened(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "a.zip")
    with pytest.raises(DataError, match="neither a folder of images nor"):
        open_external(tmp_path / "a.zip")
    with pytest.raises(DataError, match="neither a file nor a folder"):
        ZipImages(root=str(tmp_path / "a.zip"), shape=(3, 4, 4)).split("train")
