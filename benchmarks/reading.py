"""Examples per second of CPU time, and memory, of reading 2,000 examples of 3 x 64 x 64 in batches of 64.

    python benchmarks/reading.py npy          # or u8, npz, png; one kind a process, whose memory is measured

Files are written first and lie in the page cache. Reading includes the codec; measuring the moments does not count.
"""

import argparse
import time
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import torch
from PIL import Image

from mezzotint.data import ArrayFile, Dataset, Digits, ImageFolder, codec_of

COUNT, SHAPE, BATCH = 2000, (3, 64, 64), 64


def write(kind: str, folder: Path) -> None:
    random = np.random.default_rng(0)
    pixels = random.integers(0, 256, (COUNT, *SHAPE)).astype(np.uint8)
    match kind:
        case "npy":
            np.save(folder / "data.npy", random.standard_normal((COUNT, *SHAPE), np.float32))
        case "u8":
            np.save(folder / "data.npy", pixels)
        case "npz":
            np.savez_compressed(folder / "data.npz", data=random.standard_normal((COUNT, *SHAPE), np.float32))
        case "png":
            for i, image in enumerate(pixels):
                Image.fromarray(image.transpose(1, 2, 0)).save(folder / f"{i:06d}.png")


def opened(kind: str, folder: Path) -> Dataset:
    if kind == "png":
        return ImageFolder(root=str(folder), shape=SHAPE, held_out=0.0)
    return ArrayFile(root=str(next(folder.iterdir())), held_out=0.0)


def resident() -> float:
    """Return the resident memory of this process in MB."""
    line = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmRSS"))
    return int(line.split()[1]) / 1024


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("kind", choices=("npy", "u8", "npz", "png"))
    kind = parser.parse_args().kind
    torch.set_num_threads(1)
    Digits().split("train").batch(torch.arange(BATCH))  # what reading loads
    with TemporaryDirectory() as place:
        folder = Path(place)
        write(kind, folder)
        before = resident()
        dataset = opened(kind, folder)
        codec, images = codec_of(dataset), dataset.split("train")
        codec.encode(images.batch(torch.arange(BATCH))[0])
        start = time.process_time()
        for indices in torch.randperm(COUNT, generator=torch.Generator().manual_seed(0)).split(BATCH):
            codec.encode(images.batch(indices)[0])
        rate = COUNT / (time.process_time() - start)
        print(f"{kind}: {rate:,.0f} examples/s, {resident() - before:.0f} MB")


if __name__ == "__main__":
    main()
