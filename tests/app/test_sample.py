"""`mezzotint sample`: what it writes is whole, replaces what it wrote before, and is refused before time is spent."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from mezzotint.app import sample
from mezzotint.errors import ConfigError
from mezzotint.generation import Generator

from .conftest import Command

WORDS = ("sample", "run=runs/a", "sampler=ddim", "grid.steps=2")


def pixels(folder: Path) -> list[np.ndarray]:
    return [np.asarray(Image.open(file)) for file in sorted(folder.iterdir())]


def test_sample_i_is_one_image_however_many_are_asked_for(trained: Path, mezzotint: Command) -> None:
    """One alone, more than a batch, and fewer again in the place of more: 64 at a time."""
    alone = mezzotint(*WORDS, "n=1", "images=png").out.splitlines()
    folder = Path(alone[-1])
    (first,) = pixels(folder)
    mezzotint(*WORDS, "n=67", "images=png")
    many = pixels(folder)
    assert len(many) == 67
    assert np.abs(many[0].astype(int) - first).max() <= 1
    assert mezzotint(*WORDS, "n=3", "images=png").out.splitlines() == alone
    for before, again in zip(many, pixels(folder), strict=False):
        assert np.abs(before.astype(int) - again).max() <= 1
    assert sorted(file.name for file in folder.iterdir()) == ["000000.png", "000001.png", "000002.png"]
    with np.load(mezzotint(*WORDS, "n=67", "images=npz").out.splitlines()[-1]) as arrays:
        assert arrays["images"].shape == (67, 8, 8, 1)
        assert np.array_equal(arrays["images"][..., 0], many)
        assert arrays["labels"].tolist() == [i % 10 for i in range(67)]


def test_what_is_cut_off_leaves_what_was_there(
    trained: Path, mezzotint: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    for images in ("png", "npz"):
        mezzotint(*WORDS, "n=3", f"images={images}")
    before = {path: path.stat().st_mtime_ns for path in (trained / "samples").rglob("*")}
    batches = Generator.batches

    def cut(self: Generator, start: int, stop: int, progress: Any = None) -> Iterator[Any]:
        yield from batches(self, start, stop - 1, progress)
        raise KeyboardInterrupt

    monkeypatch.setattr(Generator, "batches", cut)
    for images in ("png", "npz"):
        assert mezzotint(*WORDS, "n=5", f"images={images}").code == 130
    assert {path: path.stat().st_mtime_ns for path in (trained / "samples").rglob("*")} == before


@pytest.mark.parametrize(
    ("images", "channels", "said"),
    [
        ("none", 1, "samples cannot be written, and samples lie in their run: copy the run first"),
        ("png", 5, "holds 4 channels at most and this run draws 5; say images=npz"),
    ],
)
def test_what_cannot_be_written_is_refused_before_weights_are_read(
    images: str, channels: int, said: str, tmp_path: Path
) -> None:
    if images == "none":
        (tmp_path / "samples").write_text("no folder")
    before = list(tmp_path.iterdir())
    with pytest.raises(ConfigError, match=said):
        sample.draw(tmp_path, {"images": images, "data": {"shape": [channels, 8, 8]}})
    assert list(tmp_path.iterdir()) == before
