import pytest
import torch
from tiny import train, weights

from mezzotint.diffusion import CosineSchedule, Denoiser, Velocity
from mezzotint.errors import ConfigError, TrainingError
from mezzotint.instantiate.build import check
from mezzotint.networks import UNet
from mezzotint.training import Hardware
from mezzotint.training.hardware.hardware import ProcessInfo, switches

CPU = {"accelerator": "cpu"}


@pytest.fixture(autouse=True)
def alone(monkeypatch):
    for name in ("RANK", "WORLD_SIZE", "LOCAL_WORLD_SIZE", "SLURM_NTASKS", "SLURM_PROCID", "SLURM_NNODES"):
        monkeypatch.delenv(name, raising=False)


def set_all(monkeypatch, **environment):
    for name, value in environment.items():
        monkeypatch.setenv(name, str(value))


def test_alone_by_default():
    assert Hardware(**CPU).place() == ProcessInfo(0, 1, 1)


def test_torchrun_says_who_this_is(monkeypatch):
    set_all(monkeypatch, RANK=5, WORLD_SIZE=8, LOCAL_WORLD_SIZE=4)
    assert Hardware(**CPU, devices=4, nodes=2).place() == ProcessInfo(5, 8, 4)


def test_slurm_says_who_this_is(monkeypatch):
    set_all(monkeypatch, SLURM_PROCID=3, SLURM_NTASKS=4, SLURM_NNODES=2, SLURM_STEP_ID=0)
    assert Hardware(**CPU, devices=2, nodes=2).place() == ProcessInfo(3, 4, 2)


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


@pytest.mark.parametrize("there", [True, False])
def test_the_fastest_precision_is_that_of_the_processor(monkeypatch, there):
    monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: there)
    monkeypatch.setattr(torch.cpu, "_is_amx_tile_supported", lambda: False)
    assert Hardware(**CPU, precision="fastest").exact_precision == ("bf16-mixed" if there else "32-true")
    assert Hardware(**CPU).exact_precision == "32-true"


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_a_gpu_that_is_not_there_is_refused():
    with pytest.raises(ConfigError, match="torch sees no GPU"):
        _ = Hardware(accelerator="gpu").device
    assert Hardware().device == "cpu"


@pytest.mark.parametrize(
    "wrong",
    [
        {"precision": "64"},
        {"precision": "16-mixed", "strategy": "fsdp"},
        {"devices": 0},
        {"micro_batch": -1},
        {"timeout": 0.0},
    ],
)
def test_settings_that_cannot_be(wrong):
    with pytest.raises(ConfigError, match=next(iter(wrong))):
        Hardware(**wrong)


@pytest.mark.parametrize(
    "wrong",
    [
        {"accelerator": "tpu"},
        {"devices": "two"},
        {"devices": 1.5},
        {"devices": True},
        {"nodes": None},
        {"precision": 64},
        {"strategy": "zero"},
        {"micro_batch": "largest"},
        {"checkpointing": 1},
        {"compile": "yes"},
        {"channels_last": "maybe"},
        {"tf32": None},
        {"threads": "all"},
        {"workers": 0.5},
        {"timeout": "10 minutes"},
        {"profiler": "perf"},
    ],
    ids=str,
)
def test_python_refuses_what_the_command_line_refuses(wrong):
    refused = check({"_target_": "mezzotint.training.Hardware", **wrong})
    assert len(refused) == 1
    with pytest.raises(ConfigError) as error:
        Hardware(**wrong)
    assert str(error.value) == refused[0]


def test_settings_of_wrong_type_are_refused_together():
    with pytest.raises(ConfigError, match=r"devices: 'two' .*; compile: 'yes' is not bool"):
        Hardware(devices="two", compile="yes")


@pytest.fixture
def apple(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: True)


@pytest.mark.usefixtures("apple")
def test_an_apple_machine_takes_its_gpu():
    for hardware in (Hardware(), Hardware(accelerator="mps"), Hardware(precision=32), Hardware(precision="fastest")):
        assert (hardware.device, hardware.exact_precision, hardware.local) == ("mps", "32-true", 1)
        assert hardware.trainer_arguments(hardware.place())["accelerator"] == "mps"
    assert Hardware(accelerator="cpu").device == "cpu"
    assert Hardware(devices=2).device == Hardware(precision="bf16-mixed").device == "cpu"
    with pytest.raises(ConfigError, match=r"torch sees no GPU.*is hardware=mps"):
        _ = Hardware(accelerator="gpu").device


def test_the_choices_of_a_device_are_one_line(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation: True)
    images, volumes = (UNet(shape, width=8, multipliers=(1,), attention=()) for shape in ((1, 8, 8), (1, 8, 8, 8)))
    assert Hardware().choices(images) == "cuda: bf16-mixed, TF32, channels last, fused optimizer"
    assert Hardware().choices(images, training=False) == "cuda: 32-true, TF32, channels last, CUDA graphs"
    compiled = Hardware(tf32=False, compile=True, workers=2)
    assert compiled.choices(volumes) == "cuda: bf16-mixed, fused optimizer, compiled, workers=2"
    assert compiled.choices(volumes, training=False) == "cuda: 32-true, CUDA graphs"
    plain = Hardware(precision="32", channels_last=False, tf32=False, workers="auto")
    assert plain.choices(images) == "cuda: 32-true, fused optimizer, workers=auto"
    assert Hardware(precision="16-mixed", tf32=False).choices(volumes) == "cuda: 16-mixed"


def test_on_a_cpu_no_graphs_are_captured():
    assert not Hardware(accelerator="cpu").graphs


@pytest.mark.parametrize(
    "wrong",
    [{"devices": 2}, {"nodes": 2}, {"strategy": "fsdp"}, {"precision": "bf16-mixed"}, {"precision": "16-mixed"}],
)
def test_what_a_gpu_of_apple_cannot_do_is_refused(wrong):
    with pytest.raises(ConfigError, match=next(iter(wrong)) + "="):
        Hardware(accelerator="mps", **wrong)


def test_a_gpu_of_apple_that_is_not_there_is_refused(monkeypatch):
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    with pytest.raises(ConfigError, match=r"torch sees none here\. Use hardware=auto"):
        _ = Hardware(accelerator="mps").device


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


def test_stages_are_recomputed_where_that_is_asked_for_and_switched_off_by_nobody():
    network = UNet((1, 8, 8), width=8, multipliers=(1, 2), attention=())
    stages = switches(network)
    stages[0].checkpointing = True
    Hardware(**CPU).recompute(network)
    assert [stage.checkpointing for stage in stages] == [True] + [False] * (len(stages) - 1)
    Hardware(**CPU, checkpointing=True).recompute(network)
    assert all(stage.checkpointing for stage in stages)
    with pytest.raises(ConfigError, match="Linear has no stages"):
        Hardware(**CPU, checkpointing=True).recompute(torch.nn.Linear(1, 1))


def test_recomputing_changes_no_number(tmp_path):
    def trained(name, **hardware):
        torch.manual_seed(0)
        network = UNet((1, 4, 4), classes=2, width=8, multipliers=(1, 2), attention=(2,), dropout=0.2)
        train(
            tmp_path / name,
            steps=4,
            denoiser=Denoiser(network, CosineSchedule(), Velocity()),
            hardware=Hardware(**hardware),
        )
        return weights(tmp_path / name)["state_dict"]

    torch.testing.assert_close(trained("a", **CPU), trained("b", **CPU, checkpointing=True), rtol=1e-5, atol=1e-6)


def test_a_device_that_is_full_ends_training_with_what_to_lower(tmp_path, monkeypatch):
    def full(*_):
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")

    monkeypatch.setattr("mezzotint.training.module.DiffusionModule.training_step", full)
    with pytest.raises(TrainingError, match=r"no memory left for 16 images at once.*hardware.micro_batch=8 "):
        train(tmp_path, steps=4)


def test_a_network_in_shards_is_contiguous():
    """FSDP refuses other layouts, which channels-last convolutions have."""
    network = UNet((1, 8, 8), width=8, multipliers=(1, 2), attention=()).to(memory_format=torch.channels_last)
    Hardware(accelerator="cpu", strategy="fsdp").arrange(network)
    assert all(p.is_contiguous() for p in network.parameters())
