"""A folder of many images of 64 x 64: preparation beside opening every header, start, memory, and images per second.

    python benchmarks/large_sets.py folder --count 100000     # files are written, prepared, and read
    python benchmarks/large_sets.py start --count 1281167     # an index of so many entries, without their files
    python benchmarks/large_sets.py prepared                  # a conversion read back, by .npy

All times are seconds of CPU of this process, which other work on the machine changes less than those of the clock;
memory is what the process holds beyond its imports. Files lie in the page cache.
"""

import argparse
import io
import os
import resource
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import torch
from PIL import Image

from mezzotint.data import ArrayFile, ImageFolder
from mezzotint.data.conversion import convert
from mezzotint.data.image_files.image_set import examined
from mezzotint.data.image_files.listing import listed
from mezzotint.data.image_files.on_access import identity
from mezzotint.data.index.file import write
from mezzotint.data.index.folder import FolderListing, FolderSource
from mezzotint.data.index.scan import Scan
from mezzotint.data.index.source import prepare_source
from mezzotint.data.order import Order

CLASSES, BATCH, SHAPE = 1000, 64, (3, 64, 64)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("kind", choices=("folder", "start", "prepared"))
    parser.add_argument("--count", type=int, default=20_000)
    parser.add_argument("--read", type=int, default=4096, help="images that are read")
    given = parser.parse_args()
    with TemporaryDirectory() as place:
        os.environ["MEZZOTINT_CACHE"] = f"{place}/cache"
        root = Path(place, "photos")
        {"folder": folder, "start": start, "prepared": prepared}[given.kind](root, given.count, given.read)


def folder(root: Path, count: int, read: int) -> None:
    """Compare preparation with opening every header, then start from the index and read."""
    write_files(root, count)
    source = FolderSource(root)
    with timed("prepare", count):
        prepare_source(source)
    with timed("prepare again", count):
        prepare_source(source)
    opened(root, count)
    reading("the folder by its index", data(root).split("train"), read)
    with timed("without an index: list and open every header", count):
        examined([entry.file for entry in listed(root).entries], SHAPE, False, False)


def start(root: Path, count: int, read: int) -> None:
    """Start from an index of so many entries; folders are there, files are not."""
    with timed("write the index", count):
        synthetic(root, count)
    opened(root, count)


def prepared(root: Path, count: int, read: int) -> None:
    """Convert a folder once, and read it back."""
    write_files(root, count)
    dataset, file = data(root), root.with_name("photos64.npy")
    with timed("convert", count):
        convert(dataset, dataset.split("all"), file)
    read_back = ArrayFile(root=str(file), classes=CLASSES, labels=str(file.with_name("photos64-labels.npy")))
    reading("photos64.npy", read_back.split("train"), read)
    reading("the folder", dataset.split("train"), min(read, 1024))


def data(root: Path) -> ImageFolder:
    return ImageFolder(root=str(root), shape=SHAPE, classes=CLASSES, memory_limit=1)


def write_files(root: Path, count: int) -> None:
    """Write JPEGs that differ from each other, in class folders."""
    random, pool = np.random.default_rng(0), []
    for _ in range(64):
        made = io.BytesIO()
        small = Image.fromarray(random.integers(0, 256, (8, 8, 3), dtype=np.uint8))
        small.resize((64, 64), Image.Resampling.BICUBIC).save(made, "JPEG", quality=90)
        pool.append(made.getvalue())
    for number in range(CLASSES):
        (root / f"n{number:08d}").mkdir(parents=True)
    for i in range(count):
        content = pool[i % len(pool)]
        comment = b"\xff\xfe\0\x0a" + i.to_bytes(8)
        (root / f"n{i % CLASSES:08d}" / f"img{i:08d}.jpg").write_bytes(content[:2] + comment + content[2:])


def synthetic(root: Path, count: int) -> None:
    """Write the index that a folder of so many files would have."""
    for number in range(CLASSES):
        (root / f"n{number:08d}").mkdir(parents=True)
    about = root.stat()
    made = Scan(root, folders={name: os.stat(root / name).st_mtime_ns for name in ["", *os.listdir(root)]})
    for i in range(count):
        group = f"n{i * CLASSES // count:08d}"
        made.add(f"{group}/ILSVRC2012_{i:08d}.JPEG", group, about)
    listing = FolderListing(made, None, None)
    known = [listing.versions(first, min(first + 65536, count)) for first in range(0, count, 65536)]
    hashes = np.random.default_rng(0).integers(0, 256, (count, 32), dtype=np.uint8)
    found = {"versions": np.concatenate(known), "shape": np.tile(np.int32([3, 64, 64]), (count, 1)), "hashes": hashes}
    (root.parent / "cache").mkdir()
    write(FolderSource(root).file, {**listing.columns(), **found}, {**listing.about(), "bad": []})


def opened(root: Path, count: int) -> None:
    """Time a start in a process of its own, which has not prepared anything."""
    child = os.fork()
    if child:
        os.waitpid(child, 0)
        return
    before = memory()
    with timed("start: both splits, labels", count):
        images = data(root).split("train")
        data(root).split("test")
    with timed("record of a run: names and sizes", count):
        identity(images)
    with timed("digest", count):
        images.digest()
    with timed("first batch of the order", count):
        Order(0, len(images)).indices(torch.arange(BATCH))
    print(f"memory beyond the imports, mapped pages of the index included: {(memory() - before) / 1e6:.0f} MB")
    os._exit(0)


def reading(name: str, images, read: int) -> None:
    """Read random batches, and count descriptors and memory before and after."""
    order = Order(0, len(images))
    images.batch(order.indices(torch.arange(BATCH)))
    before = len(os.listdir("/proc/self/fd")), memory()
    with timed(f"read from {name}", read):
        for first in range(0, read, BATCH):
            images.batch(order.indices(torch.arange(first, first + BATCH)))
    after = len(os.listdir("/proc/self/fd")), memory()
    print(f"  descriptors {before[0]} -> {after[0]}, memory {(after[1] - before[1]) / 1e6:+.0f} MB")


@contextmanager
def timed(name: str, count: int) -> Iterator[None]:
    began = time.process_time()
    yield
    taken = time.process_time() - began
    print(
        f"{name}: {taken:.2f} s, {count / max(taken, 1e-9):,.0f} images/s, {taken / count * 1e6:.1f} us each",
        flush=True,
    )


def memory() -> int:
    """Return resident bytes of this process."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * resource.getpagesize()


if __name__ == "__main__":
    main()
