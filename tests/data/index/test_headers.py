"""The size of an image found in its bytes is that which the decoder finds, or none."""

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, PngImagePlugin

from mezzotint.data.image_files.decoder import examine, header
from mezzotint.data.index.headers import size_of

PIXELS = np.random.default_rng(0).integers(0, 256, (13, 9, 4), dtype=np.uint8)
TURNED = Image.Exif()
TURNED[0x0112] = 6
TEXT = PngImagePlugin.PngInfo()
TEXT.add_text("Title", "a cat")


def stored(mode: str, form: str, **how) -> bytes:
    image = Image.fromarray(PIXELS).convert("RGB" if mode == "P" else mode)
    made = io.BytesIO()
    (image.quantize(16) if mode == "P" else image).save(made, form, **how)
    return made.getvalue()


KNOWN = {
    "rgb png": stored("RGB", "PNG"),
    "grey png": stored("L", "PNG"),
    "palette": stored("P", "PNG", transparency=3),
    "bits": stored("1", "PNG"),
    "grey with alpha": stored("LA", "PNG"),
    "alpha": stored("RGBA", "PNG"),
    "16 bits": stored("I;16", "PNG"),
    "rgb jpeg": stored("RGB", "JPEG"),
    "grey jpeg": stored("L", "JPEG"),
    "progressive": stored("RGB", "JPEG", progressive=True),
    "comment": stored("RGB", "JPEG", comment=b"a cat"),
}
UNKNOWN = {
    "turned": stored("RGB", "JPEG", exif=TURNED),
    "turned png": stored("RGB", "PNG", exif=TURNED),
    "cmyk": stored("CMYK", "JPEG"),
    "text": stored("RGB", "PNG", pnginfo=TEXT),
    "webp": stored("RGB", "WEBP"),
    "bmp": stored("RGB", "BMP"),
    "nothing": b"",
    "text file": b"a cat",
}


@pytest.mark.parametrize("name", KNOWN)
def test_the_size_is_the_decoders(name, tmp_path):
    file = tmp_path / "a"
    file.write_bytes(KNOWN[name])
    assert size_of(KNOWN[name]) == header(file)
    examine(file, (3, 1, 1), enlarge=True)


@pytest.mark.parametrize("name", UNKNOWN)
def test_what_is_unusual_is_left_to_the_decoder(name):
    assert size_of(UNKNOWN[name]) is None


@pytest.mark.parametrize("name", KNOWN)
def test_no_beginning_of_an_image_has_a_size(name):
    whole = KNOWN[name]
    assert all(size_of(whole[:length]) is None for length in range(len(whole)))


@pytest.mark.parametrize("name", KNOWN)
def test_what_has_a_size_opens_in_the_decoder(name, tmp_path):
    """A byte of the header is changed: either no size is given, or the decoder gives the same one."""
    file, whole = Path(tmp_path / "a"), KNOWN[name]
    for at in range(min(len(whole), 200)):
        changed = whole[:at] + bytes([whole[at] ^ 0x55]) + whole[at + 1 :]
        if (found := size_of(changed)) is not None:
            file.write_bytes(changed)
            assert header(file) == found, at
