"""`mezzotint check`: the plan, the cost and the errors of a config, without running it."""

from dataclasses import replace
from pathlib import Path
from typing import Any

from mezzotint.app.assembly import rates
from mezzotint.app.assembly.cost import Row, cost, flops, shares
from mezzotint.app.assembly.dry_run import (
    ComponentsDryRun,
    check_metrics,
    dry_run_without_data,
    few_references,
)
from mezzotint.app.assembly.duration import duration, probe_of
from mezzotint.app.assembly.evaluation_budget import EvaluationBudget, evaluation_budget
from mezzotint.app.assembly.initial import initial_weights
from mezzotint.app.assembly.parts import Components, placed, plan_metrics
from mezzotint.app.assembly.preflight import obstacles
from mezzotint.app.assembly.shapes import suited
from mezzotint.app.config.arguments import spoken_keys
from mezzotint.app.config.job import SPLITS, Job
from mezzotint.app.config.resolve import check_groups, refuse, resolve, unbounded
from mezzotint.app.launch.hydra_hooks import in_sweep
from mezzotint.app.results import classes, run_folders
from mezzotint.app.results.reference_opening import open_reference
from mezzotint.app.results.resume import choose
from mezzotint.app.terminal import display_path, table
from mezzotint.data.dataset import examples_of
from mezzotint.errors import ConfigError, DataError, MezzotintError
from mezzotint.instantiate.build import build
from mezzotint.plain_data import number
from mezzotint.runs import RunDir
from mezzotint.training.hardware.memory import size


def main(config: Any) -> None:
    """Print what is known of the plan, then raise the errors that training would raise."""
    given, many = spoken_keys(), in_sweep()
    job = run_folders.settled(unbounded(resolve(config), given), "name" in given, many)
    check_groups(job)
    problems: list[str] = []
    directory = home(job, given, many, problems)
    job = replace(job, hardware=planned(job.hardware, problems))
    dry = dry_run_without_data(job)
    parts = dry.components
    images, real = data(job, parts, directory, problems)
    final, evaluation = end(job, dry, real, problems)
    rows = [*cost(job, dry), *images, *final, *source(directory, job, parts, problems), place(directory)]
    if there(directory) and (another := rates.changed(directory, job, parts)):
        rows.append(("budget", another))
    problems += obstacles(job, parts, directory)
    if not problems and real:  # timing looks into the data, and would fetch what is not here
        rows.append(("time here", str(duration(job, dry, evaluation))))
    if problems:
        rows.append(("problems", f"{len(problems)}, listed below"))
    table(rows)
    refuse(problems)
    if parts.hardware.micro_batch == "find":
        find_micro_batch(job, dry.materialised)


def home(job: Job, given: list[str], many: bool, problems: list[str]) -> Path:
    """Return the run's directory, even if training would refuse it."""
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
    """Return the hardware node, with one CPU process per device if this machine lacks the devices.

    So a job for a cluster can be checked where one logs in.
    """
    hardware = build(node, "hardware")
    try:
        _ = hardware.local
    except ConfigError as error:
        devices = number(hardware.devices) or 1
        problems.append(f"{error} The plan above is as for {devices} CPU process(es) a node.")
        return node | {"accelerator": "cpu", "devices": devices}
    return node


def data(job: Job, parts: Components, directory: Path, problems: list[str]) -> tuple[list[Row], int]:
    """Return the rows on the data and their classes, or on what is missing, and the size of the reference."""
    shape, download = " x ".join(map(str, parts.dataset.shape)), job.data.get("download", False)
    own, noun = job.reference in SPLITS, parts.noun.many
    still = replace(job, data=job.data | {"download": False}) if download else job  # check downloads nothing
    try:
        there = build(classes.settled(directory, still).data_node(), "data")
        with suited(job):
            images = examples_of(there, "train")
            real = len(there.split(job.reference)) if own and job.reference != "train" else len(images)
        trained = classes.Trained.of(there, images)
    except ConfigError as error:
        problems.append(str(error))
        return [("data", f"{noun} of {shape}")], 0
    except DataError as error:
        if download and not job.data.get("root"):
            return [("data", f"{noun} of {shape}, not here: training downloads them to {job.data['cache']}")], 0
        problems.append(f"data: {error}")
        place = job.data.get("root")
        missing = f"not readable as they are in {display_path(place)}" if place and Path(place).exists() else "not here"
        return [("data", f"{noun} of {shape}, {missing}")], 0
    labels = [("classes", classes.describe_classes(trained))] if trained.counts else []
    problems += [] if RunDir(directory).newest_step() else classes.empty(trained)
    by = f" in classes by {there.labelled_by()}" if labels and there.labelled_by() else ""
    seen = job.budget / len(images)
    rows = [("data", f"{len(images):,} {noun} of {shape}{by}, each seen {seen:.3g} times"), *labels]
    return rows, real if own else 0


def end(job: Job, dry: ComponentsDryRun, real: int, problems: list[str]) -> tuple[list[Row], EvaluationBudget]:
    """Return the rows on the final sampling and evaluation, and its budget.

    Args:
        real: images of the reference, where it is a split that has been read; else 0.
        problems: gets what is wrong with the reference, the metrics or their extractors.
    """
    parts = dry.components
    rows: list[Row] = []
    planned: dict[str, Any] = {}
    counted = real or None
    try:
        if job.reference not in SPLITS:
            found = open_reference(job.reference, parts.dataset)
            counted = len(found.images)
            real = found.extracted
    except MezzotintError as error:
        problems.append(str(error))
    try:
        planned = plan_metrics(job, parts.dataset.shape)
        check_metrics(job, parts, planned, counted)
    except DataError as error:
        rows.append(("weights", f"not here yet: {error}"))
    except MezzotintError as error:
        problems.append(str(error))
    evaluation = evaluation_budget(job, parts, planned, dry.calls, real)
    notes = few_references(job, planned, counted) if counted else []
    return [
        *rows,
        ("at the end", finale(job, evaluation, parts.noun.many)),
        *(("note", note) for note in notes),
    ], evaluation


def finale(job: Job, evaluation: EvaluationBudget, noun: str) -> str:
    """Describe the final sampling and evaluation, with their cost as a share of the training's.

    Args:
        noun: the word for the examples of the reference.
    """
    said = f"{evaluation.pictures} pictures drawn, nothing evaluated"
    if evaluation.samples:
        said = (
            f"{evaluation.pictures} pictures drawn, {evaluation.samples:,} samples evaluated ({', '.join(job.metrics)})"
        )
        said += f" against {evaluation.reference:,} {noun}" if evaluation.reference else ""
        if evaluation.reduced:
            samples, reference = evaluation.unbounded
            against = f" against {reference:,}" if reference else ""
            said += f"; with evaluation_share=null {samples:,}{against}"
    if not evaluation.training_cost:
        return said
    share = evaluation.share
    part = f"{share:.0%} of the training's" if share < 2 else f"{share:,.0f} times the training's"
    return f"{said}: {flops(evaluation.cost)}, {part}"


def place(directory: Path) -> Row:
    """Return a row with the run's directory and its state."""
    return "run", f"{display_path(directory)} ({RunDir(directory).state if there(directory) else 'new'})"


def there(directory: Path) -> bool:
    """Return True if the run exists."""
    return RunDir(directory).exists()


def find_micro_batch(job: Job, parts: Components) -> None:
    """Look for the largest micro-batch that this machine holds, and print it as an argument."""
    from mezzotint.training.micro_batch import find

    world, share, _ = shares(job, parts.hardware)
    with placed("hardware"):
        trials = find(probe_of(parts), share)
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
        ["micro-batch", "times a step", "memory", f"{parts.noun.many}/s"],
    )
    best = trials[0]
    print(f"hardware.micro_batch={best.micro_batch} is the largest that fits; the batch stays {job.batch_size}")
