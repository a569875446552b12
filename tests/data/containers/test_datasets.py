"""Datasets of containers: the same images as a folder of the same names, bit for bit, and one clear line otherwise."""

import pickle
import zipfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from image_sets import CONTAINERS, dataset_json, picture, pictures, tar_of, write_folder, write_tar, write_zip

from mezzotint.data import LMDBImages, ParquetImages, TarImages, ZipImages
from mezzotint.data.datamodule import DataModule
from mezzotint.data.sources.pictures import Pictures
from mezzotint.errors import ConfigError, DataError
from mezzotint.networks import TextCondition

pytest.importorskip("pyarrow")
pytest.importorskip("lmdb")


@pytest.fixture(autouse=True)
def _own_cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MEZZOTINT_CACHE", str(tmp_path_factory.mktemp("cache")))


def assert_same(one: Pictures, other: Pictures, split: str) -> None:
    """Compare two datasets: images, labels, their order and their digest."""
    first, second = one.split(split), other.split(split)
    assert len(first) == len(second)
    indices = torch.randperm(len(first), generator=torch.Generator().manual_seed(0))
    for a, b in zip(first.batch(indices), second.batch(indices), strict=True):
        assert (a is None and b is None) or torch.equal(a, b)
    assert first.digest() == second.digest()


@pytest.mark.parametrize("kind", CONTAINERS)
@pytest.mark.parametrize("memory_limit", [1 << 30, 0])
@pytest.mark.parametrize("classes", [0, 3])
def test_a_container_is_the_folder_of_the_same_names(
    kind: str, memory_limit: int, classes: int, tmp_path: Path
) -> None:
    files = pictures("2", "10", "a b")
    about = {"classes": classes, "memory_limit": memory_limit, "held_out": 0.3}
    folder, container = (replace(make(tmp_path, files), **about) for make in (write_folder, CONTAINERS[kind]))
    for split in ("train", "test", "all"):
        assert_same(folder, container, split)
    assert container.class_names() == folder.class_names() == (("2", "10", "a b") if classes else ())
    assert container.found_classes() == folder.found_classes() == 3
    assert container.preprocessing() == folder.preprocessing()
    assert len(container.split("train")) + len(container.split("test")) == len(files)


@pytest.mark.parametrize("kind", CONTAINERS)
def test_folders_in_a_container_are_its_splits(kind: str, tmp_path: Path) -> None:
    files = pictures("train/a", "train/b", "val/a", "val/b", "other", each=4)
    folder, container = (replace(make(tmp_path, files), classes=2) for make in (write_folder, CONTAINERS[kind]))
    for split in ("train", "test", "all"):
        assert_same(folder, container, split)
    assert container.class_names() == ("a", "b")


@pytest.mark.parametrize("kind", CONTAINERS)
def test_batches_are_those_of_the_folder_for_all_ranks_and_workers(kind: str, tmp_path: Path) -> None:
    files = pictures("a", "b")
    about = {"classes": 2, "flip": True, "memory_limit": 0}
    made = [replace(make(tmp_path, files), **about) for make in (write_folder, CONTAINERS[kind])]

    def batches(dataset: Pictures, **how: int) -> list[dict[str, torch.Tensor]]:
        module = DataModule(dataset, batch_size=4, seed=3, **how)
        module.setup()
        found = iter(module.train_dataloader())
        return [next(found) for _ in range(6)]

    def equal(one: dict, other: dict) -> bool:
        return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)

    expected = batches(made[0])
    assert all(map(equal, expected, batches(made[1])))
    assert all(map(equal, expected, batches(made[1], workers=1)))
    assert all(map(equal, expected[2:], batches(made[1], images_seen=8)))
    ranks = [batches(made[1], rank=rank, world=2) for rank in range(2)]
    for step, whole in enumerate(expected):
        for name, values in whole.items():
            together = torch.stack([ranks[rank][step][name] for rank in range(2)], 1).flatten(0, 1)
            assert torch.equal(together, values)


@pytest.mark.parametrize("kind", CONTAINERS)
def test_images_are_pickled_as_a_path_and_read_elsewhere(kind: str, tmp_path: Path) -> None:
    dataset = replace(CONTAINERS[kind](tmp_path, pictures("a", "b")), memory_limit=0)
    images = dataset.split("all")
    elsewhere = pickle.loads(pickle.dumps(images))
    assert torch.equal(elsewhere.batch(torch.arange(9))[0], images.batch(torch.arange(9))[0])
    assert len(pickle.dumps(images)) < 4000


def test_labels_of_edm_are_those_of_the_folder_with_the_same_json(tmp_path: Path) -> None:
    files = pictures("00000", "00001")
    labels = {name: (i * 3) % 4 for i, name in enumerate(files)}
    files = {**files, "dataset.json": dataset_json(labels)}
    folder, archive = (replace(make(tmp_path, files), classes=4, held_out=0.3) for make in (write_folder, write_zip))
    for split in ("train", "test", "all"):
        assert_same(folder, archive, split)
    assert archive.found_classes() == 4
    assert archive.class_names() == ()
    assert archive.labelled_by().startswith("stored labels")
    del labels[next(iter(labels))]
    broken = replace(write_zip(tmp_path, {**files, "dataset.json": dataset_json(labels)}), classes=4)
    with pytest.raises(DataError, match=r"1 of 14 pictures have no label, such as .*a\.zip/0000\d/\d\d\.\w+: add it"):
        broken.split("train")
    assert len(replace(broken, classes=0, held_out=0).split("train")) == 14


def test_webdataset_has_labels_and_captions(tmp_path: Path) -> None:
    files = {}
    for i in range(8):
        files |= {f"{i:03d}.png": picture(i), f"{i:03d}.cls": str(i % 2).encode(), f"{i:03d}.txt": f"text {i}".encode()}
    dataset = replace(write_tar(tmp_path, files), classes=2, conditions={"text": TextCondition(length=8)}, held_out=0)
    assert dataset.found_classes() == 2
    assert dataset.split("train").batch(torch.arange(8))[1].tolist() == [0, 1] * 4
    assert dataset.condition_values("train").texts["text"] == [f"text {i}" for i in range(8)]
    assert dataset.labelled_by().startswith("stored labels")


@pytest.mark.parametrize("layout", ["names", "folders"])
def test_shards_tell_their_split(layout: str, tmp_path: Path) -> None:
    train, test = pictures("a", "b"), pictures("a", "b", each=2)
    names = {"names": ("train-00.tar", "validation-00.tar"), "folders": ("train/00.tar", "validation/00.tar")}[layout]
    for name, files in zip(names, (train, test), strict=True):
        (tmp_path / "shards" / name).parent.mkdir(parents=True, exist_ok=True)
        tar_of(tmp_path / "shards" / name, files)
    dataset = TarImages(root=str(tmp_path / "shards"), shape=(3, 8, 8), classes=2)
    assert [len(dataset.split(split)) for split in ("train", "test", "all")] == [14, 4, 18]
    (tmp_path / "one").mkdir()
    assert_same(dataset, replace(write_folder(tmp_path / "one", train), classes=2, held_out=0), "train")


def test_names_of_a_table_are_those_of_its_class_label(tmp_path: Path) -> None:
    import json

    import pyarrow as pa
    from pyarrow import parquet

    features = {"image": {"_type": "Image"}, "label": {"_type": "ClassLabel", "names": ["cat", "dog", "emu"]}}
    table = pa.table({"image": [{"bytes": picture(i), "path": None} for i in range(9)], "label": [0, 1, 2] * 3})
    table = table.replace_schema_metadata({b"huggingface": json.dumps({"info": {"features": features}}).encode()})
    for name in ("train-00000-of-00001", "test-00000-of-00001"):
        parquet.write_table(table, tmp_path / f"{name}.parquet")
    dataset = ParquetImages(root=str(tmp_path), shape=(3, 8, 8), classes=3)
    assert dataset.class_names() == ("cat", "dog", "emu")
    assert dataset.found_classes() == 3
    assert dataset.split("test").batch(torch.arange(9))[1].tolist() == [0, 1, 2] * 3


@pytest.mark.parametrize("split", ["", "train/"])
def test_a_folder_that_contains_all_others_is_skipped(split: str, tmp_path: Path) -> None:
    files = pictures(f"photos/{split}a", f"photos/{split}b") | (pictures("photos/val/a", each=2) if split else {})
    folder, archive = (replace(make(tmp_path, files), classes=2) for make in (write_folder, write_zip))
    folder = replace(folder, root=f"{folder.root}/photos")
    assert archive.found_classes() == 2
    assert archive.class_names() == ("a", "b")
    for part in ("train", "test", "all"):
        assert_same(folder, archive, part)
    assert replace(archive, classes=1, names=("photos",)).split("all").batch(torch.arange(3))[1].tolist() == [0, 0, 0]


def test_remarks_on_slow_groups_of_rows_and_labels_that_are_not_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("mezzotint.data.containers.parquet_tables.SLOW", 100)
    CONTAINERS["parquet"](tmp_path, pictures("a")).split("train")
    assert "has groups of rows of up to 0 MB" in capsys.readouterr().err
    write_tar(tmp_path, {**pictures("a"), "dataset.json": b"{}"}).split("train")
    assert "dataset.json is not read: labels in a tar archive are in a file KEY.cls" in capsys.readouterr().err


# ------------------------------------------------------------------------------------------------------------ bad input


def refused(dataset: Pictures, split: str = "train") -> str:
    with pytest.raises(DataError) as error:
        dataset.split(split)
    assert "\n" not in str(error.value)
    return str(error.value)


@pytest.mark.parametrize("kind", CONTAINERS)
def test_all_damaged_images_are_told_at_once_or_left_out(kind: str, tmp_path: Path) -> None:
    files = pictures("a")
    files |= {"a/text.png": b"text", "a/cut.jpg": picture(1, "jpg")[:300], "a/small.png": picture(2, side=6)}
    folder, container = write_folder(tmp_path, files), CONTAINERS[kind](tmp_path, files)
    said = refused(container)
    assert said.startswith("3 of 10 pictures cannot be used. 2 such as ")
    assert "a/cut.jpg (" in said
    assert "1 such as " in said
    assert "a/small.png (6 x 8, and the shape requires 8 x 8)" in said
    assert said.endswith("or data.skip=true skips unreadable files.")
    for split in ("train", "test"):
        assert_same(*(replace(made, skip=True, held_out=0.5) for made in (folder, container)), split)


def test_a_member_that_unpacks_to_more_than_it_declares_is_told(tmp_path: Path) -> None:
    archive = write_zip(tmp_path, pictures("a"))
    with zipfile.ZipFile(archive.root) as opened:
        about = opened.infolist()[1]
    content = bytearray(Path(archive.root).read_bytes())
    content[about.header_offset + 22 : about.header_offset + 26] = (10).to_bytes(4, "little")
    Path(archive.root).write_bytes(content)
    assert f"a.zip/{about.filename} cannot be decoded (it unpacks to more than the 10 bytes" in refused(archive)


def test_two_images_of_one_name_are_refused(tmp_path: Path) -> None:
    archive = write_zip(tmp_path, pictures("a"))
    with zipfile.ZipFile(archive.root, "a") as opened, pytest.warns(UserWarning, match="Duplicate"):
        opened.writestr("a/01.jpg", picture(9))
    assert refused(archive).endswith("a.zip hold two images named a/01.jpg: rename or remove one of them.")
    (tmp_path / "shards").mkdir()
    for number in range(2):
        tar_of(tmp_path / f"shards/{number}.tar", pictures("a"))
    said = refused(TarImages(root=str(tmp_path / "shards"), shape=(3, 8, 8)))
    assert "shards/0.tar and " in said
    assert "shards/1.tar hold two images named a/00.png" in said


ROOTS: dict[str, tuple[Callable[[Path], Pictures], str]] = {
    "missing": (lambda root: ZipImages(root=str(root / "b.zip"), shape=(3, 8, 8)), "b.zip does not exist"),
    "of tar": (lambda root: ZipImages(root=str(root / "a.tar"), shape=(3, 8, 8)), "is not of data=zip: use data=tar"),
    "of zip": (lambda root: TarImages(root=str(root / "a.zip"), shape=(3, 8, 8)), "is not of data=tar: use data=zip"),
    "of lmdb": (lambda root: ZipImages(root=str(root / "a.lmdb"), shape=(3, 8, 8)), "use data=lmdb"),
    "packed": (lambda root: TarImages(root=str(root / "a.tar.gz"), shape=(3, 8, 8)), "packed by gzip, which cannot be"),
    "a folder": (lambda root: LMDBImages(root=str(root), shape=(3, 8, 8)), "is a folder without data.mdb"),
    "images": (
        lambda root: TarImages(root=str(root / "f"), shape=(3, 8, 8)),
        "A folder of images is data=image_folder",
    ),
    "pattern": (lambda root: TarImages(root=str(root / "a-{0..3}.tar"), shape=(3, 8, 8)), "a-0.tar does not exist"),
    "classes": (
        lambda root: ZipImages(root=str(root / "a.zip"), shape=(3, 8, 8), classes=5),
        "has 2 class folders (a, b)",
    ),
    "no classes": (lambda root: ZipImages(root=str(root / "n.zip"), shape=(3, 8, 8), classes=5), "neither labels nor"),
    "empty": (lambda root: ZipImages(root=str(root / "e.zip"), shape=(3, 8, 8)), "e.zip has no readable pictures"),
}


@pytest.mark.parametrize("what", ROOTS)
def test_a_root_that_is_something_else_is_refused(what: str, tmp_path: Path) -> None:
    import gzip

    for write in (CONTAINERS["zip"], CONTAINERS["tar"], CONTAINERS["lmdb"]):
        write(tmp_path, pictures("a", "b"))
    (tmp_path / "a.tar.gz").write_bytes(gzip.compress((tmp_path / "a.tar").read_bytes()))
    (tmp_path / "f").mkdir()
    (tmp_path / "f/1.png").write_bytes(picture(0))
    with zipfile.ZipFile(tmp_path / "n.zip", "w") as archive:
        archive.writestr("1.png", picture(0))
    with zipfile.ZipFile(tmp_path / "e.zip", "w") as archive:
        archive.writestr("1.txt", "text")
    make, said = ROOTS[what]
    assert said in refused(make(tmp_path))


def test_an_optional_package_that_is_missing_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mezzotint.data.containers.tables.find_spec", lambda name: None)
    for kind, package in (("parquet", "pyarrow"), ("lmdb", "lmdb")):
        with pytest.raises(
            ConfigError, match=rf"data={kind} needs the package {package}: pip install 'mezzotint\[cont"
        ):
            CONTAINERS[kind](tmp_path, pictures("a")).split("train")


def test_a_container_that_changes_is_read_again_and_never_mixed(tmp_path: Path) -> None:
    dataset = replace(write_zip(tmp_path, pictures("a", "b")), held_out=0, memory_limit=0)
    before = dataset.split("train")
    write_zip(tmp_path, pictures("a", "b", each=9))
    assert len(dataset.split("train")) == 18
    with pytest.raises(DataError, match=r"a\.zip has changed|is damaged or has changed|is truncated"):
        before.batch(torch.arange(14))


def test_an_index_is_made_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    dataset = replace(write_zip(tmp_path, pictures("a", "b")), memory_limit=0)
    expected = dataset.split("train").batch(torch.arange(9))[0]
    monkeypatch.setattr("mezzotint.data.index.source.prepare", lambda *_: pytest.fail("it is prepared again"))
    assert torch.equal(dataset.split("train").batch(torch.arange(9))[0], expected)
    assert replace(dataset, shape=(3, 4, 4)).split("train").batch(torch.arange(2))[0].shape == (2, 3, 4, 4)


@pytest.mark.parametrize("kind", [kind for kind in CONTAINERS if kind != "lmdb"])
def test_a_container_that_disappears_is_one_line(kind: str, tmp_path: Path) -> None:
    images = replace(CONTAINERS[kind](tmp_path, pictures("a")), memory_limit=0).split("all")
    for path, _, _ in images.on_access.table.index.about["shards"]:
        Path(path).unlink()
    with pytest.raises(DataError, match=r"was there before and cannot be read now|no longer exists"):
        images.batch(torch.arange(len(images)))
