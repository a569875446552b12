"""Readers of containers: every member with its bytes, label and caption, against the libraries that write them."""

import io
import json
import os
import pickle
import struct
import tarfile
import warnings
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from mezzotint.data.containers.base import Container, Member
from mezzotint.data.containers.shard_files import OPEN, ShardFiles
from mezzotint.data.containers.tar_shards import TarShards
from mezzotint.data.containers.zip_files import ZipArchive
from mezzotint.errors import DataError


def picture(number: int, ending: str = "png") -> bytes:
    written = io.BytesIO()
    pixels = np.random.default_rng(number).integers(0, 256, (12, 12, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(written, ending)
    return written.getvalue()


PICTURES = {
    f"{kind}/{i:02d}{'x' * (9 * i)}.{end}": picture(i, end)
    for kind in ("cats", "döGs")
    for i in range(9)
    for end in ("png", "bmp")
}
CAPTIONS = {name: f"picture {i}, ä" for i, name in enumerate(PICTURES)}
LABELS = {name: i % 5 for i, name in enumerate(PICTURES)}


def write_zip(path: Path, files: dict[str, bytes], **options: bool) -> Container:
    with zipfile.ZipFile(path, "w", **options) as archive:
        for i, (name, content) in enumerate(files.items()):
            archive.writestr(name, content, zipfile.ZIP_DEFLATED if i % 2 else zipfile.ZIP_STORED)
    return ZipArchive((path,), ("",))


def write_tar(path: Path, files: dict[str, bytes], form: int = tarfile.PAX_FORMAT) -> Container:
    with tarfile.open(path, "w", format=form) as archive:
        for name, content in files.items():
            about = tarfile.TarInfo(name)
            about.size = len(content)
            archive.addfile(about, io.BytesIO(content))
    return TarShards((path,), ("",))


def rows(files: dict[str, bytes]) -> list[dict]:
    return [{"bytes": content, "path": name} for name, content in files.items()]


def write_table(path: Path, files: dict[str, bytes], stream: bool = False, **columns: list) -> Container:
    pa = pytest.importorskip("pyarrow")
    from pyarrow import parquet

    from mezzotint.data.containers.parquet_tables import ParquetFiles

    table = pa.table({"image": rows(files), **columns})
    if path.suffix == ".parquet":
        parquet.write_table(table, path, row_group_size=5)
    else:
        make = pa.ipc.new_stream if stream else pa.ipc.new_file
        with pa.OSFile(str(path), "wb") as sink, make(sink, table.schema) as writer:
            writer.write_table(table, max_chunksize=5)
    return ParquetFiles((path,), ("",))


def write_lmdb(path: Path, files: dict[str, bytes]) -> Container:
    lmdb = pytest.importorskip("lmdb")
    from mezzotint.data.containers.lmdb_store import LMDBStore

    with lmdb.open(str(path), map_size=1 << 24) as store, store.begin(write=True) as transaction:
        for name, content in files.items():
            transaction.put(name.encode(), content)
    return LMDBStore(path)


WRITERS: dict[str, Callable[[Path, dict[str, bytes]], Container]] = {
    "zip": lambda path, files: write_zip(path / "a.zip", files),
    "tar, ustar": lambda path, files: write_tar(
        path / "a.tar", {name: files[name] for name in files if len(name.encode()) < 90}, tarfile.USTAR_FORMAT
    ),
    "tar, GNU": lambda path, files: write_tar(path / "a.tar", files, tarfile.GNU_FORMAT),
    "tar, pax": lambda path, files: write_tar(path / "a.tar", files, tarfile.PAX_FORMAT),
    "parquet": lambda path, files: write_table(path / "a.parquet", files),
    "arrow": lambda path, files: write_table(path / "a.arrow", files),
    "arrow stream": lambda path, files: write_table(path / "a.arrow", files, stream=True),
    "lmdb": lambda path, files: write_lmdb(path / "a.lmdb", files),
}


def members(container: Container) -> list[Member]:
    return list(container.members())


def contents(container: Container) -> dict[str, bytes]:
    return {item.name: container.read(item.shard, item.offset, item.size) for item in members(container)}


@pytest.mark.parametrize("kind", WRITERS)
def test_every_image_is_listed_and_read(kind: str, tmp_path: Path) -> None:
    container = WRITERS[kind](tmp_path, PICTURES)
    expected = {name: PICTURES[name] for name in PICTURES if "ustar" not in kind or len(name.encode()) < 90}
    assert contents(container) == expected
    assert contents(pickle.loads(pickle.dumps(container))) == expected
    assert all(path.is_file() for path in container.shards())


@pytest.mark.parametrize("kind", WRITERS)
def test_a_forked_process_reads_the_same(kind: str, tmp_path: Path) -> None:
    container = WRITERS[kind](tmp_path, PICTURES)
    expected, listing = contents(container), members(container)
    if not (child := os.fork()):
        found = {item.name: container.read(item.shard, item.offset, item.size) for item in reversed(listing)}
        os._exit(0 if found == expected else 1)
    assert os.waitpid(child, 0)[1] == 0
    assert contents(container) == expected


@pytest.mark.parametrize("kind", ["zip", "tar, GNU", "lmdb"])
def test_what_is_no_image_or_hidden_is_not_listed(kind: str, tmp_path: Path) -> None:
    image = picture(0)
    others = {"readme.txt": b"text", ".hidden.png": image, "a/.b/c.png": image, "__MACOSX/a.png": image}
    others |= {"a/Thumbs.db": image, "clip.mp4": b"\0\0\0\x18ftypmp42" + bytes(99)}
    named = {"a/plain": image, "a/1.png": image, "a/2.nef": image}
    assert {item.name for item in members(WRITERS[kind](tmp_path, others | named))} == {*named}


def test_a_zip_of_edm_has_the_labels_of_its_dataset_json(tmp_path: Path) -> None:
    labels = json.dumps({"labels": [[name, label] for name, label in LABELS.items()]}).encode()
    container = write_zip(tmp_path / "a.zip", PICTURES | {"dataset.json": labels})
    assert {item.name: item.label for item in members(container)} == LABELS
    container = write_zip(
        tmp_path / "b.zip", {f"train/{name}": PICTURES[name] for name in PICTURES} | {"train/dataset.json": labels}
    )
    assert {item.name.removeprefix("train/"): item.label for item in members(container)} == LABELS
    container = write_zip(tmp_path / "c.zip", PICTURES | {"dataset.json": b'{"labels": null}'})
    assert {item.label for item in members(container)} == {None}


def test_zip64_archives_with_bytes_before_them_and_comments_behind_are_read(tmp_path: Path) -> None:
    long = {name + "y" * 300: content for name, content in PICTURES.items()}
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        for name, content in PICTURES.items():
            about = zipfile.ZipInfo(name + "y" * 300)
            about.compress_type = zipfile.ZIP_DEFLATED
            with archive.open(about, "w", force_zip64=True) as member:
                member.write(content)
        archive.comment = b"a comment"
    assert contents(ZipArchive((tmp_path / "a.zip",), ("",))) == long
    plain = (tmp_path / "a.zip").read_bytes()
    (tmp_path / "b.zip").write_bytes(b"#!/bin/sh\n" * 9 + plain)
    assert contents(ZipArchive((tmp_path / "b.zip",), ("",))) == long


def with_wide_directory(plain: bytes) -> bytes:
    """Move count, size and start of the directory of a small archive to the fields of zip64."""
    end = plain.rindex(b"PK\5\6")
    count, length, start = struct.unpack_from("<HLL", plain, end + 10)
    wide = struct.pack("<4sQ2H2L4Q", b"PK\6\6", 44, 45, 45, 0, 0, count, count, length, start)
    locator = struct.pack("<4sLQL", b"PK\6\7", 0, end, 1)
    last = struct.pack("<4s4H2LH", b"PK\5\6", 0, 0, 0xFFFF, 0xFFFF, *(2 * [2**32 - 1]), 0)
    return plain[:end] + wide + locator + last


def test_the_directory_of_a_zip64_archive_is_found(tmp_path: Path) -> None:
    write_zip(tmp_path / "a.zip", PICTURES)
    wide = with_wide_directory((tmp_path / "a.zip").read_bytes())
    (tmp_path / "b.zip").write_bytes(wide)
    assert len(zipfile.ZipFile(tmp_path / "b.zip").namelist()) == len(PICTURES)
    assert contents(ZipArchive((tmp_path / "b.zip",), ("",))) == PICTURES


def test_a_tar_of_webdataset_has_labels_and_captions(tmp_path: Path) -> None:
    files = {}
    for i in range(6):
        files |= {
            f"{i:04d}.cls": str(i % 3).encode(),
            f"{i:04d}.png": picture(i),
            f"{i:04d}.txt": b"text " + bytes([48 + i]),
        }
    files |= {"6.json": b'{"label": 2, "caption": "in json"}', "6.jpg": picture(6, "jpeg"), "7.png": picture(7)}
    found = members(write_tar(tmp_path / "a.tar", files))
    assert [(item.label, item.caption) for item in found] == [
        *((i % 3, f"text {i}") for i in range(6)),
        (2, "in json"),
        (None, ""),
    ]


def test_sizes_in_base_256_are_read(tmp_path: Path) -> None:
    write_tar(tmp_path / "a.tar", {"a.png": picture(0)}, tarfile.GNU_FORMAT)
    block = bytearray((tmp_path / "a.tar").read_bytes())
    size = len(picture(0))
    block[124:136] = b"\x80" + size.to_bytes(11)
    block[148:156] = b"%06o\0 " % (sum(block[:148]) + 8 * 32 + sum(block[156:512]))
    (tmp_path / "a.tar").write_bytes(block)
    assert contents(TarShards((tmp_path / "a.tar",), ("",))) == {"a.png": picture(0)}


def test_columns_of_a_table_are_found_or_chosen(tmp_path: Path) -> None:
    pa = pytest.importorskip("pyarrow")
    from pyarrow import parquet

    from mezzotint.data.containers.parquet_tables import ParquetFiles

    about = {
        "info": {"features": {"picture": {"_type": "Image"}, "kind": {"_type": "ClassLabel", "names": ["a", "b"]}}}
    }
    values = {"mask": rows({"m": b"m"}), "picture": rows({"p": b"p"}), "kind": [1], "label": [7], "text": ["t"]}
    table = pa.table(values).replace_schema_metadata({b"huggingface": json.dumps(about).encode()})
    parquet.write_table(table, tmp_path / "a.parquet")
    container = ParquetFiles((tmp_path / "a.parquet",), ("",))
    assert members(container) == [Member("p", 0, 0, 1, 1, "t")]
    assert container.class_names() == ("a", "b")
    chosen = ParquetFiles((tmp_path / "a.parquet",), ("",), image="mask", label="label")
    assert members(chosen) == [Member("m", 0, 0, 1, 7, "t")]
    assert chosen.class_names() == ()
    with pytest.raises(DataError, match=r"no column 'photo' for data\.image=: its columns are mask, picture, kind"):
        members(ParquetFiles((tmp_path / "a.parquet",), ("",), image="photo"))
    parquet.write_table(table.select(["kind"]), tmp_path / "b.parquet")
    with pytest.raises(DataError, match=r"no column of images with their bytes: its columns are kind \(int64\)"):
        members(ParquetFiles((tmp_path / "b.parquet",), ("",)))


def test_rows_without_paths_of_their_own_are_named_by_their_numbers(tmp_path: Path) -> None:
    pa = pytest.importorskip("pyarrow")
    from pyarrow import parquet

    from mezzotint.data.containers.parquet_tables import ParquetFiles

    for path in ([None, None], ["1.png", "1.png"]):
        image = [{"bytes": b"a", "path": path[0]}, {"bytes": b"bc", "path": path[1]}]
        parquet.write_table(pa.table({"image": image}), tmp_path / "t.parquet")
        found = members(ParquetFiles((tmp_path / "t.parquet",), ("train/",)))
        assert [(item.name, item.size) for item in found] == [("train/t-000000000", 1), ("train/t-000000001", 2)]
    parquet.write_table(pa.table({"image": [b"x"]}), tmp_path / "t.parquet")
    assert contents(ParquetFiles((tmp_path / "t.parquet",), ("",))) == {"t-000000000": b"x"}
    parquet.write_table(pa.table({"image": [{"bytes": None, "path": "/far/a.png"}, *image]}), tmp_path / "t.parquet")
    with pytest.raises(DataError, match=r"has no image in row 0, only /far/a\.png: write the bytes into the table"):
        members(ParquetFiles((tmp_path / "t.parquet",), ("",)))


@pytest.mark.parametrize("labels", [json.dumps([3, 4]), json.dumps({"labels": [["b", 4], ["a", 3]]})])
def test_labels_of_an_lmdb_store_are_in_it_or_beside_it(labels: str, tmp_path: Path) -> None:
    container = write_lmdb(
        tmp_path / "a", {"b": picture(0), "a": picture(1), "labels": labels.encode(), "length": b"2"}
    )
    assert [(item.name, item.label) for item in members(container)] == [("a", 3), ("b", 4)]
    (tmp_path / "a/dataset.json").write_text('{"labels": [["a", 0], ["b", 1]]}')
    assert [item.label for item in members(container)] == [0, 1]


# ------------------------------------------------------------------------------------------------------------ bad input


def zip_with(path: Path, change: Callable[[bytearray], None]) -> Container:
    write_zip(path, {"a.bmp": bytes(99), "b.bmp": bytes(3 << 10)})
    content = bytearray(path.read_bytes())
    change(content)
    path.write_bytes(content)
    return ZipArchive((path,), ("",))


def in_directory(content: bytearray, offset: int, value: int) -> None:
    struct.pack_into("<H" if offset < 20 else "<L", content, content.rindex(b"PK\1\2") + offset, value)


BAD_ZIPS = {
    "is encrypted": lambda content: in_directory(content, 8, 1),
    "is packed by LZMA": lambda content: in_directory(content, 10, 14),
    "as a zip bomb does": lambda content: in_directory(content, 24, 1 << 28),
    "is truncated, or no zip archive": lambda content: content.__delitem__(slice(-30, None)),
    "is damaged: its list of members": lambda content: in_directory(content, 28, 60_000),
}


@pytest.mark.parametrize("said", BAD_ZIPS)
def test_a_zip_that_cannot_be_used_is_refused_when_it_is_listed(said: str, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=said) as error:
        members(zip_with(tmp_path / "a.zip", BAD_ZIPS[said]))
    assert "\n" not in str(error.value)
    assert str(tmp_path / "a.zip") in str(error.value)


def test_a_member_that_unpacks_to_more_than_it_declares_stops_there(tmp_path: Path) -> None:
    def shrink(content: bytearray) -> None:
        in_directory(content, 24, 1000)
        struct.pack_into("<L", content, content.rindex(b"PK\3\4") + 22, 1000)

    container = zip_with(tmp_path / "a.zip", shrink)
    last = members(container)[-1]
    with pytest.raises(OSError, match="more than the 1,000 bytes that it declares"):
        container.read(last.shard, last.offset, last.size)


@pytest.mark.parametrize("name", ["../a.png", "/etc/a.png", "a/../../b.png", "C:/a.png", "..\\a.png"])
def test_names_that_lead_out_are_refused(name: str, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="which leads out of it"):
        members(write_zip(tmp_path / "a.zip", {name: picture(0)}))
    with pytest.raises(DataError, match="which leads out of it"):
        members(write_tar(tmp_path / "a.tar", {name: picture(0)}))


def test_a_tar_that_cannot_be_used_is_refused(tmp_path: Path) -> None:
    write_tar(tmp_path / "a.tar", PICTURES)
    whole = (tmp_path / "a.tar").read_bytes()
    (tmp_path / "cut.tar").write_bytes(whole[:2000])
    with pytest.raises(DataError, match=r"cut\.tar is truncated: it ends within cats/"):
        members(TarShards((tmp_path / "cut.tar",), ("",)))
    (tmp_path / "other.tar").write_bytes(bytes([1]) * 5000)
    with pytest.raises(DataError, match=r"other\.tar is no tar archive"):
        members(TarShards((tmp_path / "other.tar",), ("",)))
    at = whole.index(b"ustar", 4000) - 257
    (tmp_path / "bad.tar").write_bytes(whole[:at] + bytes([7]) * 512 + whole[at + 512 :])
    with pytest.raises(DataError, match=rf"bad\.tar is damaged at byte {at:,}"):
        members(TarShards((tmp_path / "bad.tar",), ("",)))
    with pytest.raises(DataError, match="has the label 'cat', not the number of a class"):
        members(write_tar(tmp_path / "b.tar", {"1.cls": b"cat", "1.png": picture(0)}))
    with pytest.raises(DataError, match=r"1\.json cannot be read"):
        members(write_tar(tmp_path / "b.tar", {"1.json": b"{", "1.png": picture(0)}))


@pytest.mark.parametrize("kept", [0, 5])
def test_a_tar_that_ends_between_two_files_is_refused(kept: int, tmp_path: Path) -> None:
    with tarfile.open(tmp_path / "cut.tar", "w") as archive:
        for i in range(8):
            about = tarfile.TarInfo(f"{i}.png")
            about.size = 512
            archive.addfile(about, io.BytesIO(bytes(512)))
    os.truncate(tmp_path / "cut.tar", 1024 * kept)
    with pytest.raises(DataError, match=r"cut\.tar is truncated: it lacks the zeros that end a tar archive"):
        list(TarShards((tmp_path / "cut.tar",), ("",)).members())


def test_a_truncated_table_or_store_is_refused(tmp_path: Path) -> None:
    for ending in ("parquet", "arrow"):
        container = write_table(tmp_path / f"a.{ending}", PICTURES)
        content = container.shards()[0].read_bytes()
        container.shards()[0].write_bytes(content[: len(content) // 2])
        with pytest.raises(DataError, match=rf"a\.{ending} is truncated or damaged"):
            members(pickle.loads(pickle.dumps(container)))
    store = write_lmdb(tmp_path / "a", PICTURES)
    os.truncate(store.shards()[0], os.stat(store.shards()[0]).st_size // 4096 // 2 * 4096)
    with pytest.raises(DataError, match=r"data\.mdb is truncated"):
        members(store)
    with pytest.raises(DataError, match="A pickle is a program and is not read"):
        members(write_lmdb(tmp_path / "b", {"0": pickle.dumps([picture(0), 3])}))


# ----------------------------------------------------------------------------------------------------------------- cost


def open_below(folder: Path) -> int:
    """Return the number of descriptors of this process for files below a folder."""
    links = [Path("/proc/self/fd") / name for name in os.listdir("/proc/self/fd")]
    return sum(os.path.realpath(link).startswith(f"{folder}/") for link in links)


@pytest.mark.parametrize("kind", ["zip", "tar, GNU", "parquet", "lmdb"])
def test_reading_leaves_no_descriptor_and_no_memory(kind: str, tmp_path: Path) -> None:
    container = WRITERS[kind](tmp_path, PICTURES)
    listing = members(container)
    resource = pytest.importorskip("resource")

    def read(times: int) -> None:
        for i in range(times):
            item = listing[i % len(listing)]
            container.read(item.shard, item.offset, item.size)

    read(500)
    before, open_before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, open_below(tmp_path)
    read(5000)
    assert open_below(tmp_path) == open_before
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 4096  # kB


def test_few_of_many_shards_are_open_and_those_are_closed(tmp_path: Path) -> None:
    for number in range(2 * OPEN):
        (tmp_path / str(number)).write_bytes(str(number).encode())
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        files = ShardFiles(tuple(tmp_path / str(number) for number in range(2 * OPEN)))
        for number in (*range(2 * OPEN), *range(2 * OPEN)):
            assert files.read(number, 0, 1) == str(number)[:1].encode()
        assert open_below(tmp_path) == OPEN
        del files
    assert open_below(tmp_path) == 0
    with pytest.raises(DataError, match="is truncated"):
        ShardFiles((tmp_path / "0",)).read(0, 0, 2)
