"""What a sweep says of its jobs, and what its table may rank."""

import json
from pathlib import Path

import pytest

from mezzotint.app.commands import train
from mezzotint.app.commands.sweep import Line, follows, unlike
from mezzotint.app.config.job import Job
from mezzotint.runs import RunDir
from mezzotint.runs.formats import TRAINING_LOSS, VALIDATION_LOSS

from ..conftest import TINY, Command
from ..synthetic_runs import make

QUIET = (*TINY, "metrics=[]", "budget=32", "name=s")


def named(out: str) -> list[str]:
    """The lines in which jobs are named, without the digests of their runs."""
    lines = [line for line in out.splitlines() if line.startswith("[")]
    return [f"{before}{after[8:]}" for line in lines for before, _, after in [line.partition("runs/s/")]]


def rows(out: str, head: str) -> list[list[str]]:
    """The rows of four jobs below a table's head."""
    lines = out.splitlines()
    first = next(i for i, line in enumerate(lines) if line.split() == head.split())
    return [line.split() for line in lines[first + 1 : first + 5]]


def test_each_job_is_named_by_what_differs_and_a_table_ends_the_sweep(mezzotint: Command, home: Path) -> None:
    """The folders of runs are called what they always were."""
    words = ("train", "-m", *QUIET, "target=epsilon,velocity", "network.width=8,16")
    told = [f"target={target} network.width={width}" for target in ("epsilon", "velocity") for width in (8, 16)]
    done = mezzotint(*words)
    assert named(done.out) == [f"[{i} of 4] {one} -> " for i, one in enumerate(told, 1)]
    found = rows(done.out, "run target network.width state objective")
    assert sorted(f"target={row[1]} network.width={row[2]}" for row in found) == sorted(told)
    assert {row[3] for row in found} == {"finished"}
    assert [float(row[4]) for row in found] == sorted(float(row[4]) for row in found)
    assert done.out.splitlines()[-1] == "runs/s: 4 jobs, 4 finished; to see them again: mezzotint sweep runs/s"
    again = mezzotint("sweep", "runs/s")
    assert {row[0] for row in found} == {path.name for path in (home / "runs/s").iterdir() if path.is_dir()}
    assert all(row[0] in again.out for row in found)

    finished = mezzotint(*words)
    assert named(finished.out) == [f"[{i} of 4] {one} ->  is finished; nothing to do" for i, one in enumerate(told, 1)]
    assert rows(finished.out, "run target network.width state objective") == found
    assert not list(home.rglob(".jobs*"))


def test_a_job_that_fails_or_is_refused_is_named_and_the_others_go_on(
    mezzotint: Command, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    conclude = train.conclude

    def broken(directory: Path, job: Job, *more: object) -> object:
        if job.seed == 1:
            raise ZeroDivisionError("lost")
        return conclude(directory, job, *more)  # type: ignore[arg-type]

    monkeypatch.setattr(train, "conclude", broken)
    done = mezzotint("train", "-m", *QUIET, "seed=1,2", "network.width=7,8")
    assert done.code == 2
    assert named(done.out) == [
        "[1 of 4] seed=1 network.width=7 -> ",
        "[1 of 4] seed=1 network.width=7 ->  failed",
        "[2 of 4] seed=1 network.width=8 -> ",
        "[2 of 4] seed=1 network.width=8 ->  failed",
        "[3 of 4] seed=2 network.width=7 -> ",
        "[3 of 4] seed=2 network.width=7 ->  failed",
        "[4 of 4] seed=2 network.width=8 -> ",
    ]
    states = {tuple(row[-4:-1]) for row in rows(done.out, "run seed network.width state objective")}
    assert ("2", "8", "finished") in states
    assert "runs/s: 4 jobs, 3 failed, 1 finished; to see them again: mezzotint sweep runs/s" in done.out
    assert mezzotint("train", "-m", *QUIET, "seed=1", "network.width=8").code == 1


def test_a_sweep_that_is_stopped_says_which_jobs_were_not_begun(
    mezzotint: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(train, "conclude", interrupted)
    done = mezzotint("train", "-m", *QUIET, "optimizer.lr=0.1,0.2")
    assert done.code == 130
    assert "runs/s: 2 jobs, 1 not begun, 1 preempted" in done.out


def test_a_sweep_of_evaluations_names_its_jobs_and_lists_them_where_one_failed(
    trained: Path, mezzotint: Command
) -> None:
    words = ("evaluate", "-m", "run=runs/a", "n=8", "metrics=[fid]")
    done = mezzotint(*words, "grid.steps=2,3")
    assert "[2 of 2] grid.steps=3 -> runs/a" in done.out.splitlines()
    assert "2 jobs" not in done.out
    failed = mezzotint(*words, "grid.steps=2,2000")
    assert "[2 of 2] grid.steps=2000 -> runs/a failed" in failed.out.splitlines()
    assert "runs/a: 2 jobs, 1 done, 1 failed" in failed.out.splitlines()


def test_losses_of_different_targets_have_different_units() -> None:
    one, other = ({"target": {"_target_": name}, "seed": i} for i, name in enumerate("ab"))
    loss, judged = (Line(None, [], "finished", 0.1, name) for name in (VALIDATION_LOSS, "fd_digits_16"))
    assert unlike([one, other], [loss, loss]) == "target"
    assert unlike([one, other], [judged, judged]) == ""
    assert unlike([one, one | {"seed": 5}], [loss, loss]) == ""
    assert unlike([one, other], [loss, Line(None, [], "failed")]) == ""


def measured(folder: Path, name: str, objective: float, higher: bool = False, seed: int = 0) -> None:
    measure = {"name": name, "higher_is_better": higher}
    make(folder / f"{name.replace(' ', '-')}-{seed}-{objective}", seed, objective=objective, measure=measure)


def test_objectives_of_different_measures_are_never_ranked_together(mezzotint: Command, home: Path) -> None:
    """A validation loss of 0.2 is no better than a training loss of 0.3, nor a precision of 0.1 than one of 0.9."""
    folder = home / "runs" / "mixed"
    measured(folder, VALIDATION_LOSS, 0.2)
    measured(folder, TRAINING_LOSS, 0.3)
    measured(folder, VALIDATION_LOSS, 0.1)
    measured(folder, TRAINING_LOSS, 0.15, seed=1)
    out = mezzotint("sweep", "runs/mixed").out
    assert "training loss" in out.splitlines()[0]
    assert "validation loss" in out.splitlines()[0]
    order = [line.split()[0] for line in out.splitlines()[1:5]]
    assert [name.rpartition("-")[0][:-2] for name in order] in (
        ["training-loss"] * 2 + ["validation-loss"] * 2,
        ["validation-loss"] * 2 + ["training-loss"] * 2,
    )
    together = out.partition("seeds together")[2]
    assert {line.split()[-1] for line in together.splitlines() if line.startswith(("training", "validation"))}
    assert "the objectives are different metrics, each ranked separately" in out


def test_a_measure_that_is_better_where_it_is_higher_is_ranked_so(mezzotint: Command, home: Path) -> None:
    folder = home / "runs" / "high"
    for value in (0.1, 0.9, 0.5):
        measured(folder, "precision_digits_16", value, higher=True)
    out = mezzotint("sweep", "runs/high").out
    assert [line.split()[-1] for line in out.splitlines()[1:4]] == ["0.9", "0.5", "0.1"]
    assert "objective: precision_digits_16, higher is better" in out


def test_a_run_that_does_not_say_what_its_objective_is_is_looked_through(tmp_path: Path) -> None:
    judged = make(tmp_path / "a", quality=0.2)
    assert RunDir(judged).objective(RunDir(judged).status())["name"] == "fd_made_1000"
    for where, name in (("validation", VALIDATION_LOSS), ("", TRAINING_LOSS)):
        run = make(tmp_path / f"b{where}", quality=0.2)
        last = json.loads((run / "metrics.jsonl").read_text().splitlines()[-1])
        number = (last[where] if where else last)["loss"]
        assert RunDir(run).objective(RunDir(run).status() | {"objective": number})["name"] == name
    assert RunDir(judged).objective({}) is None


def test_what_shrinks_with_the_budget_needs_no_column() -> None:
    """Unless it was chosen too, or the runs are of one budget: then it is what tells them apart."""

    def made(budget: int, warmup: float) -> dict:
        return {"budget": budget, "batch_size": 64, "optimizer": {"warmup": warmup, "lr": budget}}

    small, large, other = made(1000, 100), made(2000, 200), made(2000, 500)
    assert follows([small, large], "optimizer.warmup")
    assert not follows([small, large, other], "optimizer.warmup")
    assert not follows([large, other], "optimizer.warmup")
    assert not follows([small, large], "optimizer.lr")
