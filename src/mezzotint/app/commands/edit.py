"""`mezzotint edit run=DIR task=NAME`: given images inpainted, enlarged, changed or inverted, with sheet and numbers."""

import hashlib
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from mezzotint.app.assembly.parts import placed
from mezzotint.app.commands.sample import draws_images, open_generator, turns_of
from mezzotint.app.config.job import Job
from mezzotint.app.config.resolve import settle
from mezzotint.app.help import choices, config_dir
from mezzotint.app.results.edit_files import EditFiles, EditPlace, place, write_numbers
from mezzotint.app.results.evaluation_protocol import step_of
from mezzotint.app.results.given import open_examples
from mezzotint.app.results.run_folders import existing, other_step
from mezzotint.app.terminal import display_path
from mezzotint.data.dataset import Dataset
from mezzotint.errors import ConfigError
from mezzotint.generation import ConditionPlan, EditGenerator, Edits, EditTask, GivenExamples
from mezzotint.instantiate.build import build
from mezzotint.metrics import PSNR
from mezzotint.progress import bar

HELD_OUT = 16  # held-out examples, where n is not given
PIXEL_RANGE = 255.0


def main(config: Any) -> None:
    job = settle(config, without=("metrics", "extractor", "callbacks", "logger", "optimizer", "ema", "objective"))
    directory = existing(job)
    job = replace(job, checkpoint=other_step(directory, job.checkpoint))
    task, dataset = task_of(job), build(job.data_node(), "data")
    with placed("task"):
        examples, plan = open_examples(job.images, dataset, task.shapes(dataset.shape))
    examples = chosen(job, task, examples)
    with placed("task"):
        task.check(dataset.shape, examples.names)
    where = place(directory, job, digest(examples))
    if (before := where.made_before()) is not None:
        print(f"{display_path(where.stem)} holds the results of the same request: {spoken(before['values'])}")
        return
    generator = edit_generator(directory, job, task, dataset, examples, plan)
    values, paths = run(where, generator, protocol(directory, job), draws_images(job))
    for path in paths:
        print(display_path(path))
    print(f"{generator.rows} edited by {generator.calls:.4g} network calls each: {spoken(values)}")


def task_of(job: Job) -> EditTask:
    """Build the task. Raises ConfigError: none is given, or it does not fit the method or the sampler."""
    if job.task is None:
        raise ConfigError(f"which task? Give task=NAME, one of {', '.join(choices(config_dir() / 'task'))}")
    if isinstance(job.label, dict):
        raise ConfigError("label={CLASS:n} is for sample: each given image has one result here; give label=CLASS")
    task: EditTask = build(job.task, "task")
    if job.method is not None and not task.methods:
        raise ConfigError(f"method= is for tasks with a measurement, and {task} has none: leave it out")
    sampler = build(job.sampler, "sampler")
    if task.inverts and sampler.order is None:
        raise ConfigError(
            f"this task solves the ODE backwards, and {sampler} is stochastic: use sampler=ddim or sampler=heun"
        )
    return task


def chosen(job: Job, task: EditTask, examples: GivenExamples) -> GivenExamples:
    """Return the first examples. Raises ConfigError: there are too few."""
    if job.n is not None and job.n > len(examples):
        raise ConfigError(f"n={job.n}: there are only {len(examples)} images; leave n out to edit all of them")
    if task.pairs and (len(examples) < 2 or job.n == 1):
        raise ConfigError("task=interpolate goes from each image to the next one: give 2 images or more")
    known = job.images is not None and Path(job.images).expanduser().exists()
    return examples.first(job.n or (None if known else HELD_OUT))


def edit_generator(
    directory: Path, job: Job, task: EditTask, dataset: Dataset, examples: GivenExamples, plan: ConditionPlan
) -> EditGenerator:
    """Return the generator of edits, with the run's weights."""
    turns = None if job.label is None else turns_of(directory, job)
    if turns is None and dataset.classes and plan.labels(torch.arange(1)) is None:
        turns = unlabelled(job)
    generator = open_generator(directory, job, turns=turns, conditions=None if job.condition else plan)
    generator.denoise.requires_grad_(False)
    method = build(job.method, "method")
    return EditGenerator.around(generator, examples, task, tuple(dataset.shape), method)


def held_out_edits(directory: Path, job: Job, dataset: Dataset, n: int) -> EditGenerator:
    """Return the generator of edits of the held-out examples, for their evaluation.

    Raises:
        ConfigError: there are fewer, or the task makes no result of each.
    """
    task = task_of(job)
    if task.pairs:
        raise ConfigError("task=interpolate has no result for each example: evaluate another task")
    with placed("task"):
        examples, plan = open_examples(None, dataset, task.shapes(dataset.shape))
    if n > len(examples):
        raise ConfigError(
            f"n={n}: edits are of held-out examples, and there are {len(examples)}: give n={len(examples)}"
        )
    return edit_generator(directory, job, task, dataset, examples, plan)


def unlabelled(job: Job) -> Tensor:
    """Return the label of images without one. Raises ConfigError: the network does not know images without a class."""
    if job.objective.get("label_dropout") == 0:
        raise ConfigError(
            "the images have no classes, and this run never learnt images without one (objective.label_dropout=0): "
            "give label=CLASS"
        )
    return torch.tensor([-1])


def digest(examples: GivenExamples) -> str:
    """Return a hash of the names and the content of the examples."""
    hashed = hashlib.sha256("\n".join(examples.names).encode())
    for rows in torch.arange(len(examples)).split(256):
        hashed.update(examples.batch(rows).contiguous().numpy().tobytes())
    return hashed.hexdigest()[:16]


def run(
    where: EditPlace, generator: EditGenerator, made: dict[str, Any], image: bool
) -> tuple[dict[str, float], list[Path]]:
    """Edit all examples and write the results; return the values and the files."""
    each: dict[str, dict[str, float]] = {}
    names, n = generator.examples.names, generator.rows
    with placed("task"), EditFiles(where, names, generator.codec, image) as files, bar("editing", n) as advance:
        for index, edits in generator.edits(0, n, advance):
            files.add(index, generator.examples.batch(index), edits)
            each |= {names[row]: measures(edits, i, image) for i, row in enumerate(index.tolist())}
    kinds = next(iter(each.values()))
    values = {kind: sum(one[kind] for one in each.values()) / n for kind in kinds}
    write_numbers(where, values, each, made | {"n": n, "calls": generator.calls})
    return values, files.paths


def measures(edits: Edits, i: int, image: bool) -> dict[str, float]:
    """Return the error of the first result of an example in dB or in the unit of the data, and its misfit."""
    found: dict[str, float] = {}
    if edits.truth is not None:
        result, truth = edits.results[i, :1].double(), edits.truth[i : i + 1].double()
        if image:
            found["psnr"] = PSNR().compare(result, truth, PIXEL_RANGE).item()
        else:
            found["rmse"] = (result - truth).square().mean().sqrt().item()
    if edits.misfit is not None:
        found["misfit"] = float(edits.misfit[i])
    return found


def spoken(values: dict[str, float]) -> str:
    """Return the values as one line."""
    units = {"psnr": "PSNR {:.2f} dB", "rmse": "RMSE {:.4g}", "misfit": "misfit of the measurement {:.3g}"}
    return ", ".join(units[kind].format(value) for kind, value in values.items()) or "no truth to compare with"


def protocol(directory: Path, job: Job) -> dict[str, Any]:
    """Return how the results were made."""
    keys = ("task", "method", "images", "sampler", "grid", "guidance", "seed", "weights", "label", "condition")
    return {"run": directory.resolve().name, "step": step_of(directory, job)} | {
        key: value for key, value in job.as_dict().items() if key in keys
    }
