"""One small set of images as a folder, and in every container."""

import io
import json
import tarfile
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
from PIL import Image

from mezzotint.data import ImageFolder, LMDBImages, ParquetImages, TarImages, ZipImages
from mezzotint.data.sources.pictures import Pictures

Files = Mapping[str, bytes]


def picture(number: int, ending: str = "png", side: int = 12) -> bytes:
    written = io.BytesIO()
    pixels = np.random.default_rng(number).integers(0, 256, (side, side + number % 5, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(written, {"jpg": "jpeg"}.get(ending, ending))
    return written.getvalue()


def pictures(*folders: str, each: int = 7) -> dict[str, bytes]:
    """Return images by their paths, which are in another order than those of the names."""
    names = [f"{folder}/{i:02d}.{('png', 'jpg', 'bmp')[i % 3]}" for folder in folders for i in range(each)]
    names = sorted(names, key=lambda name: name[::-1])
    return {name: picture(i, name[-3:]) for i, name in enumerate(names)}


def write_folder(root: Path, files: Files) -> Pictures:
    for name, content in files.items():
        (root / "folder" / name).parent.mkdir(parents=True, exist_ok=True)
        (root / "folder" / name).write_bytes(content)
    return ImageFolder(root=str(root / "folder"), shape=(3, 8, 8))


def write_zip(root: Path, files: Files) -> Pictures:
    with zipfile.ZipFile(root / "a.zip", "w") as archive:
        for i, (name, content) in enumerate(files.items()):
            archive.writestr(name, content, zipfile.ZIP_DEFLATED if i % 2 else zipfile.ZIP_STORED)
    return ZipImages(root=str(root / "a.zip"), shape=(3, 8, 8))


def tar_of(path: Path, files: Files) -> None:
    with tarfile.open(path, "w") as archive:
        for name, content in files.items():
            about = tarfile.TarInfo(name)
            about.size = len(content)
            archive.addfile(about, io.BytesIO(content))


def write_tar(root: Path, files: Files) -> Pictures:
    tar_of(root / "a.tar", files)
    return TarImages(root=str(root / "a.tar"), shape=(3, 8, 8))


def write_shards(root: Path, files: Files) -> Pictures:
    (root / "shards").mkdir()
    for number in range(3):
        tar_of(root / f"shards/{number:03d}.tar", {name: files[name] for name in [*files][number::3]})
    return TarImages(root=str(root / "shards/{000..002}.tar"), shape=(3, 8, 8))


def write_parquet(root: Path, files: Files) -> Pictures:
    import pyarrow as pa
    from pyarrow import parquet

    (root / "parquet").mkdir()
    rows = [{"bytes": content, "path": name} for name, content in files.items()]
    for number in range(2):
        table = pa.table({"image": rows[number::2]})
        parquet.write_table(table, root / f"parquet/{number}.parquet", row_group_size=3)
    return ParquetImages(root=str(root / "parquet"), shape=(3, 8, 8))


def write_arrow(root: Path, files: Files) -> Pictures:
    import pyarrow as pa

    table = pa.table({"image": [{"bytes": content, "path": name} for name, content in files.items()]})
    with pa.OSFile(str(root / "a.arrow"), "wb") as sink, pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table, max_chunksize=4)
    return ParquetImages(root=str(root / "a.arrow"), shape=(3, 8, 8))


def write_lmdb(root: Path, files: Files) -> Pictures:
    import lmdb

    with lmdb.open(str(root / "a.lmdb"), map_size=1 << 24) as store, store.begin(write=True) as transaction:
        for name, content in files.items():
            transaction.put(name.encode(), content)
    return LMDBImages(root=str(root / "a.lmdb"), shape=(3, 8, 8))


CONTAINERS: dict[str, Callable[[Path, Files], Pictures]] = {
    "zip": write_zip,
    "tar": write_tar,
    "shards": write_shards,
    "parquet": write_parquet,
    "arrow": write_arrow,
    "lmdb": write_lmdb,
}


def dataset_json(labels: Mapping[str, int]) -> bytes:
    """Return labels as the tools of EDM write them."""
    return json.dumps({"labels": [[name, label] for name, label in labels.items()]}).encode()
