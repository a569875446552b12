"""Whatever the machine refuses at whatever call, each command ends with one line about it and no traceback.

Each case lets one call to the system fail, or all of its kind from then on: which call, and how, is drawn by the seed.
"""

import builtins
import errno
import io
import os
import random
import shutil
import urllib.error
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from mezzotint.app import cli
from mezzotint.app.commands import sync
from mezzotint.errors import ConfigError, TrainingError, as_user_error
from mezzotint.runs import RunDir

from .conftest import TINY, Done
from .test_fuzz_runs import at_most

ERRNOS = (errno.EIO, errno.ESTALE, errno.EROFS, errno.ENOTCONN, errno.EMFILE, errno.EDQUOT, errno.ELOOP, errno.ENXIO)
ERRNOS += (errno.ETXTBSY, errno.EPIPE, errno.EBUSY, errno.EACCES, errno.ENOENT, errno.ENOSPC, errno.EFBIG, errno.EEXIST)
ERRNOS += (errno.ETIMEDOUT, errno.ECONNRESET, errno.ENOLCK, errno.EXDEV, errno.EINVAL, errno.ENOTDIR, errno.EISDIR)
CALLS = ("open", "mkdir", "replace", "listdir", "scandir", "stat", "lstat", "unlink", "rename", "symlink", "fsync")
COMMANDS: dict[str, tuple[str, ...]] = {
    "train": ("train", *TINY, "name=new", "metrics=[]"),
    "go on": ("train", "run=runs/a", "budget=80", "metrics=[]"),
    "sample": ("sample", "run=runs/a", "n=1", "grid.steps=2"),
    "evaluate": ("evaluate", "run=runs/a", "n=17"),
    "check": ("check", "run=runs/a"),
    "runs": ("runs",),
    "sweep": ("sweep", "runs"),
    "report": ("report", "runs/a"),
    "compare": ("compare", "runs/a", "runs/b"),
    "plot": ("plot", "run=runs/a"),
    "stats": ("stats", "data=digits", "out=stats.npz"),
    "sync": ("sync", "runs/a"),
}
SEEDS = 4


@contextmanager
def failing(place: Path, call: str, number: int, skip: int, lasting: bool) -> Iterator[list[str]]:
    """Let a call for something below a folder fail, after so many that do not; what failed."""
    failed: list[str] = []
    left = skip

    def refuse(path: Any) -> None:
        nonlocal left
        if isinstance(path, (str, bytes, os.PathLike)) and os.fsdecode(os.path.abspath(path)).startswith(str(place)):
            left -= 1
            if left == -1 or (lasting and left < 0):
                failed.append(os.fsdecode(path))
                raise OSError(number, os.strerror(number), os.fsdecode(path))

    def wrapped(real: Callable[..., Any], bare: bool = False) -> Callable[..., Any]:
        def called(*args: Any, **kwargs: Any) -> Any:
            if bare:  # of a descriptor: it says nothing of where
                try:
                    refuse(os.readlink(f"/proc/self/fd/{args[0] if isinstance(args[0], int) else args[0].fileno()}"))
                except OSError as error:
                    raise OSError(error.errno, error.strerror) from None
            else:
                refuse(args[0] if args else ".")
            return real(*args, **kwargs)

        return called

    with pytest.MonkeyPatch.context() as patch:
        if call == "open":
            patch.setattr(builtins, "open", wrapped(builtins.open))
            patch.setattr(io, "open", wrapped(io.open))
        patch.setattr(os, call, wrapped(getattr(os, call), bare=call == "fsync"))
        yield failed


@pytest.fixture
def inject(four_steps: Path, home: Path, capsys: pytest.CaptureFixture[str]) -> Callable[[str, int], None]:
    def run(command: str, seed: int) -> None:
        draw = random.Random(f"{command} {seed}")
        shutil.rmtree(home / "runs", ignore_errors=True)
        shutil.copytree(four_steps, home / "runs", symlinks=True)
        shutil.copytree(home / "runs" / "a", home / "runs" / "b")
        call, number = draw.choice(CALLS), draw.choice(ERRNOS)
        skip, lasting = draw.choice((0, 0, 1, 2, 3, 5, 8, 13)), draw.random() < 0.5
        capsys.readouterr()
        with at_most(120), failing(home.parent, call, number, skip, lasting) as failed:
            code = cli.main(COMMANDS[command])
        said = capsys.readouterr()
        done = Done(code, said.out, said.err)
        what = f"seed {seed}: {command}, {errno.errorcode[number]} of {call} at {failed[:1]}\n{done.err[-3000:]}"
        assert done.code in (0, 1, 2), what
        assert "Traceback" not in done.out + done.err, what
        assert done.code == 0 or done.err.strip(), what

    return run


@pytest.mark.parametrize("command", COMMANDS)
def test_a_call_that_fails_is_one_line(
    command: str, inject: Callable[[str, int], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sync, "reachable", lambda: None)
    monkeypatch.setattr(sync, "send", lambda run, node: str(RunDir(run).status()))
    for seed in range(SEEDS):
        inject(command, seed)


@pytest.mark.parametrize("number", ERRNOS, ids=errno.errorcode.__getitem__)
def test_each_says_what_where_and_what_to_do(number: int) -> None:
    known = as_user_error(OSError(number, os.strerror(number), "/data/x"))
    assert known is not None
    said = str(known)
    assert said.startswith("/data/x: ")
    assert "; " in said
    assert "\n" not in said
    asked = number in (errno.EACCES, errno.EPERM, errno.EROFS)
    assert type(known) is (ConfigError if asked else TrainingError)


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (urllib.error.URLError(ConnectionRefusedError(111, "Connection refused")), "Connection refused"),
        (urllib.error.HTTPError("http://x/y", 503, "Service Unavailable", None, None), "http://x/y: Service Unavail"),  # type: ignore[arg-type]
        (ConnectionResetError(), "ConnectionResetError; the connection to the server was lost"),
        (TimeoutError("timed out"), "timed out; the connection to the server was lost"),
        (BrokenPipeError(errno.EPIPE, "Broken pipe"), "broken pipe; "),
        (OSError("image file is truncated"), "image file is truncated; "),
        (OSError("Caught OSError in worker 0.\nTraceback (most):\n  File x\nOSError: [Errno 5] x\n"), "OSError: [Er"),
        (RuntimeError("unable to open shared memory object: Too many open files (24)"), "too many open files; raise"),
        (OSError(errno.ENAMETOOLONG, "File name too long", "x" * 5000), f"{'x' * 40}...: file name too long"),
    ],
)
def test_other_shapes_of_the_same(error: BaseException, said: str) -> None:
    told = str(as_user_error(error))
    assert said in told
    assert "\n" not in told


def test_what_is_ours_keeps_its_traceback() -> None:
    for error in (RuntimeError("shapes"), io.UnsupportedOperation("read"), KeyError("x"), None):
        assert as_user_error(error) is None
