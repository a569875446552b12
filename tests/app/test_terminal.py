"""What people see: boxes and bars on a terminal, whole lines elsewhere."""

import io
import sys
from types import SimpleNamespace

import pytest

from mezzotint import progress
from mezzotint.app import terminal

ROWS = [["a", "finished", "metrics=[bold]"], ["b", "failed", "x " * 80]]


class Terminal(io.StringIO):
    encoding = "utf-8"

    def isatty(self) -> bool:
        return True


def test_a_file_gets_a_line_a_row_with_every_word_as_it_is(capsys: pytest.CaptureFixture[str]) -> None:
    terminal.table(ROWS, ["run", "state", "what"])
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[:3] for line in lines] == [["run", "state", "what"], ROWS[0], ["b", "failed", "x"]]
    assert lines[2].count("x") == 80


def test_a_terminal_gets_a_box_with_coloured_states(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdout", stream := Terminal())
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.setenv("COLUMNS", "60")
    for name in ("NO_COLOR", "FORCE_COLOR"):
        monkeypatch.delenv(name, raising=False)
    terminal.table(ROWS, ["run", "state", "what"])
    text = stream.getvalue()
    assert "\x1b[32mfinished" in text
    assert "\x1b[31mfailed" in text
    assert "[bold]" in text
    assert "┃" in text


def test_a_long_wait_is_told_in_lines_where_nothing_can_move(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    now = SimpleNamespace(seconds=0.0)
    monkeypatch.setattr(progress.time, "monotonic", lambda: now.seconds)
    with progress.bar("drawing", 100) as advance:
        for _ in range(10):
            now.seconds += 10.0
            advance(10)
    assert capsys.readouterr().err.splitlines() == [
        "drawing: 30 of 100, 1/s, 70 s left",
        "drawing: 60 of 100, 1/s, 40 s left",
        "drawing: 90 of 100, 1/s, 10 s left",
    ]


def test_a_bar_leaves_nothing_behind(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stderr", stream := Terminal())
    monkeypatch.setenv("TERM", "xterm-256color")
    with progress.bar("drawing", 10) as advance:
        advance(10)
    assert "drawing" in stream.getvalue()
    assert stream.getvalue().endswith(("\x1b[2K", "\x1b[?25h"))
