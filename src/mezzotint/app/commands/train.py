"""`mezzotint train`: claim the run's directory, train in it, then sample and evaluate the result."""

import os
import socket
import sys
import time
import traceback
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, nullcontext, suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

from mezzotint.app.config.arguments import spoken_keys
from mezzotint.app.config.job import DATA_NOISE, FREE, Config, Job, differences, relocatable
from mezzotint.app.config.resolve import check_groups, refuse, refuse_drawing, resolve, unbounded
from mezzotint.app.launch import ranks, sweep_jobs
from mezzotint.app.launch.hydra_hooks import in_sweep
from mezzotint.app.launch.launched import following, launched
from mezzotint.app.launch.slurm_rendezvous import rendezvous
from mezzotint.app.results import run_folders
from mezzotint.app.results.tracking import TrackerGroup, tracked
from mezzotint.app.terminal import display_path, table
from mezzotint.errors import ConfigError, TrainingError, as_user_error
from mezzotint.runs import RunDir
from mezzotint.runs.early_stop import EarlyStop
from mezzotint.runs.folders import link_latest
from mezzotint.runs.formats import TRAINING_LOSS, VALIDATION_LOSS
from mezzotint.signals import Preempted, raise_on_signal

if TYPE_CHECKING:
    from mezzotint.app.assembly.parts import Components

MAY_CHANGE = [key for key in FREE if key not in ("name", "checkpoint")]  # when training goes on


def main(config: Any) -> float | None:
    """Train one job: a new run, one resumed by its config or by run=, or one that is finished already."""
    with launched():
        given, many = spoken_keys(), in_sweep()
        job = run_folders.settled(unbounded(resolve(config), given), "name" in given, many)
        directory = choose(job, given, many)
        if finished(directory, job):
            print(f"{sweep_jobs.place(directory)} is finished; nothing to do{fewer(directory, job)}")
            return RunDir(directory).status().get("objective")
        rehearsed = rehearse(directory, job, many)
        if ranks.rank():
            with following(directory, job):
                check_preempted(work(directory))
            return RunDir(directory).status().get("objective")
        with begun(directory, job, rehearsed) as trackers:
            hardware = rehearsed.hardware
            alone = ranks.joined() or hardware.local * hardware.nodes == 1
            outcome = work(directory, trackers=trackers) if alone else ranks.start(work, directory, hardware.local)
            RunDir(directory).update_status(**{key: outcome[key] for key in ("images", "steps", "seconds")})
            check_preempted(outcome)
            with raise_on_signal():  # training is saved
                value = conclude(directory, job, outcome, trackers)
        RunDir(directory).update_status(state="finished", objective=value)
        print(f"run: {display_path(directory)}")
        return value


def rehearse(directory: Path, job: Job, many: bool) -> "Components":
    """Check everything that can be checked before training; return the parts on the meta device. Raises ConfigError."""
    if not ranks.rank():  # before torch is imported, which takes seconds
        print(f"{'' if many else 'run: '}{sweep_jobs.place(directory)}", flush=True)
    check_groups(job)
    if job.hardware.get("micro_batch") == "find":
        raise ConfigError(
            "hardware.micro_batch=find only works with `mezzotint check`. Run it with the same arguments and train "
            "with the value that it prints"
        )
    from mezzotint.app.assembly.parts import dry_run
    from mezzotint.app.results import classes

    rehearsed = dry_run(classes.settled(directory, job))
    ranks.check(rehearsed.hardware)
    return rehearsed


def check_preempted(outcome: dict[str, Any]) -> None:
    if outcome["state"] == "preempted":
        raise Preempted(outcome["signal"])


@contextmanager
def begun(directory: Path, job: Job, rehearsed: "Components") -> Iterator[TrackerGroup]:
    """Claim the run's directory, write its config and print the plan; then hold its trackers and its state.

    Raises:
        ConfigError: what stands in the way, such as a full disk or another process that trains the run.
    """
    from mezzotint.app.assembly import rates
    from mezzotint.app.assembly.cost import calls, line
    from mezzotint.app.assembly.gradients import told
    from mezzotint.app.assembly.initial import initial_weights
    from mezzotint.app.assembly.preflight import obstacles
    from mezzotint.app.results import classes

    calls(rehearsed)  # every step of the final sampling
    trained = classes.Trained.of(rehearsed.dataset, rehearsed.train)
    news = classes.compare(directory, trained)
    new = not RunDir(directory).newest_step()
    refuse([*obstacles(job, rehearsed, directory), *(classes.empty(trained) if new else [])])
    another = rates.changed(directory, job, rehearsed)
    first = initial_weights(directory, job, rehearsed)
    with RunDir(directory).lock() as log:
        classes.write(directory, trained)
        RunDir(directory).write_config(replace(job, run=None).as_dict())
        link_latest(directory, Path(job.paths["runs"]))
        print(line(job, rehearsed), flush=True)
        if first:
            print(first, flush=True)
        idle = f"{told(rehearsed.unreached)}: left as it begins" if rehearsed.unreached else None
        for remark in filter(None, (idle, news, another, *rehearsed.notes)):
            print(remark, file=sys.stderr)
        with tracked(directory, job.as_dict(), rehearsed.loggers) as trackers, recorded(directory, job, log):
            yield trackers


def choose(job: Job, given: list[str], many: bool) -> Path:
    """The run's directory; refused where it is another config's.

    Raises:
        ConfigError: the name is taken, or run= is given another config than may go on there, or a step.
    """
    refuse_drawing(job, "training learns all classes")
    if job.checkpoint is not None:
        raise ConfigError(
            f"checkpoint={job.checkpoint} is for sample and evaluate: training goes on from the newest checkpoint"
        )
    if job.run:
        directory = Path(job.run).resolve()
        changed = differences(fixed(RunDir(directory).config()), fixed(job.as_dict()))
        if changed:
            raise ConfigError(
                f"{', '.join(changed)} cannot change in a run that goes on; leave it out, or train a new run "
                f"without run=. {', '.join(sorted([*MAY_CHANGE, 'data.root', 'data.skip']))} may change"
            )
        return directory
    directory = run_folders.place(job, named="name" in given, many=many)
    run_folders.refuse_other(directory, job.as_dict())
    return directory


def fixed(config: Config) -> Config:
    """What must stay as it was. Where the data lies may change: it may have been moved."""
    kept = {key: value for key, value in relocatable(config).items() if key not in MAY_CHANGE}
    return kept | {"data": {key: value for key, value in kept["data"].items() if key not in ("root", *DATA_NOISE)}}


def finished(directory: Path, job: Job) -> bool:
    status = RunDir(directory).status()
    if status.get("state") != "finished":
        return False
    return status.get("images", 0) >= job.budget or early_stop(directory, job) is not None


def early_stop(directory: Path, job: Job) -> EarlyStop | None:
    """Return the stop that ended the run before its budget, if it would end it again."""
    status, nodes = RunDir(directory).status(), job.callbacks.values()
    found = EarlyStop.of(status)
    names = [str(node.get("_target_")).rpartition(".")[2] for node in nodes if isinstance(node, dict)]
    return found if found and found.holds(status.get("images", 0), job.budget, names) else None


def fewer(directory: Path, job: Job) -> str:
    """Return why nothing is done, if a callback stopped the run or another budget was spent."""
    if stop := early_stop(directory, job):
        return (
            f": {stop}; `mezzotint train run={display_path(directory)} budget=` with more than {stop.budget} trains on"
        )
    seen, budget = RunDir(directory).status()["images"], job.budget
    more = seen - job.batch_size >= budget
    return f": it has seen {seen:,} images, more than budget={budget}" if more else ""


def work(directory: Path, job: Job | None = None, trackers: TrackerGroup | None = None) -> dict[str, Any]:
    """Train as one rank, from the run's config.yaml alone; return what `fit` returned.

    Args:
        job: the saved one, if it has been read.
        trackers: of the process that claimed the run; another process makes its own.
    """
    from mezzotint.app.assembly.evaluation_share import final_share
    from mezzotint.app.assembly.initial import start_from_initial_weights
    from mezzotint.app.assembly.parts import assemble
    from mezzotint.app.commands.final_evaluation import judge_moments
    from mezzotint.app.launch.process_group import process_group
    from mezzotint.app.results.classes import settled
    from mezzotint.training import fit
    from mezzotint.training.hardware.hardware import ProcessInfo

    job = job or Job.of_dict(RunDir(directory).config())
    with rendezvous(directory), ExitStack() as stack:
        parts = assemble(settled(directory, job))
        start_from_initial_weights(directory, job, parts)
        stack.enter_context(process_group(parts.hardware))  # or Lightning would, at addresses of torchrun's last job
        with nullcontext(trackers) if trackers else tracked(directory, job.as_dict(), parts.loggers) as told:
            outcome = fit(
                directory,
                denoiser=parts.denoiser,
                objective=parts.objective,
                dataset=parts.dataset,
                optimizer=parts.optimizer,
                ema=parts.ema,
                callbacks=parts.callbacks,
                loggers={"trackers": told},
                hardware=parts.hardware,
                sampling=parts.sampling,
                judging=parts.judging,
                seed=job.seed,
                budget=job.budget,
                batch_size=job.batch_size,
                config=job.as_dict(),
                then="sampling and evaluation" if job.metrics else "sampling",
                then_share=final_share(job) if ProcessInfo.here().rank == 0 else 0.0,
            )
            told.code = 130 if outcome["state"] == "preempted" else 0
        if outcome["state"] == "finished" and ProcessInfo.here().world > 1:
            with raise_on_signal():  # while the other ranks are here to help
                judge_moments(directory, replace(job, checkpoint=None))
    return outcome


@contextmanager
def recorded(directory: Path, job: Job, log: TextIO) -> Iterator[None]:
    """Keep the run's state, and put what ended it into its log before anybody else hears of it."""
    start = {
        "state": "running",
        "error": None,
        "host": socket.gethostname(),
        "pid": os.getpid(),
        "started": time.time(),
    }
    RunDir(directory).update_status(**start, budget=job.budget)
    log.write(f"{time.strftime('%F %T')} started\n")
    try:
        yield
    except KeyboardInterrupt:
        end(directory, job, log, "preempted", None)
        print(f"`mezzotint train run={display_path(directory)}` goes on from here", file=sys.stderr)
        raise
    except Exception as error:
        known = as_user_error(error)
        text = traceback.format_exc() if known is None else str(known)
        end(directory, job, log, "failed", text)
        if known is None:
            print(text, file=sys.stderr)
        said = f"{type(error).__name__}: {error}" if known is None else text
        raise TrainingError(f"{display_path(directory)} failed: {said}") from error
    log.write(f"{time.strftime('%F %T')} done\n")


def end(directory: Path, job: Job, log: TextIO, state: str, error: str | None) -> None:
    step = RunDir(directory).newest_step()
    last = error.strip().splitlines()[-1] if error else None
    with suppress(OSError):  # a disk that is full for this too
        RunDir(directory).update_status(state=state, error=last, steps=step, images=step * job.batch_size)
    with suppress(OSError):
        os.write(log.fileno(), f"{time.strftime('%F %T')} {state}\n{error or ''}\n".encode(errors="backslashreplace"))


def conclude(directory: Path, job: Job, outcome: dict[str, Any], trackers: TrackerGroup) -> float | None:
    """Draw, judge and sum up; the number that a sweep minimises."""
    from mezzotint.app.assembly.evaluation_share import final
    from mezzotint.app.commands import evaluate, sample
    from mezzotint.app.commands.final_evaluation import judge_moments, record
    from mezzotint.app.commands.final_evaluation import rows as told
    from mezzotint.app.results.samples import LOOK

    found = final(job)
    if found.reduced:
        print(f"judging: {found}", flush=True)
    fewer = None if found.pictures >= LOOK else found.pictures
    pictures = sample.draw(directory, replace(job, n=fewer, save="none"))
    moments = judge_moments(directory, job)
    record(directory, moments)
    seconds = max(outcome["seconds"], 1e-9)
    rows = [
        ("images", f"{outcome['images']:,} in {outcome['steps']:,} steps"),
        ("training", f"{seconds:.0f} s, {outcome['images'] / seconds:,.0f} images/s"),
    ]
    if stop := early_stop(directory, job):
        rows.insert(1, ("stopped early", str(stop)))
    held_out = outcome.get("validation", {}).get("loss")
    loss = outcome.get("loss") if held_out is None else held_out
    value, measure = loss, {"name": TRAINING_LOSS if held_out is None else VALIDATION_LOSS, "higher_is_better": False}
    if loss is not None:
        rows.append((measure["name"], f"{loss:.4f}"))
    if moments:
        rows += told(moments)
        value, measure = evaluate.objective(moments[0].found), evaluate.measure(moments[0].found)
    RunDir(directory).update_status(measure=measure)
    rows += [("samples", display_path(path)) for path in pictures]
    trackers.conclude(value)
    table(rows)
    return value
