"""`mezzotint runs`: what is there, in which state, how far, how good."""

import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from mezzotint.app.commands import runs
from mezzotint.runs import RunDir

from ..conftest import Command


def make(home: Path, name: str, state: str, started: float = 0.0, **entries: Any) -> Path:
    """A run as far as the list looks at it."""
    directory = home / "runs" / name
    directory.mkdir(parents=True)
    (directory / "config.yaml").write_text("network: {}")
    RunDir(directory).update_status(state=state, started=started, budget=1000, **entries)
    return directory


def evaluate(directory: Path, n: int, values: dict[str, float], higher: bool = False) -> None:
    metrics = {"m": {"values": list(values), "higher_is_better": higher}}
    (directory / "evaluation").mkdir(exist_ok=True)
    file = directory / "evaluation" / f"{len(list((directory / 'evaluation').iterdir()))}.json"
    file.write_text(json.dumps({"values": values, "protocol": {"n": n, "metrics": metrics}}))


def listed(mezzotint: Command, *words: str) -> list[dict]:
    done = mezzotint("runs", "--json", *words)
    assert done.code == 0, done.err
    return [json.loads(line) for line in done.out.splitlines()]


def test_runs_and_those_of_sweeps_are_sorted_by_their_start(home: Path, mezzotint: Command) -> None:
    for name, started in (("c", 10.0), ("sweep/b", 20.0), ("a", 30.0)):
        make(home, name, "finished", started, images=1000)
    assert [Path(run["run"]).name for run in listed(mezzotint)] == ["c", "b", "a"]
    lines = mezzotint("runs").out.splitlines()
    assert [line.split()[0] for line in lines] == ["run", "c", "sweep/b", "a"]
    assert lines[2].split()[:6] == ["sweep/b", "finished", "1,000", "of", "1,000", "100%"]


def test_words_choose_by_name_and_state(home: Path, mezzotint: Command) -> None:
    for name, state in (("digits", "finished"), ("digits-2", "failed"), ("emoji", "finished")):
        make(home, name, state)
    assert [run["run"].rpartition("/")[2] for run in listed(mezzotint, "digits", "finished")] == ["digits"]
    assert len(listed(mezzotint, "digits")) == 2
    assert mezzotint("runs", "cifar").out == "no runs in runs but 3 others\n"
    assert listed(mezzotint, "cifar") == []


def test_a_running_run_is_as_far_as_its_log_says(home: Path, mezzotint: Command) -> None:
    directory = make(home, "a", "running", images=10)
    lines = [{"step": i, "images": 64 * i, "validation": {"loss": 1 / i}} for i in (1, 2, 3)]
    text = "".join(json.dumps(line) + "\n" for line in lines)
    (directory / "metrics.jsonl").write_text(text + '{"step": 4, "ima')
    code = (
        "import sys, time; from pathlib import Path; from mezzotint.runs import RunDir\n"
        "with RunDir(Path(sys.argv[1])).lock(): print('held', flush=True); time.sleep(100)"
    )
    with subprocess.Popen([sys.executable, "-c", code, str(directory)], stdout=subprocess.PIPE) as holder:
        assert holder.stdout is not None
        holder.stdout.readline()
        (run,) = listed(mezzotint)
        holder.kill()
        holder.wait()
    assert (run["state"], run["images"], run["budget"]) == ("running", 192, 1000)
    assert run["best"] == {"name": "validation loss", "value": 1 / 3}
    (gone,) = listed(mezzotint)
    assert (gone["state"], gone["images"]) == ("interrupted", 10)


def test_the_best_result_is_that_of_most_images(home: Path) -> None:
    """Values of another number of images are another quantity, and are not compared."""
    directory = make(home, "a", "finished")
    assert runs.RunRow(directory, home).best is None
    evaluate(directory, 100, {"fd_100": 0.1})
    evaluate(directory, 5000, {"fd_5k": 3.0, "kd_5k": 0.0})
    evaluate(directory, 5000, {"fd_5k": 2.0})
    assert runs.RunRow(directory, home).best == ("fd_5k", 2.0)


def test_of_a_score_the_highest_is_the_best(home: Path) -> None:
    directory = make(home, "a", "finished")
    for value in (3.0, 5.0, 4.0):
        evaluate(directory, 10, {"is_10": value}, higher=True)
    assert runs.RunRow(directory, home).best == ("is_10", 5.0)


def test_before_any_evaluation_the_best_checkpoint_counts(home: Path) -> None:
    directory = make(home, "a", "finished")
    (directory / "checkpoints").mkdir()
    (directory / "checkpoints" / "best.json").write_text('{"step": 3, "images": 9, "name": "fd_9", "value": 0.5}')
    assert runs.RunRow(directory, home).best == ("fd_9", 0.5)


def test_a_failed_run_says_why(home: Path, mezzotint: Command) -> None:
    make(home, "a", "failed", error="loss is not finite")
    assert mezzotint("runs").out.splitlines()[-1] == "a failed: loss is not finite"


def test_another_folder_and_what_is_no_word(home: Path, mezzotint: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    make(home, "a", "finished")
    assert len(listed(mezzotint, f"paths.runs={home / 'runs'}")) == 1
    monkeypatch.setenv("MEZZOTINT_RUNS", str(home / "elsewhere"))
    assert mezzotint("runs").out == "no runs in elsewhere\n"
    for word, said in (("--jsn", "did you mean '--json'"), ("path.runs=x", "did you mean 'paths.runs'")):
        done = mezzotint("runs", word)
        assert (done.code, said in done.err) == (2, True), done.err


def test_the_list_does_not_wait_for_torch(home: Path) -> None:
    make(home, "a", "finished")
    code = (
        "import sys; from mezzotint.app import cli; code = cli.main(['runs'])\n"
        "sys.exit(str(code or {'torch', 'hydra', 'lightning'} & sys.modules.keys() or ''))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=100)
    assert done.stderr.strip() == ""


@pytest.mark.parametrize(("seconds", "said"), [(5, "5 s"), (120, "2 min"), (7200, "2 h"), (200_000, "2 d")])
def test_ages(seconds: float, said: str) -> None:
    assert runs.age(seconds) == said


def test_age_is_the_time_since_a_run_was_heard_of(home: Path) -> None:
    directory = make(home, "a", "finished")
    assert time.time() - runs.RunRow(directory, home).changed < 60


def test_what_is_broken_or_no_number_does_not_hide_the_rest(home: Path, mezzotint: Command) -> None:
    directory = make(home, "a", "finished", objective=float("nan"))
    evaluate(directory, 10, {"fd_10": float("nan")})
    lines = [{"images": 64, "validation": {"loss": value}} for value in (float("nan"), 0.5, 0.7)]
    text = "".join(json.dumps(line) + "\n" for line in lines)
    (directory / "metrics.jsonl").write_text(text + '{"images": 9, "time": {"seconds": 1}')  # cut behind a bracket
    (directory / "evaluation" / "broken.json").write_text('{"values": {')
    (run,) = listed(mezzotint)
    assert (run["objective"], run["best"]) == (None, {"name": "validation loss", "value": 0.5})
    evaluate(directory, 10, {"fd_10": 2.0})
    (run,) = listed(mezzotint)
    assert run["best"] == {"name": "fd_10", "value": 2.0}
    assert "fd_10 2" in mezzotint("runs").out


def test_a_score_that_was_cut_is_none(home: Path, mezzotint: Command) -> None:
    directory = make(home, "a", "finished")
    (directory / "checkpoints").mkdir()
    for text in ('{"step": 3, "na', '{"step": 3}', "[]"):
        (directory / "checkpoints" / "best.json").write_text(text)
        (run,) = listed(mezzotint)
        assert run["best"] is None
