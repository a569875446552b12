"""An index gives the same images, labels and errors as opening every file; it is made once, and whole or not at all."""

import json
import os
import pickle
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from mezzotint.data import ImageFolder
from mezzotint.data.image_files.image_set import FolderImages
from mezzotint.data.image_files.on_access import identity
from mezzotint.data.index import preparation
from mezzotint.data.index.folder import FolderSource
from mezzotint.data.index.images import IndexedImages
from mezzotint.data.index.scan import scan
from mezzotint.data.index.source import current, indexed, prepare_source
from mezzotint.data.sources import large_folder
from mezzotint.errors import DataError


def folder(root: Path, **more) -> ImageFolder:
    return ImageFolder(**{"root": str(root), "shape": (3, 8, 8), "classes": 3, "memory_limit": 0} | more)


def opened(monkeypatch: pytest.MonkeyPatch, root: Path, split: str, **more) -> FolderImages:
    """The images of a folder without its index."""
    with monkeypatch.context() as patch:
        patch.setattr(large_folder, "large", None)
        patch.setattr("mezzotint.data.sources.folder.large", lambda *_: None)
        found = folder(root, **more).split(split)
    assert type(found) is FolderImages
    return found


def same(one, other) -> bool:
    every = torch.arange(len(one))
    a, b = one.batch(every), other.batch(every)
    assert list(map(str, one.files)) == list(map(str, other.files))
    assert identity(one) == identity(other)
    assert one.digest() == other.digest()
    return torch.equal(a[0], b[0]) and (a[1] is b[1] is None or torch.equal(a[1], b[1]))


@pytest.mark.parametrize("split", ["train", "test", "all"])
@pytest.mark.parametrize("classes", [0, 3])
def test_an_index_gives_what_the_files_give(photos, split, classes, monkeypatch):
    indexed_images = folder(photos, classes=classes, held_out=0.2).split(split)
    assert type(indexed_images) is IndexedImages
    assert same(indexed_images, opened(monkeypatch, photos, split, classes=classes, held_out=0.2))


def test_the_digest_of_a_large_set_is_of_the_hashes_with_or_without_an_index(photos, large, monkeypatch):
    images = folder(photos).split("train")
    assert same(images, opened(monkeypatch, photos, "train"))
    copy = shutil.copytree(photos, photos.with_name("copy"))
    assert folder(copy).split("train").digest() == images.digest()
    assert folder(photos, classes=0).split("train").digest() != images.digest()
    assert folder(photos, crop="adm").split("train").digest() != images.digest()


def test_the_digest_of_a_large_set_reads_no_image(photos, large, monkeypatch):
    images, known = folder(photos).split("all"), folder(photos).split("all").digest()
    for file in photos.rglob("*.*"):
        file.write_bytes(b"")
    assert images.digest() == known


@pytest.mark.parametrize("split", ["train", "test", "all"])
def test_a_test_folder_and_labels_in_a_file(photos, split, monkeypatch):
    root = photos.with_name("both")
    for part, names in (("train", ("ant", "bee")), ("val", ("cat",))):
        for name in names:
            shutil.copytree(photos / name, root / part / name)
        below = sorted(file.relative_to(root / part).as_posix() for file in (root / part).rglob("*.*"))
        labels = [[name, i % 3] for i, name in enumerate(below)]
        (root / part / "dataset.json").write_text(json.dumps({"labels": [*labels, ["gone.png", 1]]}))
    images = folder(root).split(split)
    assert type(images) is IndexedImages
    assert same(images, opened(monkeypatch, root, split))
    assert folder(root).found_classes() == 3
    assert folder(root).class_names() == ()


def test_classes_are_found_by_the_index(photos, monkeypatch):
    expected = folder(photos).class_names()
    assert folder(photos).found_classes() == 3
    prepare_source(FolderSource(photos))
    with monkeypatch.context() as patch:
        patch.setattr("mezzotint.data.sources.folder.listed", None)
        patch.setattr("mezzotint.data.sources.folder.holds_pictures", None)
        assert folder(photos).found_classes() == 3
        assert folder(photos).class_names() == expected == ("ant", "bee", "cat")


def test_a_small_folder_has_no_index(photos, cache):
    folder(photos, memory_limit=1 << 30).split("train")
    assert not list(cache.iterdir())


def test_every_image_of_no_use_is_named_at_once(photos, monkeypatch):
    (photos / "ant" / "03.png").write_bytes((photos / "ant" / "03.png").read_bytes()[:-100])
    (photos / "bee" / "10.jpg").write_bytes(b"not an image")
    with pytest.raises(DataError) as error:
        folder(photos).split("all")
    with pytest.raises(DataError, match="2 of 30 pictures cannot be used") as other:
        opened(monkeypatch, photos, "all")
    assert str(error.value) == str(other.value)
    assert same(folder(photos, skip=True).split("all"), opened(monkeypatch, photos, "all", skip=True))
    assert len(folder(photos, skip=True).split("all")) == 28


def test_images_too_small_are_refused_for_the_shape_that_is_wanted(photos, monkeypatch):
    for shape in ((3, 9, 9), (3, 8, 12)):
        with pytest.raises(DataError) as error:
            folder(photos, shape=shape).split("all")
        with pytest.raises(DataError, match="of 30 pictures cannot be used") as other:
            opened(monkeypatch, photos, "all", shape=shape)
        assert str(error.value) == str(other.value)
    assert len(folder(photos, shape=(3, 9, 9), enlarge=True).split("all")) == 30


def test_a_changed_folder_is_read_again_where_it_changed(photos, monkeypatch):
    source = FolderSource(photos)
    assert prepare_source(source).read == 30
    assert prepare_source(source).read == 0
    (photos / "ant" / "new.png").write_bytes((photos / "ant" / "00.png").read_bytes())
    assert current(source) is None
    assert prepare_source(source) == preparation.Counts(31, 1)
    (photos / "ant" / "new.png").unlink()
    assert prepare_source(source) == preparation.Counts(30, 0)
    assert same(folder(photos).split("all"), opened(monkeypatch, photos, "all"))


def test_bytes_that_changed_alone_are_found_by_reading_them_again(photos):
    source, file = FolderSource(photos), photos / "ant" / "00.png"
    prepare_source(source)
    about = file.stat()
    content = bytearray(file.read_bytes())
    content[-1] ^= 1
    file.write_bytes(content)
    os.utime(file, ns=(about.st_atime_ns, about.st_mtime_ns))
    assert prepare_source(source) == preparation.Counts(30, 0)
    assert prepare_source(source, again=True) == preparation.Counts(30, 30, 1)


def test_an_image_that_changed_since_is_named_when_it_is_used(photos):
    images = folder(photos).split("all")
    at = [str(file) for file in images.files].index(str(photos / "bee" / "12.png"))
    shutil.copy(photos / "bee" / "15.png", photos / "bee" / "12.png")
    with pytest.raises(DataError, match=r"12\.png has changed since the index of .*: `mezzotint prepare`"):
        images.batch(torch.tensor([at]))
    os.utime(photos / "cat" / "24.png")  # another time, the same bytes
    images.batch(torch.tensor([[str(file) for file in images.files].index(str(photos / "cat" / "24.png"))]))


def test_links_are_followed_and_each_image_is_kept_once(photos, monkeypatch):
    root = photos.with_name("linked")
    root.mkdir()
    (root / "a").symlink_to(photos / "ant")
    (root / "b").symlink_to(photos / "bee")
    assert same(folder(root, classes=2).split("all"), opened(monkeypatch, root, "all", classes=2))
    (root / "c").mkdir()
    for file in (photos / "ant").iterdir():
        (root / "c" / file.name).symlink_to(file)
    assert same(folder(root, classes=0).split("all"), opened(monkeypatch, root, "all", classes=0))
    assert len(scan(root)) == 20


def test_an_image_linked_into_both_parts_is_in_one(photos, monkeypatch):
    root = photos.with_name("both")
    shutil.copytree(photos, root / "train")
    shutil.copytree(photos / "cat", root / "val" / "cat")
    (root / "val" / "cat" / "00.png").symlink_to(root / "train" / "ant" / "00.png")
    for split in ("train", "test", "all"):
        assert same(folder(root).split(split), opened(monkeypatch, root, split))


def test_an_index_is_opened_again_by_its_path(photos):
    images = folder(photos).split("train")
    sent = pickle.dumps(images.table)
    assert len(sent) < 1000
    assert torch.equal(pickle.loads(pickle.dumps(images)).batch(torch.arange(3))[0], images.batch(torch.arange(3))[0])


def test_a_damaged_index_is_made_again(photos, cache):
    prepare_source(FolderSource(photos))
    (file,) = cache.glob("*.safetensors")
    whole = file.read_bytes()
    for content in (b"", whole[:100], whole[:-100], b"\xff" * 200):
        file.write_bytes(content)
        assert len(indexed(FolderSource(photos))) == 30
        assert file.read_bytes() == whole


KILLED = """
import os, sys
from pathlib import Path
from mezzotint.data.index import preparation
from mezzotint.data.index.folder import FolderSource
from mezzotint.data.index.source import prepare_source
preparation.PART, preparation.THREADS, left = 7, 1, int(sys.argv[2])
real = os.replace
def replace(old, new):
    global left
    left -= 1
    if left < 0:
        os._exit(9)
    real(old, new)
os.replace = replace
prepare_source(FolderSource(Path(sys.argv[1])))
"""


@pytest.mark.parametrize("files", [0, 1, 3, 5])
def test_a_killed_preparation_goes_on_and_ends_in_the_same_bytes(photos, cache, files):
    prepare_source(FolderSource(photos))
    (file,) = cache.glob("*.safetensors")
    whole = file.read_bytes()
    file.unlink()
    code = subprocess.run(
        [sys.executable, "-c", KILLED, str(photos), str(files)], env=os.environ, timeout=100
    ).returncode
    assert code == (9 if files < 6 else 0)
    assert not file.exists()
    assert prepare_source(FolderSource(photos)).read == 30 - min(7 * files, 30)
    assert file.read_bytes() == whole
    assert sorted(item.suffix for item in cache.iterdir()) == [".lock", ".safetensors"]


def test_columns_hold_what_the_files_are(photos):
    index = indexed(FolderSource(photos))
    names = list(index.all_names(np.arange(30)))
    assert names == sorted(names) == [index.name(row) for row in range(30)]
    assert index.sizes.tolist() == [(photos / name).stat().st_size for name in names]
    assert isinstance(index.sizes, np.memmap)


def test_many_held_out_images_of_a_large_set_are_not_decoded_at_the_start(photos, monkeypatch):
    each = 3 * 8 * 8
    monkeypatch.setattr(large_folder, "MANY", 20)
    some = folder(photos, held_out=0.2, memory_limit=10 * each)
    assert len(some.split("test")) <= 10 < len(some.split("train"))
    assert not isinstance(some.split("test"), IndexedImages)
    monkeypatch.setattr(large_folder, "MANY", 2)
    assert isinstance(some.split("test"), IndexedImages)
