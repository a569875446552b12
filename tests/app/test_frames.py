"""How many functions of our own stand between the command line and Lightning, a sampler's step and a metric's value."""

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import pytest

import mezzotint as package
from mezzotint.diffusion import DDIM
from mezzotint.errors import ConfigError
from mezzotint.metrics import FrechetDistance

from .conftest import TINY, Command

SOURCE = str(Path(package.__file__).parent)


def own_frames() -> list[str]:
    """Return our functions on the stack, from `main` to the caller of the patched one."""
    names, frame = [], sys._getframe(2)
    while frame is not None:
        if frame.f_code.co_filename.startswith(SOURCE):
            names.append(f"{Path(frame.f_code.co_filename).stem}.{frame.f_code.co_name}")
        if names[-1:] == ["cli.main"]:
            return names[::-1]
        frame = frame.f_back
    raise AssertionError("it was not called by the command line")


@pytest.fixture
def path_to(monkeypatch: pytest.MonkeyPatch) -> Callable[[type, str], list[str]]:
    """Put a stop in the place of a method; the frames that lead to it, once a command has run."""

    def patch(kind: type, name: str) -> list[str]:
        found: list[str] = []
        before = getattr(kind, name)

        def stop(self: Any, *args: Any, **kwargs: Any) -> Any:
            frames = own_frames()
            if "dry_run.rehearse_sampling" in frames:  # on the first levels, before anything is drawn
                return before(self, *args, **kwargs)
            found[:] = frames
            raise ConfigError("far enough")

        monkeypatch.setattr(kind, name, stop)
        return found

    return patch


def test_from_main_to_lightnings_fit(path_to: Callable[[type, str], list[str]], mezzotint: Command) -> None:
    frames = path_to(pl.Trainer, "fit")
    assert mezzotint("train", *TINY).code
    assert 0 < len(frames) <= 7, " > ".join(frames)


def test_from_main_to_a_step_of_the_sampler(
    trained: Path, path_to: Callable[[type, str], list[str]], mezzotint: Command
) -> None:
    frames = path_to(DDIM, "step")
    assert mezzotint("sample", "run=runs/a", "n=1", "sampler=ddim", "grid.steps=2").code
    assert 0 < len(frames) <= 9, " > ".join(frames)


def test_from_main_to_the_value_of_a_metric(
    trained: Path, path_to: Callable[[type, str], list[str]], mezzotint: Command
) -> None:
    frames = path_to(FrechetDistance, "compute")
    assert mezzotint("evaluate", "run=runs/a", "n=16", "metrics=[fid]", "sampler=ddim", "grid.steps=2").code
    assert 0 < len(frames) <= 11, " > ".join(frames)
