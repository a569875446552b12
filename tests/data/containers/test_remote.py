"""Remote containers: downloaded once, whole or not at all, checked, and never out of their folder."""

import hashlib
from collections.abc import Callable, Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path, PurePosixPath
from threading import Thread

import fsspec
import pytest
import torch
from image_sets import pictures, tar_of, write_folder

from mezzotint.data import TarImages
from mezzotint.data.containers import remote
from mezzotint.data.containers.remote import fetch, local_name
from mezzotint.errors import ConfigError, DataError

FILES = pictures("a", "b")


class Quiet(SimpleHTTPRequestHandler):
    """Serves a folder, and counts what is read of each file."""

    reads: list[str]

    def do_GET(self) -> None:
        type(self).reads.append(self.path)
        super().do_GET()

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture(autouse=True)
def _own_cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MEZZOTINT_CACHE", str(tmp_path_factory.mktemp("cache")))


@pytest.fixture
def shards(tmp_path: Path) -> Path:
    """Return a folder with two shards."""
    (tmp_path / "there").mkdir()
    for number in range(2):
        tar_of(tmp_path / f"there/a-{number:02d}.tar", {name: FILES[name] for name in [*FILES][number::2]})
    return tmp_path / "there"


@pytest.fixture
def served(shards: Path) -> Iterator[str]:
    Quiet.reads = []
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(shards)))
    Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


def dataset(root: str, cache: Path) -> TarImages:
    return TarImages(root=root, shape=(3, 8, 8), classes=2, cache=str(cache), held_out=0)


def same_as_folder(root: str, tmp_path: Path) -> bool:
    folder = write_folder(tmp_path, FILES).split("all")
    return torch.equal(
        dataset(root, tmp_path / "cache").split("train").batch(torch.arange(14))[0], folder.batch(torch.arange(14))[0]
    )


def test_shards_are_read_from_a_file_system_in_memory(shards: Path, tmp_path: Path) -> None:
    memory = fsspec.filesystem("memory")
    for file in shards.iterdir():
        memory.pipe(f"/{tmp_path.name}/{file.name}", file.read_bytes())
    assert same_as_folder(f"memory://{tmp_path.name}", tmp_path)


@pytest.mark.parametrize("pattern", ["", "/a-{00..01}.tar", "/a-*.tar"])
def test_shards_are_read_from_files(pattern: str, shards: Path, tmp_path: Path) -> None:
    assert same_as_folder(f"file://{shards}{pattern}", tmp_path)


@pytest.mark.parametrize("pattern", ["/", "/a-{00..01}.tar"])
def test_shards_are_read_from_a_server_once(pattern: str, served: str, tmp_path: Path) -> None:
    assert same_as_folder(served + pattern, tmp_path)
    assert sum(read.endswith(".tar") for read in Quiet.reads) == 2
    assert same_as_folder(served + pattern, tmp_path)
    assert sum(read.endswith(".tar") for read in Quiet.reads) == 2


def test_a_server_is_asked_once_in_a_process(shards: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real, asked = remote.listed, []
    monkeypatch.setattr(remote, "listed", lambda *given: asked.append(given) or real(*given))
    for _ in range(2):
        images = dataset(f"file://{shards}", tmp_path / "cache")
        assert len(images.split("train")) == 14
        assert len(images.class_names()) == 2
    assert len(asked) == 1


def test_a_server_that_does_not_answer_is_not_needed(
    shards: Path, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    url = f"file://{shards}"
    before = fetch(url, "tar", tmp_path / "cache")
    shards.rename(tmp_path / "away")
    assert fetch(url, "tar", tmp_path / "cache") == before
    assert "The files that were downloaded before are used." in capsys.readouterr().err
    with pytest.raises(DataError, match="cannot be read"):
        fetch(f"{url}/other", "tar", tmp_path / "cache")


def test_a_download_goes_on_after_its_last_file(shards: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real, copied = remote.copy, []

    def stopped(source: object, target: Path, *more: object) -> None:
        if copied:
            raise KeyboardInterrupt
        copied.append(target.name)
        real(source, target, *more)

    monkeypatch.setattr(remote, "copy", stopped)
    with pytest.raises(KeyboardInterrupt):
        fetch(f"file://{shards}", "tar", tmp_path / "cache")
    monkeypatch.setattr(
        remote, "copy", lambda source, target, *more: (copied.append(target.name), real(source, target, *more))
    )
    fetch(f"file://{shards}", "tar", tmp_path / "cache")
    assert copied == ["a-00.tar", "a-01.tar"]


def test_a_file_that_changes_or_is_removed_is_updated(shards: Path, tmp_path: Path) -> None:
    folder = fetch(f"file://{shards}", "tar", tmp_path / "cache")
    tar_of(shards / "a-00.tar", FILES)
    (shards / "a-01.tar").unlink()
    single = fetch(f"file://{shards}", "tar", tmp_path / "cache")
    assert single == folder / "a-00.tar"
    assert single.read_bytes() == (shards / "a-00.tar").read_bytes()
    assert not (folder / "a-01.tar").exists()


def test_hashes_beside_the_files_are_compared(shards: Path, tmp_path: Path) -> None:
    lines = [f"{hashlib.sha256(file.read_bytes()).hexdigest()}  {file.name}\n" for file in sorted(shards.iterdir())]
    (shards / "SHA256SUMS").write_text("".join(lines))
    fetch(f"file://{shards}", "tar", tmp_path / "cache")
    tar_of(shards / "a-01.tar", {"x.png": b"other"})
    with pytest.raises(DataError, match=r"a-01\.tar is damaged: its SHA-256 is not the one in SHA256SUMS"):
        fetch(f"file://{shards}", "tar", tmp_path / "cache")
    assert not any((tmp_path / "cache").rglob("*.part"))


def test_a_file_that_ends_early_is_refused(shards: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fsspec.implementations.local.LocalFileSystem.info", lambda *_, **__: {"size": 1 << 20})
    with pytest.raises(DataError, match=r"a-00\.tar ended after [\d,]+ of 1,048,576 bytes"):
        fetch(f"file://{shards}/a-00.tar", "tar", tmp_path / "cache")


NAMES: dict[str, Callable[[], str]] = {
    "a-00.tar": lambda: local_name(PurePosixPath("/set/a-00.tar"), PurePosixPath("/set")),
    "train/a.tar": lambda: local_name(PurePosixPath("/set/train/a.tar"), PurePosixPath("/set")),
    "_/_/etc/a.tar": lambda: local_name(PurePosixPath("/set/../../etc/a.tar"), PurePosixPath("/set")),
    "a_b.tar": lambda: local_name(PurePosixPath("host/a b.tar?token=secret"), PurePosixPath("host")),
    "hidden.tar": lambda: local_name(PurePosixPath("/set/..hidden.tar"), PurePosixPath("/set")),
}


@pytest.mark.parametrize("expected", NAMES)
def test_names_of_downloads_stay_in_their_folder(expected: str) -> None:
    assert NAMES[expected]() == expected


@pytest.mark.parametrize(
    ("root", "kind", "said"),
    [
        ("nope://x/a.tar", DataError, "Protocol not known: nope"),
        ("memory://nothing/a.tar", DataError, "cannot be read"),
        ("zip://a.tar::file:///x.zip", ConfigError, "chained URLs are not read"),
    ],
)
def test_urls_that_are_not_read_are_refused(root: str, kind: type[Exception], said: str, tmp_path: Path) -> None:
    with pytest.raises(kind, match=said) as error:
        fetch(root, "tar", tmp_path / "cache")
    assert "\n" not in str(error.value)
