"""Previews show the same samples again and again, so that what changes is what was learnt."""

from pathlib import Path

import pytest
from PIL import Image
from tiny import BATCH, Killed, train

from mezzotint.training import AdamW, Preview, TrainingRun


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


def test_what_is_affordable_is_counted_in_forward_passes() -> None:
    run = TrainingRun(Path(), None, None, 0, budget=3200, batch_size=64)  # type: ignore[arg-type]
    assert run.affordable(64, 0.1, 0.15, passes=50) == 2  # 0.15 x 3 x 320 / 50
    assert run.affordable(64, 0.1, 0.15, passes=50, least=4) == 4
    assert run.affordable(64, 0.1, None, passes=50) == 64
    run.budget = 96_000
    assert run.affordable(64, 0.1, 0.15, passes=50) == 64
    assert run.affordable(2048, 0.1, 0.1) == 2048
