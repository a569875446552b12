"""What Hydra hands a sweeper is put right before the first job."""

import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from mezzotint.app.launch import hydra_hooks
from mezzotint.app.launch.hydra_hooks import strip_override_prefixes

WORDS = ["++optimizer.lr=interval(0.1,1)", "++network.new=interval(0,1)", "++ema.halflife=3", "++grid.new=3"]


def config(sweeper: str) -> Any:
    from omegaconf import OmegaConf

    hydra = {
        "sweeper": {"_target_": sweeper, "params": {"ema.halflife": "interval(1,2)"}},
        "overrides": {"task": WORDS},
    }
    made = OmegaConf.create({"hydra": hydra, "optimizer": {"lr": 0.1}, "ema": {"halflife": 1}, "grid": {"new": 3}})
    OmegaConf.set_readonly(made, True)
    return made


@pytest.mark.parametrize(
    ("sweeper", "plain"), [("plugins.optuna_sweeper.OptunaSweeper", (0, 2)), ("hydra.BasicSweeper", ())]
)
def test_optuna_hears_names_as_they_are_typed_where_a_file_has_them(sweeper: str, plain: tuple[int, ...]) -> None:
    """What is swept and known, or searched by the sweep itself; else the ++ is needed in each job."""
    made = config(sweeper)
    strip_override_prefixes(made)
    expected = [word.removeprefix("++") if i in plain else word for i, word in enumerate(WORDS)]
    assert list(made.hydra.overrides.task) == expected


def begin(folder: Path, *jobs: Path) -> None:
    """As Hydra does it: tells of the sweep, makes its folder, then makes and tells of each job's."""
    callback = hydra_hooks.SweepFolderCallback()
    callback.on_multirun_start(sweep_in(folder))
    for place in (folder, *jobs):
        place.mkdir(parents=True, exist_ok=True)
        callback.on_job_start(sweep_in(place))
    (folder / "multirun.yaml").touch()


def sweep_in(folder: Path) -> Any:
    from omegaconf import OmegaConf

    return OmegaConf.create({"hydra": {"sweep": {"dir": str(folder)}, "sweeper": {}}})


def test_a_sweep_that_came_to_nothing_leaves_what_was_there_before(tmp_path: Path) -> None:
    (tmp_path / "runs").mkdir()
    begin(tmp_path / "runs" / "deep" / "er", tmp_path / "runs" / "deep" / "other")
    assert hydra_hooks.sweep_started()
    hydra_hooks.remove_empty_sweep_dirs()
    assert not hydra_hooks.sweep_started()
    assert [path.name for path in tmp_path.rglob("*")] == ["runs"]
    begin(tmp_path / "new" / "sweep")
    hydra_hooks.remove_empty_sweep_dirs()
    assert [path.name for path in tmp_path.rglob("*")] == ["runs"]


def test_a_sweep_with_a_run_in_it_stays_as_it_is(tmp_path: Path) -> None:
    begin(tmp_path / "runs" / "s")
    (tmp_path / "runs" / "s" / "12345678").mkdir()
    hydra_hooks.remove_empty_sweep_dirs()
    assert sorted(path.name for path in (tmp_path / "runs" / "s").iterdir()) == ["12345678", "multirun.yaml"]


ORPHAN = """
import multiprocessing, os, sys, time
from mezzotint.app.launch.hydra_hooks import leave_with_parent

def work():
    leave_with_parent()
    print(os.getpid(), flush=True)
    time.sleep(60)

if __name__ == "__main__":
    multiprocessing.get_context("spawn").Process(target=work).start()
    time.sleep(60)
"""


def test_a_worker_of_a_sweep_ends_with_the_process_that_started_it(tmp_path: Path) -> None:
    """Also where that one was killed: an orphan would hold its GPU against the sweep that is started again."""
    (tmp_path / "sweep.py").write_text(ORPHAN)
    sweep = subprocess.Popen([sys.executable, tmp_path / "sweep.py"], stdout=subprocess.PIPE, text=True)
    assert sweep.stdout is not None
    worker = int(sweep.stdout.readline())
    sweep.stdout.close()
    sweep.kill()
    sweep.wait()
    until = time.monotonic() + 30
    while time.monotonic() < until and Path(f"/proc/{worker}").exists():
        time.sleep(0.1)
    assert not Path(f"/proc/{worker}").exists()


ROOT = Path(__file__).parents[3] / "configs"


@pytest.mark.parametrize(
    ("words", "asked"),
    [
        (["debug=tiny"], False),
        (["-m", "seed=0,1"], False),
        (["hydra.mode=RUN"], True),
        (["--config-dir", "mine"], True),
        (["sweep=seeds"], True),
    ],
)
def test_a_config_is_composed_once_unless_something_may_choose_the_mode(
    words: list[str], asked: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import hydra
    from hydra._internal.hydra import Hydra

    composed: list[bool] = []
    compose, mode = Hydra.compose_config, Hydra.get_mode

    def counted(self: Hydra, *args: Any, **given: Any) -> Any:
        composed.append(given.get("validate_sweep_overrides", True))
        return compose(self, *args, **given)

    class Enough(Exception):
        """The first job has begun."""

    def task(config: Any) -> None:
        raise Enough

    (tmp_path / "mine").mkdir()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(Hydra, "compose_config", counted)
    monkeypatch.setattr(sys, "argv", ["mezzotint train", *words])
    monkeypatch.setenv("HYDRA_FULL_ERROR", "1")
    hydra_hooks.count_gpus()
    with hydra_hooks.composed_once(words), pytest.raises((Enough, SystemExit)):
        hydra.main(config_path=str(ROOT), config_name="mezzotint", version_base="1.3")(task)()
    assert composed[-1]
    assert (False in composed) == asked  # without a check, to read the mode
    assert Hydra.get_mode is mode


def test_only_sweeps_choose_the_mode() -> None:
    import yaml

    files = [file for file in ROOT.rglob("*.yaml") if file.parent.name != "sweep"]
    assert [file for file in files if "mode" in (yaml.safe_load(file.read_text()) or {}).get("hydra", {})] == []
    named = [file for file in files if file.parent != ROOT and "/sweep:" in file.read_text()]
    assert named == [], "a file that chooses a sweep"
