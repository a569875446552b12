"""Images per second that latents can be trained on: encoded in every step, and drawn from a folder of moments.

    python scripts/latent_speed.py latents [steps]

The folder is one that `mezzotint encode` wrote, with autoencoder and images at their places. Prints a line for each
way, with the peak memory of the process so far.
"""

import resource
import sys
import time
from collections.abc import Callable
from pathlib import Path

from mezzotint.app.config.latent_data import check_trust
from mezzotint.data import Codec, DataModule, Latents
from mezzotint.data.dataset import Dataset
from mezzotint.data.latents.manifest import read
from mezzotint.instantiate.build import build
from mezzotint.randomness import KeyedRandom

BATCH = 64


def rate(data: Dataset, codec: Codec, steps: int) -> float:
    """Return the images per second at which batches become x, after one batch."""
    batches = DataModule(data, BATCH, seed=0)
    batches.setup()
    feed = iter(batches.train_dataloader())

    def step() -> None:
        batch = next(feed)
        codec.draw(batch["image"], KeyedRandom(0, batch["index"]))

    step()
    return BATCH * steps / seconds(lambda: [step() for _ in range(steps)])


def seconds(work: Callable[[], object]) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def main(folder: str, steps: int = 5) -> None:
    manifest = read(Path(folder))
    nodes = {"data": dict(manifest.source), "codec": dict(manifest.codec)}
    check_trust(nodes)
    images, codec = build(nodes["data"], "data"), build(nodes["codec"], "codec")
    latents = Latents(root=folder, source=images, classes=images.classes, codec=codec)
    cached = rate(latents, codec, 20 * steps)
    print(f"from the folder       {cached:10,.0f} images/s, {memory():.0f} MB")
    online = rate(images, codec, steps)
    print(f"encoded in every step {online:10,.1f} images/s, {memory():.0f} MB; {cached / online:,.0f} times slower")


def memory() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


if __name__ == "__main__":
    main(sys.argv[1], *map(int, sys.argv[2:3]))
