"""What the labels of a run stand for is written down, and compared whenever its data is opened again."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from mezzotint.app.config.job import Job
from mezzotint.app.results import classes
from mezzotint.app.results.evaluations import conflicts, read
from mezzotint.runs import RunDir

from ..conftest import Command

FOLDER = ("data=image_folder", "data.root=pets", "data.shape=[3,8,8]", "data.classes=3", "data.held_out=0.2")
RUN = ("train", *FOLDER, "debug=tiny", "hardware=cpu", "callbacks=minimal", "metrics=[]", "name=a")
NAMES = ("cat", "dog", "emu")


def fill(root: Path, names: tuple[str, ...] = NAMES, count: int = 10) -> None:
    rng = np.random.default_rng(0)
    for name in names:
        (root / name).mkdir(parents=True)
        for i in range(count):
            Image.fromarray(rng.integers(0, 256, (8, 8, 3), dtype=np.uint8)).save(root / name / f"{i}.png")


@pytest.fixture
def pets(home: Path, mezzotint: Command) -> Path:
    """A folder of three classes, and a run that was trained on it."""
    fill(home / "pets")
    assert mezzotint(*RUN).code == 0
    return home / "pets"


def test_what_was_trained_on_is_written_down(pets: Path, home: Path) -> None:
    found = json.loads((home / "runs/a/data.json").read_text())
    assert (found["classes"], found["counts"], found["images"]) == (list(NAMES), [8, 8, 8], 24)
    assert found["content"].startswith("sha256:")
    assert "names" not in RunDir(home / "runs/a").config()["data"]


RENAMED = "label 0 was cat, now ape; label 1 was dog, now cat; label 2 was emu, now dog"


def test_a_renamed_class_is_refused_before_training_goes_on(pets: Path, mezzotint: Command) -> None:
    (pets / "emu").rename(pets / "ape")
    for command in ("train", "check"):
        done = mezzotint(command, "run=runs/a", "budget=128")
        assert (done.code, done.err.count("\n")) == (2, 1)
        assert RENAMED in done.err
        assert "Give the folders their old names" in done.err
    (pets / "ape").rename(pets / "emu")
    assert mezzotint("train", "run=runs/a", "budget=128").code == 0


def test_a_class_more_or_less_is_told_by_its_labels(pets: Path, mezzotint: Command) -> None:
    shutil.copytree(pets / "emu", pets / "cow")
    more = mezzotint("train", "run=runs/a", "budget=128").err
    assert "label 1 was dog, now cow; label 2 was emu, now dog; label 3 was no class, now emu" in more
    assert "data.classes=4" not in more
    shutil.rmtree(pets / "cow")
    shutil.rmtree(pets / "emu")
    less = mezzotint("train", "run=runs/a", "budget=128").err
    assert "label 2 was emu, now no class" in less
    assert "data.classes=2" not in less


def test_other_images_in_the_same_classes_are_a_word_and_no_refusal(pets: Path, mezzotint: Command) -> None:
    shutil.copy(pets / "emu" / "0.png", pets / "emu" / "new.png")
    done = mezzotint("train", "run=runs/a", "budget=128")
    assert done.code == 0
    assert "the training images changed since this run began: 24 then, 25 now" in done.err


def test_labels_without_names_that_change_places_are_refused(home: Path, mezzotint: Command) -> None:
    images, labels = np.zeros((20, 8, 8, 3), np.uint8), np.repeat([0, 1], [14, 6])
    words = ("data=npz", "data.root=set.npz", "data.shape=[3,8,8]", "data.classes=2", "data.held_out=0")
    np.savez(home / "set.npz", images=images, labels=labels)
    assert mezzotint(*RUN[:1], *words, *RUN[6:]).code == 0
    np.savez(home / "set.npz", images=images, labels=1 - labels)
    done = mezzotint("train", "run=runs/a", "budget=128")
    assert done.code == 2
    assert "label 0 had 14 images, now 6" in done.err


def test_evaluation_by_class_is_refused_and_that_of_all_classes_says_so(pets: Path, mezzotint: Command) -> None:
    (pets / "emu").rename(pets / "ape")
    words = ("evaluate", "run=runs/a", "n=6", "extractor=effnet")
    by_class = mezzotint(*words, "metrics=[fid_per_class]")
    assert by_class.code == 2
    assert RENAMED in by_class.err
    assert "metrics.fid_per_class would compare one class with another" in by_class.err


def test_an_old_run_over_numbered_folders_keeps_its_order(home: Path, mezzotint: Command) -> None:
    """Such runs sorted 10 before 2, and have no data.json; new ones sort numbers as numbers."""
    fill(home / "pets", ("1", "2", "10"))
    assert mezzotint(*RUN).code == 0
    run = home / "runs/a"
    assert classes.opened(run, Job(**RunDir(run).config()))[0].class_names() == ("1", "2", "10")
    (run / "data.json").unlink()
    assert classes.opened(run, Job(**RunDir(run).config()))[0].class_names() == ("1", "10", "2")
    assert mezzotint("train", "run=runs/a", "budget=128").code == 0
    assert json.loads((run / "data.json").read_text())["classes"] == ["1", "10", "2"]
    assert (
        classes.opened(run, Job(**RunDir(run).config()))[0].split("all").labels.tolist()
        == [0] * 10 + [1] * 10 + [2] * 10
    )


def test_a_class_without_images_is_refused_before_training(home: Path, mezzotint: Command) -> None:
    labels = np.array([label for label in range(10) if label != 7] * 3)
    np.savez(home / "set.npz", images=np.zeros((27, 8, 8, 3), np.uint8), labels=labels)
    words = ("data=npz", "data.root=set.npz", "data.shape=[3,8,8]", "data.classes=10", "debug=tiny")
    for command in ("train", "check"):
        done = mezzotint(command, *words)
        assert done.code == 2
        assert "no training image is of the class 7" in done.err
        assert "set data.classes=9" in done.err


@pytest.mark.parametrize("content", ["", "[]", "{}", '{"classes": 3}', "\xff", "[" * 100_000])
def test_a_damaged_record_is_told_in_a_line(content: str, trained: Path, mezzotint: Command) -> None:
    (trained / "data.json").write_text(content, encoding="latin-1")
    done = mezzotint("train", "run=runs/a", "budget=128")
    assert (done.code, done.err.count("\n")) == (2, 1)
    assert "data.json cannot be read" in done.err


def test_check_names_the_classes_and_how_many_images_each_has(home: Path, mezzotint: Command) -> None:
    fill(home / "pets")
    said = mezzotint("check", *FOLDER, "debug=tiny").out
    assert "24 images of 3 x 8 x 8 in classes by class folders" in said
    assert "3: cat (8), dog (8), emu (8)" in said
    fill(home / "numbers", ("1", "2", "10"))
    assert "label 2 is 10 (8)" in mezzotint("check", *FOLDER, "data.root=numbers", "debug=tiny").out


def test_an_imbalanced_set_is_judged_in_its_own_shares(home: Path, mezzotint: Command) -> None:
    """Half of the images are cats, so are half of the samples; labels=balanced draws a third: they are not ranked."""
    fill(home / "pets", NAMES[:1], 20)
    fill(home / "pets", NAMES[1:], 10)
    assert mezzotint(*RUN).code == 0
    words = ("evaluate", "run=runs/a", "n=12", "metrics=[fid]", "extractor=effnet")
    for labels, said in (("auto", "in the shares of the classes of the reference"), ("balanced", "i modulo")):
        done = mezzotint(*words, f"labels={labels}")
        assert done.code == 0, done.err
        found = json.loads(Path(done.out.splitlines()[-1]).read_text())
        assert found["protocol"]["labels"].startswith(said)
        assert found["protocol"]["classes"] == list(NAMES)
        assert found["protocol"]["trained"]["images"] == 32
        assert any(note.startswith("labels: in the shares") for note in found["notes"]) == (labels == "auto")
    one, other = (read(file) for file in sorted((home / "runs/a/evaluation").glob("*.json")))
    assert conflicts(one, other) == ["labels"]


def test_a_renamed_class_is_a_word_where_samples_are_drawn_as_they_were_learnt(pets: Path, mezzotint: Command) -> None:
    (pets / "emu").rename(pets / "ape")
    done = mezzotint("sample", "run=runs/a", "label=emu", "n=2")
    assert done.code == 0
    assert RENAMED in done.err
    assert "label-2_emu" in done.out
