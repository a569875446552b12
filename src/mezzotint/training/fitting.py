"""Train a run, or go on with it: the one way from built objects to a directory with weights in it."""

import sys
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
from lightning.pytorch.profilers import Profiler
from lightning.pytorch.utilities.exceptions import MisconfigurationException
from torch import nn

from mezzotint.data.datamodule import DataModule
from mezzotint.data.dataset import codec_of
from mezzotint.diffusion import Denoiser
from mezzotint.errors import ConfigError
from mezzotint.reading import damaged
from mezzotint.runs import RunDir, checkpoints
from mezzotint.runs.early_stop import EarlyStop
from mezzotint.training.callback_group import CallbackGroup
from mezzotint.training.callbacks.base import Callback
from mezzotint.training.callbacks.checkpoints import Checkpoints
from mezzotint.training.callbacks.ema import WeightAverages
from mezzotint.training.callbacks.log import Log
from mezzotint.training.callbacks.nan_guard import NaNGuard
from mezzotint.training.callbacks.preemption import Preemption
from mezzotint.training.hardware.hardware import Hardware, is_full, out_of_memory
from mezzotint.training.lightning_fit import class_names, train
from mezzotint.training.module import DiffusionModule
from mezzotint.training.optimizers import OptimizerSettings, rescheduled
from mezzotint.training.own_trainer import connect
from mezzotint.training.saved_run import written
from mezzotint.training.tracking.tracker import as_tracker
from mezzotint.training.trainer import build_trainer, quiet
from mezzotint.training.training_run import TrainingRun

LINES = (50, 0.05)  # steps from line to line: as callbacks=minimal has it


def fit(
    directory: str | Path,
    *,
    denoiser: Denoiser,
    objective: nn.Module,
    dataset: Any,
    optimizer: OptimizerSettings,
    budget: int,
    batch_size: int,
    seed: int = 0,
    ema: WeightAverages | None = None,
    callbacks: Mapping[str, Any] | None = None,
    loggers: Mapping[str, Any] | None = None,
    hardware: Hardware | None = None,
    sampling: Any = None,
    judging: Any = None,
    config: dict[str, Any] | None = None,
    then: str = "",
    then_share: float = 0.0,
    profiler: Profiler | None = None,
) -> dict[str, Any]:
    """Train a denoiser in `directory`, from its newest whole checkpoint if there is one.

    The directory becomes a run: unless it has a config.yaml, one is written of these objects, as far as they keep what
    they were made of, so that `load`, `sample`, `evaluate`, `runs` and `report` know it.

    Args:
        objective: per-example losses.
        budget: images to see; rounded up to whole batches.
        batch_size: images a step, over all processes and micro-batches; a run keeps it.
        callbacks: by name, ours and Lightning's; None saves, logs, guards and heeds signals, as callbacks=minimal does.
        loggers: by name, ours and Lightning's.
        sampling: how previews are drawn (mezzotint.generation.SamplingRecipe); None draws none.
        judging: how Judge judges samples (mezzotint.training.EvaluationPlan).
        config: plain data, for trackers.
        then: what the caller does next, printed beside the time left, such as "sampling".
        then_share: how long that takes, as an estimated share of the training's time; 0 where it is not known.
        profiler: one of Lightning's; None takes that of the hardware, by name.

    Returns:
        state ("finished" or "preempted"), the signal that ended it, stopped_early (by which callback, in words, or
        None), images, steps, seconds, spent (seconds of this start in training and in looking, which is validation,
        previews and metrics of samples), and the last loss, validation, ... of the log.

    Raises:
        ConfigError: settings that cannot work; TrainingError: training that cannot go on; KeyboardInterrupt: after
            Ctrl-C, once a checkpoint has been written.
    """
    directory, hardware = Path(directory), hardware or Hardware()
    if budget < 1 or batch_size < 1:
        raise ConfigError(f"budget={budget} and batch_size={batch_size} must be at least 1 image")
    place = hardware.place()
    files = RunDir(directory)
    files.check_links()
    saved = checkpoints.newest(files.checkpoints, quiet=place.rank > 0)
    done = checkpoints.step_of(saved) if saved else 0
    saved = saved if done else None  # step 0 holds imported weights, which init= has taken, and no state of training
    module = DiffusionModule(
        denoiser,
        objective,
        optimizer,
        seed=seed,
        budget=budget,
        batch_size=batch_size,
        fused=hardware.fused,
        codec=codec_of(dataset),
        sharded=place.world > 1 and hardware.strategy == "fsdp",
    )
    module.in_run = True
    run = TrainingRun(
        directory,
        module,
        dataset,
        seed,
        budget,
        batch_size,
        sampling,
        judging,
        config or {},
        place.rank,
        place.world,
        done,
    )
    run.timeout, run.then, run.then_share = hardware.timeout, then, then_share
    if saved:
        check_saved(saved, module)
    if place.rank == 0 and done and (another := rescheduled(optimizer, batch_size, planned(run), budget, done)):
        print(another, file=sys.stderr)
    ours, theirs = sorted_out(quiet_callbacks() if callbacks is None else callbacks)
    stop = EarlyStop.of(files.status())
    if stop and stop.holds(run.images, budget, class_names(theirs)):
        run.early_stop = stop
    if run.finished:
        return summary(run, files.truncate(files.metrics_file, done) if place.rank == 0 else [])
    data = DataModule(
        dataset, batch_size, seed, run.images, place.rank, place.world, hardware.micro_batch, hardware.workers
    )
    if place.rank == 0:
        for remark in remarks(run, hardware):
            print(remark, file=sys.stderr)
    run.loggers = [as_tracker(logger) for logger in (loggers or {}).values()]
    group = CallbackGroup(run, [*ours, *([ema] if ema else [])])
    directory.mkdir(parents=True, exist_ok=True)
    described = written(run, denoiser=denoiser, objective=objective, optimizer=optimizer, ema=ema, hardware=hardware)
    with described, quiet():
        hardware.prepare(denoiser.network)
        try:
            trainer = build_trainer(hardware, place, run, data, group, theirs, profiler)
            connect(run, trainer, data.val_dataloader, ema.average() if ema else None)
            train(trainer, module, data, saved, group)
        except MisconfigurationException as error:
            raise ConfigError(f"lightning: {' '.join(str(error).split())}") from error
        except RuntimeError as error:
            if names := waited_for(error, module):
                raise ConfigError(
                    f"{names[0]} got no gradient in a step, and {place.world} processes wait for every parameter's. "
                    "Let the loss depend on it, freeze it (requires_grad_(False)), or train in one process"
                ) from error
            if "Early stopping conditioned on metric" in str(error):
                raise ConfigError(f"callbacks: {' '.join(str(error).split())}") from error
            if not is_full(error):
                raise
            raise out_of_memory(hardware, data.micro_batch) from error
    if run.stopped == "SIGINT":
        raise KeyboardInterrupt
    if place.rank == 0 and (run.early_stop or stop):
        files.update_status(early_stop=asdict(run.early_stop) if run.early_stop else None)
    known = [run.values] if run.begun else files.truncate(files.metrics_file, done) if place.rank == 0 else []
    return summary(run, known)


def planned(run: TrainingRun) -> Any:
    """The budget that the run was begun with; None where it does not say."""
    try:
        return RunDir(run.directory).config().get("budget")
    except ConfigError:
        return None


def check_saved(saved: Path, module: DiffusionModule) -> None:
    """Refuse to go on from a checkpoint of another batch size, whose steps would be taken for other images than were
    seen, or of another network.
    """
    found, step = checkpoints.read(saved, lazily=True), checkpoints.step_of(saved)
    images = found["images"]
    if step < 1 or images % step:
        raise damaged(saved, f"it tells of {images} images in {step} steps", checkpoints.REMOVE)
    if images != step * module.batch_size:
        raise ConfigError(
            f"batch_size={module.batch_size}: {saved.parent.parent} has seen {images} images in {step} steps; go on "
            f"with batch_size={images // step}, or train in another folder"
        )
    if why := checkpoints.unlike(found, module):
        raise damaged(saved, why, checkpoints.REMOVE)


def quiet_callbacks() -> dict[str, Callback]:
    """Return the callbacks that save, guard and interrupt a run, and none that shows anything."""
    return {"finite": NaNGuard(LINES), "preemption": Preemption(), "checkpoints": Checkpoints(0.05)}


def waited_for(error: RuntimeError, module: DiffusionModule) -> list[str]:
    """Names of the parameters without a gradient that ended DistributedDataParallel; none for another error.

    It finds them out when the next step begins, and the gradients of the last one are still there.
    """
    if not any(
        said in str(error) for said in ("not used in producing the loss", "Expected to have finished reduction")
    ):
        return []
    trained = {name.removeprefix("denoiser."): p for name, p in module.named_parameters() if p.requires_grad}
    return [name for name, p in trained.items() if p.grad is None] or ["a parameter"]


def remarks(run: TrainingRun, hardware: Hardware) -> Iterator[str]:
    """Yield remarks that need no action."""
    if run.budget % run.batch_size:
        yield f"budget={run.budget} is rounded up to {run.steps} batches: {run.steps * run.batch_size} images."
    if hardware.device != "cpu":
        yield hardware.choices(run.module.denoiser.network)
    if hardware.exact_precision == "16-mixed":
        yield "precision=16-mixed overflows above 65,504, and steps that do are skipped; bf16-mixed does not."


def sorted_out(callbacks: Mapping[str, Any]) -> tuple[list[Callback], list[pl.Callback]]:
    """Callbacks of ours, which a CallbackGroup calls, and Lightning's, which the Trainer calls."""
    ours: list[Callback] = []
    theirs: list[pl.Callback] = []
    for callback in callbacks.values():
        match callback:
            case Callback():
                ours.append(callback)
            case pl.Callback():
                theirs.append(callback)
            case _:
                raise ConfigError(
                    f"callbacks: {type(callback).__name__} is neither a callback of mezzotint nor of lightning"
                )
    if not any(isinstance(callback, Log) for callback in ours):
        ours.append(Log(LINES))
    return ours, theirs


def summary(run: TrainingRun, lines: list[dict[str, Any]]) -> dict[str, Any]:
    """Return the newest value of everything that was logged, and how the run ended."""
    known: dict[str, Any] = {}
    for line in lines:
        known |= line
    state = "finished" if run.finished else "preempted"
    clock = known.pop("time", {})
    ended = {"state": state, "signal": run.stopped, "images": run.images, "steps": run.step}
    ended["stopped_early"] = str(run.early_stop) if run.early_stop else None
    return known | ended | {"seconds": clock.get("seconds", 0.0), "spent": run.clock.spent()}
