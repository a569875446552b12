"""`mezzotint sample run=DIR`: a grid, a film strip, a GIF and, with save=, image files."""

import sys
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from mezzotint.app.assembly.compatibility import check_guidance
from mezzotint.app.assembly.dry_run import FIRST_LEVELS, rehearse_sampling
from mezzotint.app.assembly.parts import build_sampling, codec_of_job
from mezzotint.app.config.job import Job
from mezzotint.app.config.resolve import refuse_editing, settle
from mezzotint.app.launch.hydra_hooks import in_sweep
from mezzotint.app.results import classes
from mezzotint.app.results.classes import read as runs_data
from mezzotint.app.results.conditions import planned
from mezzotint.app.results.labels import LabelRequest, requested_labels
from mezzotint.app.results.run_folders import existing, other_step
from mezzotint.app.results.sample_files import OF_DATA, OF_IMAGES
from mezzotint.app.results.samples import SHOWN, Order, check_place, order, own_folder
from mezzotint.app.terminal import display_path
from mezzotint.atomic import atomic_path
from mezzotint.data import Codec
from mezzotint.diffusion import Denoiser
from mezzotint.errors import ConfigError
from mezzotint.figures import as_frames, as_images, film_strip, gif, grid, table_as_images
from mezzotint.generation import ConditionPlan, SampleGenerator, stored_values
from mezzotint.generation.cuda_graphs import graphed
from mezzotint.instantiate.build import DENOISER, build, targets
from mezzotint.progress import bar
from mezzotint.runs.load import load

if TYPE_CHECKING:
    from PIL.PngImagePlugin import PngInfo

FILM = 8  # images in a film strip
FRAMED = 16  # videos or volumes in an animation
SMALL = 64  # pixels: of images up to this side a strip holds every frame


def main(config: Any) -> None:
    job = settle(config, without=("metrics", "extractor", "callbacks", "logger", "optimizer", "ema", "objective"))
    refuse_editing(job)
    directory = existing(job)
    check_place(directory, job, in_sweep())
    _, wrong = classes.opened(directory, job)
    if wrong:
        print(f"{wrong}; the samples show what the run was trained on", file=sys.stderr)
    for path in draw(directory, job, announce=True):
        print(display_path(path))


def draw(directory: Path, job: Job, announce: bool = False) -> list[Path]:
    """Sample from a run and write the images below its samples/, or where out= says; return the paths.

    Args:
        announce: name the settings that follow from the device, unless it is the CPU.

    Raises:
        ConfigError: nothing can be written there, files of the kind that save= names cannot hold the images, or the run
            has no such class.
    """
    asked, generator = prepared(directory, job)
    if announce and generator.device.type != "cpu":
        hardware = build(job.hardware, "hardware")
        print(hardware.choices(generator.denoise.network, training=False), file=sys.stderr)
    stem, n = asked.stem, asked.n
    stem.parent.mkdir(parents=True, exist_ok=True)
    shown: list[Tensor] = []
    kinds = OF_IMAGES if draws_images(job) else OF_DATA
    with kinds[job.save](stem) as files, bar("drawing", n) as advance:
        first = 0
        for images, labels in generator.batches(0, n, advance):
            if sum(map(len, shown)) < SHOWN:
                shown.append(images)
            index = torch.arange(first, first := first + len(images))
            files.add(images, labels, stored_values(generator.conditions, index) if generator.conditions else {})
    picture = stem.with_name(f"{stem.name}.png")
    asked = replace(asked, feet=asked.feet or captions(generator.conditions, min(n, SHOWN)))
    write_grid(picture, torch.cat(shown)[:SHOWN], asked, generator.codec)
    moving = write_frames(stem, torch.cat(shown)[:FRAMED], generator.codec)
    return [picture, *write_films(stem, generator, min(n, FILM)), *moving, *files.paths]


def prepared(directory: Path, job: Job) -> tuple[Order, SampleGenerator]:
    """Check everything that can be refused before sampling, then read the weights. Raises ConfigError."""
    check_place(directory, job)
    check_save(job)
    job = replace(job, checkpoint=other_step(directory, job.checkpoint))
    names, turns = classes.names(directory, job), turns_of(directory, job)
    asked = order(directory, job, turns, job.data.get("classes") or 0, names)
    if job.save == "png":
        asked = own_folder(asked)
    return asked, open_generator(directory, job, turns=turns)


def draws_images(job: Job) -> bool:
    """Return whether the samples of a run are images."""
    return codec_of_job(job).is_image(job.data["shape"])


def check_save(job: Job) -> None:
    """Refuse files that cannot hold the samples. Raises ConfigError."""
    shape = job.data["shape"]
    if draws_images(job):
        if job.save == "npy":
            raise ConfigError("save=npy is for data that are not images; use save=npz")
        return
    if job.save != "png":
        return
    if len(shape) == 3 and not job.codec:
        raise ConfigError(f"save=png: a file has at most 4 channels, and these samples have {shape[0]}; use save=npz")
    raise ConfigError(f"save=png: the samples of this run, {shape} of numbers, are not images; use save=npz or npy")


def turns_of(directory: Path, job: Job) -> Tensor | None:
    """The labels that samples have in turn: those of label=, or of the classes that had images; None for each once."""
    trained, count = runs_data(directory), job.data.get("classes") or 0
    if asked := LabelRequest.of(job.label):
        return requested_labels(asked, count, trained, classes.names(directory, job))
    if count and trained and 0 in trained.counts and not job.data.get("conditions"):
        return torch.tensor([label for label, images in enumerate(trained.counts) if images])
    return None


def open_generator(
    directory: Path,
    job: Job,
    denoise: Denoiser | None = None,
    turns: Tensor | None = None,
    conditions: ConditionPlan | None = None,
) -> SampleGenerator:
    """The run's weights with the config's sampler, grid, guidance and seed, on the config's hardware.

    Args:
        denoise: the weights, where they have been read before.
        turns: the classes that samples have in turn; by default what label= says, or each class once.
        conditions: of the samples; by default what condition= says, or those of the held-out examples.

    Raises:
        ConfigError: they cannot work together, such as guidance by a label in a run without labels.
    """
    own = targets({name: node for name, node in job.as_dict().items() if name in DENOISER})  # checked before
    packages = {str(path).partition(".")[0] for _, path in own} - {"mezzotint"}
    hardware = build(job.hardware, "hardware")
    denoise = denoise or load(directory, job.weights, allow=sorted(packages), checkpoint=job.checkpoint)
    dataset = build(job.data_node(), "data")
    check_guidance(job, denoise.network, SimpleNamespace(**job.objective))  # as it was trained; not imported
    sampling = build_sampling(job)
    denoise.to(hardware.device)
    hardware.arrange(denoise.network)
    rehearse_sampling(sampling, denoise, dataset, FIRST_LEVELS)
    conditions = conditions or planned(job.condition, dataset)
    if turns is None and (conditions is None or job.label is not None):
        turns = turns_of(directory, job)
    replay = graphed if hardware.graphs else None
    return sampling.of_dataset(denoise, dataset, job.seed, round=turns, conditions=conditions, replay=replay)


def write_grid(path: Path, images: Tensor, asked: Order, codec: Codec) -> None:
    """Write the samples (N, C, *size) as one picture, with the requested labels."""
    feet = asked.feet and asked.feet[: len(images)]
    drawn = grid(as_images(images, codec), columns=asked.columns, labels=feet, heads=asked.heads)
    with atomic_path(path) as part:
        drawn.save(part, pnginfo=noted(head=str(drawn.info.get("head", 0)), foot=str(drawn.info["foot"])))


def captions(conditions: ConditionPlan | None, n: int) -> list[str] | None:
    """Return the texts that the first n samples are conditioned on; None without any."""
    texts = conditions.texts(torch.arange(n)) if conditions else {}
    return [", ".join(each) for each in zip(*texts.values(), strict=True)] if texts else None


def write_frames(stem: Path, images: Tensor, codec: Codec) -> list[Path]:
    """Write an animation of videos, or of volumes slice by slice, (N, C, D, H, W); nothing for other samples."""
    if images.dim() != 5:
        return []
    path = stem.with_name(f"{stem.name}-frames.gif")
    with atomic_path(path) as part:
        gif(as_frames(images, codec), part)
    return [path]


def write_films(stem: Path, generator: SampleGenerator, count: int) -> list[Path]:
    film = generator.film(0, count, frames=24)
    shown = {key: table_as_images(getattr(film, key), generator.codec) for key in ("frames", "estimates")}
    film = replace(film, **shown)
    strip, moving = stem.with_name(f"{stem.name}-film.png"), stem.with_name(f"{stem.name}.gif")
    few = film if max(film.frames.shape[3:]) <= SMALL else film.thinned(10)
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
