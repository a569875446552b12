"""The place of a run by its config; a directory is never shared by two configs."""

from pathlib import Path

import pytest

from mezzotint.app.results import run_folders
from mezzotint.errors import ConfigError
from mezzotint.runs import RunDir

from ..synthetic_runs import job


def test_places_of_new_runs(tmp_path: Path) -> None:
    given = job(tmp_path)
    automatic = run_folders.place(given, named=False, many=False)
    assert automatic.parent == tmp_path
    assert automatic.name == f"a-{automatic.name[-8:]}"
    assert run_folders.place(given, named=True, many=False) == tmp_path / "a"
    assert run_folders.place(given, named=True, many=True) == tmp_path / "a" / automatic.name[-8:]
    assert run_folders.place(job(tmp_path, seed=1), named=False, many=False) != automatic


def test_a_name_taken_by_another_config_is_refused_with_what_differs(tmp_path: Path) -> None:
    RunDir(tmp_path).write_config(job(tmp_path).as_dict())
    run_folders.refuse_other(tmp_path, job(tmp_path, name="b").as_dict())
    with pytest.raises(ConfigError, match="it differs in seed"):
        run_folders.refuse_other(tmp_path, job(tmp_path, seed=1).as_dict())


def test_a_name_taken_by_a_sweep_or_a_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "multirun.yaml").touch()
    with pytest.raises(ConfigError, match="holds the runs of a sweep"):
        run_folders.refuse_other(tmp_path, job(tmp_path).as_dict())
    with pytest.raises(ConfigError, match="is a file"):
        run_folders.refuse_other(tmp_path / "multirun.yaml", job(tmp_path).as_dict())


def test_a_folder_of_something_else_is_refused_and_a_start_that_died_at_once_is_not(tmp_path: Path) -> None:
    (tmp_path / "train.log").touch()
    run_folders.refuse_other(tmp_path, job(tmp_path).as_dict())
    (tmp_path / "thesis.tex").touch()
    with pytest.raises(ConfigError, match=r"is no run: it holds thesis\.tex"):
        run_folders.refuse_other(tmp_path, job(tmp_path).as_dict())


def test_a_place_that_cannot_be_written_is_refused_before_anything_is_made(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(ConfigError, match="cannot be written"):
        run_folders.writable(tmp_path / "file" / "a")
    run_folders.writable(tmp_path / "new" / "a")
    assert not (tmp_path / "new").exists()
