"""Training, sampling and evaluation of images give the numbers of before data of other kinds existed, bit for bit.

`image_path.json` was written by that code, by `python tests/test_image_path.py`; it is not written again.
"""

import json
import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from fingerprints import arithmetic, fingerprint, state

from mezzotint.app import cli

FILE = Path(__file__).parent / "image_path.json"
QUICK = ("debug=tiny", "hardware=cpu", "callbacks=minimal", "budget=800", "n=40", "evaluation_share=null")
JUDGE = "callbacks.sample_metrics"
CASES = {  # 50 steps each
    "digits": (
        "experiment=digits_ddpm",
        "optimizer=adamw",
        "metrics=[fid,kid,nll,memorisation]",
        "metrics.nll.images=8",
    ),
    "edm": (
        "experiment=digits_edm",
        "callbacks=sample_metrics",
        f"{JUDGE}.n=40",
        f"{JUDGE}.every=0.5",
        "metrics=[fid]",
    ),
    "emoji": (
        "experiment=emoji_ddpm",
        "optimizer=adamw",
        "hardware.precision=auto",
        "network=mlp",
        "data.flip=true",
        "metrics=[]",
        "target=epsilon",
    ),
    "array": (
        "data=npz",
        "optimizer=adamw",
        "data.root=images.npz",
        "data.shape=[2,4,6]",
        "network=mlp",
        "data.flip=true",
        "metrics=[]",
    ),
}


def played(case: str, folder: Path) -> dict[str, Any]:
    """What one case computes: the state of its training, its samples and the values of its evaluation."""
    pixels = np.random.default_rng(0).integers(0, 256, (50, 4, 6, 2), dtype=np.uint8)
    np.savez(folder / "images.npz", images=pixels)
    run = folder / "runs" / case
    assert cli.main(["train", *QUICK, *CASES[case], "batch_size=16", f"name={case}"]) == 0
    assert cli.main(["sample", f"run={run}", "n=8", "save=npz", f"out={folder / 'drawn'}"]) == 0
    with np.load(next((folder / "drawn").glob("*.npz"))) as saved:
        drawn = {name: torch.from_numpy(saved[name]) for name in saved.files}
    values = [json.loads(file.read_text())["values"] for file in sorted((run / "evaluation").glob("*.json"))]
    return {"state": state(run), "samples": fingerprint(drawn), "values": values}


def written() -> None:
    """Write the file. The folder of the process is a new one."""
    cases = {}
    for case in CASES:
        folder = Path.cwd() / case
        folder.mkdir()
        os.chdir(folder)
        for name in ("RUNS", "DATA", "CACHE"):
            os.environ[f"MEZZOTINT_{name}"] = str(folder / name.lower())
        cases[case] = played(case, folder)
        os.chdir(folder.parent)
    FILE.write_text(json.dumps({"arithmetic": arithmetic(), "cases": cases}, indent=1) + "\n")


@pytest.mark.parametrize("case", CASES)
def test_images_are_computed_as_before(case: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    expected = json.loads(FILE.read_text())
    for name in ("RUNS", "DATA", "CACHE"):
        monkeypatch.setenv(f"MEZZOTINT_{name}", str(tmp_path / name.lower()))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    found, before = played(case, tmp_path), expected["cases"][case]
    assert_close(found, before)
    if arithmetic() == expected["arithmetic"]:
        assert found == before


def assert_close(found: Any, before: Any) -> None:
    """Compare the sizes of numbers, which every machine has in common."""
    if isinstance(before, Mapping):
        assert found.keys() == before.keys()
        for key in before.keys() - {"sha256"}:
            assert_close(found[key], before[key])
    elif isinstance(before, list):
        for one, other in zip(found, before, strict=True):
            assert_close(one, other)
    else:
        assert found == pytest.approx(before, rel=0.05)


if __name__ == "__main__":
    torch.set_num_threads(1)
    written()
