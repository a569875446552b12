"""What `--help` says, from the folders of configs/ alone: neither Hydra nor torch is imported to say it."""

import re
import shutil
import textwrap
from collections.abc import Iterable, Sequence
from functools import cache
from pathlib import Path

COMMANDS = {
    "train": "train a model, then draw samples and judge them; with no words: handwritten digits, a few minutes",
    "sample": "draw from a run: grid, film strip, GIF, image files",
    "evaluate": "judge samples of a run, or a folder of images: metrics with the protocol that gave them",
    "compare": "rank evaluations of one protocol, with their errors; refuse others and say in what they differ",
    "stats": "statistics of a dataset for evaluate, computed once; also as a file for other programs",
    "check": "say what a config would do and what is wrong with it, without doing it",
    "runs": "list the runs with their state, age and best result",
    "sweep": "the runs of a sweep with what tells them apart, states and results; seeds together",
    "report": "one HTML page of a run, a sweep or several runs: curves, samples, film, evaluations, comparison",
    "sync": "upload runs to Weights & Biases, or what of them is not there yet: each as one curve",
    "plot": "draw schedules, grids, times or weights side by side; or of a run its losses, sweeps of samples, film",
}

EXAMPLES = {
    "train": """\
mezzotint train                                        digits, on whatever is there
mezzotint train experiment=emoji_ddpm budget=500000    another preset, fewer images
mezzotint train experiment=cifar10_ddpm debug=tiny     the same with a tiny network and few images, to see it run
mezzotint train -m schedule=linear,cosine seed=0,1     four runs; started again, it skips the finished ones
mezzotint train callbacks=sample_metrics                        judge samples on the way, keep the best checkpoint too
mezzotint train sweep=seeds                            a ready sweep; hydra/launcher=gpus: one run a GPU at a time
mezzotint train run=runs/latest                        go on where a run stopped
mezzotint train run=runs/latest budget=20000000        train a finished run further""",
    "sample": """\
mezzotint sample run=runs/latest
mezzotint sample run=runs/latest sampler=ddim grid.steps=20 n=64
mezzotint sample run=runs/latest guidance=cfg guidance.scale=2 seed=1
mezzotint sample run=runs/latest n=1000 save=png     beside the grid, one file an image (or save=npz)
mezzotint sample run=runs/latest label=3               one class; by name too, or several: label=[3,dog]
mezzotint sample run=runs/latest 'label={cat:4,dog:8}' so many of each
mezzotint sample run=runs/latest weights=raw           the weights themselves, not their average""",
    "evaluate": """\
mezzotint evaluate run=runs/latest n=1000
mezzotint evaluate run=runs/latest checkpoint=best           the checkpoint that callbacks=sample_metrics found best
mezzotint evaluate run=runs/latest seeds=3             three times n images: mean +- deviation
mezzotint evaluate run=runs/latest metrics=[fid,fid_bootstrap,precision_recall] sampler=heun grid=karras grid.steps=18
mezzotint evaluate run=runs/latest metrics=[memorisation]     does it copy training images? with a picture
mezzotint evaluate -m run=runs/latest sampler=ddim,heun grid.steps=5,10,20,50      a table and a plot of all points
mezzotint evaluate run=runs/latest reference=stats.npz metrics=[fid]    mu and sigma, as ADM and EDM publish them
mezzotint evaluate images=drawn reference=real         folders of images (or npz files) from any program
mezzotint evaluate images=drawn.npz data=cifar10 extractor=inception out=fid.json""",
    "compare": """mezzotint compare runs/a runs/b                        all their evaluations that may be compared
mezzotint compare a.json b.json c.json                 evaluations one by one""",
    "stats": """mezzotint stats data=cifar10 extractor=inception       once; evaluate and train find them again
mezzotint stats data=cifar10 extractor=inception out=cifar10.npz      mu and sigma for other programs
mezzotint stats reference=photos extractor=effnet      of a folder of images""",
    "check": """\
mezzotint check experiment=cifar10_ddpm hardware=gpus hardware.devices=8    on any machine
mezzotint check experiment=cifar10_ddpm hardware.micro_batch=find    the largest that fits here, by trying
mezzotint check run=runs/latest""",
    "runs": """\
mezzotint runs                                         every run, the newest last
mezzotint runs digits finished                         those that are finished and have digits in their name
mezzotint runs paths.runs=/data/runs --json            one JSON object a line""",
    "sweep": """\
mezzotint sweep runs/digits_ddpm                       at any time, while it runs too""",
    "report": """\
mezzotint report runs/latest                           report.html in the run: opens anywhere, needs no network
mezzotint report runs/digits_ddpm                      of a sweep: all its runs, seeds together
mezzotint report runs/a runs/b out=ours.html           runs side by side, in a file of this name""",
    "sync": """\
mezzotint sync runs/latest                             a run, however often it was interrupted; may be repeated
mezzotint sync runs/digits_ddpm                        of a sweep: all its runs
mezzotint sync runs project=paper entity=team          all runs that were trained with logger=wandb""",
    "plot": """\
mezzotint plot schedule=linear,cosine,rectified        alpha, sigma, log-SNR and SNR by time
mezzotint plot grid=trailing,karras grid.steps=10      where the steps lie, on schedule=cosine
mezzotint plot time_distribution=uniform,log_normal schedule=edm   where training asks, by log-SNR
mezzotint plot loss_weight=constant,min_snr,sigmoid            what each noise level counts
mezzotint plot run=runs/latest                         its losses; run=runs/a,runs/b beside each other
mezzotint plot run=runs/latest kind=levels             its validation loss by log-SNR
mezzotint plot run=runs/latest guidance.scale=1,2,4    the same samples in each row, one row a value
mezzotint plot run=runs/latest grid.steps=5,10,50 sampler=ddim sampler.eta=0,0.5,1      rows and blocks
mezzotint plot run=runs/latest kind=interpolation      from sample to sample, nine images each
mezzotint plot run=runs/latest kind=neighbours n=8     the training images nearest to eight samples
mezzotint plot run=runs/latest kind=film samples=3,7 out=film.svg,film.gif""",
}

WORDS = {
    "experiment=NAME": "a preset of everything below; debug=NAME lays a debugging setting over it",
    "name=NAME": "the run is runs/NAME; by default runs/<experiment>-<digest of the config>",
    "run=DIR": "an existing run; a group beside it replaces that part of its config, key=value edits it",
    "budget= batch_size= seed=": "images to train on, images a step over all devices, seed of all that is random",
    "n= seeds=": "images that sample draws, or that evaluate judges; of how many seeds each",
    "reference=train|test|all|PATH": "what evaluate compares with: a split, a folder of images, an npz file",
    "reference_images=N evaluation_share=0.25": "at most N real images; the share of training that it may cost",
    "weights=ema|raw": "which weights sample and evaluate use",
    "checkpoint=best|NUMBER": "the best that callbacks=sample_metrics kept, or that of a step; else the newest",
    "save=none|png|npz": "what sample writes beside the pictures",
    "label=CLASS|[...]|{CLASS:n}": "what sample draws: classes by label or name, or so many images of each",
    "labels=auto|data|balanced": "of the images that evaluate judges: in the shares of the reference, or equally many",
    "trust=[PACKAGE]": "packages beside mezzotint whose classes the config of run= may name: their code is run",
    "group=NAME, group.key=VALUE": "choose a part, set one of its values",
}

OF_STATS = {  # what needs no run takes few of them
    "data=NAME": "a dataset; reference=train, test or all says of which split: train, if not given",
    "reference=PATH": "a folder of images, or an npz file, instead",
    "metrics=[...] extractor=NAME": "of what the statistics are: what evaluate will ask for",
    "out=FILE.npz": "mean and covariance too, as mu and sigma for other programs",
    "group=NAME, group.key=VALUE": WORDS["group=NAME, group.key=VALUE"],
}

OF_EVALUATE = {key: text for key, text in WORDS.items() if not key.startswith(("save=", "label="))} | {
    "images=PATH": "instead of run=: a folder of images, or an npz file, of any program; with reference= or data=",
    "out=FILE.json": "with images=: where the evaluation is written; else in the present folder",
}

OF_CHECK = {key: text for key, text in WORDS.items() if not key.startswith("save=")} | {
    "hardware.micro_batch=find": "tries which micro-batch fits here, and how fast it is",
}

KINDS = {
    "loss": "training and validation loss; run=DIR,DIR compares runs",
    "levels": "validation loss by log-SNR, darker later in the run",
    "samples": "the same samples in each row; up to two keys with commas make rows, and blocks beside each other",
    "interpolation": "from one sample to another of its class",
    "neighbours": "samples above the training images that are nearest to them",
    "film": "from noise to image, with the estimates below",
}

OWN_WORDS = {  # of the commands that are no jobs of a config
    "runs": {
        "WORD": "only runs whose name or state holds it; several words: all of them",
        "paths.runs=DIR": "where they lie; by default runs/, or MEZZOTINT_RUNS",
        "--json": "one JSON object a line, for machines",
    },
    "sweep": {"DIR": "the folder of the sweep's runs, runs/NAME"},
    "report": {
        "DIR ...": "a run, the folder of a sweep, several of them, or all of runs/",
        "out=FILE.html": "the page; by default report.html in the folder",
    },
    "compare": {
        "RUN ...": "runs: all their evaluations that may be compared",
        "FILE ...": "single evaluations, evaluation/*.json of a run or what evaluate images= wrote",
    },
    "sync": {
        "DIR ...": "a run, the folder of a sweep, or all of runs/: then those that were trained with logger=wandb",
        "project= entity=": "where to, instead of what the runs' configs say",
    },
    "plot": {
        "GROUP=A,B": "schedule, grid, times or weight: its choices side by side; GROUP.key=VALUE changes each",
        "run=DIR": "a run; with a group or key of its config and one value, drawn with that; with commas, with each",
        "kind=KIND": "of a run's picture, by default loss, and samples where anything is changed:",
        **{f"  {kind}": text for kind, text in KINDS.items()},
        "n= samples=0,5,7": "how many samples are drawn, or which: sample i is the same image everywhere",
        "points= frames=": "images from one sample to the other; images of a film",
        "features=NAME": "what neighbours are near in: pixels, or an extractor= such as digits",
        "out=FILE,FILE": "by default a PNG in plots/ of the run; .png, .svg, .pdf, and .gif for a film",
    },
}

TITLES = {  # of the groups
    "experiment": "presets",
    "debug": "settings to see it run",
    "sweep": "ready sweeps",
    "callbacks": "what watches training",
    "c_noise": "the time that the network is told",
    "data": "the images",
    "ema": "averages of the weights",
    "extractor": "features that metrics compare",
    "grid": "where the steps of sampling lie",
    "guidance": "what steers sampling",
    "hardware": "devices, precision, memory",
    "logger": "trackers beside metrics.jsonl",
    "loss": "how an error counts",
    "metrics": "what samples are judged by",
    "network": "what is trained",
    "objective": "noise and labels in training",
    "optimizer": "how weights move",
    "paths": "where things lie",
    "sampler": "how a step is made",
    "c_in": "the size of what the network sees",
    "schedule": "noise by time",
    "target": "what the network predicts",
    "time_distribution": "which noise levels are trained on",
    "loss_weight": "what each noise level counts",
}

USAGE = {
    "report": "DIR ... [out=FILE.html]",
    "compare": "RUN|FILE RUN|FILE ...",
    "runs": "[WORD ...] [paths.runs=DIR] [--json]",
    "sweep": "DIR",
    "sync": "DIR ... [project=NAME] [entity=NAME]",
    "stats": "[key=value ...] [--cfg job] [--config-dir DIR]",
    "plot": "GROUP=A,B [GROUP.key=VALUE ...] [out=FILE]\n"
    "       mezzotint plot run=DIR [kind=KIND] [key=VALUE[,VALUE ...] ...] [--config-dir DIR]",
}

GROUPS = {  # of the commands that do not take all
    "plot": (
        "schedule",
        "grid",
        "time_distribution",
        "loss_weight",
        "target",
        "sampler",
        "guidance",
        "extractor",
        "hardware",
    ),
    "stats": ("data", "metrics", "extractor", "hardware", "paths"),
}

SHELLS = {
    "bash": 'eval "$(mezzotint -sc install=bash)"',
    "zsh": 'autoload -Uz bashcompinit && bashcompinit && eval "$(mezzotint -sc install=bash)"',
    "fish": "mezzotint -sc install=fish | source",
}

MORE = (
    "mezzotint {} data=image_folder --help   the keys of a choice; data= --help   every choice in a line",
    "mezzotint {} --cfg job   the whole config, every value of which is a key; nothing else is done",
    "-m   a job for each combination of values with commas: seed=0,1,2 or 'budget=range(1000,5000,1000)'",
    "--config-dir DIR   own groups and experiments, laid out as here",
)


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


def taken_by(group: str, key: str) -> str:
    """Return the choices of a group that take an argument which the chosen one does not, as the end of a message."""
    folder = config_dir() / group
    texts = {name: (folder / f"{name}.yaml").read_text(encoding="utf-8") for name in choices(folder)}
    names = [name for name, text in texts.items() if re.search(rf"^{re.escape(key)}:", text, re.MULTILINE)]
    return f"; it belongs to {group}={', '.join(names)}" if names else ""


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
            "mezzotint COMMAND --help   its examples, its words, every choice",
            "",
            "completion of commands, keys, choices and runs, in the file that your shell reads at its start",
            *(f"  {shell:6}{line}" for shell, line in SHELLS.items()),  # never broken: they are copied
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
    chosen = {**first, **folders}
    if command in OWN_WORDS or command in GROUPS:
        chosen = {name: names for name, names in folders.items() if name in GROUPS.get(command, ())}
    return "\n".join(
        [
            f"mezzotint {command}: {COMMANDS[command]}",
            "",
            f"usage: mezzotint {command} {USAGE.get(command, '[key=value ...] [-m] [--cfg job] [--config-dir DIR]')}",
            "",
            *(f"  {line}" for line in EXAMPLES[command].splitlines()),
            "",
            "words",
            *table(words_of(command).items()),
            *(["", "groups and their choices"] if chosen else []),
            *table((name, titled(name, names)) for name, names in chosen.items()),
            *([] if command in OWN_WORDS else ["", *more_of(command)]),
        ]
    )


def titled(group: str, names: Sequence[str]) -> str:
    listed = ", ".join(names)
    return f"{TITLES[group]}: {listed}" if group in TITLES else listed


def asked(words: Sequence[str], more: Sequence[str] = ()) -> str | None:
    """What the words name: the keys of data=image_folder with their comments, or of data= every choice in a line."""
    pairs = [word.lstrip("+").partition("=")[::2] for word in words if "=" in word and not word.startswith("-")]
    places = [config_dir(), *map(Path, more)]
    parts = [part for group, choice in pairs for part in [about(group, choice, places)] if part]
    return "\n\n".join(parts) or None


def about(group: str, choice: str, places: Sequence[Path]) -> str:
    files = {file.stem: file for place in places for file in sorted((place / group).glob("*.yaml"))}
    if not group.isidentifier() or not files:
        return ""
    if choice not in files:
        rows = ((name, remark(file)) for name, file in sorted(files.items()))
        return "\n".join([f"{group}=NAME: {TITLES.get(group, 'own choices')}", "", *table(rows)])
    lines = files[choice].read_text(encoding="utf-8").splitlines()
    body = [line for line in lines if "# @package" not in line]
    of_keys = "" if group in ("experiment", "debug", "sweep") else f"; a key of it is {group}.KEY=VALUE"
    return "\n".join([f"{group}={choice}{of_keys}", "", *(f"  {line}" for line in body)])


def remark(file: Path) -> str:
    """The comment with which a file of configs/ begins: its first line."""
    lines = (line for line in file.read_text(encoding="utf-8").splitlines() if "# @package" not in line)
    first = next(lines, "")
    return first.lstrip("# ") if first.startswith("#") else ""


def words_of(command: str) -> dict[str, str]:
    return OWN_WORDS.get(command) or {"stats": OF_STATS, "evaluate": OF_EVALUATE, "check": OF_CHECK}.get(command, WORDS)


def more_of(command: str) -> list[str]:
    lines = [line for line in MORE if command != "stats" or not line.startswith("-m")]
    return [line.format(command) for line in lines]


def table(rows: Iterable[tuple[str, str]]) -> list[str]:
    rows = list(rows)
    width = max((len(key) for key, _ in rows), default=0) + 2
    room = max(shutil.get_terminal_size().columns - width - 2, 40)
    lines = []
    for key, text in rows:
        head, *tail = textwrap.wrap(text, room) or [""]
        lines += [f"  {key:{width}}{head}", *(f"  {'':{width}}{line}" for line in tail)]
    return lines
