"""Archives of arrays, in every layout that tools write."""

import zipfile

import numpy as np
import pytest
import torch

from mezzotint.data import Npz
from mezzotint.errors import DataError

rng = np.random.default_rng(0)
IMAGES = rng.integers(0, 256, (20, 4, 6, 3), dtype=np.uint8)
LABELS = np.arange(20) % 4


@pytest.fixture
def written(tmp_path):
    def write(*unnamed, shape=(3, 4, 6), **arrays):
        np.savez(tmp_path / "set.npz", *unnamed, **arrays)
        return lambda **fields: Npz(**{"root": str(tmp_path / "set.npz"), "shape": shape, "held_out": 0.0} | fields)

    return write


@pytest.mark.parametrize("layout", [(0, 1, 2, 3), (0, 3, 1, 2)], ids=["NHWC", "NCHW"])
@pytest.mark.parametrize("named", [True, False])
def test_both_layouts_and_both_names(written, layout, named):
    images = IMAGES.transpose(layout)
    make = written(images=images, labels=LABELS) if named else written(images, LABELS)
    split = make(classes=4).split("all")
    assert torch.equal(split.pixels, torch.from_numpy(IMAGES).permute(0, 3, 1, 2))
    assert split.labels.tolist() == LABELS.tolist()


def test_grey_without_a_channel(written):
    split = written(images=IMAGES[..., 0], shape=(1, 4, 6))().split("all")
    assert torch.equal(split.pixels[:, 0], torch.from_numpy(IMAGES[..., 0]))
    assert split.labels is None


def test_parts(written):
    make = written(images=IMAGES, labels=LABELS)
    train, test = (make(held_out=0.2, classes=4).split(name) for name in ("train", "test"))
    assert test.labels.bincount().tolist() == [1, 1, 1, 1]
    assert sorted(torch.cat([train.pixels, test.pixels]).flatten(1).tolist()) == sorted(
        make().split("all").pixels.flatten(1).tolist()
    )
    assert make(held_out=0.2).split("test").pixels.equal(test.pixels)  # labels or not
    assert len(make(held_out=0.0).split("test")) == 20


@pytest.mark.parametrize(
    ("arrays", "fields", "fault"),
    [
        ({"pictures": IMAGES}, {}, "holds pictures, but no array `images` or `arr_0`"),
        ({"images": IMAGES / 255}, {}, "are float64: store them as uint8"),
        ({"images": IMAGES[0, 0]}, {}, r"have shape \[6, 3\]: store"),
        ({"images": IMAGES}, {"shape": (3, 6, 6)}, r"shape=\[3, 6, 6\], but the images of .* are \[3, 4, 6\]"),
        ({"images": IMAGES}, {"shape": (1, 4, 6)}, r"images of .* are \[3, 4, 6\] .*: set data.shape=\[3,4,6\]"),
        ({"images": IMAGES[:0]}, {}, "holds no images"),
        ({"images": IMAGES}, {"classes": 4}, r"has no labels, but data.classes=4: set data.classes=0"),
        ({"images": IMAGES, "labels": LABELS[:7]}, {}, r"labels of .* are int64 of shape \[7\]: store one integer"),
        ({"images": IMAGES, "labels": LABELS / 2}, {}, r"labels of .* are float64"),
        ({"images": IMAGES, "labels": LABELS}, {"classes": 3}, r"run from 0 to 3: set data.classes=4"),
        ({"images": IMAGES, "labels": LABELS - 1}, {"classes": 4}, r"run from -1 to 2: number the classes from 0"),
        ({"images": np.array([{}], dtype=object)}, {}, "no readable .npz archive of plain arrays"),
    ],
)
def test_faults_are_named(written, arrays, fields, fault):
    with pytest.raises(DataError, match=fault):
        written(**arrays)(**fields).split("train")


def test_missing_and_damaged_files_are_named(tmp_path):
    file = tmp_path / "set.npz"
    with pytest.raises(DataError, match=r"set\.npz does not exist: give data\.root=FILE"):
        Npz(root=str(file), shape=(3, 4, 6)).split("train")
    np.savez(file, images=IMAGES)
    whole = file.read_bytes()
    for content in (b"", b"text", whole[:500], whole[:-30], whole[:900] + b"\0" * 100 + whole[1000:]):
        file.write_bytes(content)
        with pytest.raises(DataError, match=r"set\.npz is no readable"):
            Npz(root=str(file), shape=(3, 4, 6)).split("train")
    np.save(file.with_suffix(".npy"), IMAGES)
    with pytest.raises(DataError, match=r"set\.npy is no readable"):
        Npz(root=str(file.with_suffix(".npy")), shape=(3, 4, 6)).split("train")


def test_damage_inside_of_what_was_compressed_is_named(tmp_path):
    file = tmp_path / "set.npz"
    np.savez_compressed(file, images=IMAGES)
    whole = file.read_bytes()
    for place in range(60, 200, 20):
        file.write_bytes(whole[:place] + bytes(8) + whole[place + 8 :])
        with pytest.raises(DataError, match=r"set\.npz is no readable"):
            Npz(root=str(file), shape=(3, 4, 6)).split("train")


def test_what_is_no_array_is_named(tmp_path):
    with zipfile.ZipFile(tmp_path / "set.npz", "w") as file:
        file.writestr("images", b"text")
        file.writestr("../../escaped.npy", b"text")
    with pytest.raises(DataError, match="images is no array"):
        Npz(root=str(tmp_path / "set.npz"), shape=(3, 4, 6)).split("train")
    assert not list(tmp_path.parents[1].rglob("escaped*"))


def test_only_what_is_needed_is_read(written):
    """A note that numpy pickled is no hindrance, and is not opened."""
    split = written(images=IMAGES, note=np.array({"by": "me"}, dtype=object))().split("all")
    assert torch.equal(split.pixels, torch.from_numpy(IMAGES).permute(0, 3, 1, 2))


def test_grey_images_of_width_one_stay_upright(written):
    tall = IMAGES[:, :, :1, 0]
    assert torch.equal(written(images=tall, shape=(1, 4, 1))().split("all").pixels[:, 0], torch.from_numpy(tall))
