"""Examples per second of CPU time, start and memory of every way to store the same images of 3 x 64 x 64.

    python benchmarks/sources.py                              # all of them, --count 20000 images, --read 4096 of them
    python benchmarks/sources.py folder zip npy               # some of them
    python benchmarks/sources.py online cached                # an autoencoder while training, and latents of it

Each line is a process of its own. Start is preparing (once) and opening both splits; reading is of random batches of 64
with the codec, in one thread; memory is what the process holds beyond its imports after reading, pages of mapped files
included. JPEGs of 64 x 64, float32 in `array`. Files lie in the page cache.
"""

import argparse
import io
import os
import subprocess
import sys
import tarfile
import time
import zipfile
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import torch
from large_sets import BATCH, SHAPE, memory, write_files
from torch import Tensor

from mezzotint.data import (
    ArrayFile,
    AutoencoderCodec,
    Dataset,
    Digits,
    ImageFolder,
    ImageSource,
    Latents,
    LMDBImages,
    ParquetImages,
    TarImages,
    ZipImages,
    codec_of,
)
from mezzotint.data.conversion import convert
from mezzotint.data.dataset import examples_of
from mezzotint.data.index.source import prepare_source
from mezzotint.data.latents import encoding
from mezzotint.randomness import KeyedRandom

SHARDS, ON_ACCESS = 8, {"shape": SHAPE, "memory_limit": 1}
ENCODED = 512  # images that the autoencoder sees


def folder(root: Path) -> Dataset:
    return ImageFolder(root=str(root / "photos"), **ON_ACCESS)


def random_crop(root: Path) -> Dataset:
    return ImageFolder(root=str(root / "photos"), crop="random", **ON_ACCESS)


def zipped(root: Path) -> Dataset:
    if not (root / "photos.zip").exists():
        with zipfile.ZipFile(root / "photos.zip", "w") as archive:
            for name, content in stored(root):
                archive.writestr(name, content)
    return ZipImages(root=str(root / "photos.zip"), **ON_ACCESS)


def tars(root: Path) -> Dataset:
    if not (root / "shards").exists():
        (root / "shards").mkdir()
        files = stored(root)
        for number in range(SHARDS):
            with tarfile.open(root / f"shards/{number}.tar", "w") as archive:
                for name, content in files[number::SHARDS]:
                    about = tarfile.TarInfo(name)
                    about.size = len(content)
                    archive.addfile(about, io.BytesIO(content))
    return TarImages(root=str(root / "shards"), **ON_ACCESS)


def parquet(root: Path) -> Dataset:
    from pyarrow import parquet as format

    if not (root / "photos.parquet").exists():
        format.write_table(table(root), root / "photos.parquet", row_group_size=100)
    return ParquetImages(root=str(root / "photos.parquet"), **ON_ACCESS)


def arrow(root: Path) -> Dataset:
    import pyarrow as pa

    if not (root / "photos.arrow").exists():
        rows = table(root)
        with pa.OSFile(str(root / "photos.arrow"), "wb") as sink, pa.ipc.new_stream(sink, rows.schema) as writer:
            writer.write_table(rows, max_chunksize=1000)
    return ParquetImages(root=str(root / "photos.arrow"), **ON_ACCESS)


def lmdb(root: Path) -> Dataset:
    import lmdb as store

    if not (root / "photos.lmdb").exists():
        with store.open(str(root / "photos.lmdb"), map_size=1 << 32) as opened, opened.begin(write=True) as transaction:
            for name, content in stored(root):
                transaction.put(name.encode(), content)
    return LMDBImages(root=str(root / "photos.lmdb"), **ON_ACCESS)


def prepared(root: Path) -> Dataset:
    if not (root / "photos.npy").exists():
        images = folder(root)
        convert(images, images.split("all"), root / "photos.npy")
    return ArrayFile(root=str(root / "photos.npy"))


def array(root: Path) -> Dataset:
    file = root / "array.npy"
    if not file.exists():
        count = len(stored(root))
        written = np.lib.format.open_memmap(file, "w+", np.float32, (count, *SHAPE))
        for first in range(0, count, 1000):
            part = written[first : first + 1000]
            part[:] = np.random.default_rng(first).standard_normal(part.shape, np.float32)
    return ArrayFile(root=str(file), codec=None)


def online(root: Path) -> Dataset:
    return ImageFolder(root=str(root / "photos"), codec=autoencoder(root), **ON_ACCESS)


def cached(root: Path) -> Dataset:
    latents = root / "latents"
    if not latents.exists():
        latents.mkdir()
        prepared(root)
        few = ArrayFile(root=str(cut(root)), held_out=0.05)
        plan = encoding.planned(few, autoencoder(root), {}, {})
        encoding.encode_shards(latents, plan, few, autoencoder(root))
        encoding.finished(latents, plan, few)
    return Latents(root=str(latents), codec=autoencoder(root))


def cut(root: Path) -> Path:
    """Return a file of the images that the autoencoder encodes."""
    np.save(root / "few.npy", np.load(root / "photos.npy", mmap_mode="r")[:ENCODED])
    return root / "few.npy"


def autoencoder(root: Path) -> AutoencoderCodec:
    """Return a small random autoencoder of the architecture of Stable Diffusion's, a quarter of its width."""
    from diffusers import AutoencoderKL

    if not (root / "vae").exists():
        torch.manual_seed(0)
        blocks = {"down_block_types": ("DownEncoderBlock2D",) * 4, "up_block_types": ("UpDecoderBlock2D",) * 4}
        AutoencoderKL(
            **blocks, block_out_channels=(32, 64, 128, 128), latent_channels=4, layers_per_block=2
        ).save_pretrained(root / "vae")
    return AutoencoderCodec(directory=str(root / "vae"))


KINDS: dict[str, Callable[[Path], Dataset]] = {
    "folder": folder,
    "random_crop": random_crop,
    "zip": zipped,
    "tar": tars,
    "parquet": parquet,
    "arrow": arrow,
    "lmdb": lmdb,
    "npy": prepared,
    "array": array,
    "online": online,
    "cached": cached,
}


def stored(root: Path) -> list[tuple[str, bytes]]:
    files = sorted((root / "photos").rglob("*.jpg"))
    return [(file.relative_to(root / "photos").as_posix(), file.read_bytes()) for file in files]


def table(root: Path):
    import pyarrow as pa

    return pa.table({"image": [{"bytes": content, "path": name} for name, content in stored(root)]})


def measure(kind: str, root: Path, read: int) -> None:
    """Print the line of one kind."""
    torch.set_num_threads(1)
    Digits().split("train").batch(torch.arange(BATCH))  # what reading loads
    torch.nn.functional.interpolate(torch.zeros(1, 3, 8, 8), scale_factor=2.0)
    before = memory()
    began = time.perf_counter(), time.process_time()
    dataset = KINDS[kind](root)
    images = examples_of(dataset, "train")
    examples_of(dataset, "test")
    start = time.perf_counter() - began[0], time.process_time() - began[1]
    order = torch.randperm(len(images), generator=torch.Generator().manual_seed(0))
    batches = order.repeat(-(-read // len(order)))[:read].split(BATCH)
    with torch.no_grad():
        visit(dataset, images, batches[0])
        began = time.process_time()
        for indices in batches:
            visit(dataset, images, indices)
    rate = read / (time.process_time() - began)
    held = (memory() - before) / 1e6
    print(f"| {kind} | {start[0]:.2f} | {start[1]:.2f} | {held:.0f} | {rate:,.0f} |", flush=True)


def visit(dataset: Dataset, images: ImageSource, indices: Tensor) -> None:
    """Make x of some examples as a training step does."""
    draws = KeyedRandom(0, indices)
    codec_of(dataset).draw(images.drawn(draws).batch(indices)[0], draws)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("kinds", nargs="*", help=", ".join(KINDS))
    parser.add_argument("--count", type=int, default=20_000)
    parser.add_argument("--read", type=int, default=4096, help="images that are read; 256 through the autoencoder")
    parser.add_argument("--line", nargs=2, metavar=("KIND", "PLACE"), help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.line:
        kind, place = given.line
        measure(kind, Path(place), given.read)
        return
    with TemporaryDirectory() as place:
        os.environ["MEZZOTINT_CACHE"] = f"{place}/cache"
        root = Path(place)
        write_files(root / "photos", given.count)
        print(f"{given.count:,} images; start in seconds of clock and of CPU, memory in MB, images a second")
        print("| stored as | start, clock | start, CPU | memory | images/s |\n|---|---|---|---|---|", flush=True)
        for kind in given.kinds or KINDS:
            for source in KINDS[kind](root).sources():
                prepare_source(source)
            read = min(given.read, 256) if kind == "online" else given.read
            subprocess.run([sys.executable, __file__, "--line", kind, place, "--read", str(read)], check=True)


if __name__ == "__main__":
    main()
