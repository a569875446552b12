"""`mezzotint sample run=DIR`: pictures of what a run draws: a grid, a film strip, a GIF, and image files if asked."""

import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from mezzotint.app.assembly.compatibility import check_guidance
from mezzotint.app.assembly.parts import build_sampling, rehearse_sampling
from mezzotint.app.config.job import Config, settle
from mezzotint.app.results import classes
from mezzotint.app.results.classes import read as runs_data
from mezzotint.app.results.labels import asked_for
from mezzotint.app.results.run_folders import existing, other_step
from mezzotint.app.results.samples import SHOWN, Order, check_place, order, own_folder
from mezzotint.app.terminal import display_path
from mezzotint.atomic import atomic_path
from mezzotint.diffusion import Denoiser
from mezzotint.errors import ConfigError
from mezzotint.figures import film_strip, gif, grid
from mezzotint.figures.grid_layout import FOOT
from mezzotint.generation import SampleGenerator
from mezzotint.instantiate.build import DENOISER, build, targets
from mezzotint.progress import bar
from mezzotint.runs.load import load

if TYPE_CHECKING:
    from PIL.PngImagePlugin import PngInfo

FILM = 8  # images in a film strip
SMALL = 64  # pixels: of images up to this side a strip holds every frame


def main(config: Any) -> None:
    from hydra.core.hydra_config import HydraConfig

    plain = settle(config, without=("metrics", "extractor", "callbacks", "logger", "optimizer", "ema", "objective"))
    directory = existing(plain)
    check_place(directory, plain, HydraConfig.get().mode.name == "MULTIRUN")
    _, wrong = classes.opened(directory, plain)
    if wrong:
        print(f"{wrong}; drawn is what was trained on", file=sys.stderr)
    for path in draw(directory, plain):
        print(display_path(path))


def draw(directory: Path, config: Config) -> list[Path]:
    """Draw from a run and write what was drawn, below its samples/ or where out= says; the paths.

    Raises:
        ConfigError: nothing can be written there, the images cannot be files of the kind that is asked for, or the run
            has no such class.
    """
    check_place(directory, config)
    channels = config["data"]["shape"][0]
    if config["save"] == "png" and channels > 4:
        raise ConfigError(f"save=png: a file holds 4 channels at most and this run draws {channels}; say save=npz")
    config = config | {"checkpoint": other_step(directory, config["checkpoint"])}
    names, turns = classes.names(directory, config), turns_of(directory, config)
    asked = order(directory, config, turns, config["data"].get("classes") or 0, names)
    if config["save"] == "png":
        asked = own_folder(asked)
    return write_all(asked, open_generator(directory, config, turns=turns), config["save"])


def turns_of(directory: Path, config: Config) -> Tensor | None:
    """The labels that samples have in turn: those of label=, or of the classes that had images; None for each once."""
    trained, count = runs_data(directory), config["data"].get("classes") or 0
    if config["label"] is not None:
        return asked_for(config["label"], count, trained, classes.names(directory, config))
    if count and trained and 0 in trained.counts:
        return torch.tensor([label for label, images in enumerate(trained.counts) if images])
    return None


def open_generator(
    directory: Path, config: Config, denoise: Denoiser | None = None, turns: Tensor | None = None
) -> SampleGenerator:
    """The run's weights with the config's sampler, grid, guidance and seed, on the config's hardware.

    Args:
        denoise: the weights, where they have been read before.
        turns: the classes that samples have in turn; by default what label= says, or each class once.

    Raises:
        ConfigError: they cannot work together, such as guidance by a label in a run without labels.
    """
    own = targets({name: config[name] for name in DENOISER})  # which have been checked
    packages = {str(path).partition(".")[0] for _, path in own} - {"mezzotint"}
    hardware = build(config["hardware"], "hardware")
    denoise = denoise or load(directory, config["weights"], allow=sorted(packages), checkpoint=config["checkpoint"])
    dataset = build(config["data"], "data")
    check_guidance(config, denoise.network, SimpleNamespace(**config["objective"]))  # as it was trained; not imported
    sampling = build_sampling(config)
    denoise.to(hardware.device)
    hardware.arrange(denoise.network)
    rehearse_sampling(sampling, denoise, dataset)
    turns = turns_of(directory, config) if turns is None else turns
    return sampling.generator(denoise, dataset.shape, config["seed"], dataset.classes, round=turns)


def write_all(asked: Order, generator: SampleGenerator, images: str) -> list[Path]:
    stem, n = asked.stem, asked.n
    stem.parent.mkdir(parents=True, exist_ok=True)
    paths = []
    first: list[Tensor] = []
    with bar("drawing", n) as advance:
        batches = keep(generator.batches(0, n, advance), first)
        if images == "png":
            paths.append(write_files(stem, batches))
        elif images == "npz":
            paths.append(write_npz(stem.with_name(f"{stem.name}.npz"), batches))
        else:
            for _ in batches:
                pass
    picture = stem.with_name(f"{stem.name}.png")
    with atomic_path(picture) as part:
        images_shown = torch.cat(first)[:SHOWN]
        feet = asked.feet and asked.feet[: len(images_shown)]
        drawn = grid(images_shown, columns=asked.columns, labels=feet, heads=asked.heads)
        drawn.save(part, pnginfo=noted(head=str(drawn.info.get("head", 0)), foot=str(FOOT if feet else 0)))
    return [picture, *write_films(stem, generator, min(n, FILM)), *paths]


def keep(batches: Iterator[Any], first: list[Tensor]) -> Iterator[Any]:
    """Pass batches on, keeping the images that the grid shows."""
    for images, labels in batches:
        if sum(map(len, first)) < SHOWN:
            first.append(images)
        yield images, labels


def write_films(stem: Path, generator: SampleGenerator, count: int) -> list[Path]:
    film = generator.film(0, count, frames=24)
    strip, moving = stem.with_name(f"{stem.name}-film.png"), stem.with_name(f"{stem.name}.gif")
    few = film if max(generator.shape[1:]) <= SMALL else film.thinned(10)
    with atomic_path(strip) as part:
        film_strip(few.frames, few.estimates).save(
            part, pnginfo=noted(noise=" ".join(f"{share:.4g}" for share in few.noise))
        )
    with atomic_path(moving) as part:
        gif(film.frames, part)
    return [strip, moving]


def noted(**texts: str) -> "PngInfo":
    """Texts inside a picture file, for the report: noise in each frame, pixels above and below images."""
    from PIL.PngImagePlugin import PngInfo

    info = PngInfo()
    for key, text in texts.items():
        info.add_text(key, text)
    return info


def write_files(folder: Path, batches: Iterator[Any]) -> Path:
    """One PNG an image, 000000.png on."""
    from PIL import Image

    with atomic_path(folder) as part:
        part.mkdir()
        number = 0
        for images, _ in batches:
            for image in images.permute(0, 2, 3, 1).squeeze(-1).numpy():
                Image.fromarray(image).save(part / f"{number:06d}.png")
                number += 1
    return folder


def write_npz(path: Path, batches: Iterator[Any]) -> Path:
    """`images` uint8 (N, H, W, C), and `labels` int64 (N,) where the run has classes."""
    import numpy as np

    images, labels = zip(*batches, strict=True)
    arrays = {"images": torch.cat(images).permute(0, 2, 3, 1).numpy()}
    if labels[0] is not None:
        arrays["labels"] = torch.cat(labels).numpy()
    with atomic_path(path) as part:
        np.savez_compressed(part, **arrays)
    return path
