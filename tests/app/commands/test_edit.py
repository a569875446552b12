"""`mezzotint edit`: known pixels stay, results are those of their names, and what cannot be is refused in one line."""

import json
import re
import shlex
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from ..conftest import Command

WORDS = ("edit", "run=runs/a", "sampler=ddim", "grid.steps=3")


def save(folder: Path, count: int, size: int = 8, mode: str = "L", first: int = 0) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for i in range(first, first + count):
        random = np.random.default_rng(i)
        shape = (size, size) if mode == "L" else (size, size, 3)
        Image.fromarray(random.integers(0, 256, shape, dtype=np.uint8)).save(folder / f"image{i}.png")
    return folder


def pixels(folder: Path) -> dict[str, np.ndarray]:
    return {file.stem: np.asarray(Image.open(file)) for file in sorted(folder.rglob("*.png"))}


@pytest.mark.parametrize("method", ["replace", "repaint", "ddnm", "dps", "pigdm", "moment_matching"])
def test_known_pixels_stay_in_every_bit(trained: Path, mezzotint: Command, method: str) -> None:
    given = save(Path("in"), 3)
    mask = np.zeros((8, 8), np.uint8)
    mask[2:5, 1:7] = 255
    Image.fromarray(mask).save("mask.png")
    done = mezzotint(*WORDS, "task=inpaint", f"method={method}", "images=in", "task.mask=mask.png", "out=filled")
    assert done.code == 0, done.err
    before, after = pixels(given), pixels(Path("filled"))
    assert after.keys() == before.keys()
    for name, image in after.items():
        assert np.array_equal(image[mask == 0], before[name][mask == 0])
    assert any(not np.array_equal(image[mask > 0], before[name][mask > 0]) for name, image in after.items())
    assert done.out.splitlines()[-1].startswith("3 edited by ")
    found = json.loads(Path("filled.json").read_text())
    assert found["values"]["misfit"] == 0.0
    assert found["values"]["psnr"] == pytest.approx(np.mean([one["psnr"] for one in found["each"].values()]))
    errors = [np.square(after[name].astype(float) - before[name]).mean() for name in before]
    assert [one["psnr"] for one in found["each"].values()] == pytest.approx([10 * np.log10(255**2 / e) for e in errors])
    assert np.asarray(Image.open("filled.png")).shape[1] > 3 * 48


def test_a_result_is_that_of_its_name_in_any_folder_and_batch(trained: Path, mezzotint: Command) -> None:
    for folder, count, first in (("many", 70, 0), ("few", 2, 67)):
        save(Path(folder), count, first=first)
        words = (f"images={folder}", f"out={folder}-out", "task.mask=random")
        assert mezzotint(*WORDS, "task=inpaint", "method=ddnm", *words).code == 0
    many, few = pixels(Path("many-out")), pixels(Path("few-out"))
    assert sorted(few) == ["image67", "image68"]
    for name, image in few.items():
        assert np.abs(image.astype(int) - many[name]).max() <= 1


def test_a_repetition_is_recognised_and_nothing_is_overwritten(trained: Path, mezzotint: Command) -> None:
    first = mezzotint(*WORDS, "task=superres", "n=2")
    again = mezzotint(*WORDS, "task=superres", "n=2")
    assert (first.code, again.code) == (0, 0)
    assert "the same request" in again.out
    assert first.out.splitlines()[-1].partition(": ")[2] in again.out
    Path("mine").mkdir()
    (Path("mine") / "notes.txt").write_text("mine")
    refused = mezzotint(*WORDS, "task=superres", "out=mine")
    assert refused.code == 2
    assert "another out=FOLDER" in refused.err
    assert [file.name for file in Path("mine").iterdir()] == ["notes.txt"]


@pytest.mark.parametrize(
    ("task", "results"),
    [
        (("task=superres", "images=small"), ["image0", "image1"]),
        (("task=deblur", "images=in", "task.measured=true"), ["image0", "image1"]),
        (("task=sdedit", "images=in/image0.png", "task.strength=0.4"), ["image0"]),
        (("task=invert", "images=in"), ["image0", "image1"]),
        (("task=interpolate", "images=in", "task.points=3"), ["image0-0", "image0-1", "image0-2"]),
        (("task=variation", "images=in", "task.count=2", "label=3"), ["image0-0", "image0-1", "image1-0", "image1-1"]),
        (("task=inpaint", "images=train", "n=2", "task.mask=half", "guidance=cfg", "guidance.scale=2"), None),
    ],
)
def test_every_task_makes_a_folder_of_results(
    trained: Path, mezzotint: Command, task: tuple[str, ...], results: list[str] | None
) -> None:
    save(Path("in"), 2)
    save(Path("small"), 2, size=4)
    done = mezzotint(*WORDS, *task, "out=made")
    assert done.code == 0, done.err
    found = pixels(Path("made"))
    assert len(found) == 2 if results is None else list(found) == results
    assert all(image.shape == (8, 8) for image in found.values())
    assert Path("made.png").is_file()
    if "task=invert" in task:
        with np.load("made.npz") as arrays:
            assert arrays["noise"].shape == (2, 1, 8, 8)
            assert arrays["names"].tolist() == results


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ((), "which task? Give task=NAME, one of colorize, deblur, inpaint"),
        (("task=inpaint", "images=nowhere"), "images=nowhere: there is no such folder or file"),
        (("task=inpaint", "images=empty"), "empty"),
        (("task=inpaint", "images=big"), r"they are [1, 16, 16] (channels, then size), and this task takes [1, 8, 8]"),
        (("task=inpaint", "images=rgb"), r"they are [3, 8, 8] (channels, then size), and this task takes [1, 8, 8]"),
        (("task=superres", "images=big"), "this task takes [1, 8, 8] or [1, 4, 4]"),
        (("task=superres", "task.factor=3"), "factor=3 does not divide 8"),
        (("task=inpaint", "task.mask=big/image0.png"), "differ in size, 16 x 16 and 8 x 8"),
        (("task=inpaint", "task.mask=boxx"), "mask=boxx: there is no such file or folder"),
        (("task=inpaint", "task.share=2"), "share=2: give a share from 0 to 1"),
        (("task=invert", "sampler=ddpm"), "stochastic: use sampler=ddim"),
        (("task=colorize",), "makes images of 3 channels"),
        (("task=sdedit", "method=dps"), "method= is for tasks with a measurement"),
        (("task=superres", "method=replace"), "is for inpainting"),
        (("task=inpaint", "task.std=0.1", "method=repaint"), "noise of std=0.1"),
        (("task=interpolate", "images=big/image0.png"), "they are [1, 16, 16]"),
        (("task=inpaint", "n=100000"), "n=100000: there are only 297 images"),
        (("task=inpaint", "out=a.png"), "out=a.png: give a folder"),
        (("task=inpaintt",), "inpaint"),
        (("task=inpaint", "method.gamma=3"), "method"),
    ],
)
def test_what_cannot_be_is_one_line(trained: Path, mezzotint: Command, words: tuple[str, ...], said: str) -> None:
    save(Path("big"), 1, size=16)
    save(Path("rgb"), 1, mode="RGB")
    Path("empty").mkdir()
    done = mezzotint(*WORDS, *words)
    assert done.code == 2
    assert said in done.err
    assert len(done.err.strip().splitlines()) == 1
    assert not list((trained / "edits").rglob("*"))


def test_other_commands_refuse_what_is_for_edit(trained: Path, mezzotint: Command) -> None:
    for command, word in (("sample", "task=inpaint"), ("sample", "method=dps"), ("train", "images=in")):
        done = mezzotint(command, "run=runs/a", word)
        assert done.code == 2
        assert f"{word.partition('=')[0]}= is for edit" in done.err


def test_edits_are_evaluated_as_samples_are(trained: Path, mezzotint: Command) -> None:
    """In one protocol for each task, with the methods as lines; the PSNR is that of the results of edit."""
    words = ("task=inpaint", "sampler=ddim", "grid.steps=2", "n=24")
    done = mezzotint("evaluate", "-m", "run=runs/a", *words, "method=replace,ddnm", "metrics=[psnr,fid]")
    assert done.code == 0, done.err
    made = [json.loads(file.read_text()) for file in sorted((trained / "evaluation").glob("*.json"))]
    made = [one for one in made if "task" in one["protocol"]]
    assert len(made) == 2
    (table,) = (trained / "evaluation").glob("sweep-*.md")
    assert "| method |" in table.read_text()
    edited = mezzotint("edit", "run=runs/a", *words, "method=ddnm", "out=here")
    assert edited.code == 0, edited.err
    psnr = json.loads(Path("here.json").read_text())["values"]["psnr"]
    found = {one["protocol"]["method"]["_target_"]: one["values"]["psnr_24"] for one in made}
    assert found["mezzotint.diffusion.DDNM"] == pytest.approx(psnr, rel=1e-6)
    for more, said in (("n=298", "there are 297"), ("task=interpolate", "no result for each")):
        refused = mezzotint("evaluate", "run=runs/a", "task=inpaint", "n=2", more, "metrics=[psnr]")
        assert refused.code == 2
        assert said in refused.err


def test_the_commands_of_the_page_run(trained: Path, mezzotint: Command) -> None:
    page = Path(__file__).parents[3] / "docs" / "editing.md"
    blocks = re.findall(r"^```bash\n(.*?)^```", page.read_text(), re.DOTALL | re.MULTILINE)
    lines = [line for block in blocks for line in block.splitlines()]
    save(Path("photos"), 2)
    save(Path("masks"), 2)
    save(Path(), 1)
    Path("image0.png").rename("sketch.png")
    assert len(lines) > 6
    for line in lines:
        _, *words = shlex.split(line, comments=True)
        done = mezzotint(*words)
        assert done.code == 0, (line, done.err)
