"""Archives of arrays, in every layout that tools write."""

import zipfile

import numpy as np
import pytest
import torch

from mezzotint.data import NPZ
from mezzotint.errors import DataError

rng = np.random.default_rng(0)
IMAGES = rng.integers(0, 256, (20, 4, 6, 3), dtype=np.uint8)
LABELS = np.arange(20) % 4


@pytest.fixture
def written(tmp_path):
    def write(*unnamed, shape=(3, 4, 6), **arrays):
        np.savez(tmp_path / "set.npz", *unnamed, **arrays)
        return lambda **fields: NPZ(**{"root": str(tmp_path / "set.npz"), "shape": shape, "held_out": 0.0} | fields)

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
        ({"images": np.array([{}], dtype=object)}, {}, "not a readable .npz archive of plain arrays"),
    ],
)
def test_faults_are_named(written, arrays, fields, fault):
    with pytest.raises(DataError, match=fault):
        written(**arrays)(**fields).split("train")


def test_missing_and_damaged_files_are_named(tmp_path):
    file = tmp_path / "set.npz"
    with pytest.raises(DataError, match=r"set\.npz does not exist: give data\.root=FILE"):
        NPZ(root=str(file), shape=(3, 4, 6)).split("train")
    np.savez(file, images=IMAGES)
    whole = file.read_bytes()
    for content in (b"", b"text", whole[:500], whole[:-30], whole[:900] + b"\0" * 100 + whole[1000:]):
        file.write_bytes(content)
        with pytest.raises(DataError, match=r"set\.npz is not a readable"):
            NPZ(root=str(file), shape=(3, 4, 6)).split("train")
    np.save(file.with_suffix(".npy"), IMAGES)
    with pytest.raises(DataError, match=r"set\.npy is not a readable"):
        NPZ(root=str(file.with_suffix(".npy")), shape=(3, 4, 6)).split("train")


def test_damage_inside_of_what_was_compressed_is_named(tmp_path):
    file = tmp_path / "set.npz"
    np.savez_compressed(file, images=IMAGES)
    whole = file.read_bytes()
    for place in range(60, 200, 20):
        file.write_bytes(whole[:place] + bytes(8) + whole[place + 8 :])
        with pytest.raises(DataError, match=r"set\.npz is not a readable"):
            NPZ(root=str(file), shape=(3, 4, 6)).split("train")


def test_what_is_no_array_is_named(tmp_path):
    with zipfile.ZipFile(tmp_path / "set.npz", "w") as file:
        file.writestr("images", b"text")
        file.writestr("../../escaped.npy", b"text")
    with pytest.raises(DataError, match="images is not an array"):
        NPZ(root=str(tmp_path / "set.npz"), shape=(3, 4, 6)).split("train")
    assert not list(tmp_path.parents[1].rglob("escaped*"))


def test_only_what_is_needed_is_read(written):
    """A note that numpy pickled is no hindrance, and is not opened."""
    split = written(images=IMAGES, note=np.array({"by": "me"}, dtype=object))().split("all")
    assert torch.equal(split.pixels, torch.from_numpy(IMAGES).permute(0, 3, 1, 2))


def test_grey_images_of_width_one_stay_upright(written):
    tall = IMAGES[:, :, :1, 0]
    assert torch.equal(written(images=tall, shape=(1, 4, 1))().split("all").pixels[:, 0], torch.from_numpy(tall))


def saved(tmp_path, **arrays):
    np.savez(tmp_path / "set.npz", **arrays)
    return {"root": str(tmp_path / "set.npz"), "shape": (3, 8, 8)}


PIXELS = np.arange(12 * 8 * 8 * 3, dtype=np.int64).reshape(12, 8, 8, 3).astype(np.uint8)


@pytest.mark.parametrize(
    "names",
    [("train_images", "train_labels", "test_images", "test_labels"), ("x_train", "y_train", "x_test", "y_test")],
)
def test_published_sets_keep_their_parts(tmp_path, names):
    """MedMNIST's labels are a column; its part for validation is neither trained on nor judged against."""
    labels = np.arange(12) % 3
    arrays = dict(zip(names, (PIXELS[:8], labels[:8, None], PIXELS[8:], labels[8:, None]), strict=True))
    dataset = NPZ(**saved(tmp_path, **arrays, val_images=PIXELS), classes=3)
    parts = {name: dataset.split(name) for name in ("train", "test", "all")}
    assert [len(part) for part in parts.values()] == [8, 4, 12]
    assert parts["all"].labels.tolist() == labels.tolist()
    assert torch.equal(parts["test"].pixels, torch.from_numpy(PIXELS[8:]).permute(0, 3, 1, 2))
    alone = NPZ(**saved(tmp_path, **{name: arrays[name] for name in names[:2]}), classes=3, held_out=0.25)
    assert [len(alone.split(name)) for name in parts] == [6, 2, 8]


def test_arrays_are_chosen_by_name(tmp_path):
    written = saved(tmp_path, pictures=PIXELS, kinds=np.arange(12) % 2)
    assert NPZ(**written, classes=2, images="pictures", labels="kinds", held_out=0).split("all").labels.sum() == 6
    with pytest.raises(DataError, match=r"holds pictures, kinds, but no array .* choose them, such as data.images="):
        NPZ(**written).split("train")
    with pytest.raises(DataError, match="has no array 'picture'; did you mean 'pictures'"):
        NPZ(**written, images="picture").split("train")


@pytest.mark.parametrize(
    ("shape", "wanted", "said"),
    [((5, 8, 8, 4), (3, 8, 8), "drop the fourth channel"), ((5, 8, 8, 2), (1, 8, 8), "drop the second channel")],
)
def test_transparency_is_no_colour(tmp_path, shape, wanted, said):
    arrays = saved(tmp_path, images=np.zeros(shape, np.uint8)) | {"shape": wanted}
    with pytest.raises(DataError, match=said):
        NPZ(**arrays).split("train")
    assert NPZ(**arrays | {"shape": (shape[-1], 8, 8)}).split("train").pixels.shape[1] == shape[-1]


@pytest.mark.parametrize(
    ("labels", "said"),
    [
        ([1, 2, 3, 4], "run from 1 to 4: number the classes from 0, that is, take 1 from each, and set data.classes=4"),
        ([-1, 0, 1], "run from -1 to 1: number the classes from 0, that is, add 1 to each, and set data.classes=3"),
        ([0, 2, 7, 9], r"\(not 1, 3, 4, 5, 6, ...\): number the classes 0 to 3 without gaps and set data.classes=4"),
    ],
)
def test_labels_that_do_not_begin_at_0_or_have_gaps_are_told_as_such(tmp_path, labels, said):
    labels = np.resize(labels, 12)
    for classes in (3, 4) if max(labels) < 9 else (4, 8):
        if max(labels) >= classes or min(labels) < 0:
            with pytest.raises(DataError, match=said) as caught:
                NPZ(**saved(tmp_path, images=PIXELS, labels=labels), classes=classes).split("train")
            assert f"data.classes={max(labels) + 1}," not in str(caught.value)


def test_a_folder_is_no_archive(tmp_path):
    with pytest.raises(DataError, match=r"is a folder: .* A folder of images is data=image_folder"):
        NPZ(root=str(tmp_path), shape=(3, 8, 8)).split("train")
