"""Data without an experiment of its own begins from a neutral base, and its runs have its name."""

from pathlib import Path

import numpy as np
import pytest
import yaml
from PIL import Image

from mezzotint.app.config.own_data import name

from ..conftest import Command


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


def test_own_images_do_not_inherit_the_digits_experiment(home: Path, mezzotint: Command) -> None:
    np.savez(home / "cells.npz", images=np.random.default_rng(0).integers(0, 256, (40, 8, 8, 1), np.uint8))
    words = ("data=npz", "data.root=cells.npz", "data.shape=[1,8,8]", "debug=tiny", "hardware=cpu", "callbacks=minimal")
    done = mezzotint("train", *words)
    assert done.code == 0, done.err
    (run,) = [place for place in (home / "runs").iterdir() if not place.is_symlink()]
    assert run.name.startswith("cells-")
    text = (run / "config.yaml").read_text()
    assert "reference: train" in text
    assert "SplitHalfFrechet" not in text
    assert "evaluation_share: 0.25" in text
    assert "is finished" in mezzotint("train", *words).out
    assert "cells-" in mezzotint("train", f"run={run}").out
    named = mezzotint("train", *words, "experiment=digits_flow")
    assert (home / "runs").joinpath("latest").resolve().name.startswith("digits_flow-"), named.err
    assert mezzotint("train", *words, "name=mine").code == 0
    assert (home / "runs/mine/config.yaml").is_file()


def test_the_plain_command_and_the_digits_stay_what_they_are(mezzotint: Command) -> None:
    plain = mezzotint("check", "--cfg", "job").out
    assert "name: digits_ddpm" in plain
    assert mezzotint("check", "data=digits", "--cfg", "job").out == plain
    assert "name: digits_ddpm" not in mezzotint("check", "data=emoji", "--cfg", "job").out


def test_a_sweep_over_data_has_a_place(home: Path, mezzotint: Command) -> None:
    for seed in (0, 1):
        images = np.random.default_rng(seed).integers(0, 256, (40, 8, 8, 1), np.uint8)
        np.savez(home / f"{seed}.npz", images=images)
    tiny = ("debug=tiny", "hardware=cpu", "callbacks=minimal", "metrics=[]", "data.shape=[1,8,8]")
    done = mezzotint("train", "-m", "data=npz", "data.root=0.npz,1.npz", *tiny)
    assert done.code == 0, done.err
    assert len(list((home / "runs/npz").glob("*/config.yaml"))) == 2


def pictures(folder: Path, *places: str) -> None:
    for number, place in enumerate(places):
        (folder / place).parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (8, 8), (number, 0, 0)).save(folder / place)


@pytest.mark.parametrize(
    ("places", "words", "classes"),
    [
        (("a/1.png", "a/2.png", "b/1.png", "c/1.png"), (), 3),
        (("train/a/1.png", "train/b/1.png", "test/a/1.png", "test/b/2.png"), (), 2),
        (("1.png", "2.png"), (), 0),
        (("a/1.png", "2.png"), (), 0),
        (("a/1.png", "a/2.png"), (), 0),
        (("a/1.png", "b/1.png"), ("data.classes=0",), 0),
        (("a/1.png", "b/1.png"), ("data.classes=auto",), 2),
        (("a/1.png", "b/1.png", "c/1.png"), ("data.names=[b,c,a]",), 3),
    ],
)
def test_class_folders_are_found(
    home: Path, mezzotint: Command, places: tuple[str, ...], words: tuple[str, ...], classes: int
) -> None:
    pictures(home / "photos", *places)
    folder = ("data=image_folder", "data.root=photos", "data.shape=[3,8,8]", "metrics=[]", "network=mlp")
    said = mezzotint("check", *folder, *words).out
    assert (f"classes      {classes}: " in said) == bool(classes), said


def test_found_classes_are_in_the_config_and_its_network(home: Path, mezzotint: Command) -> None:
    pictures(home / "photos", *(f"{name}/{i}.png" for name in "abc" for i in range(9)))
    folder = ("data=image_folder", "data.root=photos", "data.shape=[3,8,8]", "name=x", "debug=tiny", "metrics=[]")
    done = mezzotint("train", *folder, "hardware=cpu", "callbacks=minimal")
    assert "3 classes (a, b, c)" in done.out, done.err
    config = yaml.safe_load((home / "runs/x/config.yaml").read_text())
    assert (config["data"]["classes"], config["network"]["classes"]) == (3, 3)
