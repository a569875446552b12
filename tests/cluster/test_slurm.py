"""A real SLURM of two virtual nodes: jobs that are signalled go back into its queue, once, and end the same."""

import os
import re
import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from .conftest import CONSOLE, TINY, Place, config, same_weights, status, steps, wait_until

SCRIPT = Path(__file__).with_name("slurm.sh")
DOCUMENT = Path(__file__).parents[2] / "docs" / "clusters.md"
LONG = ("budget=6400", "callbacks.checkpoints.every=1600", "callbacks.log.every=320")  # 400 steps

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(600),
    pytest.mark.skipif(os.geteuid() != 0, reason="SLURM's daemons are started as root"),
    pytest.mark.skipif(not (shutil.which("slurmctld") or shutil.which("apt-get")), reason="no SLURM and no apt-get"),
]


@pytest.fixture(scope="module")
def slurm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """What a client's environment needs to find the cluster."""
    folder = tmp_path_factory.mktemp("slurm")
    started = subprocess.run([str(SCRIPT), "start", str(folder)], capture_output=True, text=True, timeout=240)
    try:
        if not shutil.which("slurmctld"):
            pytest.skip(f"SLURM could not be installed: {started.stderr[-200:]}")
        assert started.returncode == 0, started.stdout + started.stderr
        yield {"SLURM_CONF": f"{folder}/slurm.conf", "PATH": f"{folder}/bin:{os.environ['PATH']}"}
    finally:
        subprocess.run([str(SCRIPT), "stop", str(folder)], timeout=60)


@pytest.fixture
def cluster(place: Place, slurm: dict[str, str]) -> Place:
    place.environment |= slurm | {"GLOO_SOCKET_IFNAME": "lo"}
    return place


def told(cluster: Place, *command: str) -> str:
    environment = {**os.environ, **cluster.environment}
    return subprocess.run(
        command, cwd=cluster.folder, env=environment, capture_output=True, text=True, timeout=60
    ).stdout


def template() -> str:
    """The batch script of the documentation."""
    return re.search(r"```bash\n(#!/bin/bash\n#SBATCH.*?)```", DOCUMENT.read_text(), re.DOTALL).group(1)


def submit(cluster: Place, *words: str, more: tuple[str, ...] = ()) -> str:
    """The template with another command in it, on two nodes."""
    command = f"{CONSOLE[0]} train {' '.join([*TINY, 'hardware.nodes=2', *LONG, *words])}"
    text, changes = re.subn(r"mezzotint train .*", command, template().replace("#SBATCH --gpus-per-node=4\n", ""))
    assert changes == 1
    (cluster.folder.parent / "job.sh").write_text(text)
    options = ("--nodes=2", "--ntasks-per-node=1", "--cpus-per-task=1", "--output=../job.log")
    return told(cluster, "sbatch", "--parsable", *options, *more, "../job.sh").strip()


def shown(cluster: Place, job: str, key: str) -> str:
    found = re.search(rf"\b{key}=(\S+)", told(cluster, "scontrol", "show", "job", job))
    return found.group(1) if found else ""


def finish(cluster: Place, *jobs: str, again: int) -> None:
    """Wait until jobs are done; SLURM would hold each that came back for two minutes."""

    def done() -> bool:
        states = [shown(cluster, job, "JobState") for job in jobs]
        for job, state in zip(jobs, states, strict=True):
            if state == "PENDING":
                told(cluster, "scontrol", "update", f"JobId={job}", "StartTime=now")
        assert not {"FAILED", "CANCELLED", "TIMEOUT"} & set(states), (cluster.folder.parent / "job.log").read_text()
        return set(states) == {"COMPLETED"}

    wait_until(done, 240, 0.5)
    assert [int(shown(cluster, job, "Restarts")) for job in jobs] == [again] * len(jobs)


@pytest.fixture
def undisturbed(cluster: Place) -> Path:
    """The same run by our own two processes."""
    cluster.run("train", *TINY, *LONG, "name=undisturbed", "hardware.devices=2")
    return cluster.folder / "runs/undisturbed"


def begun(cluster: Place, pattern: str = "runs/cut/checkpoints/*.ckpt") -> bool:
    return bool(list(cluster.folder.glob(pattern)))


@pytest.mark.parametrize("way", ["scancel", "preempted"])
def test_two_nodes_are_interrupted_and_end_as_if_they_had_not_been(cluster: Place, undisturbed: Path, way: str) -> None:
    job = submit(cluster, "name=cut")
    wait_until(lambda: begun(cluster), 120)
    if way == "scancel":
        told(cluster, "scancel", "--signal=USR1", job)
    else:
        told(cluster, "sbatch", "--partition=urgent", "--nodes=2", "--exclusive", "--wrap", "sleep 3")
    cut = cluster.folder / "runs/cut"
    wait_until(lambda: status(cut)["state"] == "preempted", 60)
    finish(cluster, job, again=1)
    assert status(cut)["state"] == "finished"
    assert steps(cut) == steps(undisturbed)
    same_weights(cut, undisturbed, exact=False)


def test_a_sweep_of_three_goes_through_the_queue_and_one_of_them_comes_back(cluster: Place) -> None:
    words = ("train", "-m", *TINY, *LONG, "name=s", "seed=0,1,2", "hydra/launcher=slurm", "hardware.nodes=2")
    less = ("hydra.launcher.gpus_per_node=null", "hydra.launcher.cpus_per_task=1", "hydra.launcher.timeout_min=60")
    process = cluster.start(*words, *less)
    try:
        wait_until(lambda: begun(cluster, "runs/s/*/checkpoints/*.ckpt"), 120)
        job = told(cluster, "squeue", "-h", "-r", "-t", "RUNNING", "-o", "%i").split()[0]
        told(cluster, "scancel", "--signal=USR2", job)
        finish(cluster, job, again=1)
        out, err = process.communicate(timeout=200)
        assert process.returncode == 0, out + err
    finally:
        process.kill()
    assert {config(run)["seed"]: status(run)["state"] for run in cluster.runs()} == dict.fromkeys(range(3), "finished")
    assert all(steps(run) == sorted(set(steps(run))) and steps(run)[-1] == 400 for run in cluster.runs())
    assert cluster.names() == {"runs", "runs/s", "runs/latest"}


@pytest.mark.parametrize(("start", "words"), [("", ()), ("srun ", ()), ("srun ", ("hardware.devices=4",))])
def test_another_number_of_processes_than_tasks_is_refused(cluster: Place, start: str, words: tuple[str, ...]) -> None:
    command = f"{start}{CONSOLE[0]} train {' '.join([*TINY, *words])}"
    job = told(cluster, "sbatch", "--parsable", "-n2", "--output=../job.log", "--wrap", command).strip()
    wait_until(lambda: shown(cluster, job, "JobState") in ("FAILED", "COMPLETED"), 120, 0.5)
    time.sleep(0.5)
    log = (cluster.folder.parent / "job.log").read_text()
    assert shown(cluster, job, "ExitCode") == "2:0", log
    assert "put srun" in log if not start else "but 2 run" in log
    assert not (cluster.folder / "runs").exists()
