"""`mezzotint train`: claim the run's directory, train in it, then sample and evaluate the result."""

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mezzotint.app.config.arguments import spoken_keys
from mezzotint.app.config.job import Job
from mezzotint.app.config.resolve import check_groups, refuse, resolve, unbounded
from mezzotint.app.launch import ranks, sweep_jobs
from mezzotint.app.launch.hydra_hooks import in_sweep
from mezzotint.app.results import run_folders
from mezzotint.app.results.resume import choose, early_stop, fewer, finished
from mezzotint.app.results.run_state import recorded
from mezzotint.app.results.tracking import TrackerGroup, tracked
from mezzotint.app.startup import usual_collection
from mezzotint.app.terminal import display_path, table
from mezzotint.errors import ConfigError
from mezzotint.runs import RunDir
from mezzotint.runs.folders import link_latest
from mezzotint.runs.formats import TRAINING_LOSS, VALIDATION_LOSS
from mezzotint.signals import Preempted, raise_on_signal

if TYPE_CHECKING:
    from mezzotint.app.assembly.dry_run import DryRun
    from mezzotint.app.assembly.evaluation_budget import EvaluationBudget
    from mezzotint.app.assembly.parts import Components
    from mezzotint.metrics import Metric


def main(config: Any) -> float | None:
    """Train one job: a new run, one resumed by its config or by run=, or one that is finished already."""
    began, given, many = time.monotonic(), spoken_keys(), in_sweep()
    job = run_folders.settled(unbounded(resolve(config), given), "name" in given, many)
    directory = choose(job, given, many)
    run = RunDir(directory)
    if finished(directory, job):
        print(f"{sweep_jobs.place(directory)} is finished; nothing to do{fewer(directory, job)}")
        return run.status().get("objective")
    dry = rehearse(directory, job, many)
    job, processes = replace(job, run=None), dry.components.hardware.processes
    if ranks.rank():  # the first one does all else
        check_preempted(train(directory, job, dry.trial.materialised, dry.metrics, dry.evaluation))
        return run.status().get("objective")
    with begun(directory, job, dry) as trackers:
        if ranks.joined() or processes == 1:
            outcome = train(directory, job, dry.trial.materialised, dry.metrics, dry.evaluation, trackers)
        else:
            outcome = ranks.start(work, directory, processes, job, evaluation=asdict(dry.evaluation))
        outcome["spent"]["start"] = time.monotonic() - began - sum(outcome["spent"].values())
        run.update_status(**{key: outcome[key] for key in ("images", "steps", "seconds")})
        check_preempted(outcome)
        with raise_on_signal():  # training is saved
            value = conclude(directory, job, dry, outcome, trackers)
    run.update_status(state="finished", objective=value)
    print(f"run: {display_path(directory)}")
    return value


def rehearse(directory: Path, job: Job, many: bool) -> "DryRun":
    """Check everything that can be checked before training. Raises ConfigError."""
    if not ranks.rank():  # before torch is imported, which takes seconds
        print(f"{'' if many else 'run: '}{sweep_jobs.place(directory)}", flush=True)
    check_groups(job)
    if job.hardware.get("micro_batch") == "find":
        raise ConfigError(
            "hardware.micro_batch=find only works with `mezzotint check`. Run it with the same arguments and train "
            "with the value that it prints"
        )
    from mezzotint.app.assembly.dry_run import dry_run
    from mezzotint.app.results import classes

    dry = dry_run(classes.settled(directory, job))
    ranks.check(dry.components.hardware)
    return dry


def check_preempted(outcome: dict[str, Any]) -> None:
    if outcome["state"] == "preempted":
        raise Preempted(outcome["signal"])


@contextmanager
def begun(directory: Path, job: Job, dry: "DryRun") -> Iterator[TrackerGroup]:
    """Claim the run's directory, write its config and print the plan; then hold its trackers and its state.

    Raises:
        ConfigError: an obstacle, such as a full disk or another process that trains the run.
    """
    from mezzotint.app.assembly import rates
    from mezzotint.app.assembly.cost import plan_line
    from mezzotint.app.assembly.gradients import describe_unreached
    from mezzotint.app.assembly.initial import initial_weights
    from mezzotint.app.assembly.preflight import obstacles
    from mezzotint.app.results import classes

    components = dry.components
    trained = classes.Trained.of(components.dataset, dry.train)
    news = classes.compare(directory, trained)
    new = not RunDir(directory).newest_step()
    refuse([*obstacles(job, components, directory), *(classes.empty(trained) if new else [])])
    another = rates.changed(directory, job, components)
    first = initial_weights(directory, job, components)
    with RunDir(directory).lock() as log:
        classes.write(directory, trained)
        RunDir(directory).write_config(job.as_dict())
        link_latest(directory, Path(job.paths["runs"]))
        print(plan_line(job, components), flush=True)
        if first:
            print(first, flush=True)
        idle = f"{describe_unreached(dry.trial.unreached)}: it keeps its initial value" if dry.trial.unreached else None
        for remark in filter(None, (idle, news, another, *dry.notes)):
            print(remark, file=sys.stderr)
        with tracked(directory, job.as_dict(), components.loggers) as trackers, recorded(directory, job, log):
            yield trackers


def work(directory: Path, job: Job, evaluation: dict[str, Any]) -> dict[str, Any]:
    """Train as one of the processes that `main` started.

    Args:
        evaluation: the fields of an EvaluationBudget.
    """
    from mezzotint.app.assembly.evaluation_budget import EvaluationBudget
    from mezzotint.app.assembly.parts import assemble, build_metrics
    from mezzotint.app.results.classes import settled

    components = assemble(settled(directory, job))
    metrics = build_metrics(job, components.dataset.shape)
    return train(directory, job, components, metrics, EvaluationBudget(**evaluation))


def train(
    directory: Path,
    job: Job,
    components: "Components",
    metrics: "dict[str, Metric]",
    evaluation: "EvaluationBudget",
    trackers: TrackerGroup | None = None,
) -> dict[str, Any]:
    """Train as one rank, and help to evaluate the result; return what `fit` returned.

    Args:
        trackers: of the process that claimed the run; another process makes its own.
    """
    from mezzotint.app.assembly.initial import start_from_initial_weights
    from mezzotint.app.commands.final_evaluation import evaluate_checkpoints
    from mezzotint.app.launch.process_group import joined_group
    from mezzotint.training import fit

    with joined_group(directory, components.hardware, job) as place:
        start_from_initial_weights(directory, job, components)
        with nullcontext(trackers) if trackers else tracked(directory, job.as_dict(), components.loggers) as loggers:
            arguments = replace(components, loggers={"trackers": loggers}).arguments(job)
            then = "sampling and evaluation" if job.metrics else "sampling"
            usual_collection()
            share = evaluation.share if place.rank == 0 else 0.0
            outcome = fit(directory, **arguments, then=then, then_share=share)
            loggers.code = 130 if outcome["state"] == "preempted" else 0
        if outcome["state"] == "finished" and place.world > 1:
            with raise_on_signal():  # while the other ranks are here to help
                limited = evaluation.limit(replace(job, checkpoint=None))
                with counted(outcome["spent"], "evaluation"):
                    evaluate_checkpoints(directory, limited, metrics, components.dataset)
    return outcome


def conclude(directory: Path, job: Job, dry: "DryRun", outcome: dict[str, Any], trackers: TrackerGroup) -> float | None:
    """Sample, evaluate and print a summary; return the number that a sweep minimises."""
    from mezzotint.app.commands import sample
    from mezzotint.app.commands.final_evaluation import evaluate_checkpoints, record, rows
    from mezzotint.app.commands.time_spent import TimeSpent
    from mezzotint.app.results.evaluation_table import measure, objective
    from mezzotint.app.results.samples import LOOK

    budget = dry.evaluation
    if budget.reduced:
        print(f"evaluation: {budget}", flush=True)
    fewer = None if budget.pictures >= LOOK else budget.pictures
    spent = outcome["spent"]
    with counted(spent, "sampling"):
        pictures = sample.draw(directory, replace(job, n=fewer, save="none"))
    with counted(spent, "evaluation"):
        evaluated = evaluate_checkpoints(directory, budget.limit(job), dry.metrics, dry.components.dataset)
    record(directory, evaluated)
    first = evaluated[0].found if evaluated else None
    loss, name = final_loss(outcome)
    value = objective(first) if first else loss
    RunDir(directory).update_status(measure=measure(first) if first else {"name": name, "higher_is_better": False})
    trackers.conclude(value)
    taken = TimeSpent(**spent)
    RunDir(directory).update_status(spent=taken.as_dict())
    remark = taken.evaluation_remark(budget.share, job.evaluation_share)
    noun, seconds = dry.components.noun.many, max(outcome["seconds"], 1e-9)
    stop = early_stop(directory, job)
    table(
        [
            (noun, f"{outcome['images']:,} in {outcome['steps']:,} steps"),
            *([("stopped early", str(stop))] if stop else []),
            ("training", f"{seconds:.0f} s, {outcome['images'] / seconds:,.0f} {noun}/s"),
            *([] if loss is None else [(name, f"{loss:.4f}")]),
            *rows(evaluated),
            *(("samples", display_path(path)) for path in pictures),
            ("time", str(taken)),
            *([("", remark)] if remark else []),
        ]
    )
    return value


@contextmanager
def counted(spent: dict[str, float], phase: str) -> Iterator[None]:
    """Add the seconds of a phase to those spent."""
    start = time.monotonic()
    yield
    spent[phase] = spent.get(phase, 0.0) + time.monotonic() - start


def final_loss(outcome: dict[str, Any]) -> tuple[float | None, str]:
    """Return the validation loss, or else the training loss, with its name."""
    held_out = outcome.get("validation", {}).get("loss")
    return (outcome.get("loss"), TRAINING_LOSS) if held_out is None else (held_out, VALIDATION_LOSS)
