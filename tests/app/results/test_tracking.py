"""Trackers of whole jobs: one run a job, ended as the job ended; and what `mezzotint sync` makes of runs afterwards."""

import json
import subprocess
import sys
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
import wandb
import yaml

from mezzotint.app import help
from mezzotint.app.config.job import digest
from mezzotint.app.results.tracking import TrackerGroup, subject_of, tracked
from mezzotint.errors import TrainingError
from mezzotint.runs import RunDir
from mezzotint.training import NaNGuard, TrainingRun
from mezzotint.training.tracking.hooks import RunInfo
from mezzotint.training.tracking.tracker import Tracker

from ..conftest import TINY, Command

sys.path.insert(0, str(Path(__file__).parents[2] / "training"))
from board import KEY, Board, serving

FAST = (*TINY, "metrics=[]", "callbacks.log.every=1")


@pytest.fixture
def away(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[pytest.MonkeyPatch]:
    """Nobody is known to the tracker."""
    monkeypatch.setenv("HOME", str(tmp_path))
    for name in ("WANDB_MODE", "WANDB_API_KEY", "WANDB_BASE_URL", "NETRC"):
        monkeypatch.delenv(name, raising=False)
    yield monkeypatch
    wandb.teardown()


def connect(patch: pytest.MonkeyPatch, board: Board) -> None:
    patch.setenv("WANDB_BASE_URL", board.url)
    patch.setenv("WANDB_API_KEY", KEY)
    wandb.teardown()  # it has read the environment once and for all


def inspect(run: Path) -> list[dict[str, Any]]:
    """The offline records of a run."""
    command = [sys.executable, "-m", "wandb", "leet", "inspect", "--summary", "--json"]
    files = sorted((run / "wandb").glob("offline-run-*/*.wandb"))
    return [json.loads(subprocess.check_output([*command, str(file)], timeout=60)) for file in files]


def test_a_sweep_with_a_failing_job_is_three_runs_offline_and_after_sync(
    away: pytest.MonkeyPatch, mezzotint: Command, home: Path
) -> None:
    def fail(self: NaNGuard, run: TrainingRun) -> None:
        if run.seed == 1:
            raise TrainingError("the loss is not finite")

    away.setattr(NaNGuard, "step", fail)
    assert mezzotint("train", "-m", *FAST, "name=s", "logger=wandb", "seed=0,1,2").code == 1
    found = {}
    for file in (home / "runs/s").glob("*/config.yaml"):
        (record,) = inspect(file.parent)
        found[record["config"]["seed"]] = record
    assert [found[seed]["exit_code"] for seed in range(3)] == [0, 1, 0]
    assert [found[seed]["state"] for seed in range(3)] == ["finished", "failed", "finished"]
    assert len({record["run_id"] for record in found.values()}) == 3
    assert all(record["name"].startswith("s-") for record in found.values())
    assert found[0]["config"]["environment"]["versions"]["torch"]
    assert {"film", "gif", "drawn"} <= {key.partition("/")[0] for key in found[0]["summary"]}
    assert found[0]["summary"]["objective"] == found[0]["summary"]["loss"]

    without = mezzotint("sync", "runs/s")
    assert without.code == 2
    assert "nothing can be uploaded: no key" in without.err
    with serving() as board:
        connect(away, board)
        sent = mezzotint("sync", "runs/s")
        assert (sent.code, len(sent.out.splitlines())) == (0, 3)
        assert {name: kept.code for name, kept in board.runs.items()} == {
            record["run_id"]: record["exit_code"] for record in found.values()
        }
        assert len({kept.group for kept in board.runs.values()}) == 1  # they differ in the seed alone
        (failed,) = (kept for kept in board.runs.values() if kept.code)
        assert "not finite" in failed.summary["error"]
        assert mezzotint("sync", "runs/s").out.count("is already uploaded") == 3
    assert len(list((home / "runs/s").glob("*/wandb/offline-*/*.synced"))) == 3


def test_sync_makes_one_curve_of_the_pieces_of_a_run_and_adds_what_came_since(
    away: pytest.MonkeyPatch, mezzotint: Command, home: Path
) -> None:
    assert mezzotint("train", *FAST, "name=a", "logger=wandb").code == 0
    run = home / "runs/a"
    with serving() as board:
        connect(away, board)
        first = mezzotint("sync", "runs/latest")
        assert "4 lines of the log, 3 pictures and evaluations, finished" in first.out
        away.setenv("WANDB_MODE", "offline")
        assert mezzotint("train", "run=runs/a", "budget=96").code == 0
        assert mezzotint("evaluate", "run=runs/a", "n=16", "metrics=[fid]").code == 0
        away.delenv("WANDB_MODE")
        assert len(inspect(run)) == 2
        assert "2 lines of the log" in mezzotint("sync", "runs/a").out
        (kept,) = board.runs.values()
        lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
        assert kept.points("loss") == {line["images"]: line["loss"] for line in lines}
        assert kept.summary["evaluation/fd_digits_16"] > 0
        assert (kept.config["budget"], kept.config["resumed_from"]) == (96, [64])
        assert mezzotint("sync", "runs/a").out.startswith("runs/a: is already uploaded")


def test_sync_sends_what_is_named_and_leaves_out_the_rest(
    away: pytest.MonkeyPatch, mezzotint: Command, home: Path
) -> None:
    assert mezzotint("train", *FAST, "name=a").code == 0
    assert mezzotint("sync").code == mezzotint("sync", "nowhere").code == mezzotint("sync", "--all").code == 2
    with serving() as board:
        connect(away, board)
        assert "left out, it was trained without logger=wandb" in mezzotint("sync", "runs").out
        RunDir(home / "runs/a").update_status(state="running")
        with RunDir(home / "runs/a").lock():
            assert "left out, it is being trained" in mezzotint("sync", "runs/a").out
        assert board.runs == {}
        assert "preempted" in mezzotint("sync", "runs/a", "project=p").out or board.runs
        (kept,) = board.runs.values()
        assert (kept.code, kept.summary["state"]) == (130, "preempted")


def test_the_checkpoint_that_is_uploaded_is_asked_for_when_it_is_there(
    away: pytest.MonkeyPatch, mezzotint: Command, home: Path
) -> None:
    away.setenv("WANDB_MODE", "offline")
    assert mezzotint("train", *FAST, "name=a", "logger=wandb", "logger.wandb.checkpoint=last").code == 0
    (file,) = (home / "runs/a/wandb").glob("offline-run-*/*.wandb")
    command = [sys.executable, "-m", "wandb", "leet", "inspect", "--json", str(file)]
    told = subprocess.check_output(command, text=True, timeout=60)
    (artifact,) = (line for line in told.splitlines() if '"type":"artifact"' in line and "model-" in line)
    assert "checkpoints/step-00000004.ckpt" in artifact
    assert "config.yaml" in artifact


class Broken(Tracker):
    def log(self, images: int, values: dict[str, Any]) -> None:
        raise OSError("the disk is full")


class Witness(Tracker):
    def __init__(self) -> None:
        self.codes: list[int] = []
        self.lines = 0

    def log(self, images: int, values: dict[str, Any]) -> None:
        self.lines += 1

    def finish(self, code: int) -> None:
        self.codes.append(code)


def test_a_tracker_that_breaks_is_left_out_and_the_others_go_on(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    witness = Witness()
    trackers = TrackerGroup({"broken": Broken(), "witness": witness}, tmp_path, {"name": "a", "paths": {}})
    trackers.start(RunInfo(tmp_path), [])
    for images in (1, 2):
        trackers.log(images, {"loss": 1.0})
    assert witness.lines == 2
    assert capsys.readouterr().err == (
        "logger=broken is no longer used (OSError: the disk is full); metrics.jsonl is still written\n"
    )
    assert json.loads((tmp_path / "environment.json").read_text())["versions"]["torch"]


@pytest.mark.parametrize(("error", "code"), [(None, 0), (ValueError, 1), (KeyboardInterrupt, 130)])
def test_trackers_end_with_the_code_of_the_job(error: Any, code: int, tmp_path: Path) -> None:
    witness = Witness()
    try:
        with tracked(tmp_path, {"name": "a", "paths": {}}, {"witness": witness}) as trackers:
            trackers.start(RunInfo(tmp_path), [])
            trackers.finish(0)  # of training; the job goes on
            assert witness.codes == []
            if error:
                raise error
    except (ValueError, KeyboardInterrupt):
        pass
    assert witness.codes == [code]


def test_seeds_share_a_group_and_a_name_tells_the_run(tmp_path: Path) -> None:
    config = {"name": "digits", "paths": {}, "budget": 1}
    first = subject_of(tmp_path / "digits" / "1a2b", config | {"seed": 0})
    second = subject_of(tmp_path / "digits" / "3c4d", config | {"seed": 1})
    other = subject_of(tmp_path / "digits" / "5e6f", config | {"seed": 1, "budget": 2})
    assert first.group == second.group == f"digits-{digest(config | {'seed': None})}" != other.group
    assert (first.name, subject_of(tmp_path / "digits-1a2b", config).name) == ("digits-1a2b", "digits-1a2b")


def test_mlflow_says_what_to_install(mezzotint: Command, home: Path) -> None:
    if find_spec("mlflow"):
        pytest.skip("mlflow is installed")
    done = mezzotint("train", *FAST, "logger=mlflow")
    assert done.code == 2
    assert "logger.mlflow: " in done.err
    assert "pip install" in done.err
    assert len(done.err.splitlines()) == 1
    assert not (home / "runs").exists()


def one_of(node: dict[str, Any]) -> Any:
    return node["value"] if "value" in node else node["min"] if "min" in node else node["values"][-1]


def test_the_sweep_that_wandb_plans_is_understood(mezzotint: Command) -> None:
    """What its agent makes of the file, with hyphens too, as it does by default."""
    utils = pytest.importorskip("wandb.sdk.launch.sweeps.utils")
    plan = yaml.safe_load((help.config_dir() / "wandb_sweep.yaml").read_text())
    assert plan["metric"] == {"name": "objective", "goal": "minimize"}
    chosen = {key: {"value": one_of(node)} for key, node in plan["parameters"].items()}
    made = utils.create_sweep_command_args({"args": chosen | {"ema.halflife": {"value": [0.05, 0.1]}}})
    words = utils.create_sweep_command(plan["command"])
    assert words[1:3] == ["mezzotint", "train"]
    for style in ("args_no_hyphens", "args"):
        done = mezzotint(*words[2:-1], *made[style], "--cfg", "job")
        assert done.code == 0, done.err
        config = yaml.safe_load(done.out)
        assert config["optimizer"]["lr"] == plan["parameters"]["optimizer.lr"]["min"]
        assert config["schedule"]["_target_"].endswith("CosineSchedule")
        assert (config["budget"], config["ema"]["halflife"]) == (32000, [0.05, 0.1])
        assert list(config["logger"]) == ["wandb"]


def test_online_that_is_insisted_on_and_cannot_be_is_an_error(
    away: pytest.MonkeyPatch, mezzotint: Command, home: Path
) -> None:
    done = mezzotint("train", *FAST, "name=a", "logger=wandb", "logger.wandb.mode=online")
    assert done.code == 1
    assert "W&B's mode is online, but no key" in done.err
