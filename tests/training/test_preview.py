"""Previews show the same samples again and again, so that what changes is what was learnt."""

from pathlib import Path

from tiny import BATCH, train

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
