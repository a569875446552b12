"""Who puts a stopped job back into SLURM's queue, by a SLURM that is one shell script."""

from pathlib import Path
from types import SimpleNamespace

import pytest

from mezzotint.app.launch import requeue
from mezzotint.signals import Preempted


@pytest.fixture
def scontrol(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The script; it writes down what it is asked."""
    script = tmp_path / "scontrol"
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv("SLURM_JOB_ID", "7")
    monkeypatch.delenv("SLURM_ARRAY_JOB_ID", raising=False)
    answer(script, "true")
    return script


def answer(script: Path, line: str) -> None:
    script.write_text(f'#!/bin/sh\necho "$@" >> {script.parent}/asked\n{line}\n')
    script.chmod(0o755)


@pytest.mark.parametrize(
    ("since", "again"), [("PreemptTime=2026-01-02T03:04:05", True), ("PreemptTime=None", False), ("", False)]
)
def test_a_job_that_gives_way_comes_back_and_one_that_was_cancelled_does_not(
    scontrol: Path, since: str, again: bool
) -> None:
    answer(scontrol, f'echo "JobId=7 EligibleTime=2026-01-01T00:00:00 {since} Restarts=0"')
    assert requeue.wanted(Preempted("SIGTERM")) is again
    assert (scontrol.parent / "asked").read_text() == "show job 7\n"


def test_signals_that_ask_for_it_are_believed(scontrol: Path) -> None:
    assert requeue.wanted(Preempted("SIGUSR1"))
    assert not (scontrol.parent / "asked").exists()


def test_without_slurm_nobody_is_asked(scontrol: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SLURM_JOB_ID")
    assert not requeue.wanted(Preempted("SIGTERM"))
    requeue.requeue(0)
    assert not (scontrol.parent / "asked").exists()


@pytest.mark.parametrize("way", ["refused", "missing"])
def test_a_queue_that_will_not_have_it_is_told_of(scontrol: Path, way: str, capsys: pytest.CaptureFixture[str]) -> None:
    if way == "refused":
        answer(scontrol, "echo 'Requested operation is disabled' >&2; exit 1")
    else:
        scontrol.unlink()
    requeue.requeue(0)  # returns at once, for nobody will end this process
    said = capsys.readouterr().err
    assert said.startswith("job 7 could not be put back into the queue: ")
    assert ("disabled" if way == "refused" else "scontrol") in said


def test_one_rank_asks_and_all_stay_until_they_are_ended(scontrol: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    slept: list[float] = []
    monkeypatch.setattr(requeue, "time", SimpleNamespace(sleep=slept.append))  # subprocess sleeps too, by time.sleep
    monkeypatch.setattr(requeue.signal, "signal", lambda *_: None)
    for rank in (0, 1):
        requeue.requeue(rank)
    assert (scontrol.parent / "asked").read_text() == "requeue 7\n"
    assert slept == [requeue.PATIENCE] * 2
