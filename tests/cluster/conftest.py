"""The command as a process of its own, in an empty folder, with nothing left to chance but the machine."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml

import mezzotint

TINY = ("debug=tiny", "hardware=cpu", "callbacks=minimal", "metrics=[]")
CONSOLE = (str(Path(sys.executable).with_name("mezzotint")),)
MODULE = (sys.executable, "-m", "mezzotint")
TORCHRUN = (sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2", "-m", "mezzotint")


@dataclass
class Place:
    """A folder to start the command in, and what it left there."""

    folder: Path
    environment: dict[str, str] = field(default_factory=dict)

    def start(self, *words: str, by: tuple[str, ...] = CONSOLE, **options: Any) -> subprocess.Popen[str]:
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True, "start_new_session": True}
        environment = {**os.environ, **self.environment}
        return subprocess.Popen([*by, *words], cwd=self.folder, env=environment, **(pipes | options))

    def run(self, *words: str, by: tuple[str, ...] = CONSOLE, code: int = 0, seconds: float = 150) -> str:
        """What it said, once it has ended as it should."""
        process = self.start(*words, by=by)
        try:
            out, err = process.communicate(timeout=seconds)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, 9)
            out, err = process.communicate()
            pytest.fail(f"not done after {seconds} s:\n{out}\n{err}")
        assert process.returncode == code, f"{process.returncode}\n{out}\n{err}"
        return out + err

    def runs(self, name: str = "s") -> list[Path]:
        return sorted(file.parent for file in (self.folder / "runs" / name).glob("*/config.yaml"))

    def names(self) -> set[str]:
        """All that lies here beside the runs themselves."""
        runs = self.folder / "runs"
        inside = {f"runs/{path.name}" for path in runs.iterdir()} if runs.is_dir() else set()
        return {path.name for path in self.folder.iterdir()} | inside


@pytest.fixture
def place(tmp_path: Path) -> Place:
    folder = tmp_path / "place"
    folder.mkdir()
    homes = {"MEZZOTINT_DATA": str(tmp_path / "data"), "MEZZOTINT_CACHE": str(tmp_path / "cache")}
    return Place(folder, homes | {"OMP_NUM_THREADS": "1"})


def status(run: Path) -> dict[str, Any]:
    return json.loads((run / "status.json").read_text())


def config(run: Path) -> dict[str, Any]:
    return yaml.safe_load((run / "config.yaml").read_text())


def log(run: Path) -> list[dict[str, Any]]:
    """The lines of its log without what the clock said."""
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    return [{key: value for key, value in line.items() if key != "time"} for line in lines]


def steps(run: Path) -> list[int]:
    return [line["step"] for line in log(run)]


def same_weights(one: Path, other: Path, exact: bool = True) -> None:
    """Of two runs; to the bit, or where sums were taken in another order to rounding."""
    first, second = (mezzotint.load(run, "raw").state_dict() for run in (one, other))
    for key, value in first.items():
        close = {"rtol": 0, "atol": 0} if exact else {"rtol": 1e-4, "atol": 1e-5}
        torch.testing.assert_close(value, second[key], **close)


def wait_until(happened: Callable[[], Any], seconds: float = 60, each: float = 0.05) -> Any:
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        if found := happened():
            return found
        time.sleep(each)
    raise AssertionError(f"nothing happened for {seconds} s")


def workers(folder: Path) -> list[int]:
    """The ranks that train below a folder, by their command lines."""
    found = []
    for entry in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            words = entry.read_bytes().split(b"\0")
        except OSError:
            continue
        if b"mezzotint.app.launch.worker" in words and any(word.startswith(bytes(folder)) for word in words):
            found.append(int(entry.parent.name))
    return found
