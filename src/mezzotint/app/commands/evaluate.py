"""`mezzotint evaluate`: judge samples of a run, or any images; values and the protocol that gave them in one JSON."""

import json
import sys
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mezzotint.app.assembly.evaluation_share import MANY
from mezzotint.app.assembly.parts import build_metrics
from mezzotint.app.commands.sample import open_generator
from mezzotint.app.config.job import Config, Job
from mezzotint.app.config.resolve import refuse_drawing, settle
from mezzotint.app.launch import hydra_hooks, ranks
from mezzotint.app.launch.process_group import broadcast_bool, process_group, run_on_ranks, shared_progress
from mezzotint.app.launch.slurm_rendezvous import rendezvous
from mezzotint.app.results.classes import names_of, opened
from mezzotint.app.results.classes import read as read_trained
from mezzotint.app.results.git import commit
from mezzotint.app.results.labels import plan as plan_labels
from mezzotint.app.results.pictures import write_pictures
from mezzotint.app.results.references import Reference, open_reference, remember, storage
from mezzotint.app.results.run_folders import existing, mark, other_step, writable
from mezzotint.app.results.samples import name as sampling_name
from mezzotint.app.terminal import display_path, table
from mezzotint.atomic import write_text
from mezzotint.data.conditions import kinds_of
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

SAME = ("sampler", "grid", "guidance", "seed", "weights", "metrics", "extractor", "data", "codec")
NOTHING = "there is nothing to compute: choose metrics=[fid,kid] and an extractor= that fits"


def main(config: Any) -> float | None:
    job = settle(config)
    refuse_drawing(job, "all classes are judged, and metrics=[fid_per_class] gives a value to each")
    directory = existing(job)
    dataset, changed = opened(directory, job)
    metrics = build_metrics(job, dataset.shape)
    check_classes(changed, metrics, job)
    if not metrics:
        raise ConfigError(NOTHING)
    with rendezvous(directory), process_group(build(job.hardware, "hardware")):
        path, found = judge(directory, job, metrics, dataset)
    if ranks.rank() == 0:
        hydra_hooks.remember(path)
        report(path, found)
    return objective(found)


def work(directory: Path, job: Job) -> dict[str, Any]:
    """One rank's part of what another process has been asked; the first one writes it down."""
    dataset = opened(directory, job)[0]
    metrics = build_metrics(job, dataset.shape)
    with raise_on_signal(), process_group(build(job.hardware, "hardware")):
        judge(directory, job, metrics, dataset)
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


def judge(directory: Path, job: Job, metrics: dict[str, Any], dataset: Any) -> tuple[Path, "Evaluation"]:
    """Evaluate each seed, or read its evaluation from before; return the file and its content, of all seeds as one."""
    from mezzotint.metrics import over_seeds

    RunDir(directory).check_links()
    reference = open_reference(job.reference, dataset).limited(job.reference_images)
    job = replace(job, checkpoint=other_step(directory, job.checkpoint))
    seeds = range(job.seed, job.seed + job.seeds)
    classes = 0 if kinds_of(dataset) else dataset.classes  # labels come with the conditions of an example
    turns, said = plan_labels(job.labels, classes, reference.images, directory)
    held = content(metrics, dataset, reference) | ({} if turns is None else {"labels": said})
    asked = {place(directory, one, reference, held): one for one in (replace(job, seed=seed) for seed in seeds)}
    if not all(made_before(path, directory, told=rank_and_world()[0] == 0) for path in asked):
        check_writable(directory)
        run_on_ranks(work, directory, job)
    each = [
        (path, judge_seed(directory, one, metrics, dataset, reference, path, turns, said))
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
        raise ConfigError(f"{folder} cannot be written, and evaluations lie in their run: copy the run first") from None


def judge_seed(
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

    if made := broadcast_bool(made_before(path, directory)):
        return made
    generator = open_generator(directory, job, turns=turns)
    n = count(job, reference)
    model = EvaluatedModel(
        generator.denoise,
        dataset.split,
        lambda first, advance: replace(generator).images(0, first, advance)[0],
        job.seed,
        job.n,
        generator.codec,
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
    with shared_progress("judging", n) as advance:
        yield from share(generator, n, advance)


def made_before(path: Path, directory: Path, told: bool = False) -> "Evaluation | None":
    """Read an evaluation; None where there is none, or a damaged one, which is made anew.

    Args:
        told: print that it is damaged.
    """
    from mezzotint.metrics import Evaluation

    try:
        return Evaluation.of_dict(formats.comparable(path, directory))
    except FileNotFoundError:
        return None
    except Damaged as error:
        if told:
            print(f"{error}. It is made anew", file=sys.stderr)
        return None


def count(job: Job, reference: Reference) -> int:
    """The images that are judged."""
    return job.n or min(len(reference.images), MANY)


def step_of(directory: Path, job: Job) -> int:
    """The step of the checkpoint that is judged."""
    return int(job.checkpoint or RunDir(directory).newest_step())


def place(directory: Path, job: Job, reference: Reference, held: Config) -> Path:
    """The file of an evaluation; of two that must have the same values it is the same.

    Args:
        held: what `content` gave.
    """
    n = count(job, reference)
    asked = {key: value for key, value in job.as_dict().items() if key != "codec" or value} | {
        "checkpoint": step_of(directory, job),
        "n": n,
        "content": held,
    }
    question = mark(asked, (*SAME, "checkpoint", "n", "content"))
    return RunDir(directory).evaluation / f"{sampling_name(job)}-n{n}-{question}.json"


def content(metrics: dict[str, Any], dataset: Any, reference: Reference) -> Config:
    """What the files hold that values come from: the reference, weights of extractors, images that metrics look at."""
    extractors = {each.name: each.digest for metric in metrics.values() for each in metric.extractors}
    found = {"reference": reference.images.digest(), "extractors": extractors}
    splits = sorted({split for metric in metrics.values() for split in metric.required_splits})
    return found | ({"data": {split: dataset.split(split).digest() for split in splits}} if splits else {})


def protocol(directory: Path, job: Job, generator: Any, reference: Reference, dataset: Any) -> dict[str, Any]:
    """What the app knows of how the images were made."""
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
        "reference": reference.about,
        "versions": {"commit": commit()},
        "sampler": job.sampler,
        "grid": job.grid,
        "guidance": job.guidance,
        **({"conditions": generator.conditions.about} if generator.conditions else {}),
    }


def trained_on(directory: Path, dataset: Any) -> dict[str, Any]:
    """What the labels stand for, and which images were learnt from, as far as it is known."""
    trained = read_trained(directory)
    names = trained.classes if trained else names_of(dataset)
    found: dict[str, Any] = {"classes": list(names)} if names else {}
    return found | ({"trained": {"images": trained.images, "content": trained.content}} if trained else {})


def report(path: Path, found: "Evaluation") -> None:
    """Print an evaluation and its file."""
    table(rows(found))
    for note in found.notes:
        print(note)
    print(display_path(path))


def rows(found: "Evaluation") -> list[tuple[str, str]]:
    """Return the values, and the images that they are of, as rows of a table."""
    made, real = found.protocol, found.protocol["reference"]
    values = [(name, f"{found.shown(name)}{of_class(name, made)}") for name in found.results]
    if not made["n"]:
        return values
    place = real.get("split") or display_path(real.get("folder") or real["file"])
    calls = [("network calls", f"{made['calls']:g} an image")] if "calls" in made else []
    return [*values, ("judged", f"{made['n']:,} images against {real['count']:,} real ones ({place})"), *calls]


def of_class(name: str, made: dict[str, Any]) -> str:
    """The name of the class that a value is of."""
    before, _, label = name.rpartition("_")
    names = made.get("classes") or []
    known = before.endswith("_class") and label.isdecimal() and int(label) < len(names) and names[int(label)] != label
    return f"  ({names[int(label)]})" if known else ""


def objective(found: "Evaluation") -> float | None:
    """Return the number that a sweep minimises: the first value."""
    return next(iter(found.values.values()), None)


def measure(found: "Evaluation") -> dict[str, Any]:
    """Return the name of that number, and whether higher is better."""
    name = next(iter(found.values), "objective")
    metrics = found.protocol.get("metrics", {}).values()
    return {"name": name, "higher_is_better": any(of["higher_is_better"] for of in metrics if name in of["values"])}
