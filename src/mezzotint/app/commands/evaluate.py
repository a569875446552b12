"""`mezzotint evaluate`: metrics of a run's samples, written with their protocol to one JSON file."""

import json
import sys
from collections.abc import Iterator, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mezzotint.app.assembly.parts import build_metrics
from mezzotint.app.commands.edit import held_out_edits
from mezzotint.app.commands.sample import open_generator
from mezzotint.app.config.job import Job
from mezzotint.app.config.resolve import refuse_drawing, settle
from mezzotint.app.launch import hydra_hooks, ranks
from mezzotint.app.launch.process_group import (
    broadcast,
    joined_group,
    process_group,
    run_on_ranks,
    shared_progress,
)
from mezzotint.app.results.classes import opened
from mezzotint.app.results.evaluation_protocol import content, count, place, protocol
from mezzotint.app.results.evaluation_table import objective, report
from mezzotint.app.results.labels import plan as plan_labels
from mezzotint.app.results.pictures import write_pictures
from mezzotint.app.results.reference_opening import open_reference, storage
from mezzotint.app.results.references import Reference, remember
from mezzotint.app.results.run_folders import existing, other_step, writable
from mezzotint.atomic import write_text
from mezzotint.data.conditions import condition_values, kinds_of
from mezzotint.data.dataset import Dataset
from mezzotint.distributed import rank_and_world
from mezzotint.errors import ConfigError
from mezzotint.generation.distributed import Numbered, share
from mezzotint.instantiate.build import build
from mezzotint.reading import Damaged
from mezzotint.runs import RunDir, formats
from mezzotint.signals import raise_on_signal

if TYPE_CHECKING:
    from mezzotint.generation import SampleGenerator
    from mezzotint.metrics import Evaluation, Metric

NOTHING = "there is nothing to compute: choose metrics=[fid,kid] and an extractor= that fits"


def main(config: Any) -> float | None:
    job = settle(config)
    refuse_drawing(
        job,
        "all classes are evaluated, and metrics=[fid_per_class] gives a value to each",
        "samples are evaluated with the conditions of the held-out examples",
    )
    directory = existing(job)
    dataset, changed = opened(directory, job)
    metrics = build_metrics(job, dataset.shape)
    check_classes(changed, metrics, job)
    if not metrics:
        raise ConfigError(NOTHING)
    with joined_group(directory, build(job.hardware, "hardware")):
        path, found = evaluate_run(directory, job, metrics, dataset)
    if ranks.rank() == 0:
        hydra_hooks.remember(path)
        report(path, found)
    return objective(found)


def work(directory: Path, job: Job) -> dict[str, Any]:
    """Evaluate as one of the processes that `run_on_ranks` started; the first one writes the result."""
    dataset = opened(directory, job)[0]
    metrics = build_metrics(job, dataset.shape)
    with raise_on_signal(), process_group(build(job.hardware, "hardware")):
        evaluate_run(directory, job, metrics, dataset)
    return {}


def check_classes(changed: str, metrics: "Mapping[str, Metric]", job: Job) -> None:
    """Refuse values that depend on labels if the classes are not those that the run was trained on. Raises ConfigError.

    Args:
        changed: how the classes differ; empty if they do not.
    """
    if not changed:
        return
    by_label = [f"metrics.{name}" for name, metric in metrics.items() if metric.needs_labels]
    by_label += ["labels=data"] if job.labels == "data" else []
    if by_label:
        raise ConfigError(
            f"{changed}. {by_label[0]} would compare one class with another: give the folders their old names, or "
            "data.root= of the data as it was; or leave it out"
        )
    print(f"{changed}; the distances are of all classes together", file=sys.stderr)


def evaluate_run(directory: Path, job: Job, metrics: dict[str, Any], dataset: Dataset) -> tuple[Path, "Evaluation"]:
    """Evaluate each seed, or read its evaluation from before; return the file and its content, of all seeds as one."""
    from mezzotint.metrics import over_seeds

    RunDir(directory).check_links()
    reference = open_reference(job.reference, dataset).limited(job.reference_images)
    job = replace(job, checkpoint=other_step(directory, job.checkpoint))
    seeds = range(job.seed, job.seed + job.seeds)
    own = kinds_of(dataset) or job.task  # labels come with the conditions of an example, or its edit
    classes = 0 if own else dataset.classes
    turns, said = plan_labels(job.labels, classes, reference, directory)
    held = content(metrics, dataset, reference) | ({} if turns is None else {"labels": said})
    asked = {place(directory, one, reference, held): one for one in (replace(job, seed=seed) for seed in seeds)}
    if not all(made_before(path, directory, warn=rank_and_world()[0] == 0) for path in asked):
        check_writable(directory)
        run_on_ranks(work, directory, job)
    each = [
        (path, evaluate_seed(directory, one, metrics, dataset, reference, path, turns, said))
        for path, one in asked.items()
    ]
    path, found = each[0]
    if len(each) == 1:
        return path, found
    summary = over_seeds([one for _, one in each])
    summary = replace(summary, protocol=summary.protocol | {"seeds": list(seeds)})
    path = path.with_name(f"{path.stem}-seeds{len(seeds)}.json")
    if rank_and_world()[0] == 0:
        write_text(path, json.dumps(summary.as_dict(), indent=1))
    return path, summary


def check_writable(directory: Path) -> None:
    """Refuse, before anything is drawn, a run that keeps no evaluation. Raises ConfigError."""
    folder = RunDir(directory).evaluation
    try:
        writable(folder)
    except ConfigError:
        raise ConfigError(
            f"{folder} cannot be written, and evaluations are written to their run: copy the run first"
        ) from None


def evaluate_seed(
    directory: Path,
    job: Job,
    metrics: dict[str, Any],
    dataset: Any,
    reference: Reference,
    path: Path,
    turns: Any,
    labels: str,
) -> "Evaluation":
    """Evaluate the samples of one seed, or read the evaluation that was made before.

    Args:
        turns, labels: what `plan_labels` gave.
    """
    from mezzotint.metrics import Context, EvaluatedModel, evaluate

    if made := broadcast(made_before(path, directory)):
        return made
    n = count(job, reference)
    edited = job.task is not None
    generator = held_out_edits(directory, job, dataset, n) if edited else open_generator(directory, job, turns=turns)
    model = EvaluatedModel(
        generator.denoise,
        dataset.split,
        lambda first, advance: replace(generator).images(0, first, advance)[0],
        job.seed,
        job.n,
        generator.codec,
        generator.conditions.pairs() if generator.conditions else None,
        partial(condition_values, dataset),
    )
    context = Context(n, len(reference.images), model)
    for metric in metrics.values():
        metric.validate(context)
    remember(metrics, reference, generator.device, job.paths["cache"])
    found = evaluate(
        samples(generator, n),
        reference.images,
        metrics,
        n,
        device=generator.device,
        cache=job.paths["cache"],
        about=protocol(directory, job, generator, reference, dataset) | {"labels": labels},
        model=model,
        progress=shared_progress,
    )
    notes = storage(found.protocol["format"], reference.about.get("format"))
    notes += [f"labels: {labels}; labels=balanced draws each class equally often"] if turns is not None else []
    found = found.with_notes(*notes, calls=generator.calls)
    path.parent.mkdir(parents=True, exist_ok=True)
    found = write_pictures(found, path, generator.codec)
    if rank_and_world()[0] == 0:
        write_text(path, json.dumps(found.as_dict(), indent=1))
    return found


def samples(generator: "SampleGenerator", n: int) -> Iterator[Numbered]:
    """This process's share of samples 0 .. n - 1, under a progress bar."""
    with shared_progress("evaluating", n) as advance:
        yield from share(generator, n, advance)


def made_before(path: Path, directory: Path, warn: bool = False) -> "Evaluation | None":
    """Read an evaluation; None where there is none, or a damaged one, which is computed again.

    Args:
        warn: print that it is damaged.
    """
    from mezzotint.metrics import Evaluation

    try:
        return Evaluation.of_dict(formats.comparable(path, directory))
    except FileNotFoundError:
        return None
    except Damaged as error:
        if warn:
            print(f"{error}. It is computed again", file=sys.stderr)
        return None
