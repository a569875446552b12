"""Sweeps of runs with several processes each, as they are typed: no rank ever sees the command line of the sweep."""

import os
import signal
import sys
import time

import pytest

from mezzotint.runs import RunDir

from .conftest import CONSOLE, MODULE, TINY, TORCHRUN, Place, config, same_weights, status, steps, wait_until, workers

pytestmark = [pytest.mark.slow, pytest.mark.skipif(sys.platform != "linux", reason="looks at /proc")]
LONG = ("budget=10000000", "callbacks.checkpoints.every=320")


def test_jobs_of_two_ranks_each_with_the_config_of_their_own(place: Place) -> None:
    words = ("train", "-m", *TINY, "name=s", "hardware.devices=2", "optimizer.lr=0.001,0.003")
    place.run(*words, by=CONSOLE)
    runs = place.runs()
    assert {config(run)["optimizer"]["lr"] for run in runs} == {0.001, 0.003}
    assert [(status(run)["state"], steps(run)[-1]) for run in runs] == [("finished", 4)] * 2
    assert place.names() == {"runs", "runs/s", "runs/latest"}
    assert not [file for run in runs for file in run.rglob("*.log") if file.name != "train.log"]
    times = [status(run)["time"] for run in runs]  # once more: nothing is trained again
    assert place.run(*words).count("is finished; nothing to do") == 2
    assert [status(run)["time"] for run in runs] == times


def test_a_sweep_over_the_number_of_processes(place: Place) -> None:
    """And without the console command: its ranks are started as it was."""
    place.run("train", "-m", *TINY, "name=s", "hardware.devices=1,2", by=MODULE)
    one, two = sorted(place.runs(), key=lambda run: config(run)["hardware"]["devices"])
    assert [config(run)["hardware"]["devices"] for run in (one, two)] == [1, 2]
    same_weights(one, two, exact=False)


def test_a_sweep_whose_ranks_torchrun_started(place: Place) -> None:
    place.run("train", "-m", *TINY, "name=s", "hardware.devices=2", "seed=0,1", by=TORCHRUN)
    assert {config(run)["seed"]: status(run)["state"] for run in place.runs()} == {0: "finished", 1: "finished"}
    place.run("train", *TINY, "name=own", "hardware.devices=2")
    joined = next(run for run in place.runs() if config(run)["seed"] == 0)
    same_weights(joined, place.folder / "runs/own")


def test_another_number_of_processes_than_torchrun_started_is_refused(place: Place) -> None:
    said = place.run("train", *TINY, "name=s", by=TORCHRUN, code=1)
    assert "1 process(es) in all, but 2 run" in said
    assert not (place.folder / "runs").exists()


def test_a_job_that_fails_in_the_middle_of_a_sweep(place: Place) -> None:
    """A network of the user's own, that cannot be taken for sound before it trains, fails on rank 1 alone."""
    (place.folder / "mine.py").write_text(
        "import os\n"
        "from mezzotint.networks import MLP\n\n\n"
        "class Sick(MLP):\n"
        "    def forward(self, x, time, label=None):\n"
        "        if os.environ.get('RANK') == '1' and x.device.type != 'meta':\n"
        "            raise RuntimeError('the second rank is sick')\n"
        "        return super().forward(x, time, label)\n"
    )
    words = ("train", "-m", *TINY, "name=s", "network=mlp", "hardware.devices=2")
    said = place.run(*words, "network._target_=mine.Sick,mezzotint.networks.MLP", code=1)
    runs = {config(run)["network"]["_target_"]: run for run in place.runs()}
    assert {name: status(run)["state"] for name, run in runs.items()} == {
        "mine.Sick": "failed",
        "mezzotint.networks.MLP": "finished",
    }
    log = (runs["mine.Sick"] / "train.log").read_text()
    assert "Traceback" in log
    assert "the second rank is sick" in log
    assert status(runs["mine.Sick"])["error"] == "RuntimeError: the second rank is sick"
    assert "rank 1 of 2 failed" in said


def test_the_jobs_after_a_failed_one_are_done(place: Place) -> None:
    said = place.run("train", "-m", *TINY, "name=s", "optimizer.weight_decay=0.1,1e38,0.2", code=1)
    found = {config(run)["optimizer"]["weight_decay"]: status(run)["state"] for run in place.runs()}
    assert found == {0.1: "finished", 1e38: "failed", 0.2: "finished"}, said


@pytest.mark.parametrize("devices", [1, 2])
def test_ctrl_c_ends_the_sweep_with_a_checkpoint_and_it_goes_on(place: Place, devices: int) -> None:
    words = ("train", "-m", *TINY, "name=s", f"hardware.devices={devices}", "seed=0,1", *LONG)
    process = place.start(*words)
    wait_until(lambda: list(place.folder.glob("runs/s/*/checkpoints/*.ckpt")))
    os.killpg(process.pid, signal.SIGINT)  # as a terminal does it: the ranks have groups of their own
    said = process.communicate(timeout=60)
    assert process.returncode == 130, said
    (run,) = place.runs()  # the second job was not begun
    assert status(run)["state"] == "preempted"
    assert workers(place.folder) == []
    done = status(run)["steps"]
    place.run("train", f"run={run}", f"budget={16 * (done + 4)}")
    assert status(run)["steps"] == done + 4
    assert RunDir(run).config()["seed"] == 0


def test_no_rank_outlives_a_killed_parent(place: Place) -> None:
    process = place.start("train", "-m", *TINY, "name=s", "hardware.devices=2", "seed=0,1", *LONG)
    wait_until(lambda: list(place.folder.glob("runs/s/*/checkpoints/*.ckpt")))
    ranks = workers(place.folder)
    assert len(ranks) == 2
    process.kill()
    process.communicate()
    wait_until(lambda: not workers(place.folder), 5)
    time.sleep(0.5)
    (run,) = place.runs()
    whole = sorted(file.name for file in (run / "checkpoints").glob("step-*.ckpt"))
    time.sleep(0.5)
    assert sorted(file.name for file in (run / "checkpoints").glob("step-*.ckpt")) == whole
