"""Killed and resumed is never interrupted: weights, averages, optimiser, log, at any moment."""

import os
import random
import shutil
import signal
import subprocess
import sys
import time
import zipfile
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import torch
from tiny import BATCH, Kill, Killed, entries, lines, train, weights

from mezzotint.errors import DataError, TrainingError
from mezzotint.runs import RunDir, checkpoints
from mezzotint.runs.checkpoints import newest
from mezzotint.training import EMA, AdamW, Callback, Checkpoints, Log, NaNGuard

STORY = Path(__file__).with_name("tiny.py")


def assert_same(one: Path, two: Path) -> None:
    a, b = dict(entries(weights(one))), dict(entries(weights(two)))
    assert a.keys() == b.keys()
    assert sum(isinstance(value, torch.Tensor) for value in a.values()) > 30
    for name, value in a.items():
        same = torch.equal(value, b[name]) if isinstance(value, torch.Tensor) else value == b[name]
        assert same, name
    assert lines(one) == lines(two)


@pytest.fixture(scope="module")
def whole(tmp_path_factory) -> Path:
    directory = tmp_path_factory.mktemp("runs") / "whole"
    outcome = train(directory, dropout=0.5)
    assert outcome["state"] == "finished"
    assert outcome["steps"] == 50
    return directory


@pytest.mark.parametrize(("step", "order"), [(3, 200), (14, -50), (14, 200), (25, 15), (40, 10), (50, 90)])
def test_killed_and_resumed_is_never_interrupted(whole, tmp_path, step, order):
    with pytest.raises(Killed):
        train(tmp_path, dropout=0.5, extra={"kill": Kill(step, order)})
    train(tmp_path, dropout=0.5)
    assert_same(whole, tmp_path)


def test_killed_in_the_middle_of_writing_a_checkpoint(whole, tmp_path, monkeypatch):
    real = torch.save

    def half(checkpoint, out):
        if checkpoint["global_step"] < 21:
            return real(checkpoint, out)
        out.write(b"half a checkpoint")
        raise Killed

    monkeypatch.setattr(checkpoints.torch, "save", half)
    with pytest.raises(Killed):
        train(tmp_path, dropout=0.5)
    monkeypatch.undo()
    assert newest(tmp_path / "checkpoints").name == "step-00000014.ckpt"
    left = tmp_path / "checkpoints" / ".step-00000021.ckpt.0000.part"  # as by a SIGKILL
    left.mkdir()
    (left / "new.ckpt").write_bytes(b"half a checkpoint")
    train(tmp_path, dropout=0.5)
    assert_same(whole, tmp_path)
    assert not list(tmp_path.rglob("*.part"))


def test_a_finished_run_does_nothing(whole):
    before = {file: file.stat().st_mtime_ns for file in whole.rglob("*.ckpt")}
    outcome = train(whole, dropout=0.5)
    assert {file: file.stat().st_mtime_ns for file in whole.rglob("*.ckpt")} == before
    assert outcome["state"] == "finished"
    assert outcome["loss"] == lines(whole)[-1]["loss"]


def test_a_larger_budget_goes_on_and_the_jump_of_the_rate_is_told(tmp_path, capsys):
    train(tmp_path, steps=10)
    assert "the learning rate goes" not in capsys.readouterr().err
    outcome = train(tmp_path, steps=25)
    assert outcome["steps"] == 25
    rate = AdamW(warmup=5 * BATCH).rate
    last, following = rate(9 * BATCH, BATCH, 10 * BATCH), rate(10 * BATCH, BATCH, 25 * BATCH)
    said = f"budget={25 * BATCH} after {10 * BATCH}: the learning rate goes from {last:.2g} to {following:.2g}"
    assert capsys.readouterr().err.count(said) == 1
    train(tmp_path, steps=25)
    assert "the learning rate" not in capsys.readouterr().err
    train(tmp_path, steps=10)
    assert "nothing is trained" in capsys.readouterr().err
    assert [line["step"] for line in lines(tmp_path)] == [10, 20, 25]


@pytest.mark.parametrize("damage", ["cut", "flipped", "empty"])
def test_a_damaged_checkpoint_is_named_and_the_one_before_is_used(whole, tmp_path, capsys, damage):
    with pytest.raises(Killed):
        train(tmp_path, dropout=0.5, extra={"kill": Kill(23)})
    file = tmp_path / "checkpoints" / "step-00000021.ckpt"
    content = bytearray(file.read_bytes())
    with zipfile.ZipFile(file) as archive:
        largest = max(archive.infolist(), key=lambda item: item.file_size)
    content[largest.header_offset + 500] ^= 1
    file.write_bytes({"cut": content[: len(content) // 2], "flipped": content, "empty": b""}[damage])
    train(tmp_path, dropout=0.5)
    said = capsys.readouterr().err
    assert "step-00000021.ckpt is damaged" in said
    assert_same(whole, tmp_path)


def test_damaged_checkpoints_do_not_crowd_out_the_ones_that_are_written_now(tmp_path):
    only = {"checkpoints": Checkpoints(every=7 * BATCH, keep=1, best=None)}
    with pytest.raises(Killed):
        train(tmp_path, extra=only | {"kill": Kill(23)})
    folder = tmp_path / "checkpoints"
    (folder / "step-00000021.ckpt").write_bytes(b"")
    (folder / "step-mine.ckpt").touch()
    with pytest.raises(Killed):
        train(tmp_path, extra=only | {"kill": Kill(9)})
    assert newest(folder, quiet=True) == folder / "step-00000007.ckpt"
    assert RunDir(tmp_path).newest_step() == 7


def test_whatever_bit_of_a_checkpoint_is_wrong_its_content_is_the_same_or_it_is_damaged(tmp_path):
    """Every byte from the last member on, where a flipped bit makes torch read other bytes, and many before."""
    content = {
        "format_version": 1,
        "images": 8,
        "state_dict": {"a": torch.randn(7, 3), "b": torch.arange(4.0), "empty": torch.zeros(0)},
        "c": [1.5, "t"],
    }
    checkpoints.write(content, tmp_path / "whole.ckpt")
    whole = (tmp_path / "whole.ckpt").read_bytes()
    assert checkpoints.damage(tmp_path / "whole.ckpt") is None
    with zipfile.ZipFile(tmp_path / "whole.ckpt") as archive:
        directory = archive.start_dir
    picked = random.Random(0)
    places = [(place, bit) for place in range(directory, len(whole)) for bit in (0, 4, picked.randrange(8))]
    places += [(picked.randrange(directory), picked.randrange(8)) for _ in range(500)]
    outcomes = Counter()
    for number, (place, bit) in enumerate(places):
        file = tmp_path / f"{number}.ckpt"
        file.write_bytes(whole[:place] + bytes([whole[place] ^ 1 << bit]) + whole[place + 1 :])
        for lazily in (False, True):
            try:
                found = checkpoints.read(file, lazily)
            except DataError as error:
                outcomes["damaged" if "cannot be read" in str(error) and "\n" not in str(error) else "badly told"] += 1
            else:
                assert dict(entries(found)).keys() == dict(entries(content)).keys()
                for name, value in entries(content):
                    again = dict(entries(found))[name]
                    assert torch.equal(value, again) if isinstance(value, torch.Tensor) else value == again
                outcomes["same"] += 1
        file.unlink()
    assert set(outcomes) == {"damaged", "same"}
    assert min(outcomes.values()) > 500


def test_a_damaged_checkpoint_is_refused_wherever_it_is_asked_for(whole, tmp_path):
    """By step and as the best one too, before anything in it is unpickled."""
    run = shutil.copytree(whole, tmp_path / "run")
    file = newest(run / "checkpoints", quiet=True)
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 8
    file.write_bytes(content)
    asked = checkpoints.choose(run / "checkpoints", checkpoints.step_of(file))
    with pytest.raises(DataError, match=f"{file.name} cannot be read: "):
        checkpoints.read(asked)


def test_callbacks_may_serve_one_run_after_another(whole, tmp_path):
    parts = {"log": Log(10), "finite": NaNGuard(10), "checkpoints": Checkpoints(7 * BATCH, best="validation")}
    ema = EMA([0.1, 0.5])
    with pytest.raises(Killed):
        train(tmp_path / "first", dropout=0.5, seed=5, ema=ema, extra=parts | {"kill": Kill(25, order=15)})
    train(tmp_path / "second", dropout=0.5, ema=ema, extra=parts)
    assert lines(tmp_path / "second") == lines(whole)
    a, b = (dict(entries(weights(run)["ema"])) for run in (whole, tmp_path / "second"))
    assert all(torch.equal(value, b[name]) for name, value in a.items())


def test_a_checkpoint_of_another_format_is_refused(tmp_path):
    file = tmp_path / "step-00000001.ckpt"
    torch.save({"format_version": 99}, file)
    with pytest.raises(TrainingError, match="format 99"):
        checkpoints.read(file)


def test_a_checkpoint_that_an_earlier_version_wrote_is_gone_on_from(tmp_path):
    """format-1.ckpt holds 7 of 10 steps of the run of tiny.py, and is never written again."""
    kept = checkpoints.named(tmp_path / "old" / "checkpoints", 7)
    kept.parent.mkdir(parents=True)
    shutil.copy(Path(__file__).with_name("format-1.ckpt"), kept)
    for name in ("old", "new"):
        train(tmp_path / name, steps=10)
    a, b = (dict(entries(weights(tmp_path / name))) for name in ("old", "new"))
    assert a.keys() == b.keys()
    for name, value in a.items():
        if isinstance(value, torch.Tensor):
            torch.testing.assert_close(value, b[name], rtol=1e-3, atol=1e-5)  # another processor wrote it


def test_a_full_disk_keeps_the_checkpoints_before(tmp_path, monkeypatch):
    real = torch.save

    def full(checkpoint, out):
        if checkpoint["global_step"] < 14:
            return real(checkpoint, out)
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(checkpoints.torch, "save", full)
    with pytest.raises(TrainingError, match="No space left on device"):
        train(tmp_path)
    assert [file.name for file in (tmp_path / "checkpoints").iterdir()] == ["step-00000007.ckpt"]
    assert newest(tmp_path / "checkpoints") is not None


def test_a_checkpoint_is_plain_and_complete(whole):
    saved = weights(whole)  # weights_only
    assert saved["format_version"] == 1
    assert saved["images"] == 800
    assert list(saved["ema"]) == ["0.1", "0.5"]
    raw = {name for name in saved["state_dict"] if name.startswith("denoiser.")}
    assert all(average.keys() == raw for average in saved["ema"].values())
    assert all(t.dtype == torch.float32 for average in saved["ema"].values() for t in average.values())


@pytest.mark.parametrize("name", ["SIGTERM", "SIGUSR1"])
def test_a_signal_saves_and_says_preempted(whole, tmp_path, name):
    class Send(Callback):
        def step(self, run):
            if run.step == 23:
                signal.raise_signal(getattr(signal, name))

    before = signal.getsignal(getattr(signal, name))
    outcome = train(tmp_path, dropout=0.5, extra={"send": Send()})
    assert (outcome["state"], outcome["steps"]) == ("preempted", 23)
    assert newest(tmp_path / "checkpoints").name == "step-00000023.ckpt"
    assert signal.getsignal(getattr(signal, name)) is before
    train(tmp_path, dropout=0.5)
    assert_same(whole, tmp_path)


def test_ctrl_c_saves_and_is_a_keyboard_interrupt(tmp_path):
    class Send(Callback):
        def step(self, run):
            if run.step == 23:
                signal.raise_signal(signal.SIGINT)

    with pytest.raises(KeyboardInterrupt):
        train(tmp_path, extra={"send": Send()})
    assert newest(tmp_path / "checkpoints").name == "step-00000023.ckpt"


def test_ctrl_c_is_heeded_again_after_a_run_that_nobody_could_stop_softly(tmp_path):
    class Interrupt(Callback):
        def step(self, run):
            signal.raise_signal(signal.SIGINT)

    before = signal.getsignal(signal.SIGINT)
    with pytest.raises(KeyboardInterrupt):
        train(tmp_path, extra={"preemption": Interrupt()})
    assert signal.getsignal(signal.SIGINT) is before


def test_callbacks_are_closed_though_one_of_them_cannot_be(tmp_path):
    closed = []

    class Close(Callback):
        order = 95

        def close(self, run, error):
            closed.append(run.step)

    class Fail(Callback):
        def close(self, run, error):
            raise OSError("nobody answers")

    before = signal.getsignal(signal.SIGTERM)
    with pytest.raises(OSError, match="nobody answers"):
        train(tmp_path, steps=2, extra={"fail": Fail(), "close": Close()})
    assert closed == [2]
    assert signal.getsignal(signal.SIGTERM) is before


@contextmanager
def playing(story: str, directory: Path, ranks: int) -> Iterator[list[subprocess.Popen]]:
    """A story of tiny.py in processes of its own, which end here at the latest."""
    from torch.distributed import TCPStore

    store = TCPStore("127.0.0.1", 0, is_master=True, wait_for_workers=False) if ranks > 1 else None
    told, numbers = {"OMP_NUM_THREADS": "1"}, [{}]
    if store is not None:
        told |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(store.port), "WORLD_SIZE": str(ranks)}
        told |= {"TORCHELASTIC_USE_AGENT_STORE": "True"}
        numbers = [{"RANK": str(rank), "LOCAL_RANK": str(rank)} for rank in range(ranks)]
    command = [sys.executable, str(STORY), str(directory), story]
    processes = [
        subprocess.Popen(command, env={**os.environ, **told, **number}, stderr=subprocess.DEVNULL) for number in numbers
    ]
    try:
        yield processes
    finally:
        for process in processes:
            process.kill()
            process.wait()


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("ranks", [1, 2])
def test_processes_killed_at_random_moments(tmp_path, ranks):
    """Twenty SIGKILLs, of all ranks or of one: a while after a new checkpoint, or while the next is being written."""
    source, directory = random.Random(5), tmp_path / "killed"
    folder, torn = directory / "checkpoints", 0
    for number in range(20):
        seen = newest(folder, quiet=True)
        deadline = time.monotonic() + 120
        with playing("slowly", directory, ranks) as processes:
            while newest(folder, quiet=True) == seen and time.monotonic() < deadline:
                time.sleep(0.02)
            time.sleep(source.random() / 4)
            while number % 2 and not list(folder.glob(".*.part")) and time.monotonic() < deadline:
                time.sleep(0.001)
            assert all(process.poll() is None for process in processes), "the run ended before it could be killed"
            first = processes[source.randrange(ranks)]
            first.kill()
            first.wait()
            torn += bool(list(folder.glob(".*.part")))
            if number % 3 == 0:
                time.sleep(0.5)  # the other rank goes on until it misses the first
    assert torn >= 5, "hardly a kill came while a checkpoint was being written"
    for name in ("killed", "whole"):
        with playing("story", tmp_path / name, ranks) as processes:
            assert [process.wait(300) for process in processes] == [0] * ranks
    assert_same(tmp_path / "whole", directory)
