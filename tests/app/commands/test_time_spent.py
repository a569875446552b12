"""The last line of `train` says where the time went."""

import json
import re
from pathlib import Path
from typing import Any

import pytest

from mezzotint.app import cli
from mezzotint.app.commands.time_spent import TimeSpent


def test_seconds_are_said_as_shares() -> None:
    spent = TimeSpent(start=4, training=80, looking=4, sampling=2, evaluation=10)
    assert str(spent) == ("1.7 min: 4% start, 80% training, 4% validation and previews, 2% sampling, 10% evaluation")
    assert spent.as_dict() == {"start": 4, "training": 80, "looking": 4, "sampling": 2, "evaluation": 10}
    assert str(TimeSpent()) == "0 s: 0% start, 0% training, 0% validation and previews, 0% sampling, 0% evaluation"


@pytest.mark.parametrize(
    ("share", "limit", "why"),
    [
        (0.2, None, "n= or evaluation_share=null sets no limit"),
        (0.9, 1.0, "evaluation_share=1 allows 100% of its arithmetic; evaluation_share=0.25 is less"),
        (0.0, 1.0, "cannot be counted"),
        (0.2, 0.25, "but 20% of its arithmetic: loading and small batches are not counted"),
    ],
)
def test_an_evaluation_of_more_than_a_quarter_says_why(share: float, limit: float | None, why: str) -> None:
    long, short = (TimeSpent(training=90, looking=10, sampling=5, evaluation=seconds) for seconds in (25, 20))
    assert short.evaluation_remark(share, limit) is None
    said = long.evaluation_remark(share, limit)
    assert said is not None
    assert said.startswith("sampling and evaluation took 30% of the training's time")
    assert why in said


@pytest.mark.parametrize("devices", [1, 2])
def test_a_run_says_and_keeps_where_its_time_went(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any, devices: int
) -> None:
    monkeypatch.chdir(tmp_path)
    words = ("debug=tiny", "hardware=cpu", "name=a", "budget=64", "metrics=[fid]", f"hardware.devices={devices}")
    assert cli.main(["train", *words, f"paths.runs={tmp_path}"]) == 0
    assert re.search(
        r"^time +[\d.]+ \w+: \d+% start, \d+% training, \d+% validation and previews, \d+% sampling, \d+% evaluation",
        capsys.readouterr().out,
        re.MULTILINE,
    )
    spent = json.loads((tmp_path / "a" / "status.json").read_text())["spent"]
    assert list(spent) == ["start", "training", "looking", "sampling", "evaluation"]
    assert all(seconds > 0 for seconds in spent.values())
