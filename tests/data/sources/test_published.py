"""Published files are read by our own readers, on small files of the same form, and their faults are named."""

import gzip
import os
import pickle
from pathlib import Path

import numpy as np
import pytest
import torch

from mezzotint.data import CIFAR10, CIFAR100, MNIST, FashionMNIST
from mezzotint.data.sources.cifar import unpickle
from mezzotint.data.sources.mnist import read_idx
from mezzotint.errors import DataError

rng = np.random.default_rng(0)
DEBIAN = Path(FashionMNIST.system[0])


def idx(array: np.ndarray) -> bytes:
    return bytes((0, 0, 8, array.ndim)) + np.array(array.shape, ">i4").tobytes() + array.tobytes()


def write_mnist(folder: Path, packed: bool = True) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    folder.mkdir(parents=True, exist_ok=True)
    written = {}
    for part, count in (("train", 12), ("t10k", 5)):
        images = rng.integers(0, 256, (count, 28, 28), dtype=np.uint8)
        labels = np.arange(count, dtype=np.uint8) % 10
        for kind, array in (("images-idx3", images), ("labels-idx1", labels)):
            content = idx(array)
            name = f"{part}-{kind}-ubyte"
            (folder / f"{name}.gz").write_bytes(gzip.compress(content)) if packed else (folder / name).write_bytes(
                content
            )
        written[part] = images, labels
    return written


@pytest.mark.parametrize("packed", [True, False])
@pytest.mark.parametrize("below", ["", "raw", "MNIST/raw"])
def test_mnist_is_found_in_its_usual_places(tmp_path, packed, below):
    written = write_mnist(tmp_path / below, packed)
    for split, part in (("train", "train"), ("test", "t10k")):
        images = MNIST(root=str(tmp_path)).split(split)
        assert torch.equal(images.pixels, torch.from_numpy(written[part][0])[:, None])
        assert images.labels.tolist() == written[part][1].tolist()
    assert len(MNIST(root=str(tmp_path)).split("all")) == 17


def test_files_in_the_cache_are_not_fetched_again(tmp_path):
    write_mnist(tmp_path / "FashionMNIST" / "raw")
    assert len(FashionMNIST(cache=str(tmp_path)).split("train")) == 12


def test_files_of_another_set_in_the_cache_are_not_taken(tmp_path, monkeypatch):
    """MNIST and Fashion-MNIST call their files alike."""
    monkeypatch.setattr(FashionMNIST, "system", ())
    for folder in (".", "raw", "MNIST/raw"):
        write_mnist(tmp_path / folder)
    with pytest.raises(DataError, match=r"FashionMNIST needs .*apt install dataset-fashion-mnist"):
        FashionMNIST(cache=str(tmp_path), download=False).split("train")


def test_missing_files_are_named_with_all_places_and_the_cure(tmp_path):
    with pytest.raises(DataError) as caught:
        MNIST(root=str(tmp_path)).split("train")
    message = str(caught.value)
    assert "train-images-idx3-ubyte, train-labels-idx1-ubyte" in message
    assert f"{tmp_path}, {tmp_path / 'raw'}, {tmp_path / 'MNIST/raw'}" in message
    assert "data.root=DIR" in message
    assert "\n" not in message


def test_what_may_not_be_downloaded_is_not(tmp_path):
    with pytest.raises(DataError, match="MNIST needs train-images"):
        MNIST(cache=str(tmp_path / "none"), download=False).split("train")
    assert not (tmp_path / "none").exists()


def test_a_download_that_fails_says_so_in_one_line(tmp_path, monkeypatch):
    import torchvision.datasets

    def unreachable(root, download):
        raise RuntimeError("Error downloading train-images-idx3-ubyte.gz:\nTried https://...")

    monkeypatch.setattr(torchvision.datasets, "MNIST", unreachable)
    with pytest.raises(
        DataError,
        match=r"downloaded to .* \(Error downloading train-images-idx3-ubyte.gz\). Without a network, give data",
    ) as caught:
        MNIST(cache=str(tmp_path)).split("train")
    assert "\n" not in str(caught.value)


def test_a_download_is_found_afterwards(tmp_path, monkeypatch):
    import torchvision.datasets

    monkeypatch.setattr(torchvision.datasets, "MNIST", lambda root, download: write_mnist(root / "MNIST" / "raw"))
    assert len(MNIST(cache=str(tmp_path / "new")).split("test")) == 5


def test_a_cache_that_is_a_file_is_named(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(DataError, match=r"cannot write to .* give another paths.data=DIR"):
        MNIST(cache=str(tmp_path / "file")).split("train")


@pytest.mark.parametrize(
    ("content", "fault"),
    [
        (idx(np.zeros((2, 3), np.uint8)), "not an IDX file of 3-dimensional"),
        (idx(np.zeros((2, 3, 4), np.uint8))[:-1], "promises .2, 3, 4. bytes and holds 23: it is cut short"),
        (bytes((0, 0, 8, 3, 0, 0)), "cut short|cannot be read"),
        (b"<html>", "not an IDX file"),
    ],
)
def test_a_damaged_idx_file_is_named(tmp_path, content, fault):
    file = tmp_path / "train-images-idx3-ubyte"
    file.write_bytes(content)
    with pytest.raises(DataError, match=f"{file}.*({fault}).*download it again"):
        read_idx(file, 3)


@pytest.mark.parametrize("cut", [30, 5, 2])
def test_a_damaged_gz_file_is_named(tmp_path, cut):
    file = tmp_path / "train-images-idx3-ubyte.gz"
    file.write_bytes(gzip.compress(idx(rng.integers(0, 256, (2, 3, 4), dtype=np.uint8)))[:cut])
    with pytest.raises(DataError, match=f"{file} .*download it again"):
        read_idx(file, 3)


@pytest.mark.skipif(not DEBIAN.is_dir(), reason="the Debian package dataset-fashion-mnist is not installed")
def test_the_real_fashion_mnist(tmp_path):
    """Found without a root; the first test image is an ankle boot, the classes are equal in number."""
    dataset = FashionMNIST(cache=str(tmp_path), download=False)
    train, test = dataset.split("train"), dataset.split("test")
    assert (len(train), len(test)) == (60_000, 10_000)
    assert train.labels.bincount().tolist() == [6000] * 10
    assert test.labels[:5].tolist() == [9, 2, 1, 1, 6]
    assert train.pixels.float().mean() == pytest.approx(0.2860 * 255, abs=0.05)  # the mean that everyone normalises by


def write_cifar(folder: Path, names: list[str], keys: tuple[bytes, ...], classes: int) -> dict[str, tuple]:
    folder.mkdir(parents=True)
    written = {}
    for name in names:
        pixels = rng.integers(0, 256, (4, 3072), dtype=np.uint8)
        labels = rng.integers(0, classes, 4).tolist()
        content = {b"data": pixels, keys[-1]: labels} | dict.fromkeys(keys[:-1], [0] * 4)
        (folder / name).write_bytes(pickle.dumps(content, protocol=2))
        before = [bytes([0] * (len(keys) - 1) + [label]) for label in labels]
        (folder / f"{name}.bin").write_bytes(b"".join(b + row.tobytes() for b, row in zip(before, pixels, strict=True)))
        written[name] = pixels.reshape(4, 3, 32, 32), labels
    return written


BATCHES = [f"data_batch_{i}" for i in range(1, 6)]
FORMS = [
    (CIFAR10, "cifar-10-batches-py", BATCHES, ["test_batch"], (b"labels",)),
    (CIFAR100, "cifar-100-python", ["train"], ["test"], (b"coarse_labels", b"fine_labels")),
]


@pytest.mark.parametrize("form", ["python", "binary"])
@pytest.mark.parametrize(("kind", "folder", "train", "test", "keys"), FORMS, ids=["10", "100"])
def test_cifar_is_read_in_both_its_forms(tmp_path, kind, folder, train, test, keys, form):
    written = write_cifar(tmp_path / folder, train + test, keys, kind.known_classes)
    for name in train + test:
        (tmp_path / folder / (f"{name}.bin" if form == "python" else name)).unlink()
    dataset = kind(root=str(tmp_path))
    for split, names in (("train", train), ("test", test)):
        images = dataset.split(split)
        assert torch.equal(images.pixels, torch.from_numpy(np.concatenate([written[name][0] for name in names])))
        assert images.labels.tolist() == [label for name in names for label in written[name][1]]


class Attack:
    def __reduce__(self):
        return os.system, ("echo attacked",)


@pytest.mark.parametrize("content", [{b"data": Attack()}, Attack(), {b"data": [np.dtype("O"), os.path.join]}])
def test_a_pickle_that_wants_more_than_arrays_is_refused(tmp_path, content, capfd):
    file = tmp_path / "data_batch_1"
    file.write_bytes(pickle.dumps(content, protocol=2))
    with pytest.raises(DataError, match=f"{file} is not the published file .it asks for posix"):
        unpickle(file)
    assert "attacked" not in capfd.readouterr().out


@pytest.mark.parametrize(
    "content", [b"", b"\x80\x02", pickle.dumps([1, 2]), pickle.dumps({b"data": 1, b"labels": [1]})]
)
def test_a_damaged_batch_is_named(tmp_path, content):
    write_cifar(tmp_path / "cifar-10-batches-py", [*BATCHES, "test_batch"], (b"labels",), 10)
    file = tmp_path / "cifar-10-batches-py" / "data_batch_3"
    file.write_bytes(content)
    with pytest.raises(DataError, match=f"{file} is not .*download it again"):
        CIFAR10(root=str(tmp_path)).split("train")


def test_a_binary_batch_that_is_cut_short_is_named(tmp_path):
    folder = tmp_path / "cifar-10-batches-bin"
    write_cifar(folder, ["test_batch"], (b"labels",), 10)
    (folder / "test_batch").unlink()
    (folder / "test_batch.bin").write_bytes((folder / "test_batch.bin").read_bytes()[:-1])
    with pytest.raises(DataError, match=r"test_batch\.bin has 12291 bytes, no multiple of 3073"):
        CIFAR10(root=str(tmp_path)).split("test")


def test_labels_beyond_the_classes_are_named(tmp_path):
    write_mnist(tmp_path)
    (tmp_path / "t10k-labels-idx1-ubyte.gz").write_bytes(gzip.compress(idx(np.array([0, 1, 2, 3, 11], np.uint8))))
    with pytest.raises(DataError, match="the labels of MNIST run from 0 to 11"):
        MNIST(root=str(tmp_path)).split("test")


def test_images_without_their_labels_are_named(tmp_path):
    write_mnist(tmp_path)
    (tmp_path / "t10k-labels-idx1-ubyte.gz").write_bytes(gzip.compress(idx(np.array([0, 1, 2], np.uint8))))
    with pytest.raises(DataError, match=r"MNIST has 5 images but labels of shape \[3\]"):
        MNIST(root=str(tmp_path)).split("test")


@pytest.mark.parametrize("dotted", [True, False])
def test_files_are_found_under_the_names_that_kaggle_gives_them(tmp_path, dotted):
    written = write_mnist(tmp_path, packed=False)
    for file in list(tmp_path.iterdir()):
        name = file.name.replace("-idx", ".idx") if dotted else file.name
        file.rename(tmp_path / "kept")
        if not dotted:
            (tmp_path / name).mkdir()
        (tmp_path / "kept").rename(tmp_path / name / name if not dotted else tmp_path / name)
    images = MNIST(root=str(tmp_path)).split("test")
    assert np.array_equal(images.pixels[:, 0], written["test"][0] if "test" in written else written["t10k"][0])


@pytest.mark.parametrize(
    ("dataset", "name", "said"),
    [
        (CIFAR10, "cifar-10-python.tar.gz", "tar xf cifar-10-python.tar.gz, and give data.root="),
        (CIFAR100, "cifar-100-python.tar.gz", "tar xf cifar-100-python.tar.gz"),
        (MNIST, "mnist_train.csv", "is a table, and MNIST is read from its original files"),
        (FashionMNIST, "fashion-mnist_train.csv", "store the images as an array"),
        (MNIST, "archive.zip", "unzip archive.zip"),
    ],
)
def test_what_lies_there_packed_is_named(tmp_path, dataset, name, said):
    (tmp_path / name).write_bytes(b"")
    for root in (tmp_path, tmp_path / name):
        with pytest.raises(DataError, match=said):
            dataset(root=str(root)).split("train")


def test_a_root_that_is_a_file_is_told(tmp_path):
    (tmp_path / "x.pkl").write_bytes(b"")
    with pytest.raises(DataError, match=r"x\.pkl is a file: give data\.root=DIR"):
        CIFAR10(root=str(tmp_path / "x.pkl")).split("train")
