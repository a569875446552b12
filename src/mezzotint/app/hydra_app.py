"""Commands on a composed config: Hydra started around the command's `main`, once or for each job of a sweep."""

import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from importlib import import_module
from pathlib import Path
from typing import Any

import hydra

from mezzotint.app.config.arguments import spoken
from mezzotint.app.config.compose import Composition, composition
from mezzotint.app.error_messages import explained
from mezzotint.app.help import config_dir
from mezzotint.app.launch import hydra_hooks, job_queue, ranks, sweep_jobs
from mezzotint.app.launch.launched import launched
from mezzotint.app.startup import defer_packages
from mezzotint.app.terminal import refuse
from mezzotint.instantiate.trust import Trust, reach, trusting


def run(command: str, words: Sequence[str], rule: Trust) -> None:
    """Run a command on the config that its words compose, or on each of a sweep.

    Args:
        rule: what the words let a config name.

    Raises:
        MezzotintError, and whatever else a single job raises; the jobs of a sweep report their own errors.
    """
    defer_packages()
    os.environ["HYDRA_FULL_ERROR"] = "1"  # raise, instead of print and exit
    ranks.check_environment()
    chosen = composition(command, words)
    refused: list[Exception] = []
    sweep = sweep_jobs.begin()

    def task(config: Any) -> Any:
        hydra_hooks.leave_with_parent()
        with sweep.job() as job, reported(command, chosen, refused):
            if job and command != "train" and chosen.run:
                print(sweep_jobs.place(Path(chosen.run)), flush=True)
            if command == "check":  # before torch is imported, which takes seconds
                print(f"{config.get('name')}: building and trying the parts, timing two steps of training", flush=True)
            with trusting(chosen.trust(rule, config, spoken())), launched() if command == "train" else nullcontext():
                return import_module(f"mezzotint.app.commands.{chosen.module}").main(config)

    hydra_hooks.count_gpus()
    hydra_hooks.find_plugins()
    reach(rule.folders)
    before, sys.argv = sys.argv, [f"mezzotint {command}", *chosen.words]
    try:
        with hydra_hooks.composed_once(chosen.words):
            hydra.main(config_path=str(config_dir()), config_name=chosen.name, version_base="1.3")(task)()
    finally:
        sys.argv = before
        if hydra_hooks.sweep_started():
            finish_sweep(command, sweep)
    if refused:
        raise refused[0]


@contextmanager
def reported(command: str, chosen: Composition, refused: list[Exception]) -> Iterator[None]:
    """Keep a single job's error for after Hydra, which adds lines of its own; print that of a job of a sweep."""
    try:
        yield
    except Exception as error:
        known = explained(error, command, chosen.words)
        if known is None:
            raise
        if not hydra_hooks.in_sweep():
            refused.append(known)
            return
        refuse(str(known), command)
        if known is error:
            raise
        raise known from error


def finish_sweep(command: str, sweep: sweep_jobs.Sweep) -> None:
    """On the first rank, sum up a sweep, also one that was stopped, and remove what Hydra left."""
    if ranks.rank():
        return
    job_queue.close()
    points, jobs = hydra_hooks.points(), sweep.close()
    hydra_hooks.remove_empty_sweep_dirs()
    if jobs and (command == "train" or any(job.state != sweep_jobs.DONE for job in jobs)):
        from mezzotint.app.commands.sweep import conclude

        conclude(sweep.keys, jobs, command == "train")
    if points:
        from mezzotint.app.results.sweep_summary import summarise

        summarise(points)
