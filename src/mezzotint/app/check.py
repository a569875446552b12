"""`mezzotint check`: what a config would do and what is wrong with it, without doing it."""

from pathlib import Path
from typing import Any

from mezzotint.app import runs
from mezzotint.app.job import Config, check_groups, resolve
from mezzotint.app.terminal import shown, table


def main(config: Any) -> None:
    from mezzotint.app.parts import rehearse

    plain = resolve(config)
    check_groups(plain)
    parts = rehearse(plain)
    table([*cost(plain, parts), *place(plain)])


def cost(config: Config, parts: Any) -> list[tuple[str, str]]:
    """What training and evaluation would take, in numbers that do not depend on the machine."""
    from mezzotint.networks.describe import describe

    network = describe(parts.denoiser.network, parts.dataset.shape)
    hardware, batch = parts.hardware, config["batch_size"]
    world = hardware.local * hardware.nodes
    steps = -(-config["budget"] // batch)
    accumulation = hardware.accumulation(batch, world)
    train = len(parts.dataset.split("train"))
    copies = 1 + 2 + len(getattr(parts.ema, "halflives", ()))  # weights, the optimiser's two moments, averages
    grid = parts.sampling.grid(parts.denoiser.schedule)
    return [
        ("data", f"{train:,} images of {' x '.join(map(str, parts.dataset.shape))} to train on"),
        ("network", f"{network.parameters:,} parameters, {network.flops / 1e9:.3g} GFLOP an image and forward pass"),
        (
            "training",
            f"{config['budget']:,} images in {steps:,} steps of {batch}, {config['budget'] / train:.4g} epochs",
        ),
        ("", f"about {3 * network.flops * config['budget'] / 1e15:.3g} PFLOP"),
        ("devices", f"{world} x {hardware.device}, {hardware.exact_precision}"),
        ("batch", f"{batch // world // accumulation} images on each device, {accumulation} times a step"),
        ("checkpoint", f"{4 * copies * network.parameters / 1e6:.1f} MB each"),
        ("sampling", f"{type(parts.sampling.sampler).__name__}, {calls(parts, grid)} network calls an image"),
        ("evaluation", judged(config, parts, calls(parts, grid))),
    ]


def calls(parts: Any, grid: Any) -> int:
    """Network calls for one image, found by letting the sampler walk its whole grid on tensors without memory."""
    import torch

    from mezzotint.app.parts import on_meta

    generator = parts.sampling.generator(parts.denoiser, parts.dataset.shape, classes=parts.dataset.classes)
    with on_meta():
        generator.draw(torch.arange(1))
    return round(generator.calls)


def judged(config: Config, parts: Any, each: int) -> str:
    from mezzotint.app.evaluate import MANY

    n = config["n"] or min(len(parts.dataset.split(config["reference"])), MANY)
    names = ", ".join(config["metrics"]) or "nothing"
    return f"{names} of {n:,} images, {n * each:,} network calls"


def place(config: Config) -> list[tuple[str, str]]:
    """Where the run lies or would lie, and its state."""
    directory = Path(config["run"]) if config["run"] else runs.place(config, named=False, many=False)
    state = runs.state(directory) if (directory / "config.yaml").is_file() else "new"
    return [("run", f"{shown(directory)} ({state})")]
