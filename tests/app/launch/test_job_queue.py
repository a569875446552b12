"""What is said of jobs that submitit starts: each state once; one line where they cannot be submitted."""

import sys
from pathlib import Path

import pytest

from mezzotint.app.launch.job_queue import lost, state_line
from mezzotint.app.launch.sweep_jobs import DONE, FAILED, SweepJob

from ..conftest import TINY, Command

submitit = pytest.importorskip("submitit")
pytest.importorskip("hydra_plugins.hydra_submitit_launcher")


@pytest.mark.parametrize("launcher", ["slurm", "submitit_slurm"])
@pytest.mark.parametrize(
    ("programs", "said"),
    [
        ({}, "there is no srun here"),
        ({"srun": "exit 0"}, "there is no sbatch here"),
        ({"srun": "exit 0", "sbatch": "echo no such partition >&2; exit 1"}, "no such partition"),
        ({"srun": "exit 0", "sbatch": "exit 0"}, "the jobs could not be submitted"),
    ],
    ids=["none", "srun", "refused", "mute"],
)
def test_what_cannot_be_submitted_is_one_line_and_leaves_nothing(
    launcher: str,
    programs: dict[str, str],
    said: str,
    mezzotint: Command,
    home: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    (tmp_path / "bin").mkdir()
    for name, text in programs.items():
        (tmp_path / "bin" / name).write_text(f"#!/bin/sh\n{text}\n")
        (tmp_path / "bin" / name).chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    found = submitit.AutoExecutor.map_array
    done = mezzotint("train", "-m", "seed=0,1", *TINY, f"hydra/launcher={launcher}", "hardware.devices=1")
    assert done.code == 2
    assert said in done.err.splitlines()[-1]
    assert "Traceback" not in done.err
    assert "submitted, as" not in done.out
    assert not list(home.iterdir())
    assert submitit.AutoExecutor.map_array is found


@pytest.mark.skipif(sys.platform != "linux", reason="submitit's own processes are Linux's")
def test_states_of_jobs_in_processes_of_their_own(process: Command, home: Path) -> None:
    """One is refused, one is done; what they print themselves lies in files."""
    words = (*TINY, "metrics=[]", "budget=32", "name=s", "network.width=7,8", "hydra/launcher=submitit_local")
    done = process("train", "-m", *words)
    lines = done.out.splitlines()
    for number, width in ((1, 7), (2, 8)):
        states = [line for line in lines if line.startswith(f"[{number} of 2] network.width={width} ")]
        assert "submitted, as " in states[0]
        assert states[-1].partition("failed: ")[0].endswith("done" if width == 8 else " ")
    assert any("failed: network: width=7 cannot be split" in line for line in lines)
    assert lines[-1] == "runs/s: 2 jobs, 1 failed, 1 finished; to see them again: mezzotint sweep runs/s"
    assert done.code == 2
    assert "Traceback" not in done.err


def test_a_state_is_said_in_a_line() -> None:
    job = SweepJob(2, 4, {"seed": "1"})
    assert state_line(job) == ""
    assert state_line(SweepJob(2, 4, {"seed": "1"}, "/far/a")) == "[2 of 4] seed=1 -> /far/a running"
    assert state_line(SweepJob(2, None, {"seed": "1"}, "/far/a", DONE)) == "[2] seed=1 -> /far/a done"
    assert state_line(SweepJob(2, 4, {}, "", FAILED, "why")) == "[2 of 4] failed: why"


def test_a_job_that_was_killed_is_told_with_its_log() -> None:
    text = "Job 12_3 (task: 0) with path /far/12_3_0_result.pkl\nhas not produced any output (state: FINISHED)"
    assert str(lost(submitit.core.utils.UncompletedJobError(text))).endswith("see /far/12_3_0_log.err")
    assert lost(ValueError("x")) is None
