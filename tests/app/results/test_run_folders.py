"""A run is a directory: found again, held by one process, never mixed with another's."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from mezzotint.app.results import run_folders
from mezzotint.errors import ConfigError


def config(tmp_path: Path, **changes: Any) -> dict[str, Any]:
    paths = {"_target_": "mezzotint.app.config.job.Paths", "runs": str(tmp_path), "data": "/d", "cache": "/c"}
    return {
        "name": "a",
        "run": None,
        "seed": 0,
        "batch_size": 16,
        "network": {},
        "logger": {},
        "paths": paths,
        **changes,
    }


def test_places_of_new_runs(tmp_path: Path) -> None:
    given = config(tmp_path)
    automatic = run_folders.place(given, named=False, many=False)
    assert automatic.parent == tmp_path
    assert automatic.name == f"a-{automatic.name[-8:]}"
    assert run_folders.place(given, named=True, many=False) == tmp_path / "a"
    assert run_folders.place(given, named=True, many=True) == tmp_path / "a" / automatic.name[-8:]
    assert run_folders.place(config(tmp_path, seed=1), named=False, many=False) != automatic


def test_a_run_is_held_by_one_process_and_free_when_that_dies(tmp_path: Path) -> None:
    code = (
        "import sys, time; from pathlib import Path; from mezzotint.app.results import run_folders\n"
        "with run_folders.claim(Path(sys.argv[1])): print('held', flush=True); time.sleep(100)"
    )
    with subprocess.Popen([sys.executable, "-c", code, str(tmp_path)], stdout=subprocess.PIPE, text=True) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        assert run_folders.locked(tmp_path)
        with pytest.raises(ConfigError, match="another process is training this run"), run_folders.claim(tmp_path):
            pass
        holder.kill()
        holder.wait()
    assert not run_folders.locked(tmp_path)
    with run_folders.claim(tmp_path):
        pass
    assert [path.name for path in tmp_path.iterdir()] == ["train.log"]


def test_a_name_taken_by_another_config_is_refused_with_what_differs(tmp_path: Path) -> None:
    run_folders.write_config(tmp_path, config(tmp_path))
    run_folders.refuse_other(tmp_path, config(tmp_path, name="b"))
    with pytest.raises(ConfigError, match="it differs in seed"):
        run_folders.refuse_other(tmp_path, config(tmp_path, seed=1))


def test_a_name_taken_by_a_sweep_or_a_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "multirun.yaml").touch()
    with pytest.raises(ConfigError, match="holds the runs of a sweep"):
        run_folders.refuse_other(tmp_path, config(tmp_path))
    with pytest.raises(ConfigError, match="is a file"):
        run_folders.refuse_other(tmp_path / "multirun.yaml", config(tmp_path))


def test_a_folder_of_something_else_is_refused_and_a_start_that_died_at_once_is_not(tmp_path: Path) -> None:
    (tmp_path / "train.log").touch()
    run_folders.refuse_other(tmp_path, config(tmp_path))
    (tmp_path / "thesis.tex").touch()
    with pytest.raises(ConfigError, match=r"is no run: it holds thesis\.tex"):
        run_folders.refuse_other(tmp_path, config(tmp_path))


def test_latest_is_a_relative_link_that_is_replaced_whole(tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        run_folders.point_latest(tmp_path / name, tmp_path)
        assert (tmp_path / "latest").readlink() == Path(name)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a", "b", "latest"]


def test_a_folder_of_the_users_own_called_latest_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "latest").mkdir()
    run_folders.point_latest(tmp_path / "a", tmp_path)
    assert not (tmp_path / "latest").is_symlink()


def test_a_run_needs_no_link_where_there_can_be_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run_folders.point_latest(tmp_path / "a", tmp_path / "where" / "it" / "was")
    assert list(tmp_path.iterdir()) == []

    def refuse(*_: object) -> None:
        raise OSError(95, "Operation not supported")

    monkeypatch.setattr(Path, "symlink_to", refuse)
    run_folders.point_latest(tmp_path / "a", tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_place_that_cannot_lock_is_said_in_a_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise OSError(38, "Function not implemented")

    monkeypatch.setattr(run_folders.fcntl, "flock", refuse)
    with (
        pytest.raises(ConfigError, match=r"cannot be locked there \(Function not implemented\)"),
        run_folders.claim(tmp_path),
    ):
        pass


def test_a_run_whose_process_is_gone_is_interrupted_not_running(tmp_path: Path) -> None:
    with run_folders.claim(tmp_path):
        run_folders.write_status(tmp_path, state="running")
        asked = f"print(run_folders.state(Path({str(tmp_path)!r})))"
        code = f"from pathlib import Path; from mezzotint.app.results import run_folders; {asked}"
        assert subprocess.check_output([sys.executable, "-c", code], text=True) == "running\n"
    assert run_folders.state(tmp_path) == "interrupted"
    run_folders.write_status(tmp_path, state="finished")
    assert run_folders.state(tmp_path) == "finished"


def test_status_keeps_what_was_known_and_survives_a_cut_file(tmp_path: Path) -> None:
    run_folders.write_status(tmp_path, state="running", images=5)
    run_folders.write_status(tmp_path, state="finished")
    assert {key: run_folders.read_status(tmp_path)[key] for key in ("state", "images")} == {
        "state": "finished",
        "images": 5,
    }
    (tmp_path / "status.json").write_text('{"state": "fin')
    assert run_folders.read_status(tmp_path) == {}


def test_runs_are_found_in_folders_and_sweeps_but_not_twice_by_a_link(tmp_path: Path) -> None:
    for name in ("a", "s/b"):
        (tmp_path / name).mkdir(parents=True)
        (tmp_path / name / "config.yaml").touch()
    run_folders.point_latest(tmp_path / "a", tmp_path)
    assert sorted(run_folders.find(tmp_path)) == [tmp_path / "a", tmp_path / "s" / "b"]


def test_a_place_that_cannot_be_written_is_refused_before_anything_is_made(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(ConfigError, match="cannot be written"):
        run_folders.writable(tmp_path / "file" / "a")
    run_folders.writable(tmp_path / "new" / "a")
    assert not (tmp_path / "new").exists()
