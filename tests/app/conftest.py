"""The command as a user types it, in this process: importing torch and Hydra anew for each line takes seconds."""

import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from mezzotint.app import cli

TINY = ("debug=tiny", "hardware=cpu", "callbacks=minimal")


@dataclass(frozen=True)
class Done:
    code: int
    out: str
    err: str


Command = Callable[..., Done]


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder to work in, with data and cache of its own."""
    folder = tmp_path / "home"
    folder.mkdir()
    monkeypatch.chdir(folder)
    monkeypatch.setenv("MEZZOTINT_DATA", str(tmp_path / "data"))
    monkeypatch.setenv("MEZZOTINT_CACHE", str(tmp_path / "cache"))
    return folder


@pytest.fixture
def mezzotint(home: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Command:
    monkeypatch.setattr(sys, "path", list(sys.path))

    def run(*words: str) -> Done:
        capsys.readouterr()
        code = cli.main(words)
        said = capsys.readouterr()
        return Done(code, said.out, said.err)

    return run


@pytest.fixture
def process(home: Path) -> Command:
    """The same as a process of its own."""

    def run(*words: str, **options: Any) -> Done:
        command = [sys.executable, "-m", "mezzotint", *words]
        streams = {"stdout": options.pop("to", subprocess.PIPE), "stderr": subprocess.PIPE}
        done = subprocess.run(command, **streams, text=True, timeout=240, **options)
        return Done(done.returncode, done.stdout or "", done.stderr)

    return run


@pytest.fixture(scope="session")
def four_steps(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder `runs` with one run of four steps, as the command leaves it."""
    folder = tmp_path_factory.mktemp("trained")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "path", list(sys.path))
        patch.chdir(folder)
        for name in ("DATA", "CACHE"):
            patch.setenv(f"MEZZOTINT_{name}", str(folder / name.lower()))
        assert cli.main(["train", *TINY, "name=a"]) == 0
    return folder / "runs"


@pytest.fixture
def trained(four_steps: Path, home: Path) -> Path:
    """That run, in the folder of this test."""
    return shutil.copytree(four_steps, home / "runs", symlinks=True) / "a"
