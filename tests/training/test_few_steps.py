"""Runs for few steps: killed and resumed to the bit, two ranks are one, and the stage follows the images seen."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from few_steps import NAMES, STEPS, parts
from tiny import Callback, Kill, Killed, entries, lines, train, weights

from mezzotint.training import TrainingRun


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory) -> Path:
    directory = tmp_path_factory.mktemp("few")
    for name in NAMES:
        assert train(directory / name, steps=STEPS, **parts(name))["state"] == "finished"
    return directory


@pytest.mark.parametrize("name", NAMES)
def test_a_killed_run_resumes_to_the_bit(uninterrupted, tmp_path, name):
    with pytest.raises(Killed):
        train(tmp_path, steps=STEPS, extra={"kill": Kill(17)}, **parts(name))
    train(tmp_path, steps=STEPS, **parts(name))
    one, two = (dict(entries(weights(run))) for run in (uninterrupted / name, tmp_path))
    assert one.keys() == two.keys()
    assert not any("teacher" in key for key in one)
    for key, value in one.items():
        assert torch.equal(value, two[key]) if isinstance(value, torch.Tensor) else value == two[key], key
    assert lines(uninterrupted / name) == lines(tmp_path)


def test_two_ranks_are_one(uninterrupted, tmp_path):
    from torch.distributed import TCPStore

    store = TCPStore("127.0.0.1", 0, is_master=True, wait_for_workers=False)
    shared = {
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(store.port),
        "TORCHELASTIC_USE_AGENT_STORE": "True",
        "WORLD_SIZE": "2",
        "OMP_NUM_THREADS": "1",
    }
    command = [sys.executable, "-W", "error", str(Path(__file__).with_name("few_steps.py")), str(tmp_path)]
    ranks = [
        subprocess.Popen(
            command,
            env={**os.environ, **shared, "RANK": str(rank), "LOCAL_RANK": str(rank)},
            stderr=subprocess.PIPE,
            text=True,
        )
        for rank in range(2)
    ]
    try:
        said = [process.communicate(timeout=300)[1] for process in ranks]
    finally:
        for process in ranks:
            process.kill()
    assert [process.returncode for process in ranks] == [0, 0], "\n".join(said)
    for name in NAMES:
        one, two = (weights(run / name)["state_dict"] for run in (uninterrupted, tmp_path))
        for key, value in one.items():
            torch.testing.assert_close(two[key], value, rtol=1e-3, atol=1e-4, msg=f"{name} {key}")


def test_the_stage_follows_the_images_seen(tmp_path):
    seen = []

    class Watch(Callback):
        def step(self, run: TrainingRun) -> None:
            seen.append(run.module.objective.progress)

    train(tmp_path, steps=6, extra={"watch": Watch()}, **parts("training"))
    assert seen == pytest.approx([i / 6 for i in range(6)])
