"""What of a folder is read: told by content, none of it twice, nothing left out in silence, run or awaited."""

import io
import os
import socket
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image, features

from mezzotint import data
from mezzotint.data import ImageFolder
from mezzotint.data.external import open_external
from mezzotint.data.image_files.decoder import decode
from mezzotint.data.image_files.formats import FORMATS, formats, identify
from mezzotint.errors import DataError

rng = np.random.default_rng(0)
SAVED = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF", "AVIF", "PPM", "JPEG2000")
HEIC = b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + bytes(40)


def picture(size: int = 8) -> Image.Image:
    return Image.fromarray(rng.integers(0, 256, (size, size, 3), dtype=np.uint8))


def save(file: Path, format: str = "PNG", image: Image.Image | None = None, **how) -> Path:
    file.parent.mkdir(parents=True, exist_ok=True)
    (image or picture()).save(file, format, **how)
    return file


def folder(root: Path, **more) -> ImageFolder:
    return ImageFolder(**{"root": str(root), "shape": (3, 8, 8), "held_out": 0.0} | more)


def names(root: Path, **more) -> list[str]:
    images = folder(root, memory_limit=0, **more).split("all")
    return [file.relative_to(root).as_posix() for file in images.files]


def test_the_closed_list_of_formats():
    """A new Pillow, or a package that is installed beside it, opens nothing that is not written down here."""
    assert SAVED == FORMATS
    assert set(formats()) <= {*FORMATS, "HEIF", "JXL"}


@pytest.mark.parametrize("suffix", ["jpg", "gif", "HEIC", "txt", "", "x.y", "jfif"])
@pytest.mark.parametrize("format", SAVED)
def test_pictures_are_told_by_their_content(format, suffix, tmp_path):
    if format == "AVIF" and not features.check("avif"):
        pytest.skip("this Pillow has no AVIF")
    if format == "PPM" and suffix in ("txt", "", "x.y", "HEIC"):
        pytest.skip("P6 begins many a text")
    file = save(tmp_path / f"a.{suffix}", format)
    assert names(tmp_path) == [file.name]
    assert open_external(tmp_path).shape == (3, 8, 8)
    with Image.open(file) as image:
        expected = np.asarray(image.convert("RGB")).transpose(2, 0, 1)
    assert np.array_equal(decode(file, (3, 8, 8)), expected)


def test_of_an_animation_the_first_picture_is_read(tmp_path):
    frames = [Image.new("RGB", (8, 8), colour) for colour in ("red", "lime", "blue")]
    for format in ("GIF", "PNG", "WEBP", "TIFF"):
        how = {"lossless": True} if format == "WEBP" else {}
        frames[0].save(tmp_path / f"a.{format}", format, save_all=True, append_images=frames[1:], **how)
        assert decode(tmp_path / f"a.{format}", (3, 8, 8))[:, 0, 0].tolist() == [255, 0, 0]


@pytest.mark.parametrize("name", ["a.jpg", "a.png", "a.eps", "a"])
def test_postscript_starts_no_other_program(name, tmp_path, monkeypatch):
    program = tmp_path / "bin" / "gs"
    program.parent.mkdir()
    program.write_text(f"#!/bin/sh\ntouch {tmp_path}/started\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(program.parent), prepend=os.pathsep)
    save(tmp_path / "in" / "b.png")
    save(tmp_path / "in" / name, "EPS")
    if name == "a":
        assert names(tmp_path / "in") == ["b.png"]
    else:
        with pytest.raises(DataError, match=r"PostScript"):
            folder(tmp_path / "in").split("all")
        with pytest.raises(DataError, match=r"PostScript"):
            open_external(tmp_path / "in")
        assert names(tmp_path / "in", skip=True) == ["b.png"]
    assert not (tmp_path / "started").exists()


def test_what_is_not_read_is_counted_and_named(tmp_path):
    for i in range(4):
        save(tmp_path / f"{i}.jpg", "JPEG")
    for i in range(10, 50):
        (tmp_path / f"{i}.HEIC").write_bytes(HEIC)
    for read in (folder(tmp_path).split, lambda name: open_external(tmp_path)):
        with pytest.raises(DataError, match=r"40 of 44 pictures are not read, such as \S*10\.HEIC .*HEIC") as caught:
            read("all")
        assert "\n" not in str(caught.value)
    with pytest.raises(DataError, match=r"`pip install pillow-heif` reads it.*data\.skip=true"):
        folder(tmp_path).split("all")
    assert names(tmp_path, skip=True) == ["0.jpg", "1.jpg", "2.jpg", "3.jpg"]


@pytest.mark.parametrize("suffix", ["pcx", "sgi", "im", "tga", "ICO", "icns", "nef", "dcm"])
def test_a_picture_of_a_rare_kind_is_counted(suffix, tmp_path):
    save(tmp_path / "0.png")
    (tmp_path / f"1.{suffix}").write_bytes(b"\x0a\x05\x01\x08")
    with pytest.raises(DataError, match=rf"1 of 2 pictures is not read: \S*1\.{suffix} "):
        folder(tmp_path).split("all")


def test_a_phone_that_calls_heic_a_jpeg(tmp_path):
    save(tmp_path / "a.jpg", "JPEG")
    (tmp_path / "b.jpg").write_bytes(HEIC)
    with pytest.raises(DataError, match=r"b\.jpg cannot be decoded .it is HEIC.: `pip install pillow-heif`"):
        folder(tmp_path).split("all")


def test_a_folder_of_nothing_that_is_read(tmp_path):
    (tmp_path / "a.cr2").write_bytes(b"II*\0" + bytes(60))
    with pytest.raises(DataError, match=r"has no readable pictures, but 1 of 1 .*a camera's raw file: convert"):
        folder(tmp_path, skip=True).split("all")


def test_what_is_no_picture_is_passed_over(tmp_path):
    save(tmp_path / "a.png")
    for name in ("Thumbs.db", "notes.txt", "meta.json", ".DS_Store", "desktop.ini", "film.mp4", "a.xml", "empty"):
        (tmp_path / name).write_bytes(b"\0\0\0\x20ftypisom" if name == "film.mp4" else b"")
    for name in ("@eaDir/a.png/SYNO_THUMB.jpg", "__MACOSX/b.png", ".thumbnails/c.png", "lost+found/d.png", "._a.png"):
        save(tmp_path / name)
    assert names(tmp_path) == ["a.png"]
    assert len(open_external(tmp_path).images) == 1


@pytest.mark.parametrize("name", ["pipe.jpg", "pipe", "pipe.heic"])
def test_a_pipe_is_never_opened(name, tmp_path):
    """It would wait for somebody to write into it."""
    save(tmp_path / "a.png")
    os.mkfifo(tmp_path / name)
    if "." in name:
        with pytest.raises(DataError, match=f"{name} .not a regular file"):
            folder(tmp_path).split("all")
    assert names(tmp_path, skip=True) == ["a.png"]


def test_sockets_devices_and_links_that_lead_nowhere(tmp_path, monkeypatch):
    save(tmp_path / "in" / "a.png")
    monkeypatch.chdir(tmp_path / "in")  # names of sockets are short
    with socket.socket(socket.AF_UNIX) as opened:
        opened.bind("s.jpg")
    (tmp_path / "in" / "zero.png").symlink_to("/dev/zero")
    (tmp_path / "in" / "lost.png").symlink_to(tmp_path / "nowhere")
    (tmp_path / "in" / "self").symlink_to(tmp_path / "in" / "self")
    with pytest.raises(DataError, match=r"3 of 4 pictures are not read, such as \S*lost\.png .a broken link"):
        folder(tmp_path / "in").split("all")
    assert names(tmp_path / "in", skip=True) == ["a.png"]
    assert folder(tmp_path / "in", skip=True).class_names() == ()


def test_no_picture_is_read_twice(tmp_path):
    root = tmp_path / "root"
    one, two = save(root / "ant" / "1.png"), save(root / "bee" / "2.png")
    (root / "ant" / "again.png").symlink_to(one)
    (root / "bee" / "other.png").symlink_to(one)
    (root / "copies").symlink_to(root / "bee")
    os.link(two, root / "bee" / "hard.png")
    outside = save(tmp_path / "outside" / "3.png")
    (root / "bee" / "4.png").symlink_to(outside)
    (root / "bee" / "5.png").symlink_to(outside)
    (root / "far").symlink_to(tmp_path / "outside")
    assert names(root) == ["ant/1.png", "bee/2.png", "bee/4.png"]


def test_held_out_pictures_are_not_trained_on_by_links(tmp_path):
    for i in range(4):
        save(tmp_path / "train" / f"{i}.png")
    held = save(tmp_path / "test" / "9.png")
    (tmp_path / "train" / "held.png").symlink_to(held)
    (tmp_path / "test" / "0.png").symlink_to(tmp_path / "train" / "0.png")
    parts = {name: folder(tmp_path, memory_limit=0).split(name).files for name in ("train", "test", "all")}
    assert [file.name for file in parts["train"]] == ["0.png", "1.png", "2.png", "3.png"]
    assert [file.name for file in parts["test"]] == ["9.png"]
    assert len(parts["all"]) == 5
    held.unlink()
    (tmp_path / "train" / "held.png").unlink()
    with pytest.raises(DataError, match=r"is a link to a training picture\. Put other pictures there, or"):
        folder(tmp_path).split("train")


def test_copies_among_the_held_out_are_told(tmp_path, capsys):
    for i in range(4):
        save(tmp_path / "train" / f"{i}.png")
        save(tmp_path / "test" / f"{i}.png")
    assert len(folder(tmp_path).split("train")) == 4
    assert capsys.readouterr().err == ""
    (tmp_path / "test" / "copy.png").write_bytes((tmp_path / "train" / "2.png").read_bytes())
    assert len(folder(tmp_path).split("train")) == 4
    said = capsys.readouterr().err
    assert "1 of 5 held-out pictures are also training pictures" in said
    assert "test/copy.png, identical to" in said


def cut(format: str, share: float, size: int = 64, **how) -> bytes:
    stored = io.BytesIO()
    picture(size).save(stored, format, **how)
    return stored.getvalue()[: int(len(stored.getvalue()) * share)]


@pytest.mark.parametrize("share", [0.3, 0.7, 0.98])
@pytest.mark.parametrize("format", SAVED)
def test_what_was_cut_short_is_found_without_decoding_all(format, share, tmp_path):
    """A set above memory_limit is only looked through."""
    save(tmp_path / "a.png", image=picture(64))
    (tmp_path / "b.jpg").write_bytes(cut(format, share))
    for limit in (0, 1 << 30):
        with pytest.raises(DataError, match=r"b\.jpg cannot be decoded"):
            folder(tmp_path, memory_limit=limit).split("all")


@pytest.mark.parametrize("how", [{}, {"progressive": True}, {"subsampling": 0}, {"quality": 5}])
def test_a_jpeg_ends_where_its_pixels_do(how, tmp_path):
    """Thumbnails in the header end too, and telephones write films behind a picture. (Without its last two bytes alone
    one in thirty decodes.)
    """
    thumbnail = io.BytesIO()
    picture().save(thumbnail, "JPEG")
    exif = Image.Exif()
    exif[0x010E] = thumbnail.getvalue()
    save(tmp_path / "a.jpg", "JPEG", picture(64), exif=exif.tobytes(), **how)
    whole = (tmp_path / "a.jpg").read_bytes()
    (tmp_path / "a.jpg").write_bytes(whole + rng.bytes(100_000).replace(b"\xff", b"\0"))
    assert len(folder(tmp_path, memory_limit=0).split("all")) == 1
    for length in (len(whole) * 3 // 4, len(whole) - 200):
        (tmp_path / "a.jpg").write_bytes(whole[:length])
        with pytest.raises(DataError, match=r"a\.jpg cannot be decoded"):
            folder(tmp_path, memory_limit=0).split("all")


@pytest.mark.parametrize("limit", [0, 1 << 30])
def test_all_that_is_bad_is_told_at_once_or_left_out(limit, tmp_path, capsys):
    for i in range(40):
        save(tmp_path / f"{i:02}.jpg", "JPEG", picture(32))
    for i in (3, 17, 30):
        (tmp_path / f"{i:02}.jpg").write_bytes(cut("JPEG", 0.5, 32))
    for i in (5, 21, 36):
        save(tmp_path / f"{i:02}.jpg", "JPEG", picture(20))
    dataset = {"shape": (3, 32, 32), "memory_limit": limit, "held_out": 0.1}
    for name in ("train", "test", "all"):
        with pytest.raises(
            DataError, match=r"6 of 40 pictures cannot be used. 3 such as \S*03\.jpg .*; 3 such as"
        ) as told:
            folder(tmp_path, **dataset).split(name)
        assert "data.shape=[3,20,20] fits it" in str(told.value)
        assert "data.skip=true" in str(told.value)
    left = {name: folder(tmp_path, skip=True, **dataset).split(name) for name in ("train", "test", "all")}
    assert len(left["all"]) == 34 == len(left["train"]) + len(left["test"])
    assert "6 of 40 pictures are left out" in capsys.readouterr().err


def test_files_are_decoded_once(tmp_path, monkeypatch):
    """By all who ask for a part in this process, unless one of them changes."""
    from mezzotint.data.image_files import image_set

    for i in range(10):
        save(tmp_path / f"{i}.png")
    seen = []
    monkeypatch.setattr(image_set, "decode", lambda file, *more: seen.append(file.name) or decode(file, *more))
    for name in ("train", "test", "all", "train"):
        folder(tmp_path, held_out=0.2).split(name)
    assert sorted(seen) == [f"{i}.png" for i in range(10)]
    new = save(tmp_path / "3.png", image=picture(16))
    images = folder(tmp_path, held_out=0.2).split("all")
    assert torch.equal(images.batch(torch.tensor([3]))[0][0], torch.tensor(decode(new, (3, 8, 8))))


def test_a_name_of_two_lines_makes_one_line_of_a_message(tmp_path):
    for name in ("a\nb.jpg", "c\nd.heic"):
        save(tmp_path / name / "a.png")
        (tmp_path / name / name).write_bytes(HEIC)
        with pytest.raises(DataError) as caught:
            folder(tmp_path / name).split("all")
        assert "\n" not in str(caught.value)


def test_kinds_of_files_that_are_told_apart():
    assert identify(HEIC) == "HEIC"
    assert identify(b"\0\0\0\x1cftypmif1\0\0\0\0mif1avifmiaf" + bytes(40)) == "AVIF"
    assert identify(b"\0\0\0\x14ftypqt  \0\0\0\0qt  " + bytes(40)) == ""
    assert identify(b"BMW is a car, and no picture of one") == ""
    assert identify(b"version https://git-lfs.github.com/spec/v1\noid sha256:0") == "a Git LFS pointer"
    assert identify(b"") == ""


def test_every_place_that_opens_an_image_says_of_which_formats():
    """Pillow opens what its content asks for otherwise, PostScript by another program among it."""
    package = Path(data.__file__).parents[1]
    calls = [
        (file.name, line)
        for file in package.rglob("*.py")
        for line in file.read_text().splitlines()
        if "Image.open(" in line
    ]
    assert len(calls) >= 4
    assert [call for call in calls if "formats=" not in call[1]] == []
