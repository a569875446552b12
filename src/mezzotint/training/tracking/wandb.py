"""Weights & Biases as a tracker that never prompts, never blocks a run and is never required."""

import os
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from lightning.fabric.loggers.logger import rank_zero_experiment
from lightning.pytorch.loggers import WandbLogger
from lightning.pytorch.utilities import rank_zero_only

from mezzotint.errors import ConfigError
from mezzotint.plain_data import mismatch
from mezzotint.reading import files
from mezzotint.runs import RunDir, formats
from mezzotint.training.flat import flat
from mezzotint.training.tracking.hooks import STATES, RunInfo, edges
from mezzotint.training.tracking.tracker import Tracker
from mezzotint.training.tracking.wandb_mode import Mode, brief, choose, insisted
from mezzotint.training.tracking.wandb_state import WandbUploadState

WELCOME = 20.0  # seconds at most for a server that has just answered to take a run in
UPLOAD = 120.0  # seconds at most that the end of a run waits for what is not yet uploaded
PAST = {  # of a run that is uploaded afterwards, this process and machine say nothing
    "console": "off",
    "disable_code": True,
    "disable_git": True,
    "x_disable_machine_info": True,
    "x_disable_meta": True,
    "x_disable_stats": True,
}


class WandB(Tracker, WandbLogger):
    """Lightning's WandbLogger, online only if a key is configured and the server accepts it in seconds, else offline.

    One job is one run. Online, a resumed job continues its run after the last line that was received. Offline, each
    start leaves a part in the same group, with `resumed_from`; `mezzotint sync` uploads the parts as one run.

    Args:
        mode: online, offline or disabled; auto obeys WANDB_MODE, and without it decides by key and network.
        project, entity: null: what WANDB_PROJECT and WANDB_ENTITY say, else "mezzotint" and the key's owner.
        group: null: shared by the runs that differ in the seed alone.
        tags, job_type, notes: as the tracker knows them.
        checkpoint: best or last: upload this one too when the run is done.
        save_dir: folder that holds wandb/, in a Trainer of one's own; a run has its own.
    """

    def __init__(
        self,
        mode: Literal["auto", "online", "offline", "disabled"] = "auto",
        project: str | None = None,
        entity: str | None = None,
        group: str | None = None,
        tags: list[str] | None = None,
        job_type: str | None = "train",
        notes: str | None = None,
        checkpoint: Literal["best", "last"] | None = None,
        save_dir: str | Path = ".",
    ) -> None:
        if mode not in ("auto", "online", "offline", "disabled"):
            raise ValueError(f"mode={mode!r} is not known. Choose auto, online, offline or disabled.")
        if checkpoint not in (None, "best", "last"):
            raise ValueError(f"checkpoint={checkpoint!r} is not known. Choose null, best or last.")
        self.mode, self.project, self.entity, self.group = mode, project, entity, group
        self.tags, self.job_type, self.notes, self.checkpoint = tags, job_type, notes, checkpoint
        self.folder, self.session = save_dir, None  # the W&B run, once it is started
        WandbLogger.__init__(self, project=project, save_dir=save_dir, offline=mode == "offline")
        self.told = 0  # lines of the log
        self.refused = False  # by a server that had answered: W&B then holds the run's id in use

    # ---------------------------------------------------------------------------------------------- Lightning's logger

    @property
    @rank_zero_experiment
    def experiment(self) -> Any:
        """The W&B run, started if it is not."""
        if self.session is None:
            self.begin()
        return self.session

    @property
    def name(self) -> str:
        return self.project or os.environ.get("WANDB_PROJECT") or "mezzotint"

    @property
    def version(self) -> str | None:
        return self.session.id if self.session else None

    @rank_zero_only
    def log_hyperparams(self, params: Any, *args: Any, **kwargs: Any) -> None:
        self.begin()
        WandbLogger.log_hyperparams(self, params)

    @rank_zero_only
    def log_metrics(self, metrics: Mapping[str, Any], step: int | None = None) -> None:
        self.begin()
        self.send(max(self.latest, 0) if step is None else step, dict(metrics))

    # ------------------------------------------------------------------------------------------------------- start

    def start(self, subject: RunInfo, lines: list[dict[str, Any]]) -> None:
        self.subject, self.sent = subject, WandbUploadState.read(subject.directory)
        if not subject.past:
            self.sent.starts += 1
            if self.sent.starts > 1 and 0 < subject.images < subject.config.get("budget", float("inf")):
                self.sent.resumed_from.append(subject.images)
        mode, why = choose(self.mode)
        if mode == "online":
            try:
                self.open(mode, lines)
            except Exception as error:  # the server answered, and yet takes no run in
                if insisted(self.mode):
                    raise ConfigError(f"W&B's mode is online, but it refuses the run: {brief(error)}") from error
                mode, why, self.refused = "offline", brief(error), True
        if mode == "offline":
            print(f"wandb: recording offline, {why}; `{self.upload}` uploads it", file=sys.stderr)
        if self.session is None:
            self.open(mode, lines)
        if mode == "online" and not subject.past:
            print(f"wandb: {self.session.url}", file=sys.stderr)

    @property
    def place(self) -> str:
        here = os.path.relpath(self.subject.directory)
        return str(self.subject.directory) if here.startswith("..") else here

    @property
    def upload(self) -> str:
        """The command that uploads what was recorded offline."""
        return f"wandb sync {self.place}/wandb/offline-run-*" if self.subject.own else f"mezzotint sync {self.place}"

    def open(self, mode: Mode, lines: list[dict[str, Any]]) -> None:
        import wandb

        subject, piece = self.subject, self.sent.starts - 1
        online = mode == "online"
        about = {"environment": subject.environment, "resumed_from": self.sent.resumed_from}
        settings = {"silent": True, "init_timeout": WELCOME, "finish_timeout": UPLOAD, "finish_timeout_raises": True}
        wandb.setup(wandb.Settings(silent=True))
        self.session = wandb.init(
            id=self.sent.id if online or not (piece or self.refused) else f"{self.sent.id}-{piece}",
            resume="allow" if online else None,
            project=self.name,
            entity=self.entity,
            name=os.environ.get("WANDB_NAME") or subject.name or subject.directory.name,
            group=self.group or os.environ.get("WANDB_RUN_GROUP") or subject.group or subject.directory.name,
            tags=self.tags,
            job_type=self.job_type,
            notes=self.notes,
            dir=str(subject.directory),
            mode=mode,
            config=subject.config | about,
            reinit="create_new",
            settings=wandb.Settings(**settings, **(PAST if subject.past else {})),
        )
        self.session.define_metric(subject.axis)
        self.session.define_metric("*", step_metric=subject.axis)
        for kind in ("weights/*", "gradients/*"):  # histograms, too many for a summary
            self.session.define_metric(kind, step_metric=subject.axis, summary="none")
        self.online, self.step, self.latest = online, self.session.starting_step, -1
        if online:
            self.done = max(self.sent.images, self.session.starting_step - 1)
            self.sent.url = self.session.url
        else:
            self.done = lines[-1]["images"] if lines and piece else -1  # the piece before has them
        if mode != "disabled":
            self.sent.write(subject.directory)
        self.catch_up(lines)

    def catch_up(self, lines: list[dict[str, Any]]) -> None:
        """Send what the run wrote before this start and W&B lacks."""
        told: list[tuple[int, Callable[[], None]]] = [
            (line["images"], lambda line=line: self.log(line["images"], flat(line))) for line in lines
        ]
        if lines and lines[-1].get("step"):
            told += self.pictures(lines[-1]["images"] // lines[-1]["step"], lines[-1]["images"])
            told += self.histograms(lines[-1]["images"])
        for images, tell in sorted(told, key=lambda pair: pair[0]):
            if images > self.done:
                tell()

    def pictures(self, batch: int, until: int) -> Iterator[tuple[int, Callable[[], None]]]:
        for file, step in RunDir(self.subject.directory).previews().items():
            images = step * batch
            if images <= until:
                yield images, lambda images=images, file=file: self.picture(images, "samples", file)

    def histograms(self, until: int) -> Iterator[tuple[int, Callable[[], None]]]:
        for line in RunDir(self.subject.directory).histograms():
            if line["images"] <= until and not mismatch(line, formats.HISTOGRAM):
                told = {key: line[key] for key in ("images", *formats.HISTOGRAM)}
                yield line["images"], lambda told=told: self.histogram(**told)

    # --------------------------------------------------------------------------------------------------------- tell

    def send(self, images: int, values: dict[str, Any]) -> None:
        """Log values at W&B's step `images`, which shows how much of the run W&B has."""
        self.step, self.latest = max(self.step, images), images
        self.session.log({**values, self.subject.axis: images}, step=self.step)

    def log(self, images: int, values: dict[str, Any]) -> None:
        if images > self.done:
            self.send(images, values)
            self.told += 1

    def picture(self, images: int, name: str, file: Path) -> None:
        import wandb

        kind = wandb.Video(str(file), format="gif") if file.suffix == ".gif" else wandb.Image(str(file))
        self.send(images, {name: kind})
        self.arrived(file.name)

    def histogram(self, images: int, name: str, counts: Sequence[int], low: float, high: float) -> None:
        import wandb

        self.send(images, {name: wandb.Histogram(np_histogram=(list(counts), edges(len(counts), low, high)))})

    def table(self, images: int, name: str, columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> None:
        import wandb

        self.send(images, {name: wandb.Table(columns=list(columns), data=[list(row) for row in rows])})

    def summarise(self, values: dict[str, float]) -> None:
        self.session.summary.update(values)

    def evaluated(self, images: int, found: dict[str, dict[str, Any]]) -> None:
        super().evaluated(images, found)
        for name in found:
            self.arrived(name)

    def keep(self) -> None:
        """As an artifact that, downloaded, is a folder which mezzotint.load reads."""
        if self.checkpoint is None:
            return
        import wandb

        from mezzotint.runs.checkpoints import choose

        run = RunDir(self.subject.directory)
        file = (choose(run.checkpoints, "best") if self.checkpoint == "best" else None) or choose(run.checkpoints, None)
        artifact = wandb.Artifact(f"model-{self.sent.id}", "model")
        for path in (*files(run.path, run.config_file.name), file):
            if path is not None:  # no copy is made of it
                artifact.add_file(str(path), str(path.relative_to(run.path)), policy="immutable")
        self.session.log_artifact(artifact)

    def arrived(self, name: str) -> None:
        if name not in self.sent.files:
            self.sent.files.append(name)

    # -------------------------------------------------------------------------------------------------------- finish

    def finish(self, code: int) -> None:
        if self.session is None:
            return
        session, self.session = self.session, None
        state = STATES.get(code, "failed")
        session.summary["state"] = state
        if state == "preempted":
            session.mark_preempting()
        try:
            session.finish(exit_code=code)
        except TimeoutError:
            print(f"wandb: {UPLOAD:g} s were not enough; `{self.upload}` sends the rest", file=sys.stderr)
            return
        if self.online:
            self.sent.images, self.sent.state = max(self.sent.images, self.latest), state
            self.sent.write(self.subject.directory)
