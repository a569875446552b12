"""The script of `make gpu` on the CPU, so that its first minutes on a GPU do not end with a slip of the pen."""

import json
import sys
from pathlib import Path

import pytest
import torch

sys.path.insert(0, str(Path(__file__).parents[2] / "benchmarks"))

import gpu

PLAN = gpu.Plan.of("cpu", tiny=True)


def test_without_a_gpu_it_says_so_and_ends(capsys, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    gpu.main([])
    assert capsys.readouterr().out.count("\n") == 1


@pytest.mark.filterwarnings("ignore")  # those of diffusers
@pytest.mark.parametrize(("part", "number"), [("training", "ratio"), ("sampling", "img/s"), ("memory", "counted MB")])
def test_parts_measure(part, number):
    rows = list(gpu.PARTS[part][0](PLAN))
    assert len(rows) == 1
    assert rows[0][1][number] > 0


@pytest.mark.slow  # six runs by the command line
@pytest.mark.timeout(900)
@pytest.mark.parametrize(("part", "count"), [("ranks", 3), ("precisions", 3)])
def test_runs_on_ranks_and_in_other_precisions(part, count):
    rows = list(gpu.PARTS[part][0](PLAN))
    assert len(rows) == count
    assert all(row.get("difference", 0.0) < 1e-3 and 0 < row["loss"] < 2 for _, row in rows)


def test_a_part_that_hangs_stops_no_other(tmp_path, monkeypatch, capsys):
    """A second is less than the import of torch takes."""
    monkeypatch.setitem(gpu.PARTS, "memory", (gpu.memory, 1))
    out = tmp_path / "gpu.json"
    with pytest.raises(SystemExit):
        gpu.main(["memory", "--device", "cpu", "--tiny", "--out", str(out)])
    rows = json.loads(out.read_text())["rows"]
    assert [(row["part"], row["setting"], row["found"]["why"]) for row in rows] == [
        ("memory", "FAILED", "stopped after 1 s")
    ]
    assert "FAILED" in capsys.readouterr().out


def test_limits_add_up_to_eight_minutes():
    assert sum(limit for _, limit in gpu.PARTS.values()) <= 8 * 60
    with pytest.raises(SystemExit):
        gpu.main(["everything"])
