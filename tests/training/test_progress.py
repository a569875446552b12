"""What a run says of itself while it goes on: one line, renewed on a terminal, now and then in a file."""

import io
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from mezzotint.training.callbacks import progress
from mezzotint.training.training_run import TrainingRun


def run(step: int, **values: Any) -> TrainingRun:
    made = TrainingRun(Path("."), SimpleNamespace(), None, seed=0, budget=1000, batch_size=10, step=step)
    made.values |= values
    return made


class Terminal(io.StringIO):
    encoding = "utf-8"

    def isatty(self) -> bool:
        return True


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    now = SimpleNamespace(seconds=100.0)
    monkeypatch.setattr(progress.time, "monotonic", lambda: now.seconds)
    return now


def follow(clock: SimpleNamespace, seconds: float, stream: io.StringIO, monkeypatch: pytest.MonkeyPatch) -> str:
    """A run of 100 steps, each so many seconds long."""
    monkeypatch.setattr(sys, "stderr", stream)
    shown = progress.Progress()
    shown.start(run(0))
    for step in range(1, 101):
        clock.seconds += seconds
        shown.step(run(step))
    shown.finish(run(100))
    shown.close(run(100), None)
    return stream.getvalue()


def test_a_file_gets_whole_lines_seldom(clock: SimpleNamespace, monkeypatch: pytest.MonkeyPatch) -> None:
    text = follow(clock, 1.0, io.StringIO(), monkeypatch)
    assert not {"\r", "\x1b"} & set(text)
    assert [line.split()[0] for line in text.splitlines()] == ["30%", "60%", "90%", "100%"]
    assert text.endswith("\n")


def test_a_terminal_has_one_line_that_is_renewed(clock: SimpleNamespace, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    text = follow(clock, 0.03, Terminal(), monkeypatch)
    lines = text.split("\r\x1b[K")[1:]
    assert len(lines) == 100 // 4 + 1  # every 0.1 s, and the end
    assert text.count("\n") == 1
    assert max(map(len, lines)) <= 80
    assert lines[0].startswith("┄┄┄")
    assert "┄" not in lines[-1]
    assert "━┄" in lines[len(lines) // 2]


def test_a_terminal_that_was_closed_ends_nothing(clock: SimpleNamespace, monkeypatch: pytest.MonkeyPatch) -> None:
    class Gone(Terminal):
        def flush(self) -> None:
            raise OSError(5, "Input/output error")

    follow(clock, 1.0, Gone(), monkeypatch)


def test_rate_time_left_loss_and_the_newest_metric_are_told() -> None:
    text = progress.line(run(25, loss=0.5, sample_metrics={"fd_500": 1.23456, "kd_500": 2.0}), 100.0, 250)
    assert text.startswith(" 25%  250 of 1,000 images  2/s  loss 0.5000  fd_500 1.235  5:00 left  ")
    assert text.endswith(" GB")
    assert "validation 0.25" in progress.line(run(25, validation={"loss": 0.25}), 1.0, 250)
    assert "fd_500" in progress.line(run(25, validation={"loss": 0.25}, sample_metrics={"fd_500": 1.0}), 1.0, 250)
    assert "? left" in progress.line(run(25), 1.0, 0)
    assert "in 1:40" in progress.line(run(100), 100.0, 1000)
    smallest = TrainingRun(Path("."), SimpleNamespace(), None, seed=0, budget=5, batch_size=16, step=1)
    assert "100%  16 of 16 images" in progress.line(smallest, 1.0, 16)


@pytest.mark.parametrize(
    ("room", "text"),
    [(30, "━━━━━━━━━━━━┄┄┄┄┄┄┄┄┄┄┄┄ half"), (13, "━━━━┄┄┄┄ half"), (12, "half"), (3, "hal")],
)
def test_a_gauge_takes_the_room_that_is_left(room: int, text: str) -> None:
    assert progress.fitted("half", 0.5, room) == text


def test_a_terminal_without_lines_to_draw_with_gets_plain_signs() -> None:
    assert not progress.drawable(SimpleNamespace(encoding="ascii"))  # type: ignore[arg-type]
    assert progress.fitted("half", 0.5, 13, drawn=False) == "####.... half"


def test_what_follows_stands_beside_the_time_left() -> None:
    going, done = run(50), run(100)
    going.then = done.then = "sampling and evaluation"
    assert "0:10 left, then sampling and evaluation  " in progress.line(going, 10.0, 500)
    going.then_share = 0.5
    assert "0:10 left, then sampling and evaluation (about 0:10)" in progress.line(going, 10.0, 500)
    assert "0:10 left  " in progress.line(run(50), 10.0, 500)
    assert "then" not in progress.line(done, 10.0, 1000)
