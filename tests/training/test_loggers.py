"""Trackers mirror metrics.jsonl, with images as their axis; they ask nothing and are finished whatever happens."""

import csv
import json
import subprocess
import sys

import pytest
from tiny import Kill, Killed, lines, train

from mezzotint.training import CSV, Logger, Preview, TensorBoard, WandB
from mezzotint.training import loggers as module


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
    train(tmp_path, steps=20, loggers={"tensorboard": TensorBoard()}, extra={"preview": Preview(images=4)})
    events = event_accumulator.EventAccumulator(str(tmp_path / "tensorboard"))
    events.Reload()
    losses = {event.step: event.value for event in events.Scalars("loss")}
    assert losses == pytest.approx({line["images"]: line["loss"] for line in lines(tmp_path)})
    assert events.Images("samples")[-1].step == 320


def test_wandb_records_offline_without_a_word(tmp_path, capfd):
    with pytest.raises(Killed):
        train(tmp_path, steps=30, loggers={"wandb": WandB()}, extra={"kill": Kill(25)}, config={"seed": 1})
    train(tmp_path, steps=30, loggers={"wandb": WandB()})
    runs = sorted((tmp_path / "wandb").glob("offline-run-*"))
    assert len(runs) == 2  # one a start, in one group
    read = [inspect(directory) for directory in runs]
    assert [state["exit_code"] for state in read] == [1, 0]
    assert read[1]["summary"]["images"] == 480
    assert read[1]["summary"]["loss"] == lines(tmp_path)[-1]["loss"]
    assert "wandb" not in capfd.readouterr().out


def inspect(directory) -> dict:
    (file,) = directory.glob("*.wandb")
    command = [sys.executable, "-m", "wandb", "leet", "inspect", "--summary", "--json", str(file)]
    return json.loads(subprocess.run(command, check=True, capture_output=True, timeout=60).stdout)


@pytest.mark.parametrize(
    ("environment", "expected"),
    [
        ({"WANDB_MODE": "disabled", "WANDB_API_KEY": "x" * 40}, "disabled"),
        ({"WANDB_MODE": ""}, "offline"),
        ({"WANDB_MODE": "", "WANDB_API_KEY": "x" * 40, "WANDB_BASE_URL": "http://127.0.0.1:9"}, "offline"),
    ],
)
def test_wandb_goes_online_only_where_it_can(monkeypatch, tmp_path, environment, expected):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("WANDB_API_KEY", raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert module.mode() == expected


def test_a_server_that_answers_is_enough(monkeypatch):
    import threading
    from http.server import BaseHTTPRequestHandler, HTTPServer

    class Deny(BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_error(404)

        def log_message(self, *_):
            pass

    server = HTTPServer(("127.0.0.1", 0), Deny)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    monkeypatch.setenv("WANDB_MODE", "")
    monkeypatch.setenv("WANDB_API_KEY", "x" * 40)
    monkeypatch.setenv("WANDB_BASE_URL", f"http://127.0.0.1:{server.server_port}")
    try:
        assert module.mode() == "online"
    finally:
        server.shutdown()
        server.server_close()


def test_a_tracker_is_finished_with_the_right_code(tmp_path):
    codes = []

    class Witness(Logger):
        def finish(self, code):
            codes.append(code)

    train(tmp_path / "well", steps=2, loggers={"witness": Witness()})
    with pytest.raises(Killed):
        train(tmp_path / "badly", steps=2, loggers={"witness": Witness()}, extra={"kill": Kill(1)})
    assert codes == [0, 1]


def test_lightnings_loggers_work_too(tmp_path):
    from lightning.pytorch.loggers import CSVLogger

    train(tmp_path, steps=20, loggers={"theirs": CSVLogger(tmp_path / "theirs", flush_logs_every_n_steps=1)})
    (file,) = (tmp_path / "theirs").rglob("metrics.csv")
    with open(file, newline="") as out:
        rows = list(csv.DictReader(out))
    assert [int(row["images"]) for row in rows] == [160, 320]


def test_an_unknown_mode_is_refused():
    with pytest.raises(ValueError, match="mode='maybe'"):
        WandB(mode="maybe")
