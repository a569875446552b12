"""Arrays in files: every format, type and rank, a batch at a time; what cannot be used is refused in one line."""

import subprocess
import sys

import numpy as np
import pytest
import torch
from safetensors.numpy import save_file

from mezzotint.data import ArrayFile, DataModule, PixelCodec, StandardizeCodec, codec_of
from mezzotint.errors import DataError

rng = np.random.default_rng(0)
TYPES = ("float32", "float16", "uint8", "uint16", "int16")
SIZES = ((7,), (5, 3), (2, 3, 4))


def made(dtype: str = "float32", size: tuple[int, ...] = (7,), count: int = 40) -> np.ndarray:
    return (100 * rng.random((count, 3, *size))).astype(dtype)


def npy(path, array):
    np.save(path / "data.npy", array)
    return path / "data.npy"


def fortran(path, array):
    return npy(path, np.asfortranarray(array))


def swapped(path, array):
    return npy(path, array.astype(array.dtype.newbyteorder(">")))


def npz(path, array):
    np.savez(path / "data.npz", array=array)
    return path / "data.npz"


def compressed(path, array):
    np.savez_compressed(path / "data.npz", array=array)
    return path / "data.npz"


def safetensors(path, array):
    save_file({"array": np.ascontiguousarray(array)}, path / "data.safetensors")
    return path / "data.safetensors"


FORMATS = (npy, fortran, swapped, npz, compressed, safetensors)


@pytest.mark.parametrize("write", FORMATS, ids=lambda write: write.__name__)
@pytest.mark.parametrize("dtype", TYPES)
@pytest.mark.parametrize("size", SIZES, ids=str)
def test_every_format_type_and_rank_is_read(tmp_path, write, dtype, size):
    array = made(dtype, size)
    data = ArrayFile(root=str(write(tmp_path, array)), held_out=0.0)
    assert data.shape == (3, *size)
    split = data.split("all")
    assert len(split) == 40
    index = torch.tensor([3, 4, 5, 39, 0, 17])
    found, labels = split.batch(index)
    assert labels is None
    assert found.dtype == getattr(torch, dtype)
    assert np.array_equal(found.numpy(), array[index.numpy()])
    assert split.digest() == ArrayFile(root=str(npy(tmp_path, array))).split("all").digest()


def test_the_digest_is_that_of_content_and_type(tmp_path):
    digests = set()
    for array in (made(), made(), np.zeros((9, 1, 4), np.int16), np.zeros((9, 1, 4), np.uint16)):
        digests.add(ArrayFile(root=str(npy(tmp_path, array))).split("all").digest())
    assert len(digests) == 4


def test_splits_are_disjoint_and_labels_go_with_their_entries(tmp_path):
    array, labels = made(), np.arange(40) % 4
    np.savez(tmp_path / "data.npz", data=array, kind=labels)
    np.save(tmp_path / "kinds.npy", labels)
    for where in ("kind", str(tmp_path / "kinds.npy")):
        data = ArrayFile(root=str(tmp_path / "data.npz"), member="data", labels=where, classes=4)
        train, test = data.split("train"), data.split("test")
        assert (len(train), len(test)) == (36, 4)
        assert sorted(test.labels.tolist()) == [0, 1, 2, 3]
        assert not {*train.chosen} & {*test.chosen}
        found, told = train.batch(torch.arange(36))
        assert np.array_equal(found.numpy(), array[train.chosen])
        assert told.tolist() == labels[train.chosen].tolist()


def test_the_codec_follows_from_the_type(tmp_path):
    array = made(size=(200,))
    codec = codec_of(ArrayFile(root=str(npy(tmp_path, array))))
    assert isinstance(codec, StandardizeCodec)
    assert codec.mean == pytest.approx(array.astype(float).mean((0, 2)), rel=1e-6)
    assert codec.std == pytest.approx(array.astype(float).std((0, 2)), rel=1e-6)
    assert codec_of(ArrayFile(root=str(npy(tmp_path, array.astype("uint8"))))) == PixelCodec()
    stated = StandardizeCodec((0.0,) * 3, (1.0,) * 3)
    assert codec_of(ArrayFile(root=str(npy(tmp_path, array)), codec=stated)) is stated


def test_moments_are_those_of_every_part_together(tmp_path, monkeypatch):
    monkeypatch.setattr("mezzotint.data.arrays.stored.BLOCK", 1000)
    array = made(size=(50,), count=203)
    array[:, 1] = 4.0
    mean, std = ArrayFile(root=str(npy(tmp_path, array))).moments()
    assert mean == pytest.approx(array.astype(float).mean((0, 2)), rel=1e-6)
    assert std == pytest.approx([array[:, 0].astype(float).std(), 1.0, array[:, 2].astype(float).std()], rel=1e-6)


def test_two_ranks_see_what_one_sees(tmp_path):
    data = ArrayFile(root=str(npy(tmp_path, made())))
    alone = DataModule(data, 8, seed=3)
    both = [DataModule(data, 8, seed=3, rank=rank, world=2) for rank in (0, 1)]
    for module in (alone, *both):
        module.setup()
    whole, *parts = (iter(module.train_dataloader()) for module in (alone, *both))
    for _ in range(12):
        batch, shares = next(whole), [next(part) for part in parts]
        for key in ("image", "index"):
            joined = torch.stack([share[key] for share in shares], 1).flatten(0, 1)
            assert torch.equal(batch[key], joined)


def bad_object(path):
    np.save(path / "data.npy", np.array([{}, {}], object), allow_pickle=True)
    return {"root": path / "data.npy"}


def bad_pickle_in_npz(path):
    np.savez(path / "data.npz", a=np.array([{}, {}], object))
    return {"root": path / "data.npz"}


def bad_nan(path):
    array = made()
    array[17, 2, 3] = np.nan
    return {"root": npy(path, array)}


def bad_infinity(path):
    array = made("float16")
    array[3, 1, 0] = np.inf
    return {"root": npz(path, array)}


def cut(file, count=100):
    file.write_bytes(file.read_bytes()[:-count])
    return {"root": file}


def bad_several(path):
    np.savez(path / "data.npz", a=made(), b=made())
    return {"root": path / "data.npz"}


def bad_text(path):
    (path / "data.npy").write_text("no array")
    return {"root": path / "data.npy"}


def bad_labels(path):
    np.savez(path / "data.npz", data=made(), labels=np.zeros(5))
    return {"root": path / "data.npz", "member": "data", "labels": "labels", "classes": 2}


BAD = {
    "a pickle": (bad_object, "Python objects"),
    "a pickle inside": (bad_pickle_in_npz, "Python objects"),
    "nan": (bad_nan, "entry 17, channel 2 holds nan"),
    "infinity": (bad_infinity, "entry 3, channel 1 holds inf"),
    "float64": (lambda path: {"root": npy(path, made("float64"))}, r"holds float64.*astype\('float32'\)"),
    "complex": (lambda path: {"root": npy(path, made("complex64"))}, "holds complex64"),
    "a truncated npy": (lambda path: cut(npy(path, made())), "is truncated.*Copy it again"),
    "a truncated safetensors": (lambda path: cut(safetensors(path, made())), "is truncated.*Copy it again"),
    "a truncated npz": (lambda path: cut(npz(path, made())), "write it again"),
    "a header alone": (lambda path: cut(npy(path, made()), 3400), "write it again|truncated"),
    "two axes": (lambda path: {"root": npy(path, made()[:, 0])}, r"shape \[40, 7\].*adds the axis of a single channel"),
    "nothing": (lambda path: {"root": npy(path, made()[:0])}, r"shape \[0, 3, 7\]"),
    "no file": (lambda path: {"root": path / "data.npy"}, "does not exist"),
    "another file": (lambda path: {"root": path}, "is no .npy, .npz or .safetensors file"),
    "a text": (bad_text, "is no readable .npy file"),
    "several": (bad_several, r"holds 2 arrays \(a, b\): choose one, data.member=NAME"),
    "no member": (lambda path: bad_several(path) | {"member": "c"}, "has no array 'c'"),
    "labels of another length": (bad_labels, r"float64 \[5\]; give one integer to each of the 40 entries"),
    "no labels": (lambda path: {"root": npy(path, made()), "classes": 2}, "no labels are given"),
    "a flipped series": (lambda path: {"root": npy(path, made()), "flip": True}, "flip=true mirrors"),
    "missing labels": (
        lambda path: {"root": npy(path, made()), "labels": str(path / "no.npy"), "classes": 2},
        r"data.labels=.*no.npy does not exist",
    ),
    "channels last": (lambda path: {"root": npy(path, np.zeros((4, 8, 8, 3), np.uint8))}, "with their channels last"),
    "another shape": (lambda path: {"root": npy(path, made()), "shape": (3, 8)}, "leave data.shape out"),
}


@pytest.mark.parametrize("case", BAD)
def test_what_cannot_be_used_is_refused_in_one_line(tmp_path, case):
    make, said = BAD[case]
    fields = make(tmp_path)
    with pytest.raises(DataError, match=said) as caught:
        ArrayFile(**fields | {"root": str(fields["root"])}).split("train")
    assert "\n" not in str(caught.value)


def test_a_file_that_becomes_shorter_is_an_error_and_not_the_end_of_the_process(tmp_path):
    file = npy(tmp_path, made())
    split = ArrayFile(root=str(file)).split("all")
    file.write_bytes(file.read_bytes()[:500])
    with pytest.raises(DataError, match="has become shorter"):
        split.batch(torch.tensor([39]))


MEASURE = """
import resource, sys
import torch
from mezzotint.data import ArrayFile
from mezzotint.diffusion import KeyedRandom

def peak(): return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024

warm = ArrayFile(root=sys.argv[2]).split("train")  # what reading loads
warm.batch(torch.arange(4)), warm.digest()
before = peak()
split = ArrayFile(root=sys.argv[1]).split("train")
for i in range(50):
    split.batch(torch.arange(i, len(split), len(split) // 64))
split.digest()
print(len(split), peak() - before)
"""


def test_a_gigabyte_takes_less_than_50_megabytes_of_memory(tmp_path):
    small = npy(tmp_path, made())
    file = tmp_path / "large.npy"
    with file.open("wb") as opened:  # zeros that take no room on the disk
        header = {"descr": "<f4", "fortran_order": False, "shape": (4096, 1, 256, 256)}
        np.lib.format.write_array_header_1_0(opened, header)
        opened.truncate(opened.tell() + (1 << 30))
    command = [sys.executable, "-c", MEASURE, str(file), str(small)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    count, added = done.stdout.split()
    assert int(count) == 3686
    assert float(added) < 50
