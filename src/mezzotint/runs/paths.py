"""The names of the files in a run."""

import re
from dataclasses import dataclass
from pathlib import Path

FOLDERS = ("checkpoints", "ema", "export", "samples", "edits", "evaluation", "wandb", "tensorboard", "sweep")
FILES = ("config.yaml", "status.json", "train.log", "metrics.jsonl", "histograms.jsonl", "environment.json")
FILES += ("data.json",)
BEFORE_CONFIG = ("train.log", "status.json", "environment.json", "data.json")  # of a run killed while it started
PREVIEW = re.compile(r"step-(\d+)")


@dataclass(frozen=True)
class RunPaths:
    """The files and folders of a run. Nothing else knows their names.

    Args:
        path: the directory of the run; it need not exist.
    """

    path: Path

    @property
    def config_file(self) -> Path:
        return self.path / "config.yaml"

    @property
    def status_file(self) -> Path:
        return self.path / "status.json"

    @property
    def log_file(self) -> Path:
        """The text log of training, which is also the file that is locked."""
        return self.path / "train.log"

    @property
    def metrics_file(self) -> Path:
        return self.path / "metrics.jsonl"

    @property
    def metrics_table_file(self) -> Path:
        """The CSV logger's copy of the metrics."""
        return self.path / "metrics.csv"

    @property
    def histograms_file(self) -> Path:
        return self.path / "histograms.jsonl"

    @property
    def environment_file(self) -> Path:
        return self.path / "environment.json"

    @property
    def data_file(self) -> Path:
        return self.path / "data.json"

    def foreign_files(self) -> list[str]:
        """Return the names in the directory that no run writes before its config; hidden ones are ignored."""
        names = (file.name for file in self.path.iterdir()) if self.path.is_dir() else ()
        return sorted(name for name in names if not name.startswith(".") and name not in BEFORE_CONFIG)

    @property
    def checkpoints(self) -> Path:
        return self.path / "checkpoints"

    @property
    def snapshots(self) -> Path:
        """The folder of averaged weights in half precision, from which ema=power computes other averages."""
        return self.path / "ema"

    @property
    def samples(self) -> Path:
        return self.path / "samples"

    @property
    def edits(self) -> Path:
        """The folder of edited examples."""
        return self.path / "edits"

    @property
    def evaluation(self) -> Path:
        return self.path / "evaluation"

    @property
    def sweep(self) -> Path:
        """The folder of Hydra's own files of sweeps that start from this run."""
        return self.path / "sweep"

    @property
    def profile(self) -> Path:
        """The folder of the profiler's reports."""
        return self.path / "profile"

    @property
    def tensorboard(self) -> Path:
        return self.path / "tensorboard"

    @property
    def wandb(self) -> Path:
        return self.path / "wandb"

    @property
    def upload_state_file(self) -> Path:
        """The record of what has reached Weights & Biases."""
        return self.wandb / "mezzotint.json"

    def preview_file(self, step: int) -> Path:
        """Return the file of the grid drawn in training at a step."""
        return self.samples / f"step-{step:08d}.png"


def preview_step(file: Path) -> int | None:
    """Return the step at which a grid was drawn in training; None for other pictures."""
    found = PREVIEW.fullmatch(file.stem)
    return int(found[1]) if found else None
