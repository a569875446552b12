"""Stored images that are no files: decoded from bytes with a name, bit for bit and with the same errors."""

import io
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from mezzotint.data.image_files import decoder, resize
from mezzotint.data.image_files.decoder import PictureError, decode, examine, header
from mezzotint.data.image_files.formats import unread

ENDINGS = ["png", "jpg", "webp", "gif", "bmp", "tif", "ppm", "jp2"]


@dataclass(frozen=True)
class Bytes:
    """Bytes with a name."""

    name: str
    content: bytes

    def open(self, mode: str) -> io.BytesIO:
        assert mode == "rb"
        return io.BytesIO(self.content)

    def __str__(self) -> str:
        return f"photos.zip/{self.name}"


def picture(side: int = 48) -> Image.Image:
    return Image.fromarray(np.random.default_rng(0).integers(0, 256, (side, side + 9, 3), dtype=np.uint8))


@pytest.mark.parametrize("giant", [1 << 26, 0])
@pytest.mark.parametrize("ending", ENDINGS)
def test_bytes_are_decoded_as_files_are(ending: str, giant: int, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(decoder, "GIANT", giant)
    monkeypatch.setattr(resize, "GIANT", giant)
    file = tmp_path / f"a.{ending}"
    picture().save(file)
    stored = Bytes(file.name, file.read_bytes())
    assert np.array_equal(decode(stored, (3, 16, 16)), decode(file, (3, 16, 16)))
    assert header(stored) == header(file) == (3, 48, 57)
    assert unread(stored) == unread(file) == ""
    examine(stored, (3, 16, 16), False)


def test_an_orientation_behind_the_pixels_is_found_and_the_pixels_are_still_read(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    picture().save(tmp_path / "early.png", exif=exif)
    content = (tmp_path / "early.png").read_bytes()
    start = content.index(b"eXIf") - 4
    end = start + 12 + int.from_bytes(content[start : start + 4])
    late = content[:start] + content[end:-12] + content[start:end] + content[-12:]
    (tmp_path / "late.png").write_bytes(late)
    stored = Bytes("late.png", late)
    assert header(stored) == header(tmp_path / "late.png") == (3, 57, 48)
    assert np.array_equal(decode(stored, (3, 57, 48)), decode(tmp_path / "early.png", (3, 57, 48)))


@pytest.mark.parametrize("ending", ENDINGS)
@pytest.mark.parametrize("cut", [0.02, 0.5])
def test_errors_are_those_of_files_with_the_name_of_the_member(ending: str, cut: float, tmp_path: Path) -> None:
    file = tmp_path / f"a.{ending}"
    picture().save(file)
    content = file.read_bytes()[: int(cut * file.stat().st_size)]
    file.write_bytes(content)
    for read in (lambda it: examine(it, (3, 16, 16), False), lambda it: decode(it, (3, 16, 16))):
        with pytest.raises(PictureError) as of_file:
            read(file)
        with pytest.raises(PictureError) as of_bytes:
            read(Bytes(file.name, content))
        assert str(of_bytes.value) == str(of_file.value).replace(str(file), f"photos.zip/{file.name}")


def test_a_member_that_is_too_small_or_no_image_is_named(tmp_path: Path) -> None:
    picture().save(tmp_path / "a.png")
    with pytest.raises(PictureError, match=r"^photos\.zip/a\.png is 48 x 57, and the shape requires 64 x 64"):
        decode(Bytes("a.png", (tmp_path / "a.png").read_bytes()), (3, 64, 64))
    with pytest.raises(PictureError, match=r"^photos\.zip/b\.png cannot be decoded \(it is not an image\)"):
        examine(Bytes("b.png", b"some text"), (3, 8, 8), False)
    assert unread(Bytes("readme.txt", b"some text")) is None
    assert unread(Bytes("a.nef", b"")).startswith("a camera's raw file")
