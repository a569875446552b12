"""What folders and files are called: accents in both forms, cases of letters, labels of files that are gone."""

import json
import unicodedata
from pathlib import Path

import pytest
import torch
from PIL import Image

from mezzotint.data import ImageFolder
from mezzotint.errors import DataError

NFC, NFD = (unicodedata.normalize(form, "café") for form in ("NFC", "NFD"))


def filled(root: Path, *files: str, shade: int = 0) -> Path:
    for i, name in enumerate(files):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (8, 8), (shade + i, 0, 0)).save(root / name)
    return root


def labels(root: Path, part: str = "all", **how) -> list[int]:
    return ImageFolder(root=str(root), shape=(3, 8, 8), held_out=0, **how).split(part).labels.tolist()


def test_a_class_is_one_however_its_accents_are_written(tmp_path):
    root = filled(tmp_path, f"train/{NFC}/0.png", "train/dog/1.png", f"val/{NFD}/2.png")
    assert labels(root, classes=2) == [0, 1, 0]
    root = filled(tmp_path / "both", f"{NFC}/0.png", f"{NFD}/1.png", "dog/2.png")
    assert sorted(labels(root, classes=2)) == [0, 0, 1]
    assert ImageFolder(root=str(root), shape=(3, 8, 8)).found_classes() == 2


def test_names_given_in_the_other_form_are_those_classes(tmp_path):
    root = filled(tmp_path, f"{NFC}/0.png", "dog/1.png")
    assert labels(root, classes=2, names=("dog", NFD)) == [1, 0]


def test_a_dataset_json_of_another_system_is_understood(tmp_path):
    root = filled(tmp_path, f"{NFD}/0.png", "b/1.png")
    (root / "dataset.json").write_text(json.dumps({"labels": [[f"{NFC}/0.png", 1], ["b/1.png", 0]]}))
    assert labels(root, classes=2) == [0, 1]


def test_classes_that_differ_in_case_only_are_told(tmp_path, capsys):
    assert labels(filled(tmp_path, "Cat/0.png", "cat/1.png"), classes=2) == [0, 1]
    assert "Cat and cat are two classes" in capsys.readouterr().err


def test_labels_of_pictures_that_are_gone_are_counted(tmp_path, capsys):
    root = filled(tmp_path, "a/0.png", "a/1.png")
    pairs = [["a/0.png", 0], ["a/1.png", 1], ["a/7.png", 1]]
    (root / "dataset.json").write_text(json.dumps({"labels": pairs}))
    assert labels(root, classes=2) == [0, 1]
    assert "labels of 1 picture(s) that do not exist, such as a/7.png" in capsys.readouterr().err
    (root / "dataset.json").write_text(json.dumps({"labels": [*pairs, ["a/0.png", 1]]}))
    with pytest.raises(DataError, match=r"gives a/0\.png more than one class"):
        labels(root, classes=2)


def test_a_file_that_vanishes_is_named(tmp_path):
    root = filled(tmp_path, "0.png", "1.png")
    images = ImageFolder(root=str(root), shape=(3, 8, 8), held_out=0, memory_limit=0).split("all")
    (root / "1.png").unlink()
    for use in (lambda: images.batch(torch.arange(2)), images.digest):
        with pytest.raises(DataError, match=r"1\.png cannot be decoded \(it was there before and no longer exists\)"):
            use()


def test_a_jpeg_of_twelve_bits_is_told_as_such(tmp_path):
    file = tmp_path / "a.jpg"
    Image.new("RGB", (8, 8)).save(file)
    stored = bytearray(file.read_bytes())
    frame = stored.index(b"\xff\xc0")
    stored[frame + 1], stored[frame + 4] = 0xC1, 12
    file.write_bytes(stored)
    with pytest.raises(DataError, match="it is a JPEG of 12 bits"):
        ImageFolder(root=str(tmp_path), shape=(3, 8, 8)).split("train")
