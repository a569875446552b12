"""A real SLURM of two virtual nodes: jobs that are interrupted go back into its queue, once, and end the same."""

import os
import re
import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from .conftest import CONSOLE, TINY, Place, config, log, same_weights, status, wait_until

SCRIPT = Path(__file__).with_name("slurm.sh")
DOCUMENT = Path(__file__).parents[2] / "docs" / "clusters.md"
LONG = ("budget=3200", "callbacks.checkpoints.every=800", "callbacks.log.every=30")  # 200 steps, saved every 50
WAITS = "callbacks.wait._target_=mine.Wait"
STOP = 110  # neither a checkpoint nor a line of the log is due there

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(400),
    pytest.mark.skipif(os.geteuid() != 0, reason="SLURM's daemons are started as root"),
    pytest.mark.skipif(
        not all(map(shutil.which, ("slurmctld", "slurmd", "munged", "srun"))),
        reason="SLURM is not installed: tests/cluster/slurm.sh install",
    ),
]


@pytest.fixture(scope="module")
def slurm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """What a client's environment needs to find the cluster."""
    folder = tmp_path_factory.mktemp("slurm")
    started = subprocess.run([str(SCRIPT), "start", str(folder)], capture_output=True, text=True, timeout=60)
    try:
        assert started.returncode == 0, started.stdout + started.stderr
        yield {"SLURM_CONF": f"{folder}/slurm.conf", "PATH": f"{folder}/bin:{os.environ['PATH']}"}
    finally:
        subprocess.run([str(SCRIPT), "stop", str(folder)], timeout=60)


@pytest.fixture
def cluster(place: Place, slurm: dict[str, str]) -> Place:
    """A folder for jobs, and a callback that holds the first start of a run with seed 0 until a signal has come."""
    place.environment |= slurm | {"GLOO_SOCKET_IFNAME": "lo"}
    (place.folder / "mine.py").write_text(
        "import os, time\n"
        "from mezzotint.app.launch.requeue import job_id\n"
        "from mezzotint.training import Callback\n"
        "from mezzotint.signals import received\n\n\n"
        "class Wait(Callback):\n"
        "    def start(self, run):\n"
        "        if run.rank == 0:\n"
        "            with open(run.directory / 'starts', 'a') as file:\n"
        "                file.write(f'{run.step} ')\n\n"
        "    def step(self, run):\n"
        f"        if run.step == {STOP} and run.seed == 0 and 'SLURM_RESTART_COUNT' not in os.environ:\n"
        "            (run.directory / f'waits-{run.rank}').write_text(job_id())\n"
        "            until = time.monotonic() + 150\n"
        "            while not received() and time.monotonic() < until:\n"
        "                time.sleep(0.05)\n"
    )
    return place


def told(cluster: Place, *command: str) -> str:
    environment = {**os.environ, **cluster.environment}
    return subprocess.run(
        command, cwd=cluster.folder, env=environment, capture_output=True, text=True, timeout=60
    ).stdout.strip()


def template() -> str:
    """The batch script of the documentation."""
    return re.search(r"```bash\n(#!/bin/bash\n#SBATCH.*?)```", DOCUMENT.read_text(), re.DOTALL).group(1)


def submit(cluster: Place, name: str, *more: str, signalled: bool = True) -> str:
    """The template with a command of our own in it, on two nodes; the job's number.

    Args:
        signalled: with the template's own signal; without it, SLURM sends what it sends to everybody.
    """
    words = (*TINY, *LONG, "hardware.nodes=2", WAITS, f"name={name}")
    command = f"{CONSOLE[0]} train {' '.join(words)}"
    text, changes = re.subn(r"mezzotint train .*", command, template().replace("#SBATCH --gpus-per-node=4\n", ""))
    assert changes == 1
    if not signalled:
        text, changes = re.subn(r"#SBATCH --signal=.*\n", "", text)
        assert changes == 1
    script = cluster.folder.parent / f"{name}.sh"
    script.write_text(text)
    options = ("--nodes=2", "--ntasks-per-node=1", "--cpus-per-task=1", f"--output=../{name}.log")
    return told(cluster, "sbatch", "--parsable", *options, *more, str(script))


def shown(cluster: Place, job: str, key: str) -> str:
    found = re.search(rf"\b{key}=(\S+)", told(cluster, "scontrol", "show", "job", job))
    return found.group(1) if found else ""


def finish(cluster: Place, *jobs: str, seconds: float = 180) -> None:
    """Wait until jobs are done that went back into the queue once; SLURM would hold each for two minutes there."""
    came_back: dict[str, float] = {}

    def done() -> bool:
        states = [shown(cluster, job, "JobState") for job in jobs]
        for job, state in zip(jobs, states, strict=True):
            # in the second of its end, a job's credentials are void
            if state == "PENDING" and time.monotonic() > came_back.setdefault(job, time.monotonic()) + 1.5:
                told(cluster, "scontrol", "update", f"JobId={job}", "StartTime=now", "TimeLimit=60")
        logs = [file.read_text() for file in cluster.folder.parent.glob("*.log")]
        assert not {"FAILED", "CANCELLED", "TIMEOUT", "NODE_FAIL"} & set(states), "\n".join([str(states), *logs])
        return set(states) == {"COMPLETED"}

    wait_until(done, seconds, 0.5)
    assert [shown(cluster, job, "Restarts") for job in jobs] == ["1"] * len(jobs)


def undisturbed(cluster: Place) -> Path:
    """The same run by our own two processes: the layout of two nodes with one task each."""
    cluster.run("train", *TINY, *LONG, "name=undisturbed", "hardware.devices=2")
    return cluster.folder / "runs/undisturbed"


def assert_never_disturbed(cut: Path, whole: Path) -> None:
    """It was started twice, and nothing of it tells."""
    first, second = map(int, (cut / "starts").read_text().split())
    assert first == 0 < second <= STOP
    assert status(cut)["state"] == "finished"
    assert log(cut) == log(whole)
    same_weights(cut, whole)


def test_two_nodes_are_told_or_run_out_of_time_or_give_way(cluster: Place) -> None:
    """Four jobs of two ranks at once; each goes back into the queue by itself and ends as if nothing had been."""
    jobs = {
        "limited": submit(cluster, "limited", "--time=1", "--signal=USR1@10"),
        "told": submit(cluster, "told"),
        "preempted": submit(cluster, "preempted", "--partition=low", "--cpus-per-task=3"),
        "terminated": submit(cluster, "terminated", "--partition=low", "--cpus-per-task=3", signalled=False),
    }
    runs = {way: cluster.folder / "runs" / way for way in jobs}
    for way in ("told", "preempted", "terminated"):
        wait_until(lambda way=way: len(list(runs[way].glob("waits-*"))) == 2, 90)
    told(cluster, "scancel", "--signal=USR1", jobs["told"])
    six = ("--nodes=2", "--ntasks-per-node=1", "--cpus-per-task=6")  # of eight, where two jobs have three each
    told(cluster, "sbatch", "--partition=urgent", *six, "--output=/dev/null", "--wrap", "sleep 1")
    finish(cluster, *jobs.values())
    whole = undisturbed(cluster)
    for run in runs.values():
        assert_never_disturbed(run, whole)


def test_a_sweep_of_three_goes_through_the_queue_and_one_of_them_comes_back(cluster: Place) -> None:
    words = ("train", "-m", *TINY, *LONG, WAITS, "name=s", "seed=0,1,2", "hydra/launcher=slurm", "hardware.nodes=2")
    less = ("hydra.launcher.gpus_per_node=null", "hydra.launcher.cpus_per_task=1", "hydra.launcher.timeout_min=60")
    process = cluster.start(*words, *less)
    try:
        wait_until(lambda: len(list(cluster.folder.glob("runs/s/*/waits-*"))) == 2, 120)
        job = next(cluster.folder.glob("runs/s/*/waits-0")).read_text()
        told(cluster, "scancel", "--signal=USR2", job)
        finish(cluster, job)
        out, err = process.communicate(timeout=100)
        assert process.returncode == 0, out + err
    finally:
        process.kill()
    runs = {config(run)["seed"]: run for run in cluster.runs()}
    assert {seed: status(run)["state"] for seed, run in runs.items()} == dict.fromkeys(range(3), "finished")
    assert cluster.names() - {"__pycache__"} == {"runs", "runs/s", "runs/latest", "mine.py"}
    assert_never_disturbed(runs[0], undisturbed(cluster))


@pytest.mark.parametrize(("start", "words"), [("", ()), ("srun ", ()), ("srun ", ("hardware.devices=4",))])
def test_another_number_of_processes_than_tasks_is_refused(cluster: Place, start: str, words: tuple[str, ...]) -> None:
    command = f"{start}{CONSOLE[0]} train {' '.join([*TINY, *words])}"
    job = told(cluster, "sbatch", "--parsable", "-n2", "--output=../job.log", "--wrap", command)
    wait_until(lambda: shown(cluster, job, "JobState") in ("FAILED", "COMPLETED"), 120, 0.5)
    time.sleep(0.5)
    said = (cluster.folder.parent / "job.log").read_text()
    assert shown(cluster, job, "ExitCode") == "2:0", said
    assert "put srun" in said if not start else "but 2 run" in said
    assert not (cluster.folder / "runs").exists()
