"""`mezzotint check`: what a config would do and what is wrong with it, without doing it."""

from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from mezzotint.app import runs
from mezzotint.app.evaluate import MANY
from mezzotint.app.job import Config, check_groups, resolve
from mezzotint.app.parts import Parts, meet, on_meta, plan_metrics
from mezzotint.app.terminal import shown, table
from mezzotint.errors import DataError
from mezzotint.networks.describe import describe


def main(config: Any) -> None:
    plain = resolve(config)
    check_groups(plain)
    if "download" in plain["data"]:
        plain["data"]["download"] = False
    parts = meet(plain)
    table([*cost(plain, parts), *data(plain, parts), *missing(plain, parts), *place(plain)])


def cost(config: Config, parts: Parts) -> list[tuple[str, str]]:
    """What training and evaluation would take, in numbers that do not depend on the machine."""
    network = describe(parts.denoiser.network, parts.dataset.shape)
    hardware, batch, budget = parts.hardware, config["batch_size"], config["budget"]
    world = hardware.local * hardware.nodes
    accumulation = hardware.accumulation(batch, world)
    kept = 3 + len(getattr(parts.ema, "halflives", ()))  # weights, the optimiser's two moments, averages
    return [
        ("network", f"{network.parameters:,} parameters, {network.flops / 1e9:.3g} GFLOP an image and forward pass"),
        ("training", f"{budget:,} images in {-(-budget // batch):,} steps of {batch}"),
        ("compute", f"{3 * network.flops * budget / 1e12:.3g} TFLOP: a backward pass is two forward ones"),
        ("devices", f"{world} x {hardware.device}, {hardware.exact_precision}"),
        ("batch", f"{batch // world // accumulation} images on each device, {accumulation} times a step"),
        ("checkpoint", f"{4 * kept * network.parameters / 1e6:.1f} MB each"),
        ("sampling", f"{type(parts.sampling.sampler).__name__}, {calls(parts)} network calls an image"),
    ]


def data(config: Config, parts: Parts) -> list[tuple[str, str]]:
    """The images there are, and what evaluation would make of them; or what is missing."""
    shape = " x ".join(map(str, parts.dataset.shape))
    try:
        train, real = (len(parts.dataset.split(split)) for split in ("train", config["reference"]))
    except DataError as error:
        return [("data", f"images of {shape}, not here yet: {error}")]
    n = config["n"] or min(real, MANY)
    each = calls(parts)
    return [
        ("data", f"{train:,} images of {shape}, seen {config['budget'] / train:.3g} times each"),
        ("evaluation", f"{', '.join(config['metrics']) or 'nothing'} of {n:,} images, {n * each:,} network calls"),
    ]


def missing(config: Config, parts: Parts) -> list[tuple[str, str]]:
    """The extractor's weights where they are not to be had; a metric that they do not suit is refused."""
    try:
        plan_metrics(config, parts.dataset.shape)
    except DataError as error:
        return [("weights", f"not here yet: {error}")]
    return []


class Still(nn.Module):
    """Answers zeros, of as many outputs a channel as another network gives: its calls can be counted for nothing."""

    def __init__(self, outputs: int) -> None:
        super().__init__()
        self.outputs = outputs

    def forward(self, x: Tensor, time: Tensor, **_: Any) -> Tensor:
        return x.new_zeros(len(x), self.outputs * x.shape[1], *x.shape[2:])


def calls(parts: Parts) -> int:
    """Network calls for one image, found by letting the sampler walk its whole grid with one pixel."""
    shape = parts.dataset.shape
    outputs = 1
    with on_meta(), torch.no_grad():
        answer = parts.denoiser.network(torch.empty(1, *shape, device="meta"), torch.empty(1, device="meta"))
        outputs = answer.shape[1] // shape[0]
    still = parts.denoiser.using(Still(outputs))
    generator = parts.sampling.generator(still, (1, 1, 1), classes=parts.dataset.classes)
    generator.draw(torch.arange(1))
    return round(generator.calls)


def place(config: Config) -> list[tuple[str, str]]:
    """Where the run lies or would lie, and its state."""
    directory = Path(config["run"]) if config["run"] else runs.place(config, named=False, many=False)
    state = runs.state(directory) if (directory / "config.yaml").is_file() else "new"
    return [("run", f"{shown(directory)} ({state})")]
