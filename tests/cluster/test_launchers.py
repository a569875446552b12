"""Launchers and sweepers of Hydra as they are configured here: at once, trials by Optuna, ready sweeps."""

import fcntl
import json
import subprocess
import sys
from pathlib import Path

import pytest

from .conftest import CONSOLE, TINY, TORCHRUN, Place, config, status

pytestmark = [pytest.mark.slow, pytest.mark.skipif(sys.platform != "linux", reason="the launchers are Linux's")]
SHORT = ("name=s", "budget=32")


@pytest.mark.parametrize("launcher", ["joblib", "submitit_local"])
def test_two_jobs_at_once(place: Place, launcher: str) -> None:
    """Each of two ranks, so that four processes meet two by two."""
    more = ["hydra.launcher.n_jobs=2"] if launcher == "joblib" else []
    words = ("train", "-m", *TINY, *SHORT, f"hydra/launcher={launcher}", *more)
    place.run(*words, "seed=0,1", "hardware.devices=2")
    runs = place.runs()
    assert {config(run)["seed"]: status(run)["state"] for run in runs} == {0: "finished", 1: "finished"}
    began = [status(run)["started"] for run in runs]
    ended = [status(run)["time"] for run in runs]
    assert max(began) < min(ended), "one after the other"
    assert place.names() == {"runs", "runs/s", "runs/latest"}


@pytest.mark.parametrize(("devices", "by"), [(1, CONSOLE), (2, CONSOLE), (2, TORCHRUN)])
def test_optuna_tries_one_rate_on_all_ranks_and_again_the_same(place: Place, devices: int, by: tuple[str, ...]) -> None:
    """Under torchrun each rank asks a sweeper of its own, and all hear the same answers."""
    words = ("train", *TINY, *SHORT, "sweep=optuna_lr", "hydra.sweeper.n_trials=3", f"hardware.devices={devices}")
    place.run(*words, by=by)
    rates = [config(run)["optimizer"]["lr"] for run in place.runs()]
    assert len(set(rates)) == 3
    assert all(1e-4 <= rate <= 1e-2 for rate in rates)
    found = place.folder.joinpath("runs/s/optimization_results.yaml").read_text()
    best = min(place.runs(), key=lambda run: status(run)["objective"])
    assert f"optimizer.lr: {config(best)['optimizer']['lr']}" in found
    assert [status(run)["state"] for run in place.runs()] == ["finished"] * 3
    if devices == 1:  # finished trials hand the sweeper the same numbers, so that it asks the same questions
        assert place.run(*words).count("is finished; nothing to do") == 3


@pytest.mark.parametrize(("sweep", "jobs"), [("seeds", 5), ("schedules_samplers", 6)])
def test_ready_sweeps_and_their_table(place: Place, sweep: str, jobs: int) -> None:
    place.run("train", *TINY, *SHORT, f"sweep={sweep}")
    assert [status(run)["state"] for run in place.runs()] == ["finished"] * jobs
    said = place.run("sweep", "runs/s")
    assert f"runs/s: {jobs} runs, {jobs} finished" in said
    assert all(run.name in said for run in place.runs())
    assert ("seeds together" in said) == (sweep == "seeds")


def test_one_job_a_gpu(place: Place, tmp_path: Path) -> None:
    """Without GPUs: three jobs see two of them, never the same at once, before torch is imported."""
    (place.folder / "mine.py").write_text(
        "import json, os, sys, time\n"
        "from mezzotint.training import Log\n\n\n"
        "class Note(Log):\n"
        "    def start(self, run):\n"
        "        super().start(run)\n"
        "        (run.directory / 'gpu.json').write_text(\n"
        "            json.dumps([os.environ['CUDA_VISIBLE_DEVICES'], os.getpid()]))\n"
        "        time.sleep(1)\n"
    )
    place.environment["CUDA_VISIBLE_DEVICES"] = "3,5"
    words = ("hydra/launcher=gpus", "seed=0,1,2", "callbacks.log._target_=mine.Note")
    place.run("train", "-m", *TINY, *SHORT, *words)
    seen = [json.loads((run / "gpu.json").read_text()) for run in place.runs()]
    assert len(seen) == 3
    assert {gpu for gpu, _ in seen} == {"3", "5"}
    assert len({tuple(entry) for entry in seen}) == 2  # a process keeps its GPU


def test_a_gpu_is_taken_once_before_torch_and_free_after_its_process(tmp_path: Path) -> None:
    take = "print(gpus.take(), 'torch' in sys.modules, flush=True)"
    code = f"import sys; from mezzotint.app.launch import gpus; {take}; input()"
    environment = {"CUDA_VISIBLE_DEVICES": "0,GPU-7", "TMPDIR": str(tmp_path), "PATH": ""}
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True, "env": environment}
    taken = []
    processes = []
    for _ in range(2):
        process = subprocess.Popen([sys.executable, "-c", code], **pipes)
        processes.append(process)
        assert process.stdout is not None
        taken.append(process.stdout.readline())
    assert taken == ["0 False\n", "GPU-7 False\n"]
    for process in processes:
        process.communicate("\n")
    for file in tmp_path.glob("mezzotint-*-gpu-*.lock"):
        with open(file) as lock:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
