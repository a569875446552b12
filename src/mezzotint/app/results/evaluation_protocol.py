"""The identity of an evaluation: its file, hashes of the data that values depend on, and its protocol."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mezzotint.app.config.job import Config, Job
from mezzotint.app.results.classes import names_of, read
from mezzotint.app.results.git import commit
from mezzotint.app.results.references import Reference
from mezzotint.app.results.run_folders import mark
from mezzotint.app.results.samples import name
from mezzotint.data.conditions import condition_values, kinds_of
from mezzotint.data.dataset import Dataset
from mezzotint.distributed import rank_and_world
from mezzotint.generation import SampleGenerator
from mezzotint.metrics import Metric
from mezzotint.runs import RunDir

MOST_SAMPLES = 10_000  # where n is not given and the reference has more images
OPTIONAL = ("codec", "task", "method")  # keys that name no file where they are null
SAME = ("sampler", "grid", "guidance", "seed", "weights", "metrics", "extractor", "data", *OPTIONAL)


def count(job: Job, reference: Reference) -> int:
    """Return the number of samples to evaluate."""
    return job.n or min(len(reference.images), MOST_SAMPLES)


def step_of(directory: Path, job: Job) -> int:
    """Return the step of the evaluated checkpoint."""
    return int(job.checkpoint or RunDir(directory).newest_step())


def place(directory: Path, job: Job, reference: Reference, held: Config) -> Path:
    """Return the file of an evaluation; two that must have the same values share it.

    Args:
        held: what `content` gave.
    """
    n = count(job, reference)
    asked = {key: value for key, value in job.as_dict().items() if key not in OPTIONAL or value} | {
        "checkpoint": step_of(directory, job),
        "n": n,
        "content": held,
    }
    question = mark(asked, (*SAME, "checkpoint", "n", "content"))
    return RunDir(directory).evaluation / f"{name(job)}-n{n}-{question}.json"


def content(metrics: Mapping[str, Metric], dataset: Dataset, reference: Reference) -> Config:
    """Return hashes of the data that values depend on: reference, extractor weights, splits of metrics, conditions."""
    extractors = {each.name: each.digest for metric in metrics.values() for each in metric.extractors}
    found = {"reference": reference.images.digest(), "extractors": extractors}
    splits = sorted({split for metric in metrics.values() for split in metric.required_splits})
    given = condition_values(dataset, "test").digest() if kinds_of(dataset) else ""  # those that samples have
    found |= {"conditions": given} if given else {}
    return found | ({"data": {split: dataset.split(split).digest() for split in splits}} if splits else {})


def protocol(
    directory: Path, job: Job, generator: SampleGenerator, reference: Reference, dataset: Dataset
) -> dict[str, Any]:
    """Return the protocol entries on how the images were made."""
    step, (_, world) = step_of(directory, job), rank_and_world()
    return {
        "run": directory.resolve().name,
        "step": step,
        "images": step * job.batch_size,
        "weights": job.weights,
        "average": None if job.weights == "raw" else job.ema,
        "seeds": [job.seed],
        "samples": "0 to n - 1 of each seed",
        **trained_on(directory, dataset),
        "precision": "float32",
        "tf32": generator.device.type == "cuda" and job.hardware.get("tf32", True),
        "device": generator.device.type,
        "processes": world,
        "batch": generator.batch,
        "format": generator.codec.format,
        "data": job.data,
        **({"codec": job.codec} if job.codec else {}),
        **({"task": job.task, "method": job.method} if job.task else {}),
        "reference": reference.about,
        "versions": {"commit": commit()},
        "sampler": job.sampler,
        "grid": job.grid,
        "guidance": job.guidance,
        **({"conditions": generator.conditions.about} if generator.conditions else {}),
    }


def trained_on(directory: Path, dataset: Dataset) -> dict[str, Any]:
    """Return the class names and the identity of the training images, as far as they are known."""
    trained = read(directory)
    names = trained.classes if trained else names_of(dataset)
    found: dict[str, Any] = {"classes": list(names)} if names else {}
    return found | ({"trained": {"images": trained.images, "content": trained.content}} if trained else {})
