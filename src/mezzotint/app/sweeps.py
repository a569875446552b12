"""What Hydra makes before the first config of a sweep is looked at, and its removal where nothing came of it."""

from pathlib import Path
from typing import Any

from hydra.experimental.callback import Callback

from mezzotint.app.gpus import visible

_folders: set[Path] = set()


class Remember(Callback):
    """Hydra tells here which folders it makes."""

    def on_multirun_start(self, config: Any, **_: Any) -> None:
        _folders.clear()
        _folders.add(Path(config.hydra.sweep.dir))

    def on_job_start(self, config: Any, **_: Any) -> None:
        if _folders:
            _folders.add(Path(config.hydra.sweep.dir))


def count_gpus() -> None:
    """Let a launcher say ${gpus:} for as many jobs at once as there are GPUs."""
    from omegaconf import OmegaConf

    OmegaConf.register_new_resolver("gpus", lambda: max(1, len(visible())), replace=True)


def tidy() -> None:
    """Remove the folders of the last sweep that hold no more than Hydra's own multirun.yaml."""
    for folder in _folders:
        if folder.is_dir() and {file.name for file in folder.iterdir()} <= {"multirun.yaml"}:
            (folder / "multirun.yaml").unlink(missing_ok=True)
            folder.rmdir()
            if not any(folder.parent.iterdir()):
                folder.parent.rmdir()
    _folders.clear()
