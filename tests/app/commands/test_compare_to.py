"""`mezzotint compare ... to=`: images and minutes until runs reached a quality."""

import json
from pathlib import Path

import pytest
import yaml

from ..conftest import Command


def run(directory: Path, values: list[float], name: str = "fd_digits_500", **config: object) -> Path:
    """A run that was evaluated after every 100 images, each of which took a tenth of a second."""
    directory.mkdir()
    made = {"network": {}, "sampler": {"eta": 0}, "callbacks": {"sample_metrics": {"n": 500, "every": 0.1}}} | config
    (directory / "config.yaml").write_text(yaml.safe_dump(made))
    lines = [{"step": 1, "images": 50, "loss": 1.0, "time": {"seconds": 5.0}}]
    for i, value in enumerate(values, 1):
        metrics = {name: value, "kd_digits_500": 0.0}
        lines.append({"step": i, "images": 100 * i, "sample_metrics": metrics, "time": {"seconds": 10.0 * i}})
    (directory / "metrics.jsonl").write_text("".join(f"{json.dumps(line)}\n" for line in lines))
    return directory


def rows(text: str) -> list[list[str]]:
    return [line.split() for line in text.splitlines()]


def test_the_first_evaluation_at_the_value_counts(mezzotint: Command, tmp_path: Path) -> None:
    slow = run(tmp_path / "slow", [9.0, 3.0, 1.5, 1.0])
    fast = run(tmp_path / "fast", [5.0, 1.2, 1.6, 0.9])
    never = run(tmp_path / "never", [9.0, 4.0, 2.0, 3.0])
    said = mezzotint("compare", str(slow), str(never), str(fast), "to=1.5").out
    found = rows(said)
    assert found[0] == ["run", "images", "minutes", "fd_digits_500"]
    assert [line[0].rsplit("/", 1)[-1] for line in found[1:4]] == ["fast", "slow", "never"]
    assert found[1][1:] == ["200", "0.3", "1.2"]
    assert found[2][1:] == ["300", "0.5", "1.5"]  # the value itself is enough
    assert found[3][1:] == ["not", "reached", "2", "after", "300"]
    assert "fd_digits_500 <= 1.5; nothing between two of them is interpolated" in said


def test_a_metric_may_be_better_when_it_is_higher(mezzotint: Command, tmp_path: Path) -> None:
    one = run(tmp_path / "one", [0.1, 0.6, 0.7], name="precision_digits_500")
    (one / "checkpoints").mkdir()
    score = {"step": 3, "images": 300, "name": "precision_digits_500", "value": 0.7, "higher_is_better": True}
    (one / "checkpoints" / "best.json").write_text(json.dumps(score))
    said = mezzotint("compare", str(one), "to=0.5").out
    assert rows(said)[1][1:] == ["200", "0.3", "0.6"]
    assert "precision_digits_500 >= 0.5" in said


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"sampler": {"eta": 1}}, "evaluated in different ways: sampler differ"),
        ({"callbacks": {"sample_metrics": {"n": 500, "steps": 5}}}, "callbacks.sample_metrics differ"),
        ({"name": "kd_digits_500"}, "evaluated by fd_digits_500"),
    ],
)
def test_what_cannot_be_compared_is_refused(mezzotint: Command, tmp_path: Path, changes: dict, said: str) -> None:
    one, other = run(tmp_path / "one", [1.0]), run(tmp_path / "other", [1.0], **changes)
    done = mezzotint("compare", str(one), str(other), "to=1")
    assert (done.code, said in done.err) == (2, True)


def test_how_often_runs_are_evaluated_does_not_matter(mezzotint: Command, tmp_path: Path) -> None:
    often = {"callbacks": {"sample_metrics": {"n": 500, "every": 0.01, "share": 0.2}}}
    one, other = run(tmp_path / "one", [1.0]), run(tmp_path / "other", [1.0], **often)
    assert len(rows(mezzotint("compare", str(one), str(other), "to=1").out)) == 4


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("to=0.5",), "of which runs?"),
        (("one", "to=good"), "to=good: give a number, such as to=0.5"),
        (("one", "to=nan"), "give a number"),
        (("one", "to=1"), "was not evaluated while it trained: train with callbacks=sample_metrics"),
    ],
)
def test_errors_say_what_to_do(
    mezzotint: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, words: tuple[str, ...], said: str
) -> None:
    monkeypatch.chdir(tmp_path)
    run(tmp_path / "one", [])
    done = mezzotint("compare", *words)
    assert (done.code, said in done.err) == (2, True)
