"""`mezzotint plot run=DIR ...`: pictures of a run: its losses, and what it draws while one or two settings change.

The noise is that of the same numbered samples everywhere, so what differs between two images is what was changed.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from mezzotint.app.commands import sample
from mezzotint.app.commands.plot_request import PlotRequest, parse
from mezzotint.app.config.arguments import SAVED, addable, at_home, own_configs, quoted
from mezzotint.app.config.choices import built_choice
from mezzotint.app.config.compose import compose_from_run, trust_of_run
from mezzotint.app.config.job import Job
from mezzotint.app.config.resolve import settle
from mezzotint.app.help import choices, config_dir
from mezzotint.app.launch import hydra_hooks
from mezzotint.app.results import classes, run_folders
from mezzotint.app.results.figure_files import FORMATS, paths, saved, writable, write
from mezzotint.data import Codec
from mezzotint.errors import ConfigError
from mezzotint.instantiate.build import build, build_denoiser
from mezzotint.instantiate.locate import did_you_mean
from mezzotint.instantiate.trust import current, vouch
from mezzotint.progress import bar
from mezzotint.runs import RunDir

if TYPE_CHECKING:
    from mezzotint.generation import SampleGenerator

UNUSED = (
    "metrics",
    "extractor",
    "callbacks",
    "logger",
    "optimizer",
    "ema",
    "objective",
    "time_distribution",
    "loss_weight",
    "loss",
)
NEAR = 3  # training images below each drawn one
STILL, SMOOTH = 12, 48  # frames of a film strip, and of a GIF at least

Picture = Callable[[Path, str], object]  # writes itself to a file of a format


def main(words: Sequence[str]) -> None:
    """Draw a run and print where the pictures are."""
    asked = parse(words)
    films = (".gif",) if asked.kind == "film" else ()
    files = paths(asked.own.get("out"), (*films, *FORMATS))
    home = asked.runs[0] if len(asked.runs) == 1 else asked.runs[0].resolve().parent
    files = files or [home / "plots" / f"{asked.name}.png"]
    writable(files)
    try:
        picture = DRAWN[asked.kind](asked)
    except ValueError as error:
        raise ConfigError(str(error)) from error
    write(files, picture)


# ---------------------------------------------------------------------------------------------------- what can be drawn


def losses(asked: PlotRequest) -> Picture:
    from mezzotint.figures import plot_loss

    return saved(plot_loss(*asked.runs))


def levels(asked: PlotRequest) -> Picture:
    from mezzotint.figures import plot_loss_by_level

    (run,) = asked.runs
    config = RunDir(run).config()
    schedule = build_denoiser(config, "meta").schedule
    return saved(plot_loss_by_level(run, schedule, build(config.get("time_distribution"), "time_distribution")))


def samples(asked: PlotRequest) -> Picture:
    from mezzotint.figures import plot_matrix, table_as_images

    numbers = asked.numbers(5 if len(asked.swept) > 1 else 10)
    drawn = list(generators(asked))
    with bar("drawing", len(numbers) * len(drawn)) as advance:
        images = torch.stack([generator.chosen(numbers, advance)[0] for _, generator in drawn])
    (down, ys), (beside, zs) = [*asked.swept.items(), ("", [""]), ("", [""])][:2]
    calls = [generator.calls for _, generator in drawn]
    ys = with_calls(ys, [calls[i * len(zs) : (i + 1) * len(zs)] for i in range(len(ys))])
    table = table_as_images(images, drawn[0][1].codec).unflatten(0, (len(ys), len(zs)))
    rows, columns = {down: ys}, columns_of(drawn[0][1], numbers, classes.names(asked.runs[0], drawn[0][0]))
    return saved(plot_matrix(table, rows, columns, {beside: zs}) if beside else plot_matrix(table[:, 0], rows, columns))


def interpolation(asked: PlotRequest) -> Picture:
    from mezzotint.figures import plot_matrix, table_as_images
    from mezzotint.generation import interpolate

    ((_, generator),) = generators(asked)
    if "samples" in asked.own:
        numbers = asked.numbers(0)
        if len(numbers) % 2:
            raise ConfigError(f"samples={asked.own['samples']}: give both ends of each path, such as samples=0,10,3,13")
        pairs = list(zip(numbers[::2], numbers[1::2], strict=True))
    else:
        apart = generator.classes or 1  # one class at both ends
        firsts = [i if generator.classes else 2 * i for i in range(asked.number("n", 6))]
        pairs = [(first, first + apart) for first in firsts]
    points = asked.number("points", 9, least=2)
    with bar("drawing", len(pairs) * points) as advance:
        images, _ = interpolate(generator, pairs, points, advance)
    rows = {"samples": [f"{first} to {last}" for first, last in pairs]}
    share = {"share of the way": [f"{i / (points - 1):.2g}" for i in range(points)]}
    return saved(plot_matrix(table_as_images(images, generator.codec), rows, share))


def neighbours(asked: PlotRequest) -> Picture:
    from mezzotint.figures import as_images, plot_neighbours, table_as_images
    from mezzotint.metrics import find_neighbours
    from mezzotint.metrics.neighbours.search import pixels

    numbers = asked.numbers(10)
    name, known = asked.own.get("features", "pixels"), ["pixels", *choices(config_dir() / "extractor")]
    if name not in known:
        raise ConfigError(f"features={name}: no such choice{did_you_mean(name, known)} ({', '.join(known)})")
    ((job, generator),) = generators(asked)
    dataset = build(job.data_node(), "data")
    features = pixels if name == "pixels" else extractor(name, dataset.shape, generator.codec)
    training = dataset.split("train")
    with bar("drawing", len(numbers)) as advance:
        drawn, _ = generator.chosen(numbers, advance)
    with bar("looking through the training images", len(training)) as advance:
        found = find_neighbours(drawn, training, min(NEAR, len(training) - 1), features, advance)
    near = training.batch(found.index.flatten())[0].unflatten(0, tuple(found.index.shape))
    codec = generator.codec
    return saved(plot_neighbours(as_images(drawn, codec), table_as_images(near, codec), found))


def film(asked: PlotRequest) -> Picture:
    from mezzotint.figures import gif, plot_film, table_as_images

    numbers = asked.numbers(4)
    ((_, generator),) = generators(asked)
    moving = ".gif" in asked.own.get("out", "")
    frames = asked.number("frames", STILL, least=2)
    taken = generator.film_of(numbers, max(frames, SMOOTH) if moving else frames)
    frames_shown, estimates = (table_as_images(part, generator.codec) for part in (taken.frames, taken.estimates))
    taken = replace(taken, frames=frames_shown, estimates=estimates)
    still = saved(plot_film(taken.thinned(frames), numbers))
    return lambda file, kind: gif(taken.frames, file) if kind == "gif" else still(file, kind)


DRAWN: dict[str, Callable[[PlotRequest], Picture]] = {
    "loss": losses,
    "levels": levels,
    "samples": samples,
    "interpolation": interpolation,
    "neighbours": neighbours,
    "film": film,
}

# ------------------------------------------------------------------------------------------------ with what it is drawn


def generators(asked: PlotRequest) -> Iterator[tuple[Job, "SampleGenerator"]]:
    """A generator for each combination of values, the last key changing fastest; weights are read once."""
    (run,) = asked.runs
    read: dict[str, Any] = {}
    for job in list(jobs(asked, run)):
        weights = str((job.weights, job.checkpoint))
        generator = sample.open_generator(run, job, read.get(weights))
        read[weights] = generator.denoise
        yield job, generator


def jobs(asked: PlotRequest, run: Path) -> Iterator[Job]:
    """Yield the job of `mezzotint sample run=DIR` for each combination of values."""
    from hydra import compose, initialize_config_dir
    from hydra.core.global_hydra import GlobalHydra

    saved = compose_from_run(run, "sample", asked.overrides)
    hydra_hooks.find_plugins()
    own = ",".join(quoted(f"file://{folder}") for folder in own_configs(asked.flags))
    fixed = [*guided(asked, run), *asked.overrides, f"hydra.searchpath=[{own}]"]
    GlobalHydra.instance().clear()
    with initialize_config_dir(str(config_dir()), version_base="1.3"):
        for values in product(*asked.swept.values()):
            words = [*fixed, *(f"{key}={value}" for key, value in zip(asked.swept, values, strict=True))]
            composed = compose(SAVED, [addable(at_home(word)) for word in words])
            vouch(trust_of_run(current(), composed, saved, words).paths)
            job = replace(settle(composed, without=UNUSED), run=str(run))
            run_folders.existing(job)
            yield job


def guided(asked: PlotRequest, run: Path) -> list[str]:
    """guidance.scale=1,2,4 alone means classifier-free guidance, where the run itself has none."""
    keys = [*(word.partition("=")[0] for word in asked.overrides), *asked.swept]
    named = any(key.startswith("guidance.") for key in keys) and "guidance" not in keys
    target = str(RunDir(run).config()["guidance"]["_target_"])
    return ["guidance=cfg"] if named and target.endswith((".no_guidance", ".ClipIfEpsilon")) else []


def extractor(name: str, shape: tuple[int, ...], codec: Codec) -> Callable[[Tensor], Tensor]:
    """Return the extractor whose features are compared."""
    chosen = built_choice("extractor", name, {}).resolve(tuple(shape), codec)
    if chosen is None:
        raise ConfigError(f"features={name}: it does not fit images of {shape}; features=pixels does")
    return chosen


def columns_of(generator: "SampleGenerator", numbers: Sequence[int], names: Sequence[str]) -> dict[str, list[Any]]:
    labels = generator.labels(torch.tensor(numbers))
    if labels is None:
        return {"sample": list(numbers)}
    return {"class": [names[label] if 0 <= label < len(names) else label for label in labels.tolist()]}


def with_calls(values: Sequence[str], calls: Sequence[Sequence[float]]) -> list[str]:
    """The rows' values, with the network calls an image where they differ and the values do not say it."""
    numbers = [f"{row[0]:g}" for row in calls]
    if any(len(set(row)) > 1 for row in calls) or len(set(numbers)) == 1 or list(values) == numbers:
        return list(values)
    return [f"{value}\n{number} calls" for value, number in zip(values, numbers, strict=True)]
