"""What `--help` says, from the folders of configs/ alone: neither Hydra nor torch is imported to say it."""

import shutil
import textwrap
from collections.abc import Iterable, Sequence
from functools import cache
from pathlib import Path

COMMANDS = {
    "train": "train a model, then draw samples and judge them; with no words: handwritten digits, a few minutes",
    "sample": "draw from a run: grid, film strip, GIF, image files",
    "evaluate": "judge samples of a run: metrics with the protocol that gave them",
    "check": "say what a config would do and what is wrong with it, without doing it",
    "runs": "list the runs with their state and best result",
    "sweep": "the runs of a sweep with what tells them apart, states and results; seeds together",
    "plot": "draw schedules, grids, times or weights side by side, or the losses of a run",
}

EXAMPLES = {
    "train": """\
mezzotint train                                        digits, on whatever is there
mezzotint train experiment=emoji_ddpm budget=500000    another preset, fewer images
mezzotint train experiment=cifar10_ddpm debug=tiny     the same with a tiny network and few images, to see it run
mezzotint train -m schedule=linear,cosine seed=0,1     four runs; started again, it skips the finished ones
mezzotint train sweep=seeds                            a ready sweep; hydra/launcher=gpus: one run a GPU at a time
mezzotint train run=runs/latest                        go on where a run stopped
mezzotint train run=runs/latest budget=20000000        train a finished run further""",
    "sample": """\
mezzotint sample run=runs/latest
mezzotint sample run=runs/latest sampler=ddim grid.steps=20 n=64
mezzotint sample run=runs/latest guidance=cfg guidance.scale=2 seed=1
mezzotint sample run=runs/latest n=1000 images=png     beside the grid, one file an image (or images=npz)
mezzotint sample run=runs/latest weights=raw           the weights themselves, not their average""",
    "evaluate": """\
mezzotint evaluate run=runs/latest n=1000
mezzotint evaluate run=runs/latest sampler=heun grid=karras grid.steps=18
mezzotint evaluate -m run=runs/latest sampler=ddim,heun grid.steps=10,20,50""",
    "check": """\
mezzotint check experiment=cifar10_ddpm batch_size=100 hardware.devices=8
mezzotint check run=runs/latest""",
    "runs": """\
mezzotint runs
mezzotint runs paths.runs=/data/runs""",
    "sweep": """\
mezzotint sweep runs/digits_ddpm                       at any time, while it runs too""",
    "plot": """\
mezzotint plot schedule=linear,cosine,rectified        alpha, sigma, log-SNR and SNR by time
mezzotint plot grid=trailing,karras grid.steps=10      where the steps lie, on schedule=cosine
mezzotint plot times=uniform,log_normal schedule=edm   where training asks, by log-SNR
mezzotint plot weight=plain,min_snr,sigmoid            what each noise level counts
mezzotint plot run=runs/latest out=loss.svg            the losses of a run""",
}

WORDS = {
    "experiment=NAME": "a preset of everything below; debug=NAME lays a debugging setting over it",
    "name=NAME": "the run is runs/NAME; by default runs/<experiment>-<digest of the config>",
    "run=DIR": "an existing run; a group beside it replaces that part of its config, key=value edits it",
    "budget= batch_size= seed=": "images to train on, images a step over all devices, seed of all that is random",
    "n=": "images that sample draws, or that evaluate judges",
    "weights=ema|raw": "which weights sample and evaluate use",
    "images=none|png|npz": "what sample writes beside the pictures",
    "group=NAME, group.key=VALUE": "choose a part, set one of its values",
}


@cache
def config_dir() -> Path:
    """The folder of config groups: inside an installed wheel, or beside src/ in a checkout."""
    package = Path(__file__).parents[1]
    inside = package / "configs"
    return inside if inside.is_dir() else package.parents[1] / "configs"


@cache
def groups() -> frozenset[str]:
    """The groups that are parts of a job; experiment, debug and sweep are settings of several of them."""
    names = {folder.name for folder in config_dir().iterdir() if folder.is_dir()}
    return frozenset(names - {"experiment", "debug", "sweep", "hydra"})


def choices(folder: Path) -> list[str]:
    return sorted(file.stem for file in folder.glob("*.yaml"))


def version() -> str:
    from mezzotint import __version__

    return f"mezzotint {__version__}"


def overview() -> str:
    return "\n".join(
        [
            "mezzotint: train, sample and judge denoising diffusion models",
            "",
            "usage: mezzotint COMMAND [key=value ...]",
            "",
            *table(COMMANDS.items()),
            "",
            "mezzotint COMMAND --help   its examples, every key and every choice",
            'mezzotint --version; eval "$(mezzotint -sc install=bash)" completes commands, keys and choices',
        ]
    )


def of(command: str, more: Sequence[str] = ()) -> str:
    """Help of one command; `more` are config folders of the user's own."""
    folders: dict[str, list[str]] = {}
    for place in (config_dir(), *map(Path, more)):
        for folder in sorted(place.iterdir() if place.is_dir() else ()):
            if folder.is_dir() and choices(folder):
                folders[folder.name] = sorted({*folders.get(folder.name, []), *choices(folder)})
    first = {name: folders.pop(name) for name in ("experiment", "debug", "sweep") if name in folders}
    return "\n".join(
        [
            f"mezzotint {command}: {COMMANDS[command]}",
            "",
            f"usage: mezzotint {command} [key=value ...] [-m] [--cfg job] [--config-dir DIR]",
            "",
            *(f"  {line}" for line in EXAMPLES[command].splitlines()),
            "",
            "words",
            *table(WORDS.items()),
            "",
            "groups and their choices",
            *table((name, ", ".join(names)) for name, names in {**first, **folders}.items()),
            "",
            f"mezzotint {command} --cfg job   the whole config, every value of which is a key; nothing else is done",
            "-m   a job for each combination of values with commas: seed=0,1,2 or 'budget=range(1000,5000,1000)'",
            "--config-dir DIR   own groups and experiments, laid out as here",
        ]
    )


def table(rows: Iterable[tuple[str, str]]) -> list[str]:
    rows = list(rows)
    width = max(len(key) for key, _ in rows) + 2
    room = max(shutil.get_terminal_size().columns - width - 2, 40)
    lines = []
    for key, text in rows:
        head, *tail = textwrap.wrap(text, room) or [""]
        lines += [f"  {key:{width}}{head}", *(f"  {'':{width}}{line}" for line in tail)]
    return lines
