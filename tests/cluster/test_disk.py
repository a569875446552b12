"""A disk that runs full: the run ends with one line, what it had saved is whole, and it goes on when there is room."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from mezzotint.runs.checkpoints import newest

from .conftest import TINY, Place, log, same_weights, status

LONG = ("budget=256", "callbacks.checkpoints.every=48", "callbacks.log.every=2")  # 16 steps, saved every 3

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(sys.platform != "linux" or os.geteuid() != 0, reason="root can mount a small disk, on Linux"),
    pytest.mark.timeout(280),
]


@pytest.fixture
def disk(place: Place) -> Iterator[Path]:
    """A disk of 64 MB, and a callback that fills it once, after step 7, but for some bytes."""
    folder = place.folder / "disk"
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=64m", "tmpfs", str(folder)]
    made = subprocess.run(command, capture_output=True, text=True)
    if made.returncode:
        pytest.skip(f"no small disk can be mounted here: {made.stderr.strip()}")
    (place.folder / "mine.py").write_text(
        "import os, shutil\n"
        "from mezzotint.training import Callback\n\n\n"
        "class Fill(Callback):\n"
        "    def __init__(self, spare: int = 0):\n"
        "        self.spare = spare\n\n"
        "    def step(self, run):\n"
        "        if run.step == 7 and run.rank == 0 and not os.path.exists('disk/filler'):\n"
        "            with open('disk/filler', 'wb') as file:\n"
        "                os.posix_fallocate(file.fileno(), 0, shutil.disk_usage('disk').free - self.spare)\n"
    )
    try:
        yield folder
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


def train(place: Place, runs: str, spare: int, devices: int = 1, code: int = 0) -> str:
    fill = ("callbacks.fill._target_=mine.Fill", f"callbacks.fill.spare={spare}")
    words = (*TINY, *LONG, *fill, "name=a", f"paths.runs={runs}", f"hardware.devices={devices}")
    return place.run("train", *words, code=code)


@pytest.mark.parametrize(
    ("spare", "devices"),
    [(40_000, 1), (40_000, 2), (0, 1)],
    ids=["no checkpoint", "no checkpoint of two ranks", "not a byte"],
)
def test_a_full_disk_ends_a_run_that_goes_on_later(place: Place, disk: Path, spare: int, devices: int) -> None:
    said = train(place, "disk", spare, devices, code=1)
    full = [line for line in said.splitlines() if "No space left" in line]
    assert len(full) == 1, said
    assert full[0].startswith("mezzotint train: disk/a failed: ")
    assert "Make room" in full[0]
    assert "Traceback" not in said
    if spare:
        assert "step-00000009.ckpt could not be written" in full[0]
        assert status(disk / "a")["state"] == "failed"
    names = sorted(file.name for file in (disk / "a/checkpoints").iterdir())
    assert names == ["step-00000003.ckpt", "step-00000006.ckpt"]
    assert newest(disk / "a/checkpoints") == disk / "a/checkpoints/step-00000006.ckpt"
    (disk / "filler").write_bytes(b"")  # room again
    place.run("train", "run=disk/a", "trust=[mine]")  # its callback is of the user
    train(place, "runs", spare, devices)  # the disk has its filler: nothing happens to this one
    assert status(disk / "a")["state"] == "finished"
    assert log(disk / "a") == log(place.folder / "runs/a")
    same_weights(disk / "a", place.folder / "runs/a")
