"""A GPU is one process's, and the file that stands for it, whose name anybody can guess, leads nowhere."""

import errno
import fcntl
import os
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from mezzotint.app.launch import gpus
from mezzotint.errors import ConfigError

NAME = f"mezzotint-{os.getuid()}-gpu-0.lock"


@pytest.fixture
def lock(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where the lock of the one GPU lies."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.setattr(gpus, "_held", [])
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0")
    return tmp_path / NAME


@contextmanager
def taken() -> Iterator[None]:
    try:
        yield
    finally:
        for file in gpus._held:
            file.close()


def put_link(lock: Path) -> None:
    (lock.parent / "precious").write_text("words")
    lock.symlink_to("precious")


def put_link_to_nothing(lock: Path) -> None:
    lock.symlink_to("nothing")


def put_loop(lock: Path) -> None:
    lock.symlink_to(lock.name)


def put_device(lock: Path) -> None:
    lock.symlink_to("/dev/zero")


def put_socket(lock: Path) -> None:
    with socket.socket(socket.AF_UNIX) as made:
        made.bind(str(lock))


@pytest.mark.parametrize(
    "put", [put_link, put_link_to_nothing, put_loop, put_device, put_socket, Path.mkdir, lambda lock: os.mkfifo(lock)]
)
def test_what_is_no_file_is_neither_followed_nor_waited_for(put: object, lock: Path) -> None:
    put(lock)  # type: ignore[operator]
    before = sorted(path.name for path in lock.parent.iterdir())
    with taken(), pytest.raises(ConfigError, match="TMPDIR") as refused:
        gpus.take()
    assert str(refused.value).startswith(str(lock))
    assert sorted(path.name for path in lock.parent.iterdir()) == before
    if put is put_link:
        assert (lock.parent / "precious").read_text() == "words"


def test_a_file_of_somebody_else_is_not_used(lock: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    somebody = os.getuid() + 1
    lock.with_name(f"mezzotint-{somebody}-gpu-0.lock").touch()
    monkeypatch.setattr(os, "getuid", lambda: somebody)
    with taken(), pytest.raises(ConfigError, match="not a file of yours"):
        gpus.take()


def test_locks_that_the_file_system_does_not_know_are_told(lock: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    monkeypatch.setattr(fcntl, "flock", refuse)
    with taken(), pytest.raises(ConfigError, match="No locks available"):
        gpus.take()


def test_a_gpu_in_use_is_left_to_who_has_it(lock: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0,1")
    hold = f"import fcntl; f = open({str(lock)!r}, 'w'); fcntl.flock(f, fcntl.LOCK_EX); print('held', flush=True); "
    with subprocess.Popen(
        [sys.executable, "-c", f"{hold}input()"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == "held\n"
        with taken():
            assert gpus.take() == "1"
        other.communicate("\n")
    assert lock.stat().st_mode & 0o777 in (0o600, 0o644, 0o664)
