"""A run that a callback of Lightning ends before its budget is a finished run."""

import json
from pathlib import Path
from typing import Any

import pytest

STOP = (
    "+callbacks.stop={_target_: lightning.pytorch.callbacks.EarlyStopping, monitor: validation/loss, min_delta: 1e9, "
    "patience: 1}"
)
WORDS = ("train", "debug=tiny", "hardware=cpu", "name=a", "budget=640", "callbacks.preview=null", "metrics=[fid]")


def status() -> dict[str, Any]:
    return json.loads(Path("runs/a/status.json").read_text())


@pytest.mark.parametrize("devices", [1, 2])
def test_it_is_sampled_and_evaluated_and_finished(mezzotint, devices):
    words = (*WORDS, f"hardware.devices={devices}")
    done = mezzotint(*words, STOP)
    assert done.code == 0, done.err
    assert "EarlyStopping stopped it after 128 of 640 images" in done.out
    assert (status()["state"], status()["images"], status()["early_stop"]["images"]) == ("finished", 128, 128)
    assert status()["measure"]["name"] == "fd_digits_16"
    assert list(Path("runs/a/samples").glob("ddim*.png"))
    assert list(Path("runs/a/evaluation").glob("*.json"))
    again = mezzotint(*words, STOP)
    assert again.code == 0
    assert "nothing to do: EarlyStopping stopped it after 128 of 640 images" in again.out
    assert again.out.strip().endswith("`mezzotint train run=runs/a budget=` with more than 640 trains on")


def test_it_trains_on_with_a_larger_budget_or_without_the_callback(mezzotint):
    mezzotint(*WORDS, STOP)
    assert mezzotint("train", "run=runs/a", "budget=960").code == 0
    assert (status()["images"], status()["early_stop"]["budget"]) == (192, 960)  # no better at the next validation
    done = mezzotint("train", "run=runs/a", "~callbacks.stop")
    assert done.code == 0, done.err
    assert (status()["state"], status()["images"]) == ("finished", 960)
    assert "early_stop" not in status() or status()["early_stop"] is None


def test_a_run_killed_while_it_is_evaluated_is_only_evaluated(mezzotint):
    mezzotint(*WORDS, STOP)
    file = Path("runs/a/status.json")
    file.write_text(json.dumps(json.loads(file.read_text()) | {"state": "running"}))
    lines = Path("runs/a/metrics.jsonl").read_text()
    done = mezzotint(*WORDS, STOP)
    assert (done.code, status()["state"], status()["images"]) == (0, "finished", 128)
    assert "fd_digits_16" in done.out
    assert Path("runs/a/metrics.jsonl").read_text() == lines
