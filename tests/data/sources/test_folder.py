"""Image files of all kinds become uint8 of one shape, in a fixed order; what is damaged is named."""

import json
import os
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from mezzotint.data import DataModule, ImageFolder
from mezzotint.data.image_files.decoder import decode
from mezzotint.errors import DataError

rng = np.random.default_rng(0)
LAZY = {"memory_limit": 0}


def picture(height: int = 8, width: int = 8, channels: int = 3) -> np.ndarray:
    pixels = rng.integers(0, 256, (height, width, channels), dtype=np.uint8)
    return pixels[..., 0] if channels == 1 else pixels


def save(file: Path, pixels: np.ndarray, **how) -> np.ndarray:
    file.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(file, **how)
    return pixels


@pytest.fixture
def classes(tmp_path) -> Path:
    """Ten images in each of three classes, filled with 10 * class + number."""
    for label, name in enumerate(("ant", "bee", "cat")):
        for i in range(10):
            save(tmp_path / name / f"{i}.png", np.full((8, 8, 3), 10 * label + i, np.uint8))
    return tmp_path


def folder(root: Path, **more) -> ImageFolder:
    return ImageFolder(**{"root": str(root), "shape": (3, 8, 8), "held_out": 0.0} | more)


def everything(images) -> torch.Tensor:
    return images.batch(torch.arange(len(images)))[0]


@pytest.mark.parametrize("limit", [0, 1 << 30])
def test_lossless_files_of_the_right_size_are_left_as_they_are(tmp_path, limit):
    stored = [
        save(tmp_path / "a.png", picture()),
        save(tmp_path / "b.webp", picture(), lossless=True),
        save(tmp_path / "c" / "d.PNG", picture()),
    ]
    (tmp_path / ".hidden.png").write_bytes(b"nothing")
    (tmp_path / "readme.txt").write_text("about")
    images = folder(tmp_path, memory_limit=limit).split("train")
    assert torch.equal(everything(images), torch.from_numpy(np.stack(stored)).permute(0, 3, 1, 2))
    assert images.batch(torch.tensor([2, 0]))[1] is None


def test_grey(tmp_path):
    stored = save(tmp_path / "a.png", picture(channels=1))
    assert torch.equal(everything(folder(tmp_path, shape=(1, 8, 8)).split("all"))[0, 0], torch.from_numpy(stored))
    assert torch.equal(everything(folder(tmp_path).split("all"))[0, 2], torch.from_numpy(stored))


def test_sixteen_bits_are_scaled_and_not_cut_off(tmp_path):
    stored = save(tmp_path / "a.png", rng.integers(0, 65536, (8, 8), dtype=np.uint16))
    assert np.array_equal(decode(tmp_path / "a.png", (1, 8, 8))[0], stored >> 8)


def test_what_shines_through_is_white(tmp_path):
    save(tmp_path / "a.png", np.dstack([picture(), np.zeros((8, 8), np.uint8)]))
    assert (decode(tmp_path / "a.png", (3, 8, 8)) == 255).all()


def test_photographs_stand_upright(tmp_path):
    """EXIF orientation 6: the camera was held upright, the stored picture lies on its side."""
    exif = Image.Exif()
    exif[0x0112] = 6
    lying = np.zeros((8, 16), np.uint8)
    lying[:, :8] = 255
    save(tmp_path / "a.jpg", lying, exif=exif, quality=95)
    upright = decode(tmp_path / "a.jpg", (1, 16, 8))[0]
    assert upright[:7].min() > 240
    assert upright[9:].max() < 15


def test_shrinking_does_not_alias(tmp_path):
    """A chessboard of single pixels is grey from afar; without antialiasing it would be black or white."""
    save(tmp_path / "a.png", (np.indices((64, 64)).sum(0) % 2 * 255).astype(np.uint8))
    assert np.abs(decode(tmp_path / "a.png", (1, 8, 8)).astype(int) - 127.5).max() < 3


def test_class_folders(classes):
    images = folder(classes, classes=3).split("all")
    assert images.labels.tolist() == [0] * 10 + [1] * 10 + [2] * 10
    assert images.pixels[:, 0, 0, 0].tolist() == list(range(30))


@pytest.mark.parametrize("count", [0, 3])
def test_a_part_is_held_out_from_every_class(classes, count):
    """The same one with and without labels."""
    dataset = folder(classes, classes=count, held_out=0.2)
    test = everything(dataset.split("test"))[:, 0, 0, 0]
    train = everything(dataset.split("train"))[:, 0, 0, 0]
    assert (test // 10).bincount().tolist() == [2, 2, 2]
    assert sorted(test.tolist() + train.tolist()) == list(range(30))
    assert test.tolist() == everything(folder(classes, held_out=0.2).split("test"))[:, 0, 0, 0].tolist()


def test_folders_train_and_val_are_the_parts(tmp_path):
    save(tmp_path / "train" / "ant" / "0.png", picture())
    save(tmp_path / "train" / "bee" / "1.png", picture())
    held = save(tmp_path / "val" / "bee" / "2.png", picture())
    dataset = folder(tmp_path, classes=2, held_out=0.5)
    assert dataset.split("train").labels.tolist() == [0, 1]
    assert dataset.split("test").labels.tolist() == [1]
    assert torch.equal(dataset.split("test").pixels[0], torch.from_numpy(held).permute(2, 0, 1))
    assert dataset.split("all").labels.tolist() == [0, 1, 1]


def test_a_class_called_train_is_not_taken_for_the_training_part(tmp_path):
    for name in ("bus", "train"):
        save(tmp_path / name / "0.png", picture())
    with pytest.raises(DataError, match="a folder train beside bus, and none named test, val or validation"):
        folder(tmp_path).split("train")
    assert len(folder(tmp_path / "train").split("train")) == 1
    (tmp_path / "bus").rename(tmp_path / "test")
    assert len(folder(tmp_path).split("train")) == 1
    (tmp_path / "notes").mkdir()
    assert len(folder(tmp_path).split("all")) == 2


def test_decoding_late_gives_the_same_images(classes):
    late, early = folder(classes, classes=3, **LAZY).split("all"), folder(classes, classes=3).split("all")
    indices = torch.tensor([29, 3, 3, 14])
    for a, b in zip(late.batch(indices), early.batch(indices), strict=True):
        assert torch.equal(a, b)


def test_a_digest_does_not_change_with_the_memory_that_there_is(classes):
    lazy, kept = (folder(classes, memory_limit=limit).split("all") for limit in (0, 1 << 30))
    assert type(lazy) is not type(kept)
    assert lazy.digest() == kept.digest()


def test_a_digest_changes_with_the_content_and_not_with_the_place(classes, tmp_path_factory):
    before = folder(classes, **LAZY).split("all").digest()
    moved = tmp_path_factory.mktemp("elsewhere") / "moved"
    classes.rename(moved)
    assert folder(moved, **LAZY).split("all").digest() == before
    save(moved / "ant" / "0.png", picture())
    assert folder(moved, **LAZY).split("all").digest() != before


@pytest.mark.parametrize("workers", [1, 2])
def test_workers_that_decode_change_nothing(classes, workers):
    def batches(count: int) -> list:
        data = DataModule(folder(classes, classes=3, flip=True, **LAZY), 8, seed=1, workers=count)
        data.setup()
        return [batch for batch, _ in zip(data.train_dataloader(), range(6), strict=False)]

    for a, b in zip(batches(workers), batches(0), strict=True):
        assert all(torch.equal(a[name], b[name]) for name in ("image", "index", "label"))


@pytest.mark.parametrize("limit", [0, 1 << 30])
def test_a_small_image_is_enlarged_only_where_that_is_asked_for(tmp_path, limit):
    save(tmp_path / "a.png", picture(12, 12))
    save(tmp_path / "b.png", picture(30, 6))
    with pytest.raises(
        DataError,
        match=r"b\.png is 30 x 6, and the shape requires 8 x 8 .*data\.shape=\[3,6,6\] fits it, or data\.enlarge",
    ):
        folder(tmp_path, memory_limit=limit).split("train")
    assert everything(folder(tmp_path, memory_limit=limit, shape=(3, 6, 6)).split("train")).shape == (2, 3, 6, 6)
    assert everything(folder(tmp_path, memory_limit=limit, enlarge=True).split("train")).shape == (2, 3, 8, 8)


def test_a_photograph_that_lies_on_its_side_is_measured_upright(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6
    save(tmp_path / "a.jpg", picture(8, 16), exif=exif)
    for limit in (0, 1 << 30):
        images = folder(tmp_path, shape=(3, 16, 8), memory_limit=limit).split("train")
        assert everything(images).shape == (1, 3, 16, 8)
        with pytest.raises(DataError, match="is 16 x 8"):
            folder(tmp_path, shape=(3, 8, 16), memory_limit=limit).split("train")


def cut_short(file: Path) -> None:
    save(file, picture())
    file.write_bytes(file.read_bytes()[:-60])


@pytest.mark.parametrize("limit", [0, 1 << 30])
def test_a_truncated_image_is_found_before_training(classes, limit):
    cut_short(classes / "bee" / "4.png")
    with pytest.raises(DataError, match=r"bee/4\.png cannot be decoded .*fix it, or remove it from") as caught:
        folder(classes, memory_limit=limit).split("train")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("workers", [0, 1])
def test_a_truncated_image_is_named_in_the_middle_of_training(classes, workers):
    data = DataModule(folder(classes, **LAZY), 30, seed=0, workers=workers)
    data.setup()
    cut_short(classes / "bee" / "4.png")
    with pytest.raises(DataError, match=r"^\S*bee/4\.png cannot be decoded"):
        next(iter(data.train_dataloader()))


@pytest.mark.parametrize("limit", [0, 1 << 30])
@pytest.mark.parametrize("content", [b"", b"<html>not found</html>"])
def test_what_is_no_image_is_found_before_training(classes, limit, content):
    (classes / "cat" / "9.png").write_bytes(content)
    with pytest.raises(DataError, match=r"cat/9\.png cannot be decoded .it is not an image."):
        folder(classes, memory_limit=limit).split("train")


def test_wrong_class_numbers_are_named(classes):
    with pytest.raises(DataError, match=r"3 class folders \(ant, bee, cat\), but data\.classes=5: set data\.classes=3"):
        folder(classes, classes=5).split("train")


def test_classes_without_folders_are_named(tmp_path):
    save(tmp_path / "a.png", picture())
    with pytest.raises(DataError, match=r"has no class folders, but data\.classes=2: set data\.classes=0"):
        folder(tmp_path, classes=2).split("train")


def test_an_image_outside_of_the_class_folders_is_named(classes):
    save(classes / "stray.png", picture())
    with pytest.raises(DataError, match=r"stray\.png is in no class folder"):
        folder(classes, classes=3).split("train")


def test_an_empty_folder_is_named(tmp_path):
    with pytest.raises(DataError, match=r"has no readable pictures; it is empty"):
        folder(tmp_path).split("train")
    (tmp_path / "data_batch_1").touch()
    with pytest.raises(DataError, match=r"it holds 1 other file.*data_batch_1"):
        folder(tmp_path).split("train")


def test_a_missing_folder_is_named(tmp_path):
    with pytest.raises(DataError, match=r"none is not a folder: give data\.root=DIR"):
        folder(tmp_path / "none").split("train")


def test_what_files_cannot_give_is_refused():
    with pytest.raises(DataError, match=r"grey \(1 channel\) or RGB"):
        ImageFolder(root="x", shape=(4, 8, 8))
    with pytest.raises(DataError, match=r"held_out=1\.5: give the fraction"):
        ImageFolder(root="x", shape=(3, 8, 8), held_out=1.5)


def test_all_damaged_files_are_told_at_once_and_in_order(tmp_path):
    """More files than one thread takes at a time."""
    for i in range(200):
        save(tmp_path / f"{i:03}.png", np.zeros((1, 1), np.uint8))
    for i in (100, 101, 199):
        os.truncate(tmp_path / f"{i:03}.png", 0)
    with pytest.raises(
        DataError, match=r"3 of 200 pictures cannot be used. .*100\.png \(it is not an image\), 101.png, 199"
    ):
        folder(tmp_path, shape=(3, 1, 1)).split("all")


@pytest.mark.parametrize(
    ("mode", "grey"), [("1", 255), ("L", 200), ("P", 200), ("LA", 200), ("RGBA", 200), ("CMYK", 200), ("YCbCr", 200)]
)
def test_every_kind_of_picture_is_read(tmp_path, mode, grey):
    """A patch of one grey, opaque: as bits, with a palette, with transparency, in the inks of a printer."""
    Image.new("L", (8, 8), grey).convert(mode).save(tmp_path / ("a.jpg" if mode in ("CMYK", "YCbCr") else "a.png"))
    for channels in (1, 3):
        pixels = everything(folder(tmp_path, shape=(channels, 8, 8)).split("all"))
        assert pixels.shape == (1, channels, 8, 8)
        assert (pixels.int() - grey).abs().max() <= 3


def test_links_are_followed_unless_they_lead_back(tmp_path):
    for name in ("ant", "bee"):
        save(tmp_path / "root" / name / "0.png", picture())
    save(tmp_path / "elsewhere" / "1.png", picture())
    root = tmp_path / "root"
    (root / "cat").symlink_to(tmp_path / "elsewhere")
    for name, goal in (("ant/loop", root), ("ant/up", root / "ant"), ("bee/over", tmp_path)):
        (root / name).symlink_to(goal)
    assert folder(root, classes=3).split("all").labels.tolist() == [0, 1, 2]
    (tmp_path / "link").symlink_to(root)
    assert len(folder(tmp_path / "link").split("all")) == 3


def test_a_folder_that_cannot_be_read_is_named_and_not_passed_over(classes, monkeypatch):
    scandir = os.scandir

    def guarded(path):
        if Path(path).name == "bee":
            raise PermissionError(13, "Permission denied", str(path))
        return scandir(path)

    monkeypatch.setattr(os, "scandir", guarded)
    with pytest.raises(DataError, match=r"bee cannot be read \(Permission denied\)"):
        folder(classes).split("train")


def filled(root: Path, *names: str) -> None:
    for name in names:
        save(root / name / "0.png", picture())


def test_numbered_classes_are_in_the_order_of_their_numbers(tmp_path):
    names = [*map(str, range(12)), "a2", "a10", "b"]
    filled(tmp_path, *names)
    dataset = folder(tmp_path, classes=15)
    assert dataset.class_names() == tuple(names)
    images = dataset.split("all")
    assert {file.parent.name: int(label) for file, label in zip(images.source.files, images.labels, strict=True)} == {
        name: label for label, name in enumerate(names)
    }


def test_given_names_decide_which_class_is_which(tmp_path):
    filled(tmp_path, "ant", "bee")
    assert folder(tmp_path, classes=2, names=("bee", "ant")).split("all").labels.tolist() == [1, 0]
    with pytest.raises(DataError, match="has no class folder cow; it has ant, bee"):
        folder(tmp_path, classes=2, names=("ant", "cow")).split("all")
    with pytest.raises(DataError, match="names gives 1 different names"):
        folder(tmp_path, classes=2, names=("ant", "ant"))


@pytest.mark.parametrize(
    ("train", "test"),
    [
        ("Train", "Test"),
        ("training", "testing"),
        ("TRAIN", "valid"),
        ("train", "Validation"),
        ("seg_train", "seg_test"),
    ],
)
def test_parts_are_known_by_their_usual_names(tmp_path, train, test):
    filled(tmp_path, f"{train}/ant", f"{train}/bee", f"{test}/bee")
    dataset = folder(tmp_path, classes=2, held_out=0.5)
    assert dataset.class_names() == ("ant", "bee")
    assert [dataset.split(part).labels.tolist() for part in ("train", "test", "all")] == [[0, 1], [1], [0, 1, 1]]


@pytest.mark.parametrize("added", ["2017", "_set", "-images"])
def test_parts_are_known_with_what_is_added_to_their_names(tmp_path, added):
    filled(tmp_path, f"train{added}/ant", f"train{added}/bee", f"val{added}/bee")
    assert [len(folder(tmp_path).split(part)) for part in ("train", "test")] == [2, 1]


def test_of_several_held_out_parts_one_is_used_and_the_others_are_counted(tmp_path, capsys):
    filled(tmp_path, "train/ant", "val/ant", "val/bee", "test/ant", "extra")
    save(tmp_path / "loose.png", picture())
    dataset = folder(tmp_path)
    assert [len(dataset.split(part)) for part in ("train", "test", "all")] == [1, 1, 2]
    said = capsys.readouterr().err
    assert said.count("are not used") == 1
    for where in (f"1 in {tmp_path}/extra", f"2 in {tmp_path}/val", f"1 directly in {tmp_path}", "test held out"):
        assert where in said


def test_a_part_to_hold_out_without_one_to_train_on_is_no_class(tmp_path):
    filled(tmp_path, "test/ant", "val/ant")
    with pytest.raises(DataError, match="folders test and val, and no training part"):
        folder(tmp_path).split("train")
    assert folder(tmp_path, classes=2, names=("test", "val")).split("all").labels.tolist() == [0, 1]


def test_parts_below_the_root_are_told(tmp_path, capsys):
    filled(tmp_path, "archive/train/ant", "archive/test/ant")
    assert len(folder(tmp_path, held_out=0).split("train")) == 2
    assert f"data.root={tmp_path}/archive uses them" in capsys.readouterr().err


def test_a_folder_around_the_classes_is_told(tmp_path):
    filled(tmp_path, "set/ant", "set/bee")
    with pytest.raises(DataError, match=r"one folder, set, with ant, bee in it: .* set data\.root=.*set; data"):
        folder(tmp_path, classes=2).split("train")
    assert len(folder(tmp_path).split("train")) == 2


def test_two_training_parts_are_one_too_many(tmp_path):
    filled(tmp_path, "train/ant", "Training/ant", "test/ant")
    with pytest.raises(DataError, match="which is the training part"):
        folder(tmp_path).split("train")


def test_a_class_called_training_may_be_listed_as_one(tmp_path):
    filled(tmp_path, "running", "training")
    with pytest.raises(DataError, match=r"list all classes in data\.names"):
        folder(tmp_path, classes=2).split("train")
    assert folder(tmp_path, classes=2, names=("running", "training")).split("all").labels.tolist() == [0, 1]


@pytest.mark.parametrize("held", ["a.xcf", None])
def test_a_class_without_images_is_named_and_not_counted_away(tmp_path, held):
    filled(tmp_path, "ant", "bee")
    (tmp_path / "cat").mkdir()
    if held:
        (tmp_path / "cat" / held).write_bytes(b"gimp xcf")
    for classes in (3, 4):
        with pytest.raises(DataError, match=f"class folder .*cat holds {(held and '1 file') or 'nothing'}") as caught:
            folder(tmp_path, classes=classes, skip=True).split("train")
        assert "data.classes" not in str(caught.value)
    assert folder(tmp_path, classes=2).class_names() == ("ant", "bee")


def test_folders_of_the_system_are_no_classes(tmp_path):
    filled(tmp_path, "ant", "bee")
    for name in ("lost+found", "__MACOSX", ".cache"):
        (tmp_path / name).mkdir()
    assert folder(tmp_path, classes=2).split("all").labels.tolist() == [0, 1]
    assert folder(tmp_path, classes=3).class_names() == ("ant", "bee")


def described(root: Path, labels: object) -> Path:
    """Four images as EDM's and StyleGAN's tools lay them down."""
    for i in range(4):
        save(root / f"0000{i % 2}" / f"img{i}.png", picture())
    (root / "dataset.json").write_text(json.dumps({"labels": labels}))
    return root


@pytest.mark.parametrize("limit", [0, 1 << 30])
def test_labels_of_a_dataset_json(tmp_path, limit):
    pairs = [[f"0000{i % 2}/img{i}.png", (0, 2, 1, 2)[i]] for i in range(4)]
    dataset = folder(described(tmp_path, pairs), classes=3, memory_limit=limit)
    assert dataset.split("all").labels.tolist() == [0, 1, 2, 2]  # in the order of paths: img0, img2, img1, img3
    assert dataset.class_names() == ()
    assert dataset.labelled_by().startswith("dataset.json")
    with pytest.raises(DataError, match=r"dataset\.json run from 0 to 2: set data\.classes=3"):
        folder(tmp_path, classes=2).split("train")


def test_dataset_json_without_labels_leaves_folders_as_classes(tmp_path):
    assert folder(described(tmp_path, None), classes=2).class_names() == ("00000", "00001")


@pytest.mark.parametrize(
    ("labels", "said"),
    [
        ([["00000/img0.png", 0]], "none of 00000/img2.png"),
        ([["00000/img0.png", [0.0, 1.0]]], "instead of a path and a class, such as"),
        ("no list", "instead of a path and a class, such as"),
        ([["00000/img0.png"]], "instead of a path and a class, such as"),
    ],
)
def test_a_dataset_json_that_does_not_fit_is_told(tmp_path, labels, said):
    with pytest.raises(DataError, match=said):
        folder(described(tmp_path, labels), classes=2).split("train")
    (tmp_path / "dataset.json").write_text("[" * 100_000)
    with pytest.raises(DataError, match="cannot be read"):
        folder(tmp_path, classes=2).split("train")


def test_pixels_of_floats_belong_into_an_array(tmp_path):
    for i in range(4):
        Image.fromarray(np.full((8, 8), i / 3, np.float32)).save(tmp_path / f"{i}.tif")
    with pytest.raises(
        DataError, match="its pixels are 32-bit floats: save all of them in one array, and give data=array"
    ):
        ImageFolder(root=str(tmp_path), shape=(1, 8, 8)).split("all")
