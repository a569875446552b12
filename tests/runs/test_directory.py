"""The directory of a run: found again, held by one process, with the state that its process left."""

import fcntl
import subprocess
import sys
from pathlib import Path

import pytest

from mezzotint.errors import ConfigError
from mezzotint.runs import RunDir
from mezzotint.runs.folders import find_runs, link_latest


def test_a_run_is_held_by_one_process_and_free_when_that_dies(tmp_path: Path) -> None:
    code = (
        "import sys, time; from pathlib import Path; from mezzotint.runs import RunDir\n"
        "with RunDir(Path(sys.argv[1])).lock(): print('held', flush=True); time.sleep(100)"
    )
    with subprocess.Popen([sys.executable, "-c", code, str(tmp_path)], stdout=subprocess.PIPE, text=True) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        assert RunDir(tmp_path).locked
        with pytest.raises(ConfigError, match="another process is training this run"), RunDir(tmp_path).lock():
            pass
        holder.kill()
        holder.wait()
    assert not RunDir(tmp_path).locked
    with RunDir(tmp_path).lock():
        pass
    assert [path.name for path in tmp_path.iterdir()] == ["train.log"]


def test_latest_is_a_relative_link_that_is_replaced_whole(tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        link_latest(tmp_path / name, tmp_path)
        assert (tmp_path / "latest").readlink() == Path(name)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a", "b", "latest"]


def test_a_folder_of_the_users_own_called_latest_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "latest").mkdir()
    link_latest(tmp_path / "a", tmp_path)
    assert not (tmp_path / "latest").is_symlink()


def test_a_run_needs_no_link_where_there_can_be_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    link_latest(tmp_path / "a", tmp_path / "where" / "it" / "was")
    assert list(tmp_path.iterdir()) == []

    def refuse(*_: object) -> None:
        raise OSError(95, "Operation not supported")

    monkeypatch.setattr(Path, "symlink_to", refuse)
    link_latest(tmp_path / "a", tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_place_that_cannot_lock_is_said_in_a_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise OSError(38, "Function not implemented")

    monkeypatch.setattr(fcntl, "flock", refuse)
    with (
        pytest.raises(ConfigError, match=r"cannot be locked there \(Function not implemented\)"),
        RunDir(tmp_path).lock(),
    ):
        pass


def test_a_run_whose_process_is_gone_is_interrupted_not_running(tmp_path: Path) -> None:
    with RunDir(tmp_path).lock():
        RunDir(tmp_path).update_status(state="running")
        asked = f"print(RunDir(Path({str(tmp_path)!r})).state)"
        code = f"from pathlib import Path; from mezzotint.runs import RunDir; {asked}"
        assert subprocess.check_output([sys.executable, "-c", code], text=True) == "running\n"
    assert RunDir(tmp_path).state == "interrupted"
    RunDir(tmp_path).update_status(state="finished")
    assert RunDir(tmp_path).state == "finished"


def test_status_keeps_what_was_known_and_survives_a_cut_file(tmp_path: Path) -> None:
    RunDir(tmp_path).update_status(state="running", images=5)
    RunDir(tmp_path).update_status(state="finished")
    assert {key: RunDir(tmp_path).status()[key] for key in ("state", "images")} == {"state": "finished", "images": 5}
    (tmp_path / "status.json").write_text('{"state": "fin')
    assert RunDir(tmp_path).status() == {}


def test_runs_are_found_in_folders_and_sweeps_but_not_twice_by_a_link(tmp_path: Path) -> None:
    for name in ("a", "s/b"):
        (tmp_path / name).mkdir(parents=True)
        (tmp_path / name / "config.yaml").touch()
    link_latest(tmp_path / "a", tmp_path)
    assert sorted(run.path for run in find_runs(tmp_path)) == [tmp_path / "a", tmp_path / "s" / "b"]
