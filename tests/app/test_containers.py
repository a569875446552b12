"""Commands on containers: those of docs/data.md, a training, and what is printed where it cannot be."""

import re
import shlex
from pathlib import Path

import pytest
from image_sets import pictures, tar_of, write_folder, write_lmdb, write_parquet, write_zip

from mezzotint.app import cli

pytest.importorskip("pyarrow")
pytest.importorskip("lmdb")
PAGE = (Path(__file__).parents[2] / "docs" / "data.md").read_text()
SECTION = re.findall(r"^## Containers\n(.*?)^## ", PAGE, re.DOTALL | re.MULTILINE)[0]
COMMANDS = [line.split("#")[0] for line in SECTION.splitlines() if line.startswith("mezzotint check")]


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Go to a folder with one set of images in all containers, as docs/data.md names them."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MEZZOTINT_CACHE", str(tmp_path / "cache"))
    files = pictures("cats", "dogs", each=12)
    write_zip(tmp_path, files)
    (tmp_path / "a.zip").rename("photos.zip")
    write_parquet(tmp_path, files)
    (tmp_path / "parquet").rename("tables")
    write_lmdb(tmp_path, files)
    (tmp_path / "a.lmdb").rename("photos.lmdb")
    write_folder(tmp_path, files)
    (tmp_path / "shards").mkdir()
    for number in range(3):
        tar_of(tmp_path / f"shards/photos-{number:03d}.tar", {name: files[name] for name in [*files][number::3]})
    return tmp_path


def small(words: list[str]) -> list[str]:
    return [word.replace("[3,32,32]", "[3,8,8]") for word in words]


@pytest.mark.parametrize("command", COMMANDS)
def test_the_commands_of_the_page_run(command: str, here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main([*small(shlex.split(command)[1:]), "debug=tiny"]) == 0, capsys.readouterr().err
    assert re.search(r"2: cats \(1\d\), dogs \(1\d\)", capsys.readouterr().out)


def test_a_training_is_that_of_the_folder(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    import torch

    def weights(run: str) -> dict[str, torch.Tensor]:
        (newest,) = sorted((here / "runs" / run / "checkpoints").glob("*4*"))[-1:]
        return torch.load(newest, map_location="cpu", weights_only=True)["state_dict"]

    shape, more = "data.shape=[3,8,8]", ["debug=tiny", "data.memory_limit=0"]
    for name, words in {
        "folder": ["data=image_folder", "data.root=folder"],
        "archive": ["data=zip", "data.root=photos.zip"],
    }.items():
        assert cli.main(["train", *words, shape, *more, f"name={name}"]) == 0, capsys.readouterr().err
    one, other = weights("folder"), weights("archive")
    assert one.keys() == other.keys()
    assert all(torch.equal(one[key], other[key]) for key in one)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["data=tar", "data.root=photos.zip"], "photos.zip is not of data=tar: use data=zip."),
        (["data=zip", "data.root=none.zip"], "none.zip does not exist"),
        (["data=zip", "data.root=folder"], "A folder of images is data=image_folder."),
    ],
)
def test_a_wrong_root_is_one_line(words: list[str], said: str, here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["check", *words, "data.shape=[3,8,8]"]) == 2
    error = capsys.readouterr().err.strip()
    assert said in error
    assert "\n" not in error


def test_a_saved_run_downloads_nothing_that_was_not_downloaded_before(
    here: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("MEZZOTINT_DATA", str(here / "data"))
    url = f"file://{here}/photos.zip"
    words = ["data=zip", f"data.root={url}", "data.shape=[3,8,8]", "debug=tiny", "name=a"]
    assert cli.main(["train", *words]) == 0, capsys.readouterr().err
    assert cli.main(["train", "run=runs/a"]) == 0, capsys.readouterr().err
    capsys.readouterr()
    (here / "data").rename(here / "elsewhere")
    assert cli.main(["train", "run=runs/a"]) == 2
    assert f"data.root={url} would be downloaded, and a saved run does not decide that" in capsys.readouterr().err
    assert not (here / "data").exists()
    assert cli.main(["train", "run=runs/a", f"data.root={url}"]) == 0, capsys.readouterr().err
