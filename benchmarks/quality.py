"""Quality after equal minutes of training: our recipe, variants of it, and the trainers of other projects.

    python benchmarks/quality.py [--minutes 5] [--threads 2] [--n 2000] [--steps 50] [--root FOLDER]
    python benchmarks/quality.py --contenders mezzotint optimizer.lr=1e-3 "network.width=32 batch_size=32"

Fashion-MNIST, 28 x 28. Each contender trains in a process of its own for so many minutes of wall time, one after the
other on the same threads, evaluates nothing meanwhile, and then draws n images in --steps steps of DDIM from its
average of the weights, which is not counted. A contender made of arguments of `mezzotint train` is a variant of our
recipe.

All are judged alike: the Frechet distance of n samples to the 10,000 test images over the 64 features of a small
classifier, which is trained here on the 60,000 training images with a fixed seed (about 90 % of the test images right),
with that of n training images beside. Own features are used because those of ImageNet say little of grey garments.
They are comparable within one table only.

The others have the settings that their projects call defaults: denoising-diffusion-pytorch those of its README (U-Net
of dim_mults (1, 2, 4, 8), batch 16, Adam 8e-5, EMA 0.995 every 10 steps), with dim=32 for 28 x 28 padded to 32;
diffusers those of its unconditional example (AdamW 1e-4 and 500 steps of warm-up, batch 16, linear schedule, EMA), with
a network of our layout, since its own has 114 million parameters.
"""

import argparse
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import torch
from rich.console import Console
from rich.table import Table
from torch import Tensor, nn
from torch.nn import functional

from mezzotint.data import FashionMNIST
from mezzotint.metrics.gaussian import Moments, frechet_distance

SIDE = 28  # pixels
PADDED = (SIDE + 4, 2)  # side of images for networks that halve them three times, and the border


# -------------------------------------------------------------------------------------------------------- contenders


def ours(options: argparse.Namespace, folder: Path, variant: tuple[str, ...] = ()) -> dict[str, float]:
    """Train by the command line: a short run measures the speed, which sets the budget of the run that counts."""
    common = [
        "experiment=fashion_mnist_ddpm", f"data.root={options.root}", f"paths.runs={folder}", "metrics=[]",
        "callbacks=minimal", f"hardware.threads={options.threads}", "evaluation_share=null", *variant,
    ]  # fmt: skip
    command(["train", *common, "name=speed", "budget=2560", "n=4", "sampler=ddim", "grid.steps=2"])
    speed = training(folder / "speed")["images_per_second"]
    budget = int(speed * options.minutes * 60) // 64 * 64
    command(["train", *common, "name=run", f"budget={budget}", "n=4"])
    command(
        ["sample", f"run={folder / 'run'}", f"n={options.n}", "sampler=ddim", f"grid.steps={options.steps}", "save=npz"]
    )
    (file,) = (folder / "run" / "samples").glob("*.npz")
    with np.load(file) as found:
        np.save(folder / "samples.npy", found["arr_0"] if "arr_0" in found else found["images"])
    return {"images": budget, "seconds": training(folder / "run")["seconds"]}


def training(run: Path) -> dict[str, float]:
    """Seconds and images per second of a run."""
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    return [line["time"] for line in lines if "time" in line][-1]


def command(words: list[str]) -> None:
    subprocess.run([sys.executable, "-m", "mezzotint", *words], check=True, stdout=subprocess.DEVNULL)


def diffusers(options: argparse.Namespace, folder: Path) -> dict[str, float]:
    from diffusers import DDIMScheduler, DDPMScheduler, UNet2DModel
    from diffusers.optimization import get_scheduler
    from diffusers.training_utils import EMAModel

    side, border = PADDED
    network = UNet2DModel(
        sample_size=side, in_channels=1, out_channels=1, block_out_channels=(24, 48, 96), layers_per_block=2,
        down_block_types=("DownBlock2D", "DownBlock2D", "AttnDownBlock2D"),
        up_block_types=("AttnUpBlock2D", "UpBlock2D", "UpBlock2D"), norm_num_groups=8,
    )  # fmt: skip
    schedule = DDPMScheduler(num_train_timesteps=1000)
    average = EMAModel(network.parameters(), decay=0.9999, use_ema_warmup=True, inv_gamma=1.0, power=0.75)
    optimizer = torch.optim.AdamW(network.parameters(), lr=1e-4, betas=(0.95, 0.999), weight_decay=1e-6)
    rate = get_scheduler("cosine", optimizer, num_warmup_steps=500, num_training_steps=10**5)

    def step(images: Tensor) -> None:
        noise, times = torch.randn_like(images), torch.randint(0, 1000, (len(images),))
        loss = functional.mse_loss(network(schedule.add_noise(images, noise, times), times).sample, noise)
        loss.backward()
        nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        optimizer.step()
        rate.step()
        optimizer.zero_grad()
        average.step(network.parameters())

    images, seconds = trained(step, batches(options.root, 16, border), options.minutes)
    average.copy_to(network.parameters())
    sampler = DDIMScheduler.from_config(schedule.config)
    sampler.set_timesteps(options.steps)

    @torch.no_grad()
    def draw(count: int) -> Tensor:
        x = torch.randn(count, 1, side, side)
        for t in sampler.timesteps:
            x = sampler.step(network(x, t).sample, t, x).prev_sample
        return x

    save(draw, options.n, border, folder)
    return {"images": images, "seconds": seconds}


def lucidrains(options: argparse.Namespace, folder: Path) -> dict[str, float]:
    from denoising_diffusion_pytorch import GaussianDiffusion, Unet
    from ema_pytorch import EMA

    side, border = PADDED
    model = GaussianDiffusion(
        Unet(dim=32, dim_mults=(1, 2, 4, 8), channels=1),
        image_size=side,
        timesteps=1000,
        sampling_timesteps=options.steps,
    )
    optimizer = torch.optim.Adam(model.parameters(), lr=8e-5, betas=(0.9, 0.99))
    average = EMA(model, beta=0.995, update_every=10)

    def step(images: Tensor) -> None:
        model((images + 1) / 2).backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()
        average.update()

    images, seconds = trained(step, batches(options.root, 16, border), options.minutes)
    save(lambda count: average.ema_model.sample(batch_size=count) * 2 - 1, options.n, border, folder)
    return {"images": images, "seconds": seconds}


OTHERS: dict[str, Callable[[argparse.Namespace, Path], dict[str, float]]] = {
    "mezzotint": ours,
    "diffusers": diffusers,
    "denoising-diffusion-pytorch": lucidrains,
}


def batches(root: str, size: int, border: int) -> Iterator[Tensor]:
    """Yield random batches of training images, (size, 1, H, W) in [-1, 1], with a border, from a fixed seed."""
    pixels = pictures(root, "train")[0]
    generator = torch.Generator().manual_seed(0)
    while True:
        for rows in torch.randperm(len(pixels), generator=generator).split(size):
            yield functional.pad(pixels[rows].float() / 127.5 - 1, (border,) * 4, value=-1.0)


def trained(step: Callable[[Tensor], None], data: Iterator[Tensor], minutes: float) -> tuple[int, float]:
    """Train for so long; return the images seen and the seconds."""
    images, start = 0, time.perf_counter()
    while time.perf_counter() - start < minutes * 60:
        batch = next(data)
        step(batch)
        images += len(batch)
    return images, time.perf_counter() - start


def save(draw: Callable[[int], Tensor], n: int, border: int, folder: Path) -> None:
    """Write n samples as uint8 (n, H, W, 1), without the border."""
    x = torch.cat([draw(min(100, n - first)) for first in range(0, n, 100)])
    x = x[..., border : border + SIDE, border : border + SIDE]
    np.save(folder / "samples.npy", ((x + 1) * 127.5).round().clamp(0, 255).byte().permute(0, 2, 3, 1).numpy())


# ------------------------------------------------------------------------------------------------------------- judge


def pictures(root: str, split: str) -> tuple[Tensor, Tensor]:
    """Return uint8 images (N, 1, 28, 28) and labels."""
    found = FashionMNIST(shape=(1, SIDE, SIDE), classes=10, root=root, download=False).split(split)
    return found.pixels, found.labels


class Classifier(nn.Module):
    """A small classifier; its 64 features are the input of its last layer."""

    def __init__(self) -> None:
        super().__init__()
        self.features = nn.Sequential(
            nn.Conv2d(1, 32, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2),
            nn.Conv2d(32, 64, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2),
            nn.Flatten(), nn.Linear(64 * 49, 64), nn.ReLU(),
        )  # fmt: skip
        self.last = nn.Linear(64, 10)

    def forward(self, pixels: Tensor) -> Tensor:
        return self.last(self.features(pixels.float() / 127.5 - 1))

    @torch.no_grad()
    def moments(self, pixels: Tensor) -> Moments:
        return Moments.of(torch.cat([self.features(part.float() / 127.5 - 1) for part in pixels.split(500)]))


def classifier(root: str) -> tuple[Classifier, float]:
    """Train it for three epochs; return it with the share of test images that it gets right."""
    torch.manual_seed(0)
    network, (pixels, labels) = Classifier(), pictures(root, "train")
    optimizer = torch.optim.AdamW(network.parameters(), lr=1e-3)
    for _ in range(3):
        for rows in torch.randperm(len(pixels)).split(128):
            loss = functional.cross_entropy(network(pixels[rows]), labels[rows])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    pixels, labels = pictures(root, "test")
    with torch.no_grad():
        guessed = torch.cat([network(part).argmax(1) for part in pixels.split(500)])
    return network, float((guessed == labels).double().mean())


# -------------------------------------------------------------------------------------------------------------- main


def compete(options: argparse.Namespace, name: str, folder: Path) -> dict[str, float]:
    """Run a contender in a process of its own; return what it says of itself."""
    folder.mkdir(parents=True)
    words = ["--minutes", str(options.minutes), "--threads", str(options.threads), "--n", str(options.n)]
    words += ["--steps", str(options.steps)]
    words += ["--root", options.root, "--folder", str(folder), "--contenders", name]
    threads = dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS"), str(options.threads))
    subprocess.run([sys.executable, __file__, *words, "--alone"], check=True, env=os.environ | threads)
    return json.loads((folder / "about.json").read_text())


def alone(options: argparse.Namespace) -> None:
    torch.manual_seed(0)
    torch.set_num_threads(options.threads)
    (name,) = options.contenders
    about = (
        OTHERS[name](options, options.folder) if name in OTHERS else ours(options, options.folder, tuple(name.split()))
    )
    (options.folder / "about.json").write_text(json.dumps(about))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--contenders", nargs="+", default=list(OTHERS), help=f"{', '.join(OTHERS)}, or KEY=VALUE ...")
    parser.add_argument("--minutes", type=float, default=5.0, help="of training")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--n", type=int, default=2000, help="samples of each")
    parser.add_argument("--steps", type=int, default=50, help="of DDIM")
    parser.add_argument("--root", default="data", help="folder of the four original files of Fashion-MNIST")
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--alone", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.alone:
        alone(options)
        return
    options.root = str(Path(options.root).resolve())
    console = Console()
    torch.set_num_threads(options.threads)
    network, right = classifier(options.root)
    real = network.moments(pictures(options.root, "test")[0])
    best = frechet_distance(real, network.moments(pictures(options.root, "train")[0][: options.n]))
    console.print(f"classifier: {right:.1%} of the test images right; {options.n} training images: {best:.2f}")
    table = Table("contender", "images", "images/s", f"Frechet distance, {options.minutes:g} minutes")
    with TemporaryDirectory() as scratch:
        for number, name in enumerate(options.contenders):
            folder = Path(scratch) / str(number)
            about = compete(options, name, folder)
            drawn = torch.from_numpy(np.load(folder / "samples.npy")).permute(0, 3, 1, 2)
            distance = frechet_distance(real, network.moments(drawn))
            speed = about["images"] / about["seconds"]
            table.add_row(name, f"{about['images']:,.0f}", f"{speed:.0f}", f"{distance:.2f}")
            console.print(
                f"{name}: {distance:.3f} after {about['images']:,.0f} images, {about['seconds']:.0f} s", soft_wrap=True
            )
    console.print(table)


if __name__ == "__main__":
    main()
