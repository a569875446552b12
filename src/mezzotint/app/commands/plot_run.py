"""`mezzotint plot run=DIR ...`: pictures of a run: its losses, and what it draws while one or two settings change.

The noise is that of the same numbered samples everywhere, so what differs between two images is what was changed.
"""

import hashlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise, product
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from mezzotint.app.commands import sample
from mezzotint.app.config.arguments import SAVED, addable, at_home, follows, own_configs, quoted, readable
from mezzotint.app.config.choices import built_choice
from mezzotint.app.config.compose import compose_from_run, judging
from mezzotint.app.config.job import Job
from mezzotint.app.config.resolve import settle
from mezzotint.app.config.validate_arguments import check_pair
from mezzotint.app.help import KINDS, choices, config_dir
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

WORDS = ("run", "kind", "out", "n", "samples", "points", "frames", "features")  # every other word is for the config
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


@dataclass(frozen=True)
class PlotRequest:
    """What the words ask for.

    Args:
        kind: of picture, see KINDS.
        own: the words that are not for the run's config.
        overrides: those that are, with one value each.
        swept: those with several values, in the order in which they were given.
        flags: such as --config-dir DIR.
    """

    kind: str
    own: dict[str, str]
    overrides: list[str]
    swept: dict[str, list[str]]
    flags: list[str]

    @property
    def runs(self) -> list[Path]:
        return places(self.own["run"])

    def number(self, key: str, default: int, least: int = 1) -> int:
        text = self.own.get(key, str(default))
        if not text.isdigit() or int(text) < least:
            raise ConfigError(f"{key}={text}: give a whole number, {least} or more")
        return int(text)

    def numbers(self, default: int) -> list[int]:
        """The samples to draw: samples=0,5,7, or the first n."""
        if "samples" not in self.own:
            return list(range(self.number("n", default)))
        words = self.own["samples"].split(",")
        if not all(word.isdigit() for word in words):
            raise ConfigError(f"samples={self.own['samples']}: give the numbers of samples, such as samples=0,5,7")
        return [int(word) for word in words]

    @property
    def name(self) -> str:
        """A file name that tells the picture; the digits behind it tell apart what else differs."""
        own = [f"{key}={word}" for key, word in self.own.items() if key not in ("run", "kind", "out")]
        words = sorted([*self.overrides, *own])
        text = "-".join([self.kind, *("-".join([key, *values]) for key, values in self.swept.items())])
        safe = "".join(letter if letter.isalnum() or letter in "._-" else "_" for letter in text)[:80]
        rest = hashlib.sha256(" ".join(words).encode()).hexdigest()[:6]
        return f"{safe}-{rest}" if words else safe


def main(words: Sequence[str]) -> None:
    """Draw a run and print where the pictures are."""
    asked = read(words)
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


def read(words: Sequence[str]) -> PlotRequest:
    """Take the words apart.

    Raises:
        ConfigError: a word without a value, of another kind of picture, or more keys with commas than it has room for.
    """
    split = [word for word in words if word not in ("-m", "--multirun")]
    flags = [word for last, word in pairwise(["", *split]) if word.startswith("-") or follows(last, word)]
    words = [word for last, word in pairwise(["", *split]) if not (word.startswith("-") or follows(last, word))]
    known = ("--config-dir", "-cd")
    if strange := [word for word in flags if word.startswith("-") and word.partition("=")[0] not in known]:
        raise ConfigError(f"{strange[0]}: plot run=DIR knows --config-dir DIR alone")
    for word in words:
        check_pair(word, many=True, own=own_configs(flags))
    pairs = {key: value for key, _, value in (word.partition("=") for word in words)}
    own = {key: value for key, value in pairs.items() if key in WORDS}
    overrides, swept = unfold([readable(at_home(word)) for word in words if word.partition("=")[0] not in WORDS])
    kind = own.get("kind") or ("samples" if swept or overrides or own.keys() & {"n", "samples"} else "loss")
    if kind not in KINDS:
        raise ConfigError(f"kind={kind}: no such picture{did_you_mean(kind, KINDS)} ({', '.join(KINDS)})")
    room = {"samples": 2}.get(kind, 0)
    if len(swept) > room:
        raise ConfigError(
            f"{', '.join(swept)}: kind={kind} has room for {room} keys with several values; "
            "kind=samples takes two, as rows and as blocks beside each other"
        )
    if kind in ("loss", "levels") and overrides:
        raise ConfigError(f"{overrides[0]}: kind={kind} shows what was trained; only kinds that draw samples change it")
    if len(places(own["run"])) > 1 and kind != "loss":
        raise ConfigError(f"run={own['run']}: kind={kind} shows one run; kind=loss compares several")
    return PlotRequest(kind, own, overrides, swept, flags)


def places(said: str) -> list[Path]:
    """The folders of run=DIR,DIR; or of one whose name has a comma in it."""
    whole = Path(said).expanduser()
    return [whole] if RunDir(whole).exists() else [Path(name).expanduser() for name in said.split(",")]


def unfold(words: Sequence[str]) -> tuple[list[str], dict[str, list[str]]]:
    """The words with one value, and those with several as Hydra reads them: a=1,2 or 'a=range(1,4)'."""
    from hydra.core.override_parser.overrides_parser import OverridesParser

    single, swept = [], {}
    for word, parsed in zip(words, OverridesParser.create().parse_overrides(list(words)), strict=True):
        if parsed.is_sweep_override():
            swept[word.partition("=")[0].lstrip("+")] = [str(value) for value in parsed.sweep_string_iterator()]
        else:
            single.append(word)
    return single, swept


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
            raise ConfigError(f"samples={asked.own['samples']}: give both ends of each way, such as samples=0,10,3,13")
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
            vouch(judging(current(), composed, saved, words).paths)
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
    """What gives the features between which distances are measured."""
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
    told = [f"{row[0]:g}" for row in calls]
    if any(len(set(row)) > 1 for row in calls) or len(set(told)) == 1 or list(values) == told:
        return list(values)
    return [f"{value}\n{number} calls" for value, number in zip(values, told, strict=True)]
