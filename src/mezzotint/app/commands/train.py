"""`mezzotint train`: settles the run's directory, trains in it, draws and judges what it learnt."""

import os
import socket
import sys
import time
import traceback
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext, suppress
from pathlib import Path
from threading import Thread
from typing import Any, TextIO

from mezzotint.app.config.arguments import spoken
from mezzotint.app.config.job import (
    DATA_NOISE,
    FREE,
    Config,
    check_groups,
    differences,
    refuse,
    refuse_drawing,
    relocatable,
    resolve,
    unbounded,
)
from mezzotint.app.launch import gpus, ranks, sweep_jobs
from mezzotint.app.launch.requeue import requeue, wanted
from mezzotint.app.launch.slurm_rendezvous import rendezvous
from mezzotint.app.results import run_folders
from mezzotint.app.results.tracking import TrackerGroup, tracked
from mezzotint.app.terminal import display_path, table
from mezzotint.errors import ConfigError, DataError, TrainingError, mendable
from mezzotint.runs import RunDir
from mezzotint.runs.formats import TRAINING_LOSS, VALIDATION_LOSS
from mezzotint.signals import REQUEUE_SIGNALS, Preempted, install_handlers, raise_on_signal, restore_handlers

MEETING = 120.0  # seconds that a rank of a cluster job waits for the first one to write the config
MAY_CHANGE = [key for key in FREE if key not in ("name", "checkpoint")]  # when training goes on


def main(config: Any) -> float | None:
    """One job: new, resumed by its config or by run=, or already finished."""
    from hydra.core.hydra_config import HydraConfig

    hydra = HydraConfig.get()
    many = hydra.mode.name == "MULTIRUN"
    if hydra.runtime.choices.get("hydra/launcher") == "gpus":
        gpus.take()
    heard = install_handlers(REQUEUE_SIGNALS)
    try:
        return job(config, [word.lstrip("+").partition("=")[0] for word in spoken()], many)
    except Preempted as stop:
        restore_handlers(heard)
        if wanted(stop):
            requeue(ranks.rank())
        raise
    except (ConfigError, DataError):
        raise
    except Exception:
        if many and ranks.joined() and (ranks.rank() or "SUBMITIT_EXECUTOR" not in os.environ):
            traceback.print_exc()  # the other ranks wait for this one; only its end lets them go
            sys.stderr.flush()
            os._exit(1)
        raise
    finally:
        restore_handlers(heard)


def job(config: Any, given: list[str], many: bool) -> float | None:
    plain = run_folders.settled(unbounded(resolve(config), given), "name" in given, many)
    directory = choose(plain, given, many)
    if finished(directory, plain):
        print(f"{sweep_jobs.place(directory)} is finished; nothing to do{fewer(directory, plain)}")
        return RunDir(directory).status().get("objective")
    if not ranks.rank():  # before torch is imported, which takes seconds
        print(f"{'' if many else 'run: '}{sweep_jobs.place(directory)}", flush=True)
    check_groups(plain)
    if plain["hardware"].get("micro_batch") == "find":
        raise ConfigError(
            "hardware.micro_batch=find is a question to `mezzotint check`, with the other words of this command; train "
            "with the number that it answers"
        )
    from mezzotint.app.assembly import rates
    from mezzotint.app.assembly.cost import calls, line
    from mezzotint.app.assembly.gradients import told
    from mezzotint.app.assembly.parts import dry_run
    from mezzotint.app.assembly.preflight import obstacles
    from mezzotint.app.results import classes

    rehearsed = dry_run(classes.settled(directory, plain))
    ranks.check(rehearsed.hardware)
    if ranks.rank():
        return follow(directory, plain)
    calls(rehearsed)  # the whole way of a sample, which is drawn when all is trained
    trained = classes.Trained.of(rehearsed.dataset, rehearsed.train)
    news = classes.compare(directory, trained)
    refuse(
        [
            *obstacles(plain, rehearsed, directory),
            *([] if RunDir(directory).newest_step() else classes.empty(trained)),
        ]
    )
    another = rates.changed(directory, plain, rehearsed)
    with RunDir(directory).lock() as log:
        classes.write(directory, trained)
        RunDir(directory).write_config(plain | {"run": None})
        RunDir(directory).link_latest(Path(plain["paths"]["runs"]))
        print(line(plain, rehearsed), flush=True)
        idle = f"{told(rehearsed.unreached)}: left as it begins" if rehearsed.unreached else None
        for remark in filter(None, (idle, news, another)):
            print(remark, file=sys.stderr)
        with tracked(directory, plain, rehearsed.loggers) as trackers, recorded(directory, plain, log):
            outcome = train(directory, rehearsed.hardware, trackers)
            RunDir(directory).update_status(**{key: outcome[key] for key in ("images", "steps", "seconds")})
            if outcome["state"] == "preempted":
                raise Preempted(outcome["signal"])
            with raise_on_signal():  # what was learnt is saved
                value = conclude(directory, plain, outcome, trackers)
        RunDir(directory).update_status(state="finished", objective=value)
    print(f"run: {display_path(directory)}")
    return value


def follow(directory: Path, config: Config) -> float | None:
    """A rank that a cluster started: trains on what the first one wrote, and stays until that one has ended the job."""
    wait_for(directory, config)
    Thread(target=leave_with_first, args=(directory, time.time()), daemon=True).start()
    with rendezvous(directory):
        outcome = work(directory)
    if outcome["state"] == "preempted":
        raise Preempted(outcome["signal"])
    with raise_on_signal():
        while RunDir(directory).status().get("state") == "running":
            time.sleep(0.2)
    return RunDir(directory).status().get("objective")


def leave_with_first(directory: Path, since: float) -> None:
    """End this rank where the first one has failed: it may be waiting for that one, deep in a library, for minutes."""
    while True:
        status = RunDir(directory).status()
        if status.get("time", 0.0) > since and status.get("state") != "running":
            break
        time.sleep(1.0)
    if status.get("state") == "failed":
        time.sleep(2.0)  # for what it has to say itself
        os._exit(1)


def choose(config: Config, given: list[str], many: bool) -> Path:
    """The run's directory; refused where it is another config's.

    Raises:
        ConfigError: the name is taken, or run= is given another config than may go on there, or a step.
    """
    refuse_drawing(config, "training learns all classes")
    if config["checkpoint"] is not None:
        raise ConfigError(
            f"checkpoint={config['checkpoint']} is for sample and evaluate: training goes on from the newest checkpoint"
        )
    if config["run"]:
        directory = Path(config["run"]).resolve()
        changed = differences(fixed(RunDir(directory).config()), fixed(config))
        if changed:
            raise ConfigError(
                f"{', '.join(changed)} cannot change in a run that goes on; leave it out, or train a new run "
                f"without run=. {', '.join(sorted([*MAY_CHANGE, 'data.root', 'data.skip']))} may change"
            )
        return directory
    directory = run_folders.place(config, named="name" in given, many=many)
    run_folders.refuse_other(directory, config)
    return directory


def fixed(config: Config) -> Config:
    """What must stay as it was. Where the data lies may change: it may have been moved."""
    kept = {key: value for key, value in relocatable(config).items() if key not in MAY_CHANGE}
    return kept | {"data": {key: value for key, value in kept["data"].items() if key not in ("root", *DATA_NOISE)}}


def finished(directory: Path, config: Config) -> bool:
    status = RunDir(directory).status()
    return status.get("state") == "finished" and status.get("images", 0) >= config["budget"]


def fewer(directory: Path, config: Config) -> str:
    """Why nothing is done, where the budget is another than the one that was spent."""
    seen, budget = RunDir(directory).status()["images"], config["budget"]
    more = seen - config["batch_size"] >= budget
    return f": it has seen {seen:,} images, more than budget={budget}" if more else ""


def wait_for(directory: Path, config: Config) -> None:
    """A rank that a cluster started trains on what the first rank wrote, and on nothing else."""
    until = time.monotonic() + MEETING
    found: Config = {}
    while time.monotonic() < until:
        if RunDir(directory).exists():
            found = RunDir(directory).config()
            if found == config | {"run": None}:
                return
        time.sleep(0.2)
    differ = f"; it differs in {', '.join(differences(found, config | {'run': None}))}" if found else ""
    raise TrainingError(
        f"rank {ranks.rank()} waited {MEETING:g} s for its config in {RunDir(directory).config_file}{differ}"
    )


def train(directory: Path, hardware: Any, trackers: TrackerGroup) -> dict[str, Any]:
    """Train in this process, or in as many as the hardware asks for."""
    if ranks.joined() or hardware.local * hardware.nodes == 1:
        with rendezvous(directory):
            return work(directory, trackers)
    return ranks.start(directory, hardware.local)


def work(directory: Path, trackers: TrackerGroup | None = None) -> dict[str, Any]:
    """One rank's whole training, from the run's config alone; a process of its own has trackers of its own."""
    from mezzotint.app.assembly.parts import assemble
    from mezzotint.app.launch.process_group import process_group
    from mezzotint.app.results.classes import settled
    from mezzotint.app.results.final_evaluation import judge_moments
    from mezzotint.training import fit
    from mezzotint.training.hardware.hardware import ProcessInfo

    config = RunDir(directory).config()
    parts = assemble(settled(directory, config))
    with process_group(parts.hardware):  # or Lightning would, and find the last job's addresses in torchrun's store
        with nullcontext(trackers) if trackers else tracked(directory, config, parts.loggers) as told:
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
                seed=config["seed"],
                budget=config["budget"],
                batch_size=config["batch_size"],
                config=config,
                then="drawing and judging" if config["metrics"] else "drawing",
            )
            told.code = 130 if outcome["state"] == "preempted" else 0
        if outcome["state"] == "finished" and ProcessInfo.here().world > 1:
            with raise_on_signal():  # while there are several of us
                judge_moments(directory, config | {"checkpoint": None})
    return outcome


@contextmanager
def recorded(directory: Path, config: Config, log: TextIO) -> Iterator[None]:
    """Keep the run's state, and put what ended it into its log before anybody else hears of it."""
    start = {
        "state": "running",
        "error": None,
        "host": socket.gethostname(),
        "pid": os.getpid(),
        "started": time.time(),
    }
    RunDir(directory).update_status(**start, budget=config["budget"])
    log.write(f"{time.strftime('%F %T')} started\n")
    try:
        yield
    except KeyboardInterrupt:
        end(directory, config, log, "preempted", None)
        print(f"`mezzotint train run={display_path(directory)}` goes on from here", file=sys.stderr)
        raise
    except Exception as error:
        known = mendable(error)
        text = traceback.format_exc() if known is None else str(known)
        end(directory, config, log, "failed", text)
        if known is None:
            print(text, file=sys.stderr)
        said = f"{type(error).__name__}: {error}" if known is None else text
        raise TrainingError(f"{display_path(directory)} failed: {said}") from error
    log.write(f"{time.strftime('%F %T')} done\n")


def end(directory: Path, config: Config, log: TextIO, state: str, error: str | None) -> None:
    step = RunDir(directory).newest_step()
    last = error.strip().splitlines()[-1] if error else None
    with suppress(OSError):  # a disk that is full for this too
        RunDir(directory).update_status(state=state, error=last, steps=step, images=step * config["batch_size"])
    with suppress(OSError):
        os.write(log.fileno(), f"{time.strftime('%F %T')} {state}\n{error or ''}\n".encode(errors="backslashreplace"))


def conclude(directory: Path, config: Config, outcome: dict[str, Any], trackers: TrackerGroup) -> float | None:
    """Draw, judge and sum up; the number that a sweep minimises."""
    from mezzotint.app.assembly.evaluation_share import final
    from mezzotint.app.commands import evaluate, sample
    from mezzotint.app.results.final_evaluation import judge_moments, record
    from mezzotint.app.results.final_evaluation import rows as told
    from mezzotint.app.results.samples import LOOK

    found = final(config)
    if found.reduced:
        print(f"judging: {found}", flush=True)
    fewer = None if found.pictures >= LOOK else found.pictures
    pictures = sample.draw(directory, config | {"n": fewer, "save": "none"})
    moments = judge_moments(directory, config)
    record(directory, moments)
    seconds = max(outcome["seconds"], 1e-9)
    rows = [
        ("images", f"{outcome['images']:,} in {outcome['steps']:,} steps"),
        ("training", f"{seconds:.0f} s, {outcome['images'] / seconds:,.0f} images/s"),
    ]
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
