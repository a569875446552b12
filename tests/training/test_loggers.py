"""Trackers mirror metrics.jsonl, with images as their axis; they are finished whatever happens."""

import csv
import json

import pytest
import torch
from tiny import Kill, Killed, lines, train

from mezzotint.errors import ConfigError
from mezzotint.training import CSV, Histograms, Preview, RunInfo, TensorBoard, Tracker, WandB
from mezzotint.training.callbacks.histograms import count


def test_csv_is_the_log_as_a_table_and_resumes_with_it(tmp_path):
    with pytest.raises(Killed):
        train(tmp_path, steps=45, loggers={"csv": CSV()}, extra={"kill": Kill(26)})
    train(tmp_path, steps=45, loggers={"csv": CSV()})
    with open(tmp_path / "metrics.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    truth = lines(tmp_path)
    assert [int(row["step"]) for row in rows] == [line["step"] for line in truth] == [10, 20, 30, 40, 45]
    assert [float(row["loss"]) for row in rows] == [line["loss"] for line in truth]
    assert float(rows[1]["validation/share_2"]) == truth[1]["validation"]["share_2"]
    assert rows[0]["validation/loss"] == ""


def test_tensorboard_has_images_on_its_axis(tmp_path):
    event_accumulator = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    extra = {"preview": Preview(images=4), "histograms": Histograms()}
    train(tmp_path, steps=20, loggers={"tensorboard": TensorBoard()}, extra=extra, config={"network": {"width": 16}})
    events = event_accumulator.EventAccumulator(str(tmp_path / "tensorboard"))
    events.Reload()
    losses = {event.step: event.value for event in events.Scalars("loss")}
    assert losses == pytest.approx({line["images"]: line["loss"] for line in lines(tmp_path)})
    assert events.Images("samples")[-1].step == 320
    (name, *_) = events.Tags()["histograms"]
    found = events.Histograms(name)[-1]
    assert (found.step, found.histogram_value.num) == (320, sum(found.histogram_value.bucket))
    assert events.SummaryMetadata("_hparams_/session_start_info").plugin_data.plugin_name == "hparams"


def test_tensorboard_has_no_step_twice_though_the_log_had_no_line_yet(tmp_path):
    event_accumulator = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    with pytest.raises(Killed):
        train(tmp_path, steps=20, loggers={"tensorboard": TensorBoard()}, extra={"kill": Kill(12)})
    train(tmp_path, steps=20, loggers={"tensorboard": TensorBoard()})  # from step 7
    events = event_accumulator.EventAccumulator(str(tmp_path / "tensorboard"))
    events.Reload()
    assert [event.step for event in events.Scalars("loss")] == [160, 320]


def test_tensorboard_has_each_line_at_once(tmp_path):
    """A process that is killed writes nothing any more, and a run that goes on does not tell a line again."""
    event_accumulator = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    tracker = TensorBoard()
    tracker.start(RunInfo(tmp_path), [])
    tracker.log(16, {"loss": 0.5})
    events = event_accumulator.EventAccumulator(str(tmp_path / "tensorboard"))
    events.Reload()
    assert [event.step for event in events.Scalars("loss")] == [16]
    tracker.finish(0)


def test_a_line_that_was_being_written_is_passed_over(tmp_path):
    one = {"step": 1, "images": 16, "name": "weights/a", "counts": [1], "low": 0.0, "high": 1.0}
    (tmp_path / "histograms.jsonl").write_text(f'{json.dumps(one)}\n{{"step": 2, "ima')
    tracker = WandB()
    tracker.subject = RunInfo(tmp_path)
    assert [images for images, _ in tracker.histograms(until=100)] == [16]


def test_tensorboard_that_is_not_there_is_said_before_anything_is_done(monkeypatch):
    monkeypatch.setattr("mezzotint.training.tracking.tensorboard.find_spec", lambda name: None)
    with pytest.raises(ConfigError, match=r"pip install 'mezzotint\[tensorboard\]'"):
        TensorBoard()


def test_histograms_count_every_weight_and_gradient_and_are_cut_back_on_resume(tmp_path):
    with pytest.raises(Killed):
        train(tmp_path, steps=20, extra={"histograms": Histograms(every=32, bins=8), "kill": Kill(13, order=50)})
    train(tmp_path, steps=20, extra={"histograms": Histograms(every=32, bins=8)})
    found = [json.loads(line) for line in (tmp_path / "histograms.jsonl").read_text().splitlines()]
    names = [one["name"] for one in found if one["images"] == 320]
    assert len(set(names)) == len(names) == 2 * sum(name.startswith("weights/") for name in names)
    assert sorted({one["images"] for one in found}) == list(range(32, 321, 32))  # each once
    assert len(found) == 10 * len(names)
    assert {len(one["counts"]) for one in found} == {8}


def test_a_histogram_of_all_finite_values():
    assert count(torch.tensor([0.0, 1.0, 1.0, 4.0, float("nan"), float("inf")]), 4) == {
        "counts": [1, 2, 0, 1],
        "low": 0.0,
        "high": 4.0,
    }
    assert count(torch.zeros(3), 2) == {"counts": [0, 3], "low": -0.5, "high": 0.5}
    assert count(torch.full((2,), torch.nan), 4) is None
    with pytest.raises(ValueError, match="bins=0"):
        Histograms(bins=0)


def test_a_tracker_is_finished_with_the_right_code(tmp_path):
    codes = []

    class Witness(Tracker):
        def finish(self, code):
            codes.append(code)

    train(tmp_path / "well", steps=2, loggers={"witness": Witness()})
    with pytest.raises(Killed):
        train(tmp_path / "badly", steps=2, loggers={"witness": Witness()}, extra={"kill": Kill(1)})
    assert codes == [0, 1]


def test_a_tracker_that_cannot_be_finished_keeps_no_other_from_it(tmp_path):
    codes = []

    class Witness(Tracker):
        def finish(self, code):
            codes.append(code)

    class Fails(Tracker):
        def finish(self, code):
            raise OSError("nobody answers")

    with pytest.raises(OSError, match="nobody answers"):
        train(tmp_path, steps=2, loggers={"fails": Fails(), "witness": Witness()})
    assert codes == [0]


def test_lightnings_loggers_work_too(tmp_path):
    from lightning.pytorch.loggers import CSVLogger

    train(tmp_path, steps=20, loggers={"theirs": CSVLogger(tmp_path / "theirs", flush_logs_every_n_steps=1)})
    (file,) = (tmp_path / "theirs").rglob("metrics.csv")
    with open(file, newline="") as out:
        rows = list(csv.DictReader(out))
    assert [int(row["images"]) for row in rows] == [160, 320]


def test_lightnings_loggers_get_the_pictures_too(tmp_path):
    event_accumulator = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    from lightning.pytorch.loggers import TensorBoardLogger

    logger = TensorBoardLogger(tmp_path, name="theirs", version="a")
    train(tmp_path, steps=20, loggers={"theirs": logger}, extra={"preview": Preview(images=4)})
    events = event_accumulator.EventAccumulator(str(tmp_path / "theirs" / "a"))
    events.Reload()
    assert [event.step for event in events.Images("samples")][-1] == 320
