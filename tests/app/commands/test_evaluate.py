"""evaluate, stats: seeds, sweeps, references and folders of any program, with a run of four steps."""

import csv
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from mezzotint.data import Digits

from ..conftest import TINY, Command


def evaluations(run: Path) -> dict[str, dict]:
    return {file.name: json.loads(file.read_text()) for file in sorted((run / "evaluation").glob("*.json"))}


def last_line(done: object) -> str:
    return done.out.splitlines()[-1]


@pytest.fixture
def folders(home: Path) -> tuple[Path, Path]:
    """Forty digits as PNG files and two hundred others as an archive, as another program would leave them."""
    import torch

    pixels = Digits(shape=(1, 8, 8)).split("all").batch(torch.arange(240))[0][:, 0].numpy()
    (home / "drawn").mkdir()
    for i, image in enumerate(pixels[:40]):
        Image.fromarray(image).save(home / "drawn" / f"{i}.png")
    np.savez(home / "real.npz", arr_0=pixels[40:, :, :, None])
    return home / "drawn", home / "real.npz"


# ----------------------------------------------------------------------------------------------------------------- runs


def test_seeds_give_mean_and_deviation_and_each_is_kept(trained: Path, mezzotint: Command) -> None:
    words = ("evaluate", "run=runs/a", "n=20", "metrics=[fid]")
    done = mezzotint(*words, "seeds=2")
    assert done.code == 0, done.err
    together = json.loads(Path(last_line(done)).read_text())
    each = [found for found in evaluations(trained).values() if found["protocol"]["n"] == 20]
    ones = [found["values"]["fd_digits_20"] for found in each if "each" not in found["protocol"]]
    assert len(ones) == 2
    assert together["values"]["fd_digits_20"] == pytest.approx(np.mean(ones))
    assert together["errors"]["fd_digits_20"] == pytest.approx(np.std(ones, ddof=1))
    assert together["protocol"]["seeds"] == [0, 1]
    assert "(2 seeds)" in done.out
    stamps = {
        file: file.stat().st_mtime_ns for file in (trained / "evaluation").glob("*n20*") if "seeds" not in file.name
    }
    assert mezzotint(*words, "seed=1").code == 0  # one of them
    assert {file: file.stat().st_mtime_ns for file in stamps} == stamps
    assert len(evaluations(trained)) == 4
    assert "seeds=0: give 1 or more" in mezzotint(*words, "seeds=0").err


def test_a_sweep_ends_with_its_table_and_plot_and_a_wider_one_holds_all(trained: Path, mezzotint: Command) -> None:
    words = ("evaluate", "-m", "run=runs/a", "n=20", "metrics=[fid,fid_bootstrap]")
    done = mezzotint(*words, "grid.steps=2,3")
    assert done.code == 0, done.err
    table, plot = done.out.splitlines()[-2:]
    assert (table[:7], plot[:6]) == ("table: ", "plot: ")
    files = [Path(word) for line in (table, plot) for word in line.partition(": ")[2].split(", ")]
    assert [file.suffix for file in files] == [".md", ".csv", ".png", ".svg"]
    assert all(file.is_file() for file in files)
    wider = mezzotint(*words, "sampler=ddim,heun", "grid.steps=2,2000")  # more steps than the schedule has
    assert wider.code == 2
    assert wider.out.splitlines()[-2:] == [table, plot]
    with open(files[1]) as opened:
        rows = list(csv.DictReader(opened))
    assert [(row["sampler"], row["calls"]) for row in rows] == [("ddim", "2.0"), ("ddim", "3.0"), ("heun", "3.0")]
    assert all(float(row["fd_digits_20_error"]) > 0 for row in rows)
    assert "(bootstrap)" in files[0].read_text()
    assert not (trained / "sweep").exists()


def test_an_evaluation_is_found_by_what_the_reference_holds(
    trained: Path, folders: tuple[Path, Path], mezzotint: Command
) -> None:
    words = ("evaluate", "run=runs/a", "n=20", "metrics=[fid]", "reference=drawn")
    first = mezzotint(*words)
    assert "20 samples against 40 real ones (drawn)" in first.out
    assert last_line(mezzotint(*words)) == last_line(first)
    Image.fromarray(np.zeros((8, 8), np.uint8)).save(folders[0] / "more.png")
    second = mezzotint(*words)
    assert "20 samples against 41 real ones" in second.out
    assert last_line(second) != last_line(first)


def test_an_evaluation_is_found_by_the_images_that_a_metric_looks_at_beside_the_reference(
    trained: Path, folders: tuple[Path, Path], mezzotint: Command, home: Path
) -> None:
    data = ("data=npz", "data.root=few.npz", "data.shape=[1,8,8]", "data.classes=10", "data.held_out=0.5")
    words = ("evaluate", "run=runs/a", "n=4", "reference=drawn", "metrics=[nll]", "metrics.nll.steps=2", *data)
    with np.load(folders[1]) as file:
        images, labels = file["arr_0"][:20], np.arange(20) % 10
    np.savez(home / "few.npz", images=images, labels=labels)
    first = mezzotint(*words)
    assert first.code == 0, first.err
    assert last_line(mezzotint(*words)) == last_line(first)
    np.savez(home / "few.npz", images=255 - images, labels=labels)
    assert last_line(mezzotint(*words)) != last_line(first)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["evaluate", "run=runs/a", "n=1"], "FrechetDistance needs at least 2 generated examples, and there is 1"),
        (["evaluate", "run=runs/a", "n=3", "metrics=[precision_recall]"], "needs at least 4 generated examples"),
        (
            ["evaluate", "run=runs/a", "n=1", "metrics=[nll]"],
            "NegativeLogLikelihood needs at least 2 images of split=test",
        ),
        (["evaluate", "run=runs/a", "n=9", "reference=coloured"], "extractor=digits takes grey images of 8 x 8"),
        (["train", *TINY, "name=b", "n=1"], "metrics.fid: FrechetDistance needs at least 2 generated examples"),
        (["train", *TINY, "name=b", "reference=coloured"], "extractor=digits takes grey images of 8 x 8"),
        (
            ["train", *TINY, "name=b", "reference=grey", "metrics=[fid_per_class]"],
            "need labels beside the real examples",
        ),
        (
            [
                "train",
                *TINY,
                "name=b",
                "callbacks=sample_metrics",
                "callbacks.sample_metrics.n=3",
                "metrics=[precision_recall]",
            ],
            "callbacks.sample_metrics: PrecisionRecall needs at least 4 generated examples",
        ),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_what_no_metric_can_judge_is_one_line(
    words: list[str], said: str, trained: Path, mezzotint: Command, home: Path
) -> None:
    (home / "coloured").mkdir()
    for i in range(4):
        Image.fromarray(np.full((8, 8, 3), i, np.uint8)).save(home / "coloured" / f"{i}.png")
    (home / "grey").mkdir()
    Image.fromarray(np.zeros((8, 8), np.uint8)).save(home / "grey" / "0.png")
    before = sorted(path for path in home.rglob("*"))
    done = mezzotint(*words)
    assert (done.code, done.err.count("\n")) == (2, 1), done.err
    assert said in done.err
    assert sorted(path for path in home.rglob("*")) == before


def test_a_reference_that_is_not_there_is_noticed_before_training(mezzotint: Command, home: Path) -> None:
    done = mezzotint("train", *TINY, "name=a", "reference=gone")
    assert (done.code, done.err.count("\n")) == (2, 1)
    assert "reference=gone: there is no such folder or file" in done.err
    assert not (home / "runs").exists()


def test_a_bad_reference_is_one_line_and_nothing_is_drawn(trained: Path, mezzotint: Command, home: Path) -> None:
    (home / "large").mkdir()
    Image.fromarray(np.zeros((9, 8), np.uint8)).save(home / "large" / "a.png")
    (home / "file.pkl").write_bytes(b"")
    before = sorted(trained.rglob("*"))
    for word, said in (
        ("reference=tst", "there is no such folder or file; did you mean 'test'?"),
        ("reference=large", "its images are 9 x 8, and the samples 8 x 8"),
        ("reference=file.pkl", "A pickle is a program and is not read"),
        ("images=large", "run= and images= exclude each other"),
    ):
        done = mezzotint("evaluate", "run=runs/a", "n=20", word)
        assert (done.code, done.err.count("\n")) == (2, 1)
        assert said in done.err
        assert sorted(trained.rglob("*")) == before


def test_a_run_that_cannot_be_written_is_refused_before_anything_is_drawn(
    trained: Path, mezzotint: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.rmtree(trained / "evaluation", ignore_errors=True)
    (trained / "evaluation").write_text("no folder")
    monkeypatch.setattr("mezzotint.app.commands.evaluate.open_generator", lambda *_: pytest.fail("it was not refused"))
    done = mezzotint("evaluate", "run=runs/a", "n=20")
    assert (done.code, done.err.count("\n")) == (2, 1), done.err
    assert "runs/a/evaluation: it is a file, not a folder, so nothing is written into this run" in done.err


# ---------------------------------------------------------------------------------------------------------- without one


def test_statistics_are_computed_once_and_serve_as_a_reference(trained: Path, mezzotint: Command, home: Path) -> None:
    words = ("stats", "data=digits", "reference=test", "metrics=[fid]")
    first = mezzotint(*words, "out=digits.npz")
    assert first.code == 0, first.err
    assert first.out.splitlines()[1].startswith("written: ")
    assert last_line(first) == "digits.npz"
    assert last_line(mezzotint(*words)).startswith("found: ")
    assert last_line(mezzotint("stats", "data=digits", "reference=train", "metrics=[fid]")).startswith("written: ")
    with np.load(home / "digits.npz", allow_pickle=False) as file:
        assert (file["mu"].shape, file["sigma"].shape, int(file["count"])) == ((64,), (64, 64), 297)
    values = []
    for reference in ("test", "digits.npz"):
        done = mezzotint("evaluate", "run=runs/a", "n=20", "metrics=[fid]", f"reference={reference}")
        assert "against 297 real ones" in done.out
        values.append(json.loads(Path(last_line(done)).read_text())["values"]["fd_digits_20"])
    assert values[0] == pytest.approx(values[1], rel=1e-9)
    refused = mezzotint("evaluate", "run=runs/a", "n=20", "metrics=[kid]", "reference=digits.npz")
    assert (refused.code, refused.err.count("\n")) == (2, 1)
    assert "KernelDistance needs the real images" in refused.err


def test_folders_of_any_program_are_judged(folders: tuple[Path, Path], mezzotint: Command, home: Path) -> None:
    done = mezzotint("evaluate", "images=drawn", "reference=real.npz")
    assert done.code == 0, done.err
    path = Path(last_line(done))
    assert path.name.startswith("drawn-against-real-")
    found = json.loads(path.read_text())
    assert list(found["values"]) == ["fd_digits_40", "kd_digits_40"]
    assert found["protocol"]["judged"].items() >= {"count": 40, "format": "png"}.items()
    assert found["protocol"]["reference"].items() >= {"count": 200, "format": "npz"}.items()
    fewer = mezzotint("evaluate", "images=drawn", "reference=real.npz", "n=30", "out=mine.json")
    assert last_line(fewer) == "mine.json"
    assert "fd_digits_30" in json.loads((home / "mine.json").read_text())["values"]
    same = mezzotint("evaluate", "images=real.npz", "reference=real.npz", "metrics=[fid]")
    assert next(iter(json.loads(Path(last_line(same)).read_text())["values"].values())) == pytest.approx(0, abs=1e-6)
    refused = mezzotint("compare", str(path), "mine.json")
    assert refused.code == 2
    assert "n: 40" in refused.err


def test_images_are_judged_against_a_dataset(folders: tuple[Path, Path], mezzotint: Command) -> None:
    done = mezzotint("evaluate", "images=drawn", "data=digits", "reference=test", "metrics=[fid]")
    assert "40 samples against 297 real ones (test)" in done.out
    made = json.loads(Path(last_line(done)).read_text())["protocol"]
    assert made["data"]["_target_"] == "mezzotint.data.Digits"
    assert made["reference"].items() >= {"split": "test", "count": 297}.items()
    assert made["device"]


def test_images_with_their_statistics_beside_them_are_judged_as_images_and_serve_as_statistics(
    folders: tuple[Path, Path], mezzotint: Command, home: Path
) -> None:
    """As ADM stores its reference batches."""
    assert mezzotint("stats", "reference=real.npz", "metrics=[fid]", "out=stats.npz").code == 0
    with np.load(home / "stats.npz") as stats, np.load(folders[1]) as images:
        np.savez(home / "batch.npz", arr_0=images["arr_0"], mu=stats["mu"], sigma=stats["sigma"])
    done = mezzotint("evaluate", "images=batch.npz", "reference=batch.npz", "metrics=[fid]", "out=a.json")
    assert done.code == 0, done.err
    made = json.loads((home / "a.json").read_text())
    assert made["protocol"]["judged"]["count"] == 200
    assert made["values"]["fd_digits_200"] == pytest.approx(0, abs=1e-6)
    refused = mezzotint("evaluate", "images=stats.npz", "reference=batch.npz")
    assert (refused.code, refused.err.count("\n")) == (2, 1)
    assert "an array `images` or `arr_0` of uint8 (N, H, W, C) is needed" in refused.err


def test_a_folder_may_be_called_like_a_split_where_there_is_no_dataset(
    folders: tuple[Path, Path], mezzotint: Command, home: Path
) -> None:
    folders[0].rename(home / "test")
    done = mezzotint("evaluate", "images=real.npz", "reference=test", "metrics=[fid]", "out=a.json")
    assert done.code == 0, done.err
    made = json.loads((home / "a.json").read_text())["protocol"]
    assert made["reference"]["folder"] == str(home / "test")
    split = mezzotint("evaluate", "images=real.npz", "data=digits", "reference=test", "metrics=[fid]", "out=b.json")
    assert split.code == 0, split.err
    assert json.loads((home / "b.json").read_text())["protocol"]["reference"]["count"] == 297


def test_a_protocol_tells_dataset_split_and_preprocessing_of_the_reference(
    trained: Path, folders: tuple[Path, Path], mezzotint: Command
) -> None:
    words = ("evaluate", "run=runs/a", "n=20", "metrics=[fid]")
    told = []
    for reference in ("train", "drawn", "real.npz"):
        done = mezzotint(*words, f"reference={reference}")
        told.append(json.loads(Path(last_line(done)).read_text())["protocol"]["reference"])
    assert told[0].items() >= {"dataset": "Digits", "split": "train", "count": 1500}.items()
    assert [one["preprocessing"] for one in told] == [
        "ink of 0 to 16 as 0 to 255, rounded",
        "upright, on white, in their own size",
        "none",
    ]


def test_the_file_beside_the_folder_that_one_stands_in_has_a_name(
    folders: tuple[Path, Path], mezzotint: Command, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(folders[0])
    done = mezzotint("evaluate", "images=.", "reference=../real.npz", "metrics=[fid]")
    assert last_line(done).startswith("drawn-against-real-"), done.err


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["images=nothing", "reference=real.npz"], "images=nothing: there is no such folder or file"),
        (["images=drawn"], "no reference: give data=NAME, or reference="),
        (["images=drawn", "reference=train"], "reference=train is a split of a dataset: name the dataset, data=NAME"),
        (["images=drawn", "reference=large"], "its images are 8 x 8, and the reference 9 x 8"),
        (["images=drawn", "reference=real.npz", "n=41"], "n=41: drawn holds 40 images"),
        (["images=drawn", "reference=real.npz", "out=a.txt"], "give a file name that ends in .json"),
        (["images=drawn", "reference=real.npz", "out=no/a.json"], "is not a writable folder"),
        (["images=drawn", "reference=real.npz", "sampler=ddim"], "no key 'sampler'"),
        (
            ["images=drawn", "reference=real.npz", "metrics=nll"],
            "metrics.nll: NegativeLogLikelihood needs the network that generated the images",
        ),
        (["images=drawn", "reference=real.npz", "-m", "n=3,4"], "-m is for runs"),
        (["images=drawn", "reference=large", "images=large"], "needs at least 2 generated examples, and there is 1"),
        (
            ["images=drawn", "reference=real.npz", "metrics=fid_per_class"],
            "metrics.fid_per_class.classes: it follows data.classes, which is not there; choose a data=",
        ),
        (
            ["images=drawn", "reference=real.npz", "extractor=inception", "metrics.weights=gone.pth"],
            "extractor: there are no Inception weights at gone.pth",
        ),
        (
            ["images=drawn", "data=digits", "metrics=fid_per_class"],
            "metrics.fid_per_class: FrechetPerClass needs the labels of the samples",
        ),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_what_cannot_be_judged_is_one_line(
    words: list[str], said: str, folders: tuple[Path, Path], mezzotint: Command, home: Path
) -> None:
    (home / "large").mkdir()
    Image.fromarray(np.zeros((9, 8), np.uint8)).save(home / "large" / "a.png")
    before = sorted(home.rglob("*"))
    done = mezzotint("evaluate", *words)
    assert (done.code, done.err.count("\n")) == (2, 1), done.err
    assert said in done.err
    assert sorted(home.rglob("*")) == before
