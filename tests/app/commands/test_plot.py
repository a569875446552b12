"""`mezzotint plot run=DIR`: what it draws of a run, the same samples wherever they stand."""

import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from mezzotint.app import cli
from mezzotint.app.commands import plot_run
from mezzotint.app.config.choices import built_choice
from mezzotint.app.help import KINDS
from mezzotint.figures import sample_tables

from ..conftest import TINY, Command


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A run of four steps."""
    folder, before = tmp_path_factory.mktemp("plots"), list(sys.path)
    words = (*TINY, "name=a", "metrics=[]", "data.flip=true", f"paths.runs={folder / 'runs'}")
    assert cli.main(["train", *words, "callbacks.validation._target_=mezzotint.training.Validation"]) == 0
    sys.path[:] = before
    yield folder / "runs" / "a"
    shutil.rmtree(folder)


@pytest.fixture
def drawn(monkeypatch: pytest.MonkeyPatch) -> list[dict]:
    """What the tables of images were made of."""
    seen: list[dict] = []
    real = sample_tables.plot_matrix

    def spy(images, rows, columns, blocks=None):
        seen.append({"images": images, "rows": rows, "columns": columns, "blocks": blocks})
        return real(images, rows, columns, blocks)

    monkeypatch.setattr(sample_tables, "plot_matrix", spy)
    return seen


def test_losses_lie_in_the_run(run: Path, mezzotint: Command, home: Path) -> None:
    for words, name in (([], "loss"), (["kind=levels"], "levels")):
        done = mezzotint("plot", f"run={run}", *words)
        assert (done.code, done.out) == (0, f"{run}/plots/{name}.png\n"), done.err
        assert mezzotint("plot", str(run), *words).out == done.out  # a folder alone is a run
    for name in ("lr=1", "a,b"):
        (home / name).symlink_to(run)
        assert mezzotint("plot", name).out == f"{name}/plots/loss.png\n"
    both = mezzotint("plot", f"run={run},{run}", "out=both.svg,both.png")
    assert both.out == "both.svg\nboth.png\n"


def test_one_key_makes_rows_of_the_same_samples(run: Path, mezzotint: Command, drawn: list[dict]) -> None:
    done = mezzotint("plot", f"run={run}", "sampler=ddim", "grid.steps=2,3", "n=3")
    assert done.code == 0, done.err
    (table,) = drawn
    assert (table["rows"], table["columns"]) == ({"grid.steps": ["2", "3"]}, {"class": ["0", "1", "2"]})
    assert table["images"].shape == (2, 3, 1, 8, 8)
    other = mezzotint("sample", f"run={run}", "sampler=ddim", "grid.steps=3", "n=3", "save=png")
    files = sorted(Path(other.out.splitlines()[-1]).iterdir())
    alone = np.stack([np.asarray(Image.open(file)) for file in files])
    assert np.abs(table["images"][1, :, 0].numpy().astype(int) - alone).max() <= 1


def test_two_keys_make_rows_and_blocks(run: Path, mezzotint: Command, drawn: list[dict]) -> None:
    words = ["sampler=ddim", "sampler.eta=0,1", "seed=0,1", "samples=4,1", "out=x.png"]
    done = mezzotint("plot", f"run={run}", *words)
    assert (done.code, done.out) == (0, "x.png\n"), done.err
    (table,) = drawn
    assert (table["rows"], table["blocks"]) == ({"sampler.eta": ["0", "1"]}, {"seed": ["0", "1"]})
    assert table["columns"] == {"class": ["4", "1"]}
    assert len(table["images"].flatten(0, 1).flatten(1).unique(dim=0)) == 4  # each combination drew its own


def test_a_scale_of_guidance_alone_means_classifier_free(run: Path, mezzotint: Command, drawn: list[dict]) -> None:
    assert mezzotint("plot", f"run={run}", "guidance.scale=1,3", "grid.steps=2", "n=2").code == 0
    assert drawn[0]["rows"] == {"guidance.scale": ["1\n2 calls", "3\n4 calls"]}


def test_interpolations_end_at_samples_of_one_class(run: Path, mezzotint: Command, drawn: list[dict]) -> None:
    assert mezzotint("plot", f"run={run}", "kind=interpolation", "grid.steps=2", "n=2", "points=3").code == 0
    assert mezzotint("plot", f"run={run}", "grid.steps=2", "samples=0,10,1,11").code == 0
    way, ends = drawn
    assert way["rows"] == {"samples": ["0 to 10", "1 to 11"]}
    assert (way["images"][:, [0, 2]].flatten(0, 1).int() - ends["images"][0].int()).abs().max() <= 1


def test_neighbours_are_training_images(run: Path, mezzotint: Command, drawn: list[dict]) -> None:
    from mezzotint.data import Digits

    for features in ("pixels", "digits"):
        words = ["kind=neighbours", "grid.steps=2", "n=2", f"features={features}"]
        assert mezzotint("plot", f"run={run}", *words).code == 0
    training = {image.numpy().tobytes() for image in Digits().split("train").pixels}
    for table in drawn:
        assert table["rows"] == {"": ["sample", "nearest", "2nd", "3rd"]}
        near = table["images"][1:].flatten(0, 1)
        assert {image.numpy().tobytes() for image in near} <= training


def test_a_film_stands_and_moves(run: Path, mezzotint: Command, home: Path) -> None:
    words = ["kind=film", "samples=3,7", "frames=3", "grid.steps=5", "out=f.png,f.gif,f.svg"]
    assert mezzotint("plot", f"run={run}", *words).out == "f.png\nf.gif\nf.svg\n"
    with Image.open(home / "f.gif") as film:
        assert film.n_frames == 6  # every step, and the image
    assert sorted(path.name for path in home.iterdir()) == ["f.gif", "f.png", "f.svg"]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["kind=films"], "no such picture; did you mean 'film'?"),
        (["film"], "'film' is not key=value"),
        (["grid.steps=2,3,"], "grid.steps=2,3,: a value is missing before or behind a comma"),
        (["kind"], "'kind' is not key=value"),
        (["--json"], "--json: plot run=DIR takes no option but --config-dir DIR"),
        (["kind=film", "grid.steps=2,3"], "kind=film has room for 0 keys with several values"),
        (["grid.steps=2,3", "seed=0,1", "weights=ema,raw"], "kind=samples takes two"),
        (["kind=loss", "grid.steps=2"], "kind=loss shows what was trained"),
        (["grid.stps=2,3"], "grid.stps: Trailing has no such argument; did you mean 'steps'?"),
        (["sampler=dim,ddpm"], "sampler=dim: no such choice; did you mean 'ddim'?"),
        (["network.width=8,16"], "network.width cannot change after training"),
        (["n=0"], "n=0: give a whole number, 1 or more"),
        (["samples=a"], "give the numbers of samples"),
        (["kind=interpolation", "samples=1,2,3"], "give both ends of each path"),
        (["kind=neighbours", "features=pixel"], "did you mean 'pixels'?"),
        (["out=a.gif"], "out=a.gif: give a file name that ends in .png, .svg or .pdf"),
        (["n=2", "out=/dev/null/a.png"], "/dev/null cannot be written; name a file elsewhere: out=FILE"),
        (["kind=samples", "grid=quadratic", "grid.steps=2,9999"], "9999"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_what_cannot_be_drawn_is_one_line_and_leaves_nothing(
    words: list[str], said: str, run: Path, mezzotint: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mezzotint.generation.SampleGenerator.chosen", lambda *_: pytest.fail("time was spent"))
    before = sorted(run.rglob("*"))
    done = mezzotint("plot", f"run={run}", *words)
    assert (done.code, done.err.count("\n")) == (2, 1), done.err
    assert said in done.err
    assert sorted(run.rglob("*")) == before


def test_a_kind_needs_a_run(mezzotint: Command) -> None:
    assert "give run=DIR" in mezzotint("plot", "kind=film").err
    assert "nowhere is not a run" in mezzotint("plot", "run=nowhere", "kind=film").err
    assert set(plot_run.DRAWN) == set(KINDS)


def test_words_that_say_nothing_are_no_picture(mezzotint: Command, home: Path) -> None:
    for word in ("run", "schedule", "out"):
        done = mezzotint("plot", word)
        assert (done.code, done.err) == (2, f"mezzotint plot: {word!r} is not key=value\n")
    assert list(home.iterdir()) == []


def test_a_choice_is_changed_as_deep_as_it_goes() -> None:
    from mezzotint.errors import ConfigError

    given = {"grid.spacing.steps": "4", "grid.repeats": "2"}
    grid = built_choice("grid", "restart", given)
    assert (grid.spacing.steps, grid.repeats) == (4, 2)
    with pytest.raises(ConfigError, match=r"grid\.steps\.deep: Trailing has no such argument"):
        built_choice("grid", "trailing", {"grid.steps.deep": "4"})


def test_a_folder_is_not_overwritten_by_a_picture(mezzotint: Command, home: Path) -> None:
    (home / "mine.png" / "precious").mkdir(parents=True)
    assert mezzotint("plot", "schedule=linear,cosine", "out=mine.png").code == 2
    assert (home / "mine.png" / "precious").is_dir()
