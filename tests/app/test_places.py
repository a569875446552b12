"""A saved run's config does not decide where a command of the present user writes."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from mezzotint.app.config import compose
from tests.app.conftest import Command

PATHS = "mezzotint.app.config.job.Paths"
FASHION = {
    "_target_": "mezzotint.data.FashionMNIST",
    "root": None,
    "download": False,
    "shape": [1, 8, 8],
    "classes": 10,
    "flip": False,
}


def edit(run: Path, changes: dict[str, Any]) -> dict[str, Any]:
    file = run / "config.yaml"
    before = yaml.safe_load(file.read_text())
    file.write_text(yaml.safe_dump(before | changes))
    return before


@pytest.mark.parametrize("command", ["train", "evaluate", "check", "sample", "plot"])
def test_nothing_is_written_where_a_saved_run_says(
    command: str, trained: Path, mezzotint: Command, home: Path, tmp_path: Path
) -> None:
    away = tmp_path / "away"
    away.mkdir()
    edit(trained, {"paths": {"_target_": PATHS, **{key: str(away / key) for key in ("runs", "data", "cache")}}})
    more = {"train": ["budget=320", "n=16"], "evaluate": ["n=64"], "sample": ["n=1"], "plot": ["n=1"]}
    done = mezzotint(command, "run=runs/a", *more.get(command, []))
    assert done.code == 0, done.err
    assert list(away.rglob("*")) == []
    if command == "evaluate":
        assert list((tmp_path / "cache").glob("reference-*"))


def test_what_is_given_now_decides(trained: Path, mezzotint: Command, home: Path, tmp_path: Path) -> None:
    done = mezzotint("evaluate", "run=runs/a", "n=64", f"paths.cache={tmp_path / 'here'}")
    assert done.code == 0, done.err
    assert list((tmp_path / "here").glob("reference-*"))


def test_a_run_goes_on_in_the_folder_that_it_was_put_into(mezzotint: Command, home: Path, tmp_path: Path) -> None:
    """Its `latest` follows it there, from whichever folder the command is given and without saying where runs lie."""
    runs = tmp_path / "mine"
    words = ("debug=tiny", "hardware=cpu", "callbacks=minimal", "metrics=[]")
    assert mezzotint("train", *words, "name=a", f"paths.runs={runs}").code == 0
    (runs / "latest").unlink()
    done = mezzotint("train", f"run={runs / 'a'}", "budget=96")
    assert done.code == 0, done.err
    assert (runs / "latest").resolve() == (runs / "a").resolve()
    assert not (home / "runs").exists()


def test_a_folder_to_download_to_is_only_taken_from_the_command_line(trained: Path, mezzotint: Command) -> None:
    kept = yaml.safe_load((trained / "config.yaml").read_text())["paths"]
    for folder in ("/elsewhere", f"{kept['data']}/../x"):
        edit(trained, {"data": FASHION | {"cache": folder}})
        done = mezzotint("sample", "run=runs/a", "n=1")
        assert done.code == 2
        assert "data.cache=" in done.err
        assert done.err.count("\n") == 1
        assert mezzotint("sample", "run=runs/a", "n=1", "data.cache=/elsewhere").code == 0
    edit(trained, {"data": FASHION | {"cache": kept["data"]}})
    assert mezzotint("sample", "run=runs/a", "n=1").code == 0


def test_paths_of_a_sweep_are_those_of_its_folder(tmp_path: Path) -> None:
    run = tmp_path / "runs" / "sweep" / "0123abcd"
    run.mkdir(parents=True)
    saved = {"_target_": PATHS, "runs": str(tmp_path / "runs"), "data": "/d", "cache": "/c"}
    assert compose.present_paths(saved, run)["runs"] != str(tmp_path / "runs")
    (run.parent / "multirun.yaml").touch()
    found = compose.present_paths(saved, run)
    assert found["runs"] == str(tmp_path / "runs")
    assert "/d" not in found.values()
    assert "/c" not in found.values()
    assert compose.present_paths("x", run) == "x"
