"""A reader that leaves, as in `mezzotint runs | head -1`, ends nothing and is no error."""

import io
import os
import subprocess
import sys

import pytest

from mezzotint.app.terminal import PipeSafeStream, unbroken


def without_reader() -> int:
    reader, writer = os.pipe()
    os.close(reader)
    return writer


@pytest.mark.parametrize("words", [["--help"], ["train", "--help"], ["no-such-command"]])
def test_help_into_a_closed_pipe_ends_without_a_word(words: list[str]) -> None:
    writer = without_reader()
    command = [sys.executable, "-m", "mezzotint", *words]
    done = subprocess.run(command, stdout=writer, stderr=subprocess.PIPE, text=True, timeout=60)
    os.close(writer)
    assert "BrokenPipe" not in done.stderr
    assert done.returncode == (2 if words == ["no-such-command"] else 0)


def test_writing_goes_on_into_nothing() -> None:
    stream = PipeSafeStream(os.fdopen(without_reader(), "w"))
    for _ in range(3):
        assert stream.write("word\n" * 5000) == 25_000
        stream.flush()
    stream.close()


def test_what_is_read_is_whole_and_the_streams_are_given_back(monkeypatch: pytest.MonkeyPatch) -> None:
    out = io.StringIO()
    monkeypatch.setattr(sys, "stdout", out)
    with unbroken():
        print("here")
        assert not sys.stdout.isatty()
    assert sys.stdout is out
    assert out.getvalue() == "here\n"


def test_other_faults_of_a_stream_are_told() -> None:
    stream = PipeSafeStream(io.StringIO())
    stream.close()
    with pytest.raises(ValueError, match="closed file"):
        stream.write("word")


@pytest.mark.parametrize("closed", ["<&-", ">&-", "2>&-", "<&- >&- 2>&-"])
def test_streams_that_the_caller_has_closed_are_no_error(closed: str) -> None:
    """As a daemon starts a command; else the next file that is opened would take the place of one."""
    code = "import os, sys; from mezzotint.app import cli; cli.main(['--version']) or [os.fstat(n) for n in range(3)]"
    shell = ["sh", "-c", f'exec "$@" {closed}', "sh", sys.executable, "-c", code]
    done = subprocess.run(shell, capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stderr) == (0, "")


def test_a_terminal_that_was_closed_ends_nothing() -> None:
    """A command that was left to run, when its window is closed."""
    window, shell = os.openpty()
    stream = PipeSafeStream(os.fdopen(shell, "w"))
    os.close(window)
    for _ in range(2):
        stream.write("word\n" * 5000)
        stream.flush()
    stream.close()
