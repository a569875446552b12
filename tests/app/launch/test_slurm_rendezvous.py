"""Tasks of a SLURM job without a SLURM: what the first one says, the others find; an earlier start's word is not it."""

import os
from pathlib import Path

import pytest

from mezzotint.app.launch import slurm_rendezvous
from mezzotint.app.launch.slurm_rendezvous import rendezvous
from mezzotint.errors import TrainingError
from mezzotint.runs import RunDir


def become(monkeypatch: pytest.MonkeyPatch, task: int, **more: str) -> None:
    """Task 0 or 1 of two on two nodes, that has not met anybody."""
    for key in ("RANK", "MASTER_PORT"):
        os.environ.pop(key, None)  # the outer `met` puts things right
    told = {"JOB_ID": "7", "STEP_ID": "0", "NTASKS": "2", "NNODES": "2", "LOCALID": "0"}
    told |= {"PROCID": str(task), "NODEID": str(task)} | more
    for key, value in told.items():
        monkeypatch.setenv(f"SLURM_{key}", value)
    monkeypatch.setenv("SLURMD_NODENAME", "localhost")


def test_tasks_meet_at_a_port_that_was_free(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from torch.distributed import TCPStore

    become(monkeypatch, 0)
    before = dict(os.environ)
    with rendezvous(tmp_path):
        first = {key: value for key, value in os.environ.items() if key not in before}
        become(monkeypatch, 1)
        with rendezvous(tmp_path):
            second = {key: os.environ[key] for key in first}
            store = TCPStore(second["MASTER_ADDR"], int(second["MASTER_PORT"]), is_master=False)
            store.set("word", "heard")
            assert store.get("word") == b"heard"
        become(monkeypatch, 0)
    assert dict(os.environ) == before
    assert [(told["RANK"], told["GROUP_RANK"], told["WORLD_SIZE"]) for told in (first, second)] == [
        ("0", "0", "2"),
        ("1", "1", "2"),
    ]
    assert first["MASTER_PORT"] == second["MASTER_PORT"]


@pytest.mark.parametrize("later", [{"RESTART_COUNT": "1"}, {"JOB_ID": "8"}, {"STEP_ID": "1"}])
def test_a_task_does_not_believe_an_earlier_start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, later: dict[str, str]
) -> None:
    monkeypatch.setattr(slurm_rendezvous, "PATIENCE", 0.3)
    become(monkeypatch, 0)
    with rendezvous(tmp_path):
        become(monkeypatch, 1, **later)
        with pytest.raises(TrainingError, match="task 1 waited"), rendezvous(tmp_path):
            pass


@pytest.mark.parametrize("owner", [{"RANK": "1"}, {"MASTER_PORT": "29500"}, {"SLURM_NTASKS": "1"}])
def test_what_others_have_arranged_stays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, owner: dict[str, str]
) -> None:
    become(monkeypatch, 1)
    for key, value in owner.items():
        monkeypatch.setenv(key, value)
    before = dict(os.environ)
    with rendezvous(tmp_path):
        assert dict(os.environ) == before
    assert not RunDir(tmp_path).status()
