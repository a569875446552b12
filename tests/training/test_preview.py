"""Previews show the same samples again and again, so that what changes is what was learnt."""

from pathlib import Path

import pytest
from PIL import Image
from tiny import BATCH, Killed, train

from mezzotint.diffusion import DDIM, Trailing
from mezzotint.generation import SamplingRecipe
from mezzotint.training import AdamW, Preview


def previews(directory: Path, lr: float) -> list[bytes]:
    """The pictures after 5 and after 10 steps."""
    extra = {"preview": Preview(every=5 * BATCH, images=9)}
    train(directory, steps=10, extra=extra, optimizer=AdamW(lr=lr), ema=None)
    return [file.read_bytes() for file in sorted((directory / "samples").iterdir())]


def test_where_nothing_is_learnt_the_pictures_are_the_same(tmp_path: Path) -> None:
    first, last = previews(tmp_path / "still", lr=1e-12)
    assert first == last
    first, last = previews(tmp_path / "moving", lr=1e-2)
    assert first != last


def test_a_picture_that_is_being_written_is_not_there_yet(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def half(_: Image.Image, file: Path, **__: object) -> None:
        file.write_bytes(b"half a picture")
        raise Killed

    monkeypatch.setattr(Image.Image, "save", half)
    with pytest.raises(Killed):
        train(tmp_path, steps=2, extra={"preview": Preview(images=4)})
    assert not list((tmp_path / "samples").glob("*.png"))


@pytest.mark.parametrize(("share", "expected"), [(None, 9), (1e-9, 4), (100.0, 9)])
def test_a_picture_holds_as_many_images_as_training_pays_for(tmp_path: Path, share: float, expected: int) -> None:
    preview = Preview(every=5 * BATCH, images=9, share=share)
    counted = []
    draw = preview.draw
    preview.draw = lambda run: counted.append(draw(run)) or counted[-1]
    train(tmp_path, steps=5, extra={"preview": preview})
    assert [len(images) for images in counted] == [expected]


@pytest.mark.parametrize(("every", "early"), [(0.5, [1]), (20 * BATCH, [])])
def test_a_first_picture_comes_early_where_the_interval_is_a_share(tmp_path: Path, every: float, early: list) -> None:
    train(tmp_path, steps=40, extra={"preview": Preview(every=every, images=2)})
    drawn = [int(file.stem[5:]) for file in sorted((tmp_path / "samples").iterdir())]
    assert drawn == [*early, 20, 40]  # a fortieth of 40 steps


def test_a_picture_in_fewer_steps_is_drawn_in_them(tmp_path: Path) -> None:
    recipe = SamplingRecipe(DDIM(), Trailing(50))
    preview = Preview(every=5 * BATCH, images=9, share=10 * 9 / (3 * 5 * BATCH), sampling=recipe)
    grids = []
    draw = preview.draw
    preview.draw = lambda run: grids.append((preview.intervals(run).steps, draw(run))) or grids[-1][1]
    train(tmp_path, steps=5, extra={"preview": preview})
    ((steps, shown),) = grids
    assert (steps, len(shown)) == (10, 9)
    found = fit_preview(tmp_path / "ten", Preview(images=9, every=5 * BATCH, sampling=recipe.with_steps(10)))
    assert found == (tmp_path / "samples" / "step-00000005.png").read_bytes()


def fit_preview(directory: Path, preview: Preview) -> bytes:
    """The picture after 5 steps."""
    train(directory, steps=5, extra={"preview": preview})
    return (directory / "samples" / "step-00000005.png").read_bytes()
