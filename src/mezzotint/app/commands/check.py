"""`mezzotint check`: what a config would do and what is wrong with it, without doing it."""

from dataclasses import replace
from pathlib import Path
from typing import Any

from mezzotint.app.assembly import rates
from mezzotint.app.assembly.cost import Row, cost, flops, shares
from mezzotint.app.assembly.duration import duration
from mezzotint.app.assembly.evaluation_share import Look, look
from mezzotint.app.assembly.initial import initial_weights
from mezzotint.app.assembly.parts import Components, assemble, check_judges, few_references, meet, placed, plan_metrics
from mezzotint.app.assembly.preflight import obstacles
from mezzotint.app.assembly.shapes import suited
from mezzotint.app.commands.train import choose
from mezzotint.app.config.arguments import spoken_keys
from mezzotint.app.config.job import SPLITS, Job
from mezzotint.app.config.resolve import check_groups, refuse, resolve, unbounded
from mezzotint.app.launch.hydra_hooks import in_sweep
from mezzotint.app.results import classes, run_folders
from mezzotint.app.results.references import open_reference
from mezzotint.app.terminal import display_path, table
from mezzotint.data.dataset import coded_shape
from mezzotint.errors import ConfigError, DataError, MezzotintError
from mezzotint.instantiate.build import build
from mezzotint.runs import RunDir
from mezzotint.training.hardware.memory import size


def main(config: Any) -> None:
    """Print the plan as far as it can be known, then refuse what training would refuse."""
    given, many = spoken_keys(), in_sweep()
    job = run_folders.settled(unbounded(resolve(config), given), "name" in given, many)
    check_groups(job)
    problems: list[str] = []
    directory = home(job, given, many, problems)
    job = replace(job, hardware=planned(job.hardware, problems))
    parts = meet(job)
    images, real = data(job, parts, directory, problems)
    judging, found = end(job, parts, real, problems)
    rows = [*cost(job, parts), *images, *judging, *source(directory, job, parts, problems), place(directory)]
    if there(directory) and (another := rates.changed(directory, job, parts)):
        rows.append(("budget", another))
    problems += obstacles(job, parts, directory)
    if not problems and real:  # timing looks into the data, and would fetch what is not here
        rows.append(("time here", str(duration(job, parts, found))))
    if problems:
        rows.append(("problems", f"{len(problems)}, told below"))
    table(rows)
    refuse(problems)
    if parts.hardware.micro_batch == "find":
        look_for_micro_batch(job)


def home(job: Job, given: list[str], many: bool, problems: list[str]) -> Path:
    """Where the run lies or would lie, also where training refuses it."""
    if job.hardware.get("micro_batch") == "find":  # which is asked here alone
        job = replace(job, hardware=job.hardware | {"micro_batch": None})
    try:
        return choose(job, given, many)
    except ConfigError as error:
        problems.append(str(error))
    return Path(job.run) if job.run else run_folders.place(job, "name" in given, many)


def source(directory: Path, job: Job, parts: Components, problems: list[str]) -> list[Row]:
    """Return a row on the weights of init=, where the run would take them."""
    try:
        found = initial_weights(directory, job, parts)
    except MezzotintError as error:
        problems.append(str(error))
        return []
    return [("init", str(found).removeprefix("init: "))] if found else []


def planned(node: dict[str, Any], problems: list[str]) -> dict[str, Any]:
    """The hardware; where this machine has not got it, one process for each of its devices, on the CPU.

    So a job for a cluster can be checked where one logs in.
    """
    hardware = build(node, "hardware")
    try:
        _ = hardware.local
    except ConfigError as error:
        devices = hardware.devices if isinstance(hardware.devices, int) else 1
        problems.append(f"{error} The plan above is as for {devices} CPU process(es) a node.")
        return node | {"accelerator": "cpu", "devices": devices}
    return node


def data(job: Job, parts: Components, directory: Path, problems: list[str]) -> tuple[list[Row], int]:
    """The images and classes, or what is missing and how to get it; and how many images are the reference."""
    shape, download = " x ".join(map(str, parts.dataset.shape)), job.data.get("download", False)
    own = job.reference in SPLITS
    still = replace(job, data=job.data | {"download": False}) if download else job  # check downloads nothing
    try:
        there = build(classes.settled(directory, still).data_node(), "data")
        with suited(job):
            images = there.split("train")
            real = len(there.split(job.reference)) if own and job.reference != "train" else len(images)
        trained = classes.Trained.of(there, images)
    except ConfigError as error:
        problems.append(str(error))
        return [("data", f"images of {shape}")], 0
    except DataError as error:
        if download and not job.data.get("root"):
            return [("data", f"images of {shape}, not here: training downloads them to {job.data['cache']}")], 0
        problems.append(f"data: {error}")
        place = job.data.get("root")
        missing = (
            f"not to be read as they are from {display_path(place)}" if place and Path(place).exists() else "not here"
        )
        return [("data", f"images of {shape}, {missing}")], 0
    labels = [("classes", classes.told(trained))] if trained.counts else []
    problems += [] if RunDir(directory).newest_step() else classes.empty(trained)
    by = f" in classes by {there.labelled_by()}" if labels and there.labelled_by() else ""
    seen = job.budget / len(images)
    rows = [("data", f"{len(images):,} images of {shape}{by}, seen {seen:.3g} times each"), *labels]
    return rows, real if own else 0


def end(job: Job, parts: Components, real: int, problems: list[str]) -> tuple[list[Row], Look]:
    """What is drawn and judged at the end; weights that are not to be had, a reference that is not there or no use."""
    rows: list[Row] = []
    planned: dict[str, Any] = {}
    counted = real or None
    try:
        if job.reference not in SPLITS:
            found = open_reference(job.reference, parts.dataset)
            counted = len(found.images)
            real = 0 if found.shape is None else counted
    except MezzotintError as error:
        problems.append(str(error))
    try:
        planned = plan_metrics(job, parts.dataset.shape)
        check_judges(job, parts, planned, counted)
    except DataError as error:
        rows.append(("weights", f"not here yet: {error}"))
    except MezzotintError as error:
        problems.append(str(error))
    found = look(job, parts, planned, real)
    notes = few_references(job, planned, counted) if counted else []
    return [*rows, ("at the end", finale(job, found)), *(("note", note) for note in notes)], found


def finale(job: Job, found: Look) -> str:
    """The look at the end in words: what is drawn, what is judged, what of the training it costs."""
    named, share = ", ".join(job.metrics), found.cost / found.training if found.training else 0.0
    drawn = f"{found.pictures} pictures drawn"
    judged = f"{found.judged:,} samples judged ({named})"
    if found.reference:
        judged += f" against {found.reference:,} images"
    against = f" against {found.whole[1]:,}" if found.whole[1] else ""
    less = f"; with evaluation_share=null {found.whole[0]:,}{against}" if found.reduced else ""
    said = f"{drawn}, {judged}{less}" if found.judged else f"{drawn}, nothing judged"
    part = f"{share:.0%} of the training's" if share < 2 else f"{share:,.0f} times the training's"
    return f"{said}: {flops(found.cost)}, {part}" if found.training else said


def place(directory: Path) -> Row:
    """Where the run lies or would lie, and its state."""
    return "run", f"{display_path(directory)} ({RunDir(directory).state if there(directory) else 'new'})"


def there(directory: Path) -> bool:
    """Whether the run has begun."""
    return RunDir(directory).exists()


def look_for_micro_batch(job: Job) -> None:
    """Look for the largest micro-batch that this machine holds, and say what to write."""
    from mezzotint.training.hardware.micro_batch import MicroBatchProbe, find

    parts = assemble(job)
    shape, classes = coded_shape(parts.dataset), parts.dataset.classes
    world, share, _ = shares(job, parts.hardware)
    rig = MicroBatchProbe(parts.denoiser, parts.objective, parts.optimizer, parts.hardware, shape, parts.ema)
    with placed("hardware"):
        trials = find(rig, share, classes)
    table(
        [
            (
                f"{trial.micro_batch}",
                f"{share // trial.micro_batch}",
                size(trial.memory),
                f"{world * trial.images_per_second:,.0f}" if trial.images_per_second else "not tried: too slow",
            )
            for trial in trials
        ],
        ["micro-batch", "times a step", "memory", "images/s"],
    )
    best = trials[0]
    print(f"hardware.micro_batch={best.micro_batch} is the largest that fits; the batch stays {job.batch_size}")
