"""`mezzotint sample run=DIR`: pictures of what a run draws: a grid, a film strip, a GIF, and image files if asked."""

from collections.abc import Iterable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from mezzotint import runfiles
from mezzotint.app.config.job import Config, settle
from mezzotint.app.config.pairs import check_guidance
from mezzotint.app.config.parts import build_sampling, rehearse_sampling
from mezzotint.app.records.runs import existing, mark, other_step, writable
from mezzotint.app.terminal import shown
from mezzotint.build import DENOISER, build, load, targets
from mezzotint.diffusion import Denoiser
from mezzotint.errors import ConfigError
from mezzotint.generation import Generator, film_strip, gif, grid
from mezzotint.progress import bar
from mezzotint.whole import whole

if TYPE_CHECKING:
    from PIL.PngImagePlugin import PngInfo

LOOK = 64  # images, where n is not given
FILM = 8  # images in a film strip
SMALL = 64  # pixels: of images up to this side a strip holds every frame
SHOWN = 256  # images in a grid, at most


def main(config: Any) -> None:
    plain = settle(config, without=("metrics", "extractor", "callbacks", "logger", "optimizer", "ema", "objective"))
    directory = existing(plain)
    for path in draw(directory, plain):
        print(shown(path))


def draw(directory: Path, config: Config) -> list[Path]:
    """Draw from a run and write what was drawn below its samples/; the paths.

    Raises:
        ConfigError: nothing can be written there, or the images cannot be files of the kind that is asked for.
    """
    folder = directory / "samples"
    runfiles.keep_inside(directory)
    try:
        writable(folder)
    except ConfigError:
        raise ConfigError(f"{folder} cannot be written, and samples lie in their run: copy the run first") from None
    channels = config["data"]["shape"][0]
    if config["images"] == "png" and channels > 4:
        raise ConfigError(f"images=png: a file holds 4 channels at most and this run draws {channels}; say images=npz")
    config = config | {"step": other_step(directory, config["step"])}
    generator = open_generator(directory, config)
    return write_all(folder / name(config), generator, config["n"] or LOOK, config["images"])


def open_generator(
    directory: Path, config: Config, denoise: Denoiser | None = None, turns: Tensor | None = None
) -> Generator:
    """The run's weights with the config's sampler, grid, guidance and seed, on the config's hardware.

    Args:
        denoise: the weights, where they have been read before.
        turns: the classes that samples have in turn; by default each once.

    Raises:
        ConfigError: they cannot work together, such as guidance by a label in a run without labels.
    """
    own = targets({name: config[name] for name in DENOISER})  # which have been checked
    packages = {str(path).partition(".")[0] for _, path in own} - {"mezzotint"}
    hardware = build(config["hardware"], "hardware")
    denoise = denoise or load(directory, config["weights"], allow=sorted(packages), step=config["step"])
    dataset = build(config["data"], "data")
    check_guidance(config, denoise.network, SimpleNamespace(**config["objective"]))  # as it was trained; not imported
    sampling = build_sampling(config)
    denoise.to(hardware.device)
    hardware.arrange(denoise.network)
    rehearse_sampling(sampling, denoise, dataset)
    return sampling.generator(denoise, dataset.shape, config["seed"], dataset.classes, round=turns)


def name(config: Config) -> str:
    """A file name that tells sampler, grid and steps; the digits behind it tell apart what else differs."""
    parts = [config[key]["_target_"].rpartition(".")[2].lower() for key in ("sampler", "grid")]
    steps = config["grid"].get("steps")
    parts += [str(steps)] if steps else []
    parts += [f"seed{config['seed']}", *([f"step{config['step']}"] if config["step"] else [])]
    return f"{'-'.join(parts)}-{mark(config, ('sampler', 'grid', 'guidance', 'seed', 'weights'))}"


def write_all(stem: Path, generator: Generator, n: int, images: str) -> list[Path]:
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
    columns = generator.classes if 5 <= generator.classes <= 16 else None  # a class in each column
    with whole(picture) as part:
        grid(torch.cat(first)[:SHOWN], columns=columns).save(part)
    return [picture, *write_films(stem, generator, min(n, FILM)), *paths]


def keep(batches: Iterator[Any], first: list[Tensor]) -> Iterator[Any]:
    """Pass batches on, keeping the images that the grid shows."""
    for images, labels in batches:
        if sum(map(len, first)) < SHOWN:
            first.append(images)
        yield images, labels


def write_films(stem: Path, generator: Generator, count: int) -> list[Path]:
    film = generator.film(0, count, frames=24)
    strip, moving = stem.with_name(f"{stem.name}-film.png"), stem.with_name(f"{stem.name}.gif")
    few = film if max(generator.shape[1:]) <= SMALL else film.thinned(10)
    with whole(strip) as part:
        film_strip(few.frames, few.estimates).save(part, pnginfo=noted(few.noise))
    with whole(moving) as part:
        gif(film.frames, part)
    return [strip, moving]


def noted(noise: Iterable[float]) -> "PngInfo":
    """The share of noise in each frame, as a text inside the picture file, for the report."""
    from PIL.PngImagePlugin import PngInfo

    info = PngInfo()
    info.add_text("noise", " ".join(f"{share:.4g}" for share in noise))
    return info


def write_files(folder: Path, batches: Iterator[Any]) -> Path:
    """One PNG an image, 000000.png on."""
    from PIL import Image

    with whole(folder) as part:
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
    with whole(path) as part:
        np.savez_compressed(part, **arrays)
    return path
