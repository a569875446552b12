"""What is cut out of a picture, and what its numbers mean: against exact fractions, Pillow's own steps and formulas."""

import struct
import zlib
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageOps, TiffImagePlugin, features

from mezzotint.data.image_files import decoder, resize
from mezzotint.data.image_files.decoder import decode, header
from mezzotint.data.image_files.resize import centre_crop_box, fitting
from mezzotint.errors import DataError

rng = np.random.default_rng(0)
SIDES = st.integers(1, 20_000)


@pytest.mark.parametrize(
    ("size", "wanted", "box"),
    [
        ((100, 50), (10, 10), (25, 0, 75, 50)),
        ((50, 100), (10, 10), (0, 25, 50, 75)),
        ((90, 60), (20, 10), (0, 7.5, 90, 52.5)),
        ((8, 8), (8, 8), (0, 0, 8, 8)),
    ],
)
def test_the_middle_with_the_right_proportions_is_kept(size, wanted, box):
    assert centre_crop_box(size, wanted) == box


def exact_middle(size: tuple[int, int], wanted: tuple[int, int]) -> tuple[Fraction, ...]:
    scale = min(Fraction(size[0], wanted[0]), Fraction(size[1], wanted[1]))
    left, top = (size[0] - wanted[0] * scale) / 2, (size[1] - wanted[1] * scale) / 2
    return left, top, left + wanted[0] * scale, top + wanted[1] * scale


@settings(max_examples=2000, deadline=None)
@given(st.tuples(SIDES, SIDES), st.tuples(SIDES, SIDES))
def test_the_box_is_the_exact_one_rounded_once_and_never_leaves_the_image(size, wanted):
    box, exact = centre_crop_box(size, wanted), exact_middle(size, wanted)
    assert box == tuple(map(float, exact))
    assert 0 <= box[0] < box[2] <= size[0]
    assert 0 <= box[1] < box[3] <= size[1]
    across, down = fitting(size, wanted)
    assert (across, down) == (max(1, int(exact[2] - exact[0])), max(1, int(exact[3] - exact[1])))


def test_pictures_of_all_small_sizes_become_all_small_shapes():
    """Pillow takes each box; the float arithmetic of an earlier version left the image in 1 of 400 of these."""
    picture = Image.new("L", (60, 60), 7)
    for width in range(1, 61):
        for height in range(1, 61, 7):
            cut = picture.crop((0, 0, width, height))
            for wanted in ((22, 22), (28, 28), (7, 5), (64, 48)):
                assert (
                    cut.resize(wanted, Image.Resampling.BICUBIC, box=centre_crop_box((width, height), wanted)).size
                    == wanted
                )


@pytest.mark.parametrize("size", [(640, 480), (150, 100), (1050, 1000), (900, 450), (480, 640), (4032, 3024)])
def test_sound_photographs_are_not_refused(size, tmp_path):
    Image.new("L", size).save(tmp_path / "a.png")
    for side in (22, 28, 64, 96, 100, 224, 299):
        assert decode(tmp_path / "a.png", (1, side, side), enlarge=True).shape == (1, side, side)


def opaque(file: Path, shape: tuple[int, int, int]) -> np.ndarray:
    """Decoded as Pillow does it, step by step and whole."""
    with Image.open(file) as image:
        image = ImageOps.exif_transpose(image)
    if image.has_transparency_data:
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image.convert("RGBA"))
    image = image.convert("L" if shape[0] == 1 else "RGB")
    wanted = shape[2], shape[1]
    found = np.asarray(image.resize(wanted, Image.Resampling.BICUBIC, box=centre_crop_box(image.size, wanted)))
    return found[None] if shape[0] == 1 else found.transpose(2, 0, 1)


@pytest.mark.parametrize("turn", range(1, 9))
@pytest.mark.parametrize("mode", ["L", "RGB", "RGBA", "LA", "P"])
def test_strips_change_nothing(mode, turn, tmp_path, monkeypatch):
    """All that lies in memory at once is converted in strips, whatever way the picture lies."""
    colours = Image.fromarray(rng.integers(0, 256, (37, 23, 4), dtype=np.uint8))
    image = colours.convert("RGB").quantize(9) if mode == "P" else colours.convert(mode)
    exif = Image.Exif()
    exif[0x0112] = turn
    image.save(tmp_path / "a.png", exif=exif, **({"transparency": 3} if mode == "P" else {}))
    for shape in ((1, 5, 9), (3, 11, 4)):
        expected = opaque(tmp_path / "a.png", shape)
        for strip in (1, 60, 500, 1 << 22):
            monkeypatch.setattr(resize, "STRIP", strip)
            assert np.array_equal(decode(tmp_path / "a.png", shape), expected)


def smooth(height: int, width: int, channels: int) -> np.ndarray:
    wave = np.sin(np.indices((height, width)).sum(0) / 9)[..., None] * np.linspace(60, 120, channels) + 128
    return wave.astype(np.uint8)


@pytest.mark.parametrize("mode", ["L", "RGB", "RGBA", "LA", "P", "1", "I;16", "JPEG", "turned"])
def test_giants_are_the_same_but_for_rounding(mode, tmp_path, monkeypatch):
    """Also where rows are unpacked one after the other, whatever their filters, and JPEG at a smaller scale."""
    colours = Image.fromarray(smooth(90, 70, 4))
    exif = Image.Exif()
    if mode == "JPEG":
        file = tmp_path / "a.jpg"
        colours.convert("RGB").save(file, quality=98)
    else:
        file = tmp_path / "a.png"
        exif[0x0112] = 6 if mode == "turned" else 1
        if mode == "I;16":
            image = Image.fromarray(smooth(90, 70, 1)[..., 0].astype(np.uint16) << 8)
        elif mode in ("P", "1"):
            image = colours.convert("RGB").quantize(64) if mode == "P" else colours.convert("1", dither=0)
        else:
            image = colours.convert("L" if mode == "turned" else mode)
        image.save(file, exif=exif)
    for shape in ((1, 20, 15), (3, 12, 9)):
        monkeypatch.setattr(decoder, "GIANT", 1 << 26)
        monkeypatch.setattr(resize, "GIANT", 1 << 26)
        usual = decode(file, shape).astype(int)
        monkeypatch.setattr(decoder, "GIANT", 0)
        monkeypatch.setattr(resize, "GIANT", 0)
        for strip in (1, 700, 1 << 22):
            monkeypatch.setattr(resize, "STRIP", strip)
            assert np.abs(decode(file, shape) - usual).max() <= (6 if mode == "JPEG" else 1)


def test_a_giant_that_was_cut_short_is_damaged(tmp_path, monkeypatch):
    monkeypatch.setattr(decoder, "GIANT", 0)
    Image.fromarray(rng.integers(0, 256, (60, 60, 3), dtype=np.uint8)).save(tmp_path / "a.png")
    whole = (tmp_path / "a.png").read_bytes()
    for length in (len(whole) // 2, 200):
        (tmp_path / "a.png").write_bytes(whole[:length])
        with pytest.raises(DataError, match=r"a\.png cannot be decoded .*truncated"):
            decode(tmp_path / "a.png", (3, 8, 8))


def png(file: Path, values: np.ndarray, bits: int, clear: tuple[int, ...] | None = None) -> None:
    """A PNG of grey (H, W) or colour (H, W, 3) with so many bits a sample, written by hand: Pillow writes not all."""
    colour = values.ndim == 3
    height, width = values.shape[:2]
    if bits == 16:
        rows = [row.astype(">u2").tobytes() for row in values]
    else:
        wide = (values[..., None] >> np.arange(bits - 1, -1, -1) & 1).astype(np.uint8).reshape(height, -1)
        rows = [np.packbits(row).tobytes() for row in wide]
    chunks = [(b"IHDR", struct.pack(">IIBBBBB", width, height, bits, 2 if colour else 0, 0, 0, 0))]
    if clear is not None:
        chunks.append((b"tRNS", b"".join(struct.pack(">H", value) for value in clear)))
    chunks += [(b"IDAT", zlib.compress(b"".join(b"\0" + row for row in rows))), (b"IEND", b"")]
    body = b"".join(struct.pack(">I", len(b)) + k + b + struct.pack(">I", zlib.crc32(k + b)) for k, b in chunks)
    file.write_bytes(b"\x89PNG\r\n\x1a\n" + body)


@pytest.mark.parametrize("clear", [False, True])
@pytest.mark.parametrize("bits", [1, 2, 4, 8, 16])
def test_grey_of_any_depth_and_its_transparent_value(bits, clear, tmp_path):
    values = rng.integers(0, 2**bits, (8, 8))
    values[0, 0], values[0, 1] = 1, 0  # 0 and 1 share their upper byte
    png(tmp_path / "a.png", values, bits, (1,) if clear else None)
    shown = values >> 8 if bits == 16 else values * (255 // (2**bits - 1))
    assert np.array_equal(decode(tmp_path / "a.png", (1, 8, 8))[0], np.where(clear & (values == 1), 255, shown))


@pytest.mark.parametrize("bits", [8, 16])
def test_a_transparent_colour_is_that_one_and_no_near_one(bits, tmp_path):
    values = rng.integers(0, 2**bits, (8, 8, 3))
    values[0, 0], values[0, 1], values[0, 2] = (1, 2, 3), (1, 2, 4), (2, 2, 3)
    png(tmp_path / "a.png", values, bits, (1, 2, 3))
    found = decode(tmp_path / "a.png", (3, 8, 8)).transpose(1, 2, 0)
    clear = (values == (1, 2, 3)).all(-1, keepdims=True)
    assert np.array_equal(found, np.where(clear, 255, values >> bits - 8))


@pytest.mark.parametrize("white", [0, 1])
@pytest.mark.parametrize("order", ["II", "MM"])
def test_sixteen_bits_of_tiff(order, white, tmp_path):
    """Photometric interpretation 0 says that 0 is white."""
    values = rng.integers(0, 65536, (8, 8), dtype=np.uint16)
    tags = TiffImagePlugin.ImageFileDirectory_v2(prefix=order.encode())
    tags[262] = 1 if order == "MM" and not white else white
    image = Image.fromarray(values if order == "II" else values.byteswap())
    image.save(tmp_path / "a.tif", tiffinfo=tags)
    with Image.open(tmp_path / "a.tif") as stored:
        inverted, seen = stored.tag_v2[262] == 0, np.asarray(stored)
    assert np.array_equal(decode(tmp_path / "a.tif", (1, 8, 8))[0], (65535 - seen if inverted else seen) >> 8)


def test_twelve_bits_of_tiff(tmp_path):
    """Two values in three bytes, as scanners and microscopes write them."""
    values = rng.integers(0, 4096, (8, 8))
    first, second = values[:, 0::2], values[:, 1::2]
    packed = np.stack([first >> 4, (first & 15) << 4 | second >> 8, second & 255], -1).astype(np.uint8).tobytes()
    fields = [(256, 8), (257, 8), (258, 12), (259, 1), (262, 1), (273, 8), (277, 1), (278, 8), (279, len(packed))]
    table = b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in fields)
    head = struct.pack("<2sHI", b"II", 42, 8 + len(packed))
    body = packed + struct.pack("<H", len(fields)) + table + struct.pack("<I", 0)
    (tmp_path / "a.tif").write_bytes(head + body)
    assert np.array_equal(decode(tmp_path / "a.tif", (1, 8, 8))[0], values >> 4)


def test_a_map_of_more_than_eight_bits(tmp_path):
    """PGM with any greatest value; Pillow scales it to 65,535."""
    values = rng.integers(0, 4096, (8, 8))
    (tmp_path / "a.pgm").write_bytes(b"P5 8 8 4095\n" + values.astype(">u2").tobytes())
    assert np.abs(decode(tmp_path / "a.pgm", (1, 8, 8))[0].astype(int) - values * 255 / 4095).max() <= 1


@pytest.mark.parametrize("turn", range(1, 9))
@pytest.mark.parametrize("format", ["JPEG", "PNG", "WEBP", "TIFF", "AVIF"])
def test_photographs_stand_upright_in_every_format(format, turn, tmp_path):
    if format == "AVIF" and not features.check("avif"):
        pytest.skip("this Pillow has no AVIF")
    exif = Image.Exif()
    exif[0x0112] = turn
    file = tmp_path / "a"
    Image.fromarray(smooth(12, 20, 3)).save(file, format, exif=exif, **({"lossless": True} if format == "WEBP" else {}))
    with Image.open(file) as stored:
        upright = ImageOps.exif_transpose(stored).convert("RGB")
    assert header(file) == (3, upright.height, upright.width)
    found = decode(file, (3, upright.height, upright.width))
    assert np.array_equal(found.transpose(1, 2, 0), np.asarray(upright))


def test_a_png_may_say_behind_its_pixels_how_it_lies(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(smooth(12, 20, 3)).save(tmp_path / "a.png")
    whole = (tmp_path / "a.png").read_bytes()
    said = exif.tobytes()[6:]
    late = struct.pack(">I", len(said)) + b"eXIf" + said + struct.pack(">I", zlib.crc32(b"eXIf" + said))
    (tmp_path / "a.png").write_bytes(whole[:-12] + late + whole[-12:])
    assert header(tmp_path / "a.png") == (3, 20, 12)
    assert decode(tmp_path / "a.png", (3, 20, 12)).shape == (3, 20, 12)


def test_colours_of_print_and_of_the_eye(tmp_path):
    """A patch of one grey as inks, as brightness and as CIE L*a*b*, to within what its 8 bits hold."""
    grey = Image.new("RGB", (8, 8), (120, 120, 120))
    lab = Image.merge("LAB", [Image.new("L", (8, 8), value) for value in (round(50.4 * 2.55), 128, 128)])
    for image in (grey.convert("CMYK"), grey.convert("YCbCr"), lab):
        image.save(tmp_path / "a.tif")
        for channels in (1, 3):
            assert np.abs(decode(tmp_path / "a.tif", (channels, 8, 8)).astype(int) - 120).max() <= 4
