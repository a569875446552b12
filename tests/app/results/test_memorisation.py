"""The memorisation check from the command line: a model that was over-fitted on purpose is caught."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from mezzotint.data import Digits

from ..conftest import TINY, Command


def few(path: Path, training: int, held_out: int) -> list[str]:
    """Words for a dataset of some digits, so many of them to train on."""
    order = torch.randperm(1797, generator=torch.Generator().manual_seed(5))[: training + held_out]
    pixels, labels = Digits().split("all").batch(order)
    np.savez(path, images=pixels.permute(0, 2, 3, 1).numpy(), labels=labels.numpy())
    share = held_out / (training + held_out)
    return ["data=npz", f"data.root={path}", "data.shape=[1,8,8]", "data.classes=10", f"data.held_out={share}"]


def values(run: Path) -> dict[str, float]:
    (file,) = (run / "evaluation").glob("*.json")
    return json.loads(file.read_text())["values"]


def test_the_check_stands_beside_other_metrics_with_a_picture_of_the_nearest_pairs(
    trained: Path, mezzotint: Command
) -> None:
    done = mezzotint("evaluate", "run=runs/a", "n=12", "metrics=[fid,memorisation]", "metrics.memorisation.images=9")
    assert done.code == 0, done.err
    (file,) = (trained / "evaluation").glob("*-n12-*.json")
    found = json.loads(file.read_text())
    assert list(found["values"]) == ["fd_digits_12", "copied_digits_9", "copied_nearer_digits_9"]
    made = found["protocol"]["metrics"]["memorisation"]
    assert (made["count"], made["training"]["count"], made["held_out"]["count"]) == (9, 1500, 297)
    with Image.open(file.parent / made["picture"]) as picture:
        assert picture.width > 500
    assert f"the nearest pairs: runs/a/evaluation/{made['picture']}" in done.out
    assert "where 0.5 is expected" in done.out
    alone = mezzotint("evaluate", "run=runs/a", "n=5", "metrics=[memorisation]")
    assert alone.code == 0, alone.err
    assert "copied_digits_5" in alone.out


def test_a_dataset_that_holds_nothing_out_is_refused_before_anything_is_drawn(mezzotint: Command, home: Path) -> None:
    words = ["train", *few(home / "few.npz", 20, 10)[:-1], "data.held_out=0", *TINY, "name=a"]
    early = mezzotint(*words, "metrics=[memorisation]")
    assert early.code == 2
    assert "metrics.memorisation: the memorisation check compares with examples that were not trained on" in early.err
    assert not (home / "runs").exists()
    assert mezzotint(*words, "metrics=[]").code == 0
    done = mezzotint("evaluate", "run=runs/a", "n=5", "metrics=[memorisation]")
    assert done.code == 2
    assert "this dataset holds none out" in done.err
    assert not (home / "runs" / "a" / "evaluation").exists()


@pytest.mark.slow
@pytest.mark.parametrize(("training", "copies"), [(64, True), (1500, False)])
def test_a_model_over_fitted_on_64_digits_is_caught_and_another_is_not(
    training: int, copies: bool, mezzotint: Command, home: Path
) -> None:
    words = few(home / "few.npz", training, 297)
    words += ["budget=45000", "name=a", "callbacks=minimal", "metrics=[]", "hardware=cpu", "grid.steps=20"]
    assert mezzotint("train", *words).code == 0
    assert mezzotint("evaluate", "run=runs/a", "n=300", "metrics=[memorisation]").code == 0
    share, nearer = values(home / "runs" / "a").values()
    assert (share > 0.7) == copies
    assert (nearer > 0.9) == copies
    assert (share < 0.15) != copies
