import pytest
import torch
from tiny import train, weights

from mezzotint.errors import ConfigError
from mezzotint.training import Hardware
from mezzotint.training.hardware import Place

CPU = {"accelerator": "cpu"}


@pytest.fixture(autouse=True)
def alone(monkeypatch):
    for name in ("RANK", "WORLD_SIZE", "LOCAL_WORLD_SIZE", "SLURM_NTASKS", "SLURM_PROCID", "SLURM_NNODES"):
        monkeypatch.delenv(name, raising=False)


def set_all(monkeypatch, **environment):
    for name, value in environment.items():
        monkeypatch.setenv(name, str(value))


def test_alone_by_default():
    assert Hardware(**CPU).place() == Place(0, 1, 1)


def test_torchrun_says_who_this_is(monkeypatch):
    set_all(monkeypatch, RANK=5, WORLD_SIZE=8, LOCAL_WORLD_SIZE=4)
    assert Hardware(**CPU, devices=4, nodes=2).place() == Place(5, 8, 4)


def test_slurm_says_who_this_is(monkeypatch):
    set_all(monkeypatch, SLURM_PROCID=3, SLURM_NTASKS=4, SLURM_NNODES=2, SLURM_STEP_ID=0)
    assert Hardware(**CPU, devices=2, nodes=2).place() == Place(3, 4, 2)


def test_another_number_of_processes_is_refused(monkeypatch):
    with pytest.raises(ConfigError, match=r"2 process\(es\) in all, but 1 run"):
        Hardware(**CPU, devices=2).place()
    set_all(monkeypatch, RANK=0, WORLD_SIZE=4)
    with pytest.raises(ConfigError, match="but 4 run"):
        Hardware(**CPU, devices=2).place()


@pytest.mark.parametrize(
    ("micro_batch", "batch_size", "world", "expected"), [(None, 64, 2, 1), (8, 64, 2, 4), (64, 64, 1, 1)]
)
def test_accumulation_follows_from_the_global_batch(micro_batch, batch_size, world, expected):
    assert Hardware(**CPU, micro_batch=micro_batch).accumulation(batch_size, world) == expected


def test_a_batch_that_cannot_be_shared_out_names_the_nearest():
    with pytest.raises(ConfigError, match="batch_size=63 or 66"):
        Hardware(**CPU).accumulation(64, 3)


@pytest.mark.parametrize(
    ("given", "dtype"), [("auto", torch.float32), (32, torch.float32), ("bf16-mixed", torch.bfloat16)]
)
def test_precision(given, dtype):
    assert Hardware(**CPU, precision=given).dtype == dtype


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_a_gpu_that_is_not_there_is_refused():
    with pytest.raises(ConfigError, match="torch sees no GPU"):
        _ = Hardware(accelerator="gpu").device
    assert Hardware().device == "cpu"


@pytest.mark.parametrize("wrong", [{"precision": "64"}, {"devices": 0}, {"micro_batch": -1}, {"timeout": 0.0}])
def test_settings_that_cannot_be(wrong):
    with pytest.raises(ConfigError, match=next(iter(wrong))):
        Hardware(**wrong)


def test_bfloat16_trains_with_float32_weights_and_averages(tmp_path):
    outcome = train(tmp_path, steps=10, hardware=Hardware(**CPU, precision="bf16-mixed"))
    saved = weights(tmp_path)
    assert all(value.dtype == torch.float32 for value in saved["state_dict"].values())
    exact = train(tmp_path / "exact", steps=10)
    assert outcome["loss"] != exact["loss"]
    assert outcome["loss"] == pytest.approx(exact["loss"], rel=0.02)


def test_compiling_keeps_the_keys_of_checkpoints(tmp_path, monkeypatch):
    seen = []
    monkeypatch.setattr(torch.nn.Module, "compile", lambda self, *a, **k: seen.append(self))
    train(tmp_path / "plain", steps=2)
    train(tmp_path / "compiled", steps=2, hardware=Hardware(**CPU, compile=True))
    assert len(seen) == 1
    assert weights(tmp_path / "plain")["state_dict"].keys() == weights(tmp_path / "compiled")["state_dict"].keys()
