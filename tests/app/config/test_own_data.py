"""Data without an experiment of its own begins from a neutral base, and its runs have its name."""

import numpy as np
import pytest

from mezzotint.app.config.own_data import name


@pytest.mark.parametrize(
    ("data", "root", "expected"),
    [
        ("image_folder", "/srv/My Photos", "My-Photos"),
        ("image_folder", "/srv/photos/", "photos"),
        ("image_folder", "/srv/ünï (1)", "ünï-1"),
        ("image_folder", "/srv/latest", "image_folder"),
        ("image_folder", "/srv/...", "image_folder"),
        ("image_folder", "/srv/a,/srv/b", "image_folder"),
        ("image_folder", "", "image_folder"),
        ("image_folder", f"/srv/{'x' * 300}", "x" * 40),
        ("npz", "/srv/bloodmnist.npz", "bloodmnist"),
        ("emoji", "", "emoji"),
        ("fashion_mnist", "/srv/raw", "fashion_mnist"),
        ("emoji,mnist", "", ""),
    ],
)
def test_runs_are_named_after_the_data(data: str, root: str, expected: str) -> None:
    assert name(data, root) == expected


def test_own_images_do_not_inherit_the_digits_experiment(home, mezzotint) -> None:
    np.savez(home / "cells.npz", images=np.random.default_rng(0).integers(0, 256, (40, 8, 8, 1), np.uint8))
    words = ("data=npz", "data.root=cells.npz", "data.shape=[1,8,8]", "debug=tiny", "hardware=cpu", "callbacks=quiet")
    done = mezzotint("train", *words)
    assert done.code == 0, done.err
    (run,) = [place for place in (home / "runs").iterdir() if not place.is_symlink()]
    assert run.name.startswith("cells-")
    text = (run / "config.yaml").read_text()
    assert "reference: train" in text
    assert "Halves" not in text
    assert "look: 0.25" in text
    assert "is finished" in mezzotint("train", *words).out
    assert "cells-" in mezzotint("train", f"run={run}").out
    named = mezzotint("train", *words, "experiment=digits_flow")
    assert (home / "runs").joinpath("latest").resolve().name.startswith("digits_flow-"), named.err
    assert mezzotint("train", *words, "name=mine").code == 0
    assert (home / "runs/mine/config.yaml").is_file()


def test_the_plain_command_and_the_digits_stay_what_they_are(mezzotint) -> None:
    plain = mezzotint("check", "--cfg", "job").out
    assert "name: digits_ddpm" in plain
    assert mezzotint("check", "data=digits", "--cfg", "job").out == plain
    assert "name: digits_ddpm" not in mezzotint("check", "data=emoji", "--cfg", "job").out


def test_a_sweep_over_data_has_a_place(home, mezzotint) -> None:
    for seed in (0, 1):
        images = np.random.default_rng(seed).integers(0, 256, (40, 8, 8, 1), np.uint8)
        np.savez(home / f"{seed}.npz", images=images)
    tiny = ("debug=tiny", "hardware=cpu", "callbacks=quiet", "metrics=[]", "data.shape=[1,8,8]")
    done = mezzotint("train", "-m", "data=npz", "data.root=0.npz,1.npz", *tiny)
    assert done.code == 0, done.err
    assert len(list((home / "runs/npz").glob("*/config.yaml"))) == 2
