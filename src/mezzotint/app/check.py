"""`mezzotint check`: what a config would do and what is wrong with it, without doing it."""

from pathlib import Path
from typing import Any

from mezzotint.app import runs
from mezzotint.app.job import Config, check_groups, resolve
from mezzotint.app.terminal import shown, table
from mezzotint.errors import DataError


def main(config: Any) -> None:
    from mezzotint.app.parts import rehearse

    plain = resolve(config)
    check_groups(plain)
    if "download" in plain["data"]:
        plain["data"]["download"] = False
    parts = rehearse(plain, data=False)
    table([*cost(plain, parts), *data(plain, parts), *place(plain)])


def cost(config: Config, parts: Any) -> list[tuple[str, str]]:
    """What training and evaluation would take, in numbers that do not depend on the machine."""
    from mezzotint.networks.describe import describe

    network = describe(parts.denoiser.network, parts.dataset.shape)
    hardware, batch, budget = parts.hardware, config["batch_size"], config["budget"]
    world = hardware.local * hardware.nodes
    accumulation = hardware.accumulation(batch, world)
    kept = 3 + len(getattr(parts.ema, "halflives", ()))  # weights, the optimiser's two moments, averages
    grid = parts.sampling.grid(parts.denoiser.schedule)
    return [
        ("network", f"{network.parameters:,} parameters, {network.flops / 1e9:.3g} GFLOP an image and forward pass"),
        ("training", f"{budget:,} images in {-(-budget // batch):,} steps of {batch}"),
        ("", f"{3 * network.flops * budget / 1e12:.3g} TFLOP: a backward pass is two forward ones"),
        ("devices", f"{world} x {hardware.device}, {hardware.exact_precision}"),
        ("batch", f"{batch // world // accumulation} images on each device, {accumulation} times a step"),
        ("checkpoint", f"{4 * kept * network.parameters / 1e6:.1f} MB each"),
        ("sampling", f"{type(parts.sampling.sampler).__name__}, {calls(parts, grid)} network calls an image"),
    ]


def data(config: Config, parts: Any) -> list[tuple[str, str]]:
    """The images there are, and what evaluation would make of them; or what is missing."""
    from mezzotint.app.evaluate import MANY

    shape = " x ".join(map(str, parts.dataset.shape))
    try:
        train, real = (len(parts.dataset.split(split)) for split in ("train", config["reference"]))
    except DataError as error:
        return [("data", f"images of {shape}, not here yet: {error}")]
    n = config["n"] or min(real, MANY)
    each = calls(parts, parts.sampling.grid(parts.denoiser.schedule))
    return [
        ("data", f"{train:,} images of {shape}, seen {config['budget'] / train:.3g} times each"),
        ("evaluation", f"{', '.join(config['metrics']) or 'nothing'} of {n:,} images, {n * each:,} network calls"),
    ]


def calls(parts: Any, grid: Any) -> int:
    """Network calls for one image, found by letting the sampler walk its whole grid on tensors without memory."""
    import torch

    from mezzotint.app.parts import on_meta

    generator = parts.sampling.generator(parts.denoiser, parts.dataset.shape, classes=parts.dataset.classes)
    with on_meta():
        generator.draw(torch.arange(1))
    return round(generator.calls)


def place(config: Config) -> list[tuple[str, str]]:
    """Where the run lies or would lie, and its state."""
    directory = Path(config["run"]) if config["run"] else runs.place(config, named=False, many=False)
    state = runs.state(directory) if (directory / "config.yaml").is_file() else "new"
    return [("run", f"{shown(directory)} ({state})")]
