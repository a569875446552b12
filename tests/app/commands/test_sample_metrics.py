"""Judged while it trains and afterwards: the same numbers, by any number of processes; the best checkpoint by name."""

import json
import shutil
from pathlib import Path

import pytest
import torch

import mezzotint as package
from mezzotint.runs.checkpoints import best

from ..conftest import Command

SMALL = ("debug=tiny", "hardware=cpu", "n=100", "metrics=[fid,kid]", "callbacks.validation.images=16")
JUDGED = (
    *SMALL,
    "callbacks=sample_metrics",
    "callbacks.sample_metrics.n=70",
    "callbacks.sample_metrics.steps=3",
    "callbacks.preview.every=1000",
)
WILD = ("ema=none", "optimizer.lr=0.03", "optimizer.warmup=1", "budget=80")  # samples get worse before they get better


def looks(directory: Path) -> dict[int, dict[str, float]]:
    """What was found while it trained, by step."""
    read = [json.loads(line) for line in (directory / "metrics.jsonl").read_text().splitlines()]
    return {line["step"]: line["sample_metrics"] for line in read if "sample_metrics" in line}


def evaluated(directory: Path, out: str) -> dict:
    """The evaluation that a command said it wrote."""
    return json.loads((directory.parent.parent / out.splitlines()[-1].strip()).read_text())


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run whose best checkpoint is not its last."""
    from mezzotint.app import cli

    folder = tmp_path_factory.mktemp("home")
    places = [f"paths.{name}={folder / name}" for name in ("runs", "data", "cache")]
    assert cli.main(["train", *JUDGED, *WILD, "name=a", *places]) == 0
    return folder / "runs" / "a"


@pytest.fixture
def run(trained: Path, home: Path) -> Path:
    shutil.copytree(trained, home / "runs" / "a")
    return home / "runs" / "a"


def test_evaluate_gives_the_numbers_that_training_saw(run: Path, mezzotint: Command) -> None:
    seen = looks(run)
    for step in sorted(int(file.stem[5:]) for file in (run / "checkpoints").glob("step-*")):
        done = mezzotint("evaluate", "run=runs/a", "n=70", "grid.steps=3", f"checkpoint={step}")
        assert done.code == 0, done.err
        assert evaluated(run, done.out)["values"] == seen[step]


def test_the_best_one_is_judged_in_full_and_can_be_chosen(run: Path, mezzotint: Command) -> None:
    score, seen = best(run / "checkpoints"), looks(run)
    assert score is not None
    assert score.value == min(one["fd_digits_70"] for one in seen.values()) < seen[5]["fd_digits_70"]
    told = json.loads((run / "status.json").read_text())["best"]
    assert (told["step"], told["value"]) == (score.step, score.value)
    assert evaluated(run, f"runs/a/evaluation/{told['evaluation']}")["protocol"]["n"] == 100
    done = mezzotint("evaluate", "run=runs/a", "checkpoint=best")
    assert evaluated(run, done.out)["values"] == told["values"]
    assert evaluated(run, done.out)["protocol"]["step"] == score.step
    loaded = [package.load(run, checkpoint=step).state_dict() for step in ("best", score.step, None)]
    assert all(torch.equal(value, loaded[1][name]) for name, value in loaded[0].items())
    assert not all(torch.equal(value, loaded[2][name]) for name, value in loaded[0].items())
    drawn = mezzotint("sample", "run=runs/a", "checkpoint=best", "n=4")
    assert f"step{score.step}" in drawn.out


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("evaluate", "run=runs/a", "checkpoint=99"), "checkpoint=99: runs/a keeps the steps"),
        (("evaluate", "run=runs/a", "checkpoint=worst"), "checkpoint: 'worst' is not int or one of 'best' or null"),
        (("train", "run=runs/a", "checkpoint=best", "budget=160"), "checkpoint=best is for sample and evaluate"),
        (
            ("train", *JUDGED, "name=b", "metrics=[nll]"),
            "callbacks.sample_metrics: there is nothing to judge samples by",
        ),
        (("train", *JUDGED, "name=b", "callbacks.sample_metrics.metrics=[sfid]"), "metrics=['sfid'] are not among"),
        (("check", *JUDGED, "name=b", "callbacks.sample_metrics.metrics=[sfid]"), "metrics=['sfid'] are not among"),
    ],
)
def test_what_cannot_be_chosen_is_said_at_once(run: Path, mezzotint: Command, words: tuple, said: str) -> None:
    done = mezzotint(*words)
    assert (done.code, done.err.count("\n")) == (2, 1), done.err
    assert said in done.err
    assert not (run.parent / "b").exists()


def test_a_run_without_a_best_one_says_so(mezzotint: Command, run: Path) -> None:
    (run / "checkpoints" / "best.json").unlink()
    done = mezzotint("sample", "run=runs/a", "checkpoint=best")
    assert (done.code, done.err.count("\n")) == (2, 1)
    assert "keeps no best checkpoint; it is trained with callbacks=sample_metrics" in done.err


def test_two_processes_start_without_a_warning(process: Command) -> None:
    """Of torch, about gradients laid out otherwise than their parameters; on CPUs that do not prefer channels last."""
    words = ("batch_size=128", "budget=256", "grid.steps=2", "n=4", "metrics=[]", "callbacks=minimal")
    done = process("train", *words, "hardware=cpu", "hardware.devices=2", "hardware.channels_last=false", "name=a")
    assert done.code == 0
    assert "tride" not in done.err
    assert "Warning" not in done.err


def test_two_processes_train_and_judge_as_one_does(mezzotint: Command, process: Command, home: Path) -> None:
    """Trained: up to the order of additions. Judged, on the way and at the end: the same numbers to ten digits."""
    words = ("train", *JUDGED, "callbacks.sample_metrics.every=1000", "callbacks.validation.every=1000")
    nll = ("metrics=[fid,kid,nll]", "metrics.nll.images=100", "metrics.nll.steps=10")
    alone = mezzotint(*words, "name=one")
    done = process(*words, *nll, "name=a", "hardware.devices=2")
    assert (alone.code, done.code) == (0, 0), done.err
    assert sorted(path.name for path in home.iterdir()) == ["runs"]
    run, other = home / "runs" / "a", home / "runs" / "one"
    logs = [(each / "metrics.jsonl").read_text().splitlines() for each in (run, other)]
    losses = [[json.loads(line)["loss"] for line in log] for log in logs]
    assert losses[0] == pytest.approx(losses[1], rel=1e-5)
    weights = [package.load(each, "raw").state_dict() for each in (run, other)]
    for key, value in weights[0].items():
        torch.testing.assert_close(value, weights[1][key], rtol=1e-4, atol=1e-5)
    (file,) = (run / "evaluation").glob("*.json")
    two = json.loads(file.read_text())
    assert two["protocol"]["processes"] == 2
    file.unlink()
    one = evaluated(run, mezzotint("evaluate", "run=runs/a", "hardware.devices=1").out)
    assert one["protocol"]["processes"] == 1
    assert two["values"] == pytest.approx(one["values"], rel=1e-10)
    assert two["errors"] == pytest.approx(one["errors"], rel=1e-10)
    asked = ("n=70", "grid.steps=3", "metrics=[fid,kid]", "hardware=cpu")
    last = evaluated(run, mezzotint("evaluate", "run=runs/a", *asked).out)
    assert looks(run)[4] == pytest.approx(last["values"], rel=1e-10)


@pytest.mark.slow
def test_evaluate_starts_processes(mezzotint: Command, run: Path) -> None:
    one = evaluated(run, mezzotint("evaluate", "run=runs/a", "n=90", "seeds=2").out)
    shutil.rmtree(run / "evaluation")
    two = evaluated(run, mezzotint("evaluate", "run=runs/a", "n=90", "seeds=2", "hardware.devices=2").out)
    assert two["protocol"]["processes"] == 2
    assert two["values"] == pytest.approx(one["values"], rel=1e-10)
    bad = mezzotint("evaluate", "run=runs/a", "n=1", "metrics=[fid]", "hardware.devices=2")
    assert bad.code == 1
    assert "of 2 failed" in bad.err
