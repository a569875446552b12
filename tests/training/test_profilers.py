"""Lightning's profilers and device statistics in a run, by name and as objects, and their reports in the run."""

import pytest
from lightning.pytorch.callbacks import DeviceStatsMonitor
from lightning.pytorch.profilers import AdvancedProfiler, PyTorchProfiler, SimpleProfiler
from tiny import lines, train

from mezzotint.errors import ConfigError
from mezzotint.training import Hardware

pytestmark = pytest.mark.filterwarnings("ignore:.*profiler")
REPORTS = {"simple": "run_training_batch", "advanced": "training_step", "pytorch": "Self CPU time total"}


@pytest.mark.parametrize("name", REPORTS)
def test_a_profiler_by_name_reports_in_the_run(name: str, tmp_path) -> None:
    train(tmp_path, steps=6, hardware=Hardware(accelerator="cpu", profiler=name))
    report = tmp_path / "profile" / f"fit-{name}.txt"
    assert REPORTS[name] in report.read_text()
    assert bool(list((tmp_path / "profile").glob("*.json"))) == (name == "pytorch")  # a trace


@pytest.mark.parametrize("kind", [SimpleProfiler, AdvancedProfiler, PyTorchProfiler])
def test_a_profiler_of_ones_own_is_used_in_its_place(kind: type, tmp_path) -> None:
    train(tmp_path / "run", steps=6, profiler=kind(dirpath=tmp_path, filename="mine"))
    assert (tmp_path / "fit-mine.txt").stat().st_size > 0
    assert not (tmp_path / "run/profile").exists()


def test_an_unknown_profiler_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"profiler: 'deep' is not one of 'simple', 'advanced', 'pytorch' or null"):
        Hardware(profiler="deep")  # type: ignore[arg-type]


def test_device_statistics_are_part_of_the_log(tmp_path) -> None:
    pytest.importorskip("psutil")
    train(tmp_path, steps=60, extra={"device": DeviceStatsMonitor(cpu_stats=True)})
    names = {name for line in lines(tmp_path) for name in line if name.startswith("DeviceStatsMonitor")}
    assert any("cpu" in name for name in names), names
