"""`mezzotint prepare`: the index of a folder, told in a line, and the conversion to one file."""

import json
import re
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from mezzotint.data import ArrayFile, ImageFolder, ZipImages
from mezzotint.data import conversion as conversions
from mezzotint.data.sources import large_folder

PREPARE = ("prepare", "data=image_folder", "data.root=photos")
PAGE = Path(__file__).parents[2] / "docs" / "data.md"


@pytest.fixture
def photos(home: Path) -> Path:
    random = np.random.default_rng(0)
    for i in range(90):
        file = home / "photos" / ("ant", "bee", "cat")[i // 30] / f"{i:02d}.{('png', 'jpg')[i % 2]}"
        file.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(random.integers(0, 256, (33, 40, 3), dtype=np.uint8)).save(file)
    return home / "photos"


def folder(**more) -> ImageFolder:
    return ImageFolder(**{"root": "photos", "shape": (3, 32, 32), "classes": 3, "crop": "adm"} | more)


def test_a_repetition_reads_what_changed(photos, mezzotint):
    first = mezzotint(*PREPARE, "data.shape=[3,32,32]")
    assert (first.code, first.err) == (0, "")
    assert re.search(r"photos: 90 images, 90 read now; index of \S+ kB in .*cache/index-\w{32}\.safetensors", first.out)
    (photos / "ant" / "new.png").write_bytes((photos / "ant" / "00.png").read_bytes())
    assert "photos: 91 images, 1 read now;" in mezzotint(*PREPARE, "data.shape=[3,32,32]").out
    assert "photos: 91 images, 91 read now;" in mezzotint(*PREPARE, "data.shape=[3,32,32]", "verify=content").out


def test_the_index_is_in_the_cache_of_the_command(photos, mezzotint):
    assert mezzotint(*PREPARE, "data.shape=[3,32,32]", "paths.cache=elsewhere").code == 0
    assert len(list(Path("elsewhere").glob("index-*.safetensors"))) == 1


def test_damage_is_told_of_all_images(photos, mezzotint):
    for name in ("ant/00.png", "cat/61.jpg"):
        (photos / name).write_bytes((photos / name).read_bytes()[:1000])
    said = mezzotint(*PREPARE, "data.shape=[3,32,32]")
    assert said.code == 2
    assert re.search(r"2 of 90 pictures cannot be used. 2 such as .*00\.png .*, 61\.jpg", said.err)


def test_a_random_crop_is_not_written(photos, mezzotint):
    said = mezzotint(*PREPARE, "data.shape=[3,32,32]", "data.crop=random", "out=all.npy")
    assert said.code == 2
    assert "out=: data.crop=random draws another part of an image at every visit, and a file holds one" in said.err
    assert not Path("all.npy").exists()


@pytest.mark.parametrize("shape", ["[3,32,32]", "[1,16,16]"])
def test_an_array_holds_the_images_of_the_folder(photos, mezzotint, shape):
    said = mezzotint(*PREPARE, f"data.shape={shape}", "data.crop=adm", "out=all.npy")
    assert said.code == 0, said.err
    words = re.search(r"train on them by (.*)", said.out)
    assert words
    assert words[1] == ("data=array data.root=all.npy data.classes=3 data.labels=all-labels.npy data.held_out=0.05")
    size = tuple(json.loads(shape))
    for split in ("train", "test"):
        own, read = (
            folder(shape=size).split(split),
            ArrayFile(root="all.npy", classes=3, labels="all-labels.npy", held_out=0.05).split(split),
        )
        every = torch.arange(len(own))
        assert len(own) == len(read)
        assert all(torch.equal(a, b) for a, b in zip(own.batch(every), read.batch(every), strict=True))
    about = json.loads(Path("all.json").read_text())
    assert about["recipe"] == f"upright, on white, centre as ADM, box and bicubic to {size[1]}x{size[2]}"
    assert about["names"] == ["ant", "bee", "cat"]
    assert about["digest"] == folder(shape=size).split("all").digest()


def test_an_archive_holds_them_without_compression(photos, mezzotint):
    assert mezzotint(*PREPARE, "data.shape=[3,32,32]", "data.crop=adm", "out=all.zip").code == 0
    own = folder().split("all")
    with zipfile.ZipFile("all.zip") as archive:
        assert {member.compress_type for member in archive.infolist()} == {zipfile.ZIP_STORED}
        labels = json.loads(archive.read("dataset.json"))["labels"]
        for i, (name, label) in enumerate(labels):
            pixels, expected = own.batch(torch.tensor([i]))
            with archive.open(name) as stored:
                assert np.array_equal(np.asarray(Image.open(stored)), pixels[0].permute(1, 2, 0).numpy())
            assert label == int(expected)
    assert len(labels) == 90


@pytest.mark.parametrize("ending", ["npy", "zip"])
@pytest.mark.parametrize("blocks", [0, 2, 5])
def test_a_killed_conversion_goes_on_and_ends_in_the_same_bytes(photos, monkeypatch, ending, blocks):
    monkeypatch.setattr(conversions, "BLOCK", 16)
    dataset = folder()
    images = dataset.split("all")
    conversions.convert(dataset, images, Path(f"whole.{ending}"))
    kind = conversions.OUTPUTS[f".{ending}"]
    real, left = kind.append, [blocks]

    def append(self, first, pixels):
        if not left[0]:
            if ending == "npy":  # a part of a block was written
                real(self, first, pixels[:3])
                with self.growing.open("ab") as file:
                    file.write(b"half")
            raise KeyboardInterrupt
        left[0] -= 1
        real(self, first, pixels)

    with monkeypatch.context() as patch:
        patch.setattr(kind, "append", append)
        with pytest.raises(KeyboardInterrupt):
            conversions.convert(dataset, images, Path(f"again.{ending}"))
    assert not Path(f"again.{ending}").exists()
    done: list[int] = []
    conversions.convert(dataset, images, Path(f"again.{ending}"), done.append)
    assert done[0] == 16 * blocks + 3 * (ending == "npy")
    assert sum(done) == 90
    assert Path(f"again.{ending}").read_bytes() == Path(f"whole.{ending}").read_bytes()
    assert not list(Path.cwd().glob(".*.parts"))


REFUSED = {
    "nothing to index": (("prepare", "data=digits"), "is read without an index, so there is nothing to prepare"),
    "a run": ((*PREPARE, "run=runs/x"), ""),
    "another ending": ((*PREPARE, "data.shape=[3,32,32]", "out=x.tar"), "give a file whose name ends in .npy or .zip"),
    "no folder": ((*PREPARE, "data.shape=[3,32,32]", "out=none/x.npy"), "its folder does not exist"),
    "it exists": ((*PREPARE, "data.shape=[3,32,32]", "out=there.npy"), "out=there.npy exists: delete it"),
    "another mode": ((*PREPARE, "verify=twice"), "verify: 'twice' is not one of"),
    "own splits": (("prepare", "data=digits", "out=x.npy"), "has its own test images"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_be_prepared_is_refused(photos, mezzotint, name):
    Path("there.npy").touch()
    words, message = REFUSED[name]
    said = mezzotint(*words)
    assert said.code in (1, 2)
    assert message in said.err
    assert said.err.startswith("mezzotint")
    assert said.err.count("\n") == 1


def section(name: str) -> list[str]:
    """The commands of a section of docs/data.md."""
    text = PAGE.read_text().partition(f"## {name}\n")[2].partition("\n## ")[0]
    return [line for block in re.findall(r"```bash\n(.*?)```", text, re.DOTALL) for line in block.splitlines()]


def test_the_commands_of_the_page_work(photos, mezzotint, monkeypatch):
    """Each of them, in their order, the trainings on a tiny network; the folder counts as large."""
    monkeypatch.setattr(large_folder, "MANY", 10)
    quick = ("debug=tiny", "callbacks=minimal", "hardware=cpu", "hardware.workers=0", "n=8", "data.memory_limit=1")
    lines = section("Large sets")
    assert len(lines) == 6
    for line in lines:
        words = line.split()[1:]
        words = [word for word in words if not word.startswith("hardware.workers")]
        more = {"train": quick, "check": quick}.get(words[0], ())
        more = [word for word in more if "memory_limit" not in word or "data=image_folder" in words]
        said = mezzotint(*words, *more)
        assert said.code == 0, f"{line}: {said.err}"


def test_an_archive_is_read_as_the_folder_and_prepared_by_itself(photos, mezzotint):
    assert mezzotint(*PREPARE, "data.shape=[3,32,32]", "data.crop=adm", "out=all.zip").code == 0
    own, read = folder().split("train"), ZipImages(root="all.zip", shape=(3, 32, 32), classes=3).split("train")
    every = torch.arange(len(own))
    assert all(torch.equal(a, b) for a, b in zip(own.batch(every), read.batch(every), strict=True))
    said = mezzotint("prepare", "data=zip", "data.root=all.zip", "data.shape=[3,32,32]")
    assert "all.zip: 90 images; index of" in said.out
