"""`mezzotint ema` and `ema.std=`: averages of other lengths of a trained run."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from mezzotint.runs import RunDir
from mezzotint.runs.load import read_weights

Command = Callable[..., Any]
TINY = ("debug=tiny", "hardware=cpu", "callbacks=minimal", "metrics=[]", "grid.steps=2", "n=2")


def test_averages_of_other_lengths_are_written_and_sampled(mezzotint: Command, home: Path) -> None:
    assert mezzotint("train", *TINY, "name=a", "ema=power", "ema.every=16").code == 0
    run = RunDir(home / "runs/a")
    done = mezzotint("ema", "run=runs/latest", "std=0.1,0.2")
    assert done.code == 0, done.err
    first, second = done.out.splitlines()
    assert first.startswith("runs/a/ema/std-0.1.safetensors (step 4; ")
    assert second.startswith("runs/a/ema/std-0.2.safetensors")
    written, expected = load_file(run.snapshots / "std-0.1.safetensors"), read_weights(run, "std0.1")
    assert all(torch.equal(value, expected[name.removeprefix("denoiser.")]) for name, value in written.items())
    rough = mezzotint("ema", "run=runs/a", "std=0.03").out.splitlines()[-1]
    assert rough == "std=0.03 is outside the tracked lengths, 0.05 to 0.25: it is a rough reconstruction"
    assert mezzotint("ema", "run=runs/a", "std=0.15", "out=w.safetensors").code == 0
    assert mezzotint("train", *TINY, "name=b", "init=w.safetensors").code == 0

    assert mezzotint("sample", "run=runs/a", "n=2").code == 0
    before = set(run.samples.iterdir())
    done = mezzotint("sample", "run=runs/a", "n=2", "ema.std=0.2")
    assert done.code == 0, done.err
    assert set(run.samples.iterdir()) - before
    done = mezzotint("evaluate", "-m", "run=runs/a", "n=16", "ema.std=0.1,0.2", "metrics=[fid]", "reference=train")
    assert done.code == 0, done.err
    files = [json.loads(file.read_text()) for file in run.evaluation.glob("*.json")]
    assert sorted(found["protocol"]["weights"] for found in files) == ["std0.1", "std0.2"]
    refused = mezzotint("train", "run=runs/a", "ema.std=0.2", "budget=128")
    assert refused.code == 2
    assert "ema.std cannot change" in refused.err


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("run=runs/a std=0.1", "has no snapshots; they are kept by training with ema=power"),
        ("run=runs/a", "which run, and which length?"),
        ("run=runs/a std=wide", "give a number"),
        ("run=runs/a std=0.1,0.2 out=w.safetensors", "which takes a single std="),
        ("run=nowhere std=0.1", "is not a run"),
        ("run=runs/a std=0.1 more", "ema takes only run=, std= and out="),
    ],
)
def test_what_cannot_be_is_one_line(mezzotint: Command, trained: Path, words: str, said: str) -> None:
    done = mezzotint("ema", *words.split())
    assert done.code == 2
    assert said in done.err
    assert len(done.err.strip().splitlines()) == 1
