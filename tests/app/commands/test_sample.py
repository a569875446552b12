"""`mezzotint sample`: what it writes is whole, replaces what it wrote before, and is refused before time is spent."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from mezzotint.app.commands import sample
from mezzotint.app.results import samples
from mezzotint.app.results.labels import number
from mezzotint.errors import ConfigError, DataError
from mezzotint.generation import SampleGenerator

from ..conftest import Command
from ..synthetic_runs import job

WORDS = ("sample", "run=runs/a", "sampler=ddim", "grid.steps=2")


def pixels(folder: Path) -> list[np.ndarray]:
    return [np.asarray(Image.open(file)) for file in sorted(folder.iterdir())]


def test_sample_i_is_one_image_however_many_are_asked_for(trained: Path, mezzotint: Command) -> None:
    """One alone, more than a batch, and fewer again: 64 at a time."""
    alone = mezzotint(*WORDS, "n=1", "save=png").out.splitlines()
    (first,) = pixels(Path(alone[-1]))
    many = pixels(Path(mezzotint(*WORDS, "n=67", "save=png").out.splitlines()[-1]))
    assert len(many) == 67
    assert np.abs(many[0].astype(int) - first).max() <= 1
    assert mezzotint(*WORDS, "n=1", "save=png").out.splitlines() == alone
    few = pixels(Path(mezzotint(*WORDS, "n=3", "save=png").out.splitlines()[-1]))
    assert len(few) == 3
    for before, again in zip(many, few, strict=False):
        assert np.abs(before.astype(int) - again).max() <= 1
    with np.load(mezzotint(*WORDS, "n=67", "save=npz").out.splitlines()[-1]) as arrays:
        assert arrays["images"].shape == (67, 8, 8, 1)
        assert np.array_equal(arrays["images"][..., 0], many)
        assert arrays["labels"].tolist() == [i % 10 for i in range(67)]


def held(folder: Path) -> dict[str, bytes]:
    return {str(file.relative_to(folder)): file.read_bytes() for file in folder.rglob("*") if file.is_file()}


def test_another_request_overwrites_nothing(trained: Path, mezzotint: Command) -> None:
    """Neither what was drawn at the end of training, nor what another n, class or guidance gave."""
    words: list[tuple[str, ...]] = [("save=png", "n=20"), ("save=png", "n=4"), ("n=4",), ("save=png",), ()]
    words += [("label=2",), ("label=3",), ("label=[2,3]",), ("label={2:3,3:1}",), ("label={2:1,3:3}",), ("label=-1",)]
    words += [("guidance=cfg", f"guidance.scale={scale}") for scale in (2, 3)]
    for more in words:
        before = held(trained / "samples")
        assert mezzotint("sample", "run=runs/a", *more).code == 0, more
        after = held(trained / "samples")
        assert {name: after.get(name) for name in before} == before, more
    assert len(held(trained / "samples")) > 3 * (len(words) - 2)
    assert sorted(len(list(folder.iterdir())) for folder in (trained / "samples").iterdir() if folder.is_dir()) == [
        4,
        20,
        60,
    ]


def test_a_folder_of_another_number_of_images_stays_as_it_is(trained: Path, mezzotint: Command) -> None:
    """Runs of earlier versions hold folders whose names do not tell how many images they have."""
    folder = Path(mezzotint("sample", "run=runs/a", "save=png").out.splitlines()[-1])
    (folder / "000059.png").rename(folder / "000060.png")
    (folder / "000059.png").write_bytes((folder / "000000.png").read_bytes())
    before = held(folder)
    assert mezzotint("sample", "run=runs/a", "save=png").out.splitlines()[-1] == f"{folder}-n60"
    assert held(folder) == before
    (folder / "notes.txt").write_text("mine")
    done = mezzotint("sample", "run=runs/a", "save=png")
    assert done.code == 2
    assert "would be replaced but contains notes.txt" in done.err


@pytest.mark.parametrize(
    ("label", "labels"),
    [
        ("2", [2] * 64),
        ("[2,5]", [2, 5] * 32),
        ("{7:2,1:3}", [7, 7, 1, 1, 1]),
        ("'3'", [3] * 64),
        ("null", [*range(10)] * 6),
    ],
)
def test_classes_are_drawn_by_their_labels(label: str, labels: list[int], trained: Path, mezzotint: Command) -> None:
    with np.load(mezzotint(*WORDS, f"label={label}", "save=npz").out.splitlines()[-1]) as arrays:
        assert arrays["labels"].tolist() == labels


@pytest.mark.parametrize(
    ("word", "said"),
    [
        ("label=10", "label=10: this run has the labels 0 to 9"),
        ("label=[1,dog]", "label=dog: this run has no such class (0, 1, 2,"),
        ("label={1:0}", "give each class 1 image or more, such as label={1:4}"),
        ("label=[]", "give a class, or several"),
        ("label=1.5", "label: 1.5 is not"),
        ("out=a.jpg", "the file of the grid, ending in .png"),
    ],
)
def test_a_class_that_is_not_there_is_refused_in_a_line(
    word: str, said: str, trained: Path, mezzotint: Command
) -> None:
    done = mezzotint(*WORDS, word)
    assert (done.code, done.err.count("\n")) == (2, 1)
    assert said in done.err


@pytest.mark.parametrize(
    ("key", "label"),
    [("Food & Drink", 1), ("food", 1), ("FOOD", 1), ("2", 2), (0, 0), ("flags", 0), ("3", 3), (-1, -1)],
)
def test_a_class_is_found_by_number_name_or_beginning(key: int | str, label: int) -> None:
    assert number(key, 4, ("Flags", "Food & Drink", "Symbols", "2d")) == label


@pytest.mark.parametrize(
    ("key", "said"),
    [
        ("drnk", "did you mean 'Food & Drink'"),
        ("f", "no such class"),
        ("food:2", "write counts in quotes, 'label={food:2}'"),
        (4, "give 0 to 3|labels 0 to 3"),
        ("-2", "0 to 3"),
    ],
)
def test_the_class_that_was_meant_is_named(key: int | str, said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        number(key, 4, ("Flags", "Food & Drink", "Symbols", "2d"))
    with pytest.raises(ConfigError, match="the classes of this run have no names"):
        number("cat", 4, ())


@pytest.mark.parametrize(("out", "grid"), [("mine", "mine/*.png"), ("mine/a.png", "mine/a.png")])
def test_results_lie_where_out_says(out: str, grid: str, trained: Path, home: Path, mezzotint: Command) -> None:
    before = held(trained)
    paths = mezzotint(*WORDS, "n=3", "label=4", f"out={out}", "save=png").out.splitlines()
    assert held(trained) == before
    assert all((home / path).exists() and path.startswith("mine/") for path in paths)
    assert set(map(str, home.glob(grid))) >= {str(home / paths[0])}


@pytest.mark.parametrize("period", range(1, 300))
def test_rows_hold_whole_rounds_of_classes(period: int) -> None:
    columns, n = samples.columns_of(period), samples.rows(samples.columns_of(period), period)
    assert n % period == 0 or n == samples.LOOK < samples.SHOWN < period
    assert columns is None or (columns % period == 0 or period % columns == 0)
    assert columns is None or n % columns == 0 or period > samples.SHOWN


def test_others_than_sample_refuse_a_class(trained: Path, mezzotint: Command) -> None:
    for command in (("train", "debug=tiny"), ("check", "debug=tiny"), ("evaluate", "run=runs/a")):
        for word in ("label=2", "out=there"):
            done = mezzotint(*command, word)
            assert (done.code, f"{word.partition('=')[0]}= is for sample" in done.err) == (2, True)


def test_what_is_cut_off_leaves_what_was_there(
    trained: Path, mezzotint: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    for images in ("png", "npz"):
        mezzotint(*WORDS, "n=3", f"save={images}")
    before = {path: path.stat().st_mtime_ns for path in (trained / "samples").rglob("*")}
    batches = SampleGenerator.batches

    def cut(self: SampleGenerator, start: int, stop: int, progress: Any = None) -> Iterator[Any]:
        yield from batches(self, start, stop - 1, progress)
        raise KeyboardInterrupt

    monkeypatch.setattr(SampleGenerator, "batches", cut)
    for images in ("png", "npz"):
        assert mezzotint(*WORDS, "n=5", f"save={images}").code == 130
    assert {path: path.stat().st_mtime_ns for path in (trained / "samples").rglob("*")} == before


@pytest.mark.parametrize(
    ("images", "channels", "said"),
    [
        ("none", 1, "samples: it is a file, not a folder, so nothing is written into this run"),
        ("png", 5, "has at most 4 channels, and these samples have 5; use save=npz"),
    ],
)
def test_what_cannot_be_written_is_refused_before_weights_are_read(
    images: str, channels: int, said: str, tmp_path: Path
) -> None:
    if images == "none":
        (tmp_path / "samples").write_text("no folder")
    before = list(tmp_path.iterdir())
    with pytest.raises((ConfigError, DataError), match=said):
        sample.draw(tmp_path, job(tmp_path, save=images, data={"shape": [channels, 8, 8]}))
    assert list(tmp_path.iterdir()) == before
