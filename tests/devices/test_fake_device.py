"""What a GPU runs, without one: no tensor of the CPU meets a device, no step waits for it, float64 stays off Apple's.

Every choice of configs/ that computes is played in one other process, see computed.py.
"""

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from fake_device import FakeDevice
from members import denoisers, measurements, restorations, samplings

WAITING = {  # what waits for the device at every step, as its docstring says
    "training time_distribution=loss_aware": "loss_aware.py",
    "training objective=ot_paired_noise": "training_noise.py",
}
TRAINING = [f"training {name}" for name, _ in denoisers()]
SAMPLING = [f"sampling {name}" for name, _ in samplings()]
GRADIENTS = [f"restoring {name}" for name, _ in restorations()] + [f"measuring {name}" for name, _ in measurements()]


def played(script: str, *arguments: str) -> dict:
    """What a script of this folder prints at last."""
    command = [sys.executable, str(Path(__file__).with_name(script)), *arguments]
    done = subprocess.run(command, capture_output=True, text=True, timeout=900)
    assert done.stdout, done.stderr[-2000:]
    return json.loads(done.stdout.splitlines()[-1])


@pytest.fixture(scope="module")
def computed() -> dict:
    return played("computed.py")


@pytest.mark.timeout(1000)
@pytest.mark.parametrize("case", TRAINING + SAMPLING + GRADIENTS)
def test_it_computes_on_a_device_what_it_computes_on_the_cpu(computed, case):
    found = computed[case]
    assert found["error"] is None
    assert found["apart"] < 1e-4


@pytest.mark.parametrize("case", TRAINING + SAMPLING)
def test_the_host_waits_for_no_step(computed, case):
    assert [where for where in computed[case]["waits"] if WAITING.get(case, "?") not in where] == []


@pytest.mark.parametrize("case", TRAINING + SAMPLING)
def test_it_computes_under_autocast_of_cuda_to_bfloat16(computed, case):
    assert computed[f"bfloat16 {case}"]["error"] is None
    assert computed[f"bfloat16 {case}"]["waits"] == computed[case]["waits"]


@pytest.mark.parametrize("name", [name for name, _ in denoisers() if name.startswith(("network=", "target="))])
def test_steps_and_their_backward_passes_are_in_bfloat16(computed, name):
    """The products of forward and backward passes; see own_autocast.py for the device's autocast."""
    found = computed[f"bfloat16 backward {name}"]
    assert found["error"] is None
    assert found["waits"] == []


@pytest.mark.parametrize("case", TRAINING + SAMPLING + GRADIENTS)
def test_it_computes_on_a_device_without_float64(computed, case):
    assert computed[f"float32 {case}"]["error"] is None


@pytest.fixture(scope="module")
def fitted(tmp_path_factory) -> dict:
    return played("fitted.py", str(tmp_path_factory.mktemp("runs")))


def test_a_run_waits_where_it_logs_saves_or_looks_and_nowhere_else(fitted):
    """Lines every 10 steps, checkpoints every 7, looks every 20; the first step moves what it needs."""
    waits, busy = fitted["waits"], {1, 30, *range(0, 30, 10), *range(0, 30, 7)}
    assert {int(step) for step, found in waits.items() if found} <= busy
    assert [len(waits[step]) for step in ("10", "15")] == [2, 0]  # is the loss finite, and the line


@pytest.mark.parametrize("device", ["found", "apple"])
def test_a_run_gives_the_numbers_of_the_cpu(fitted, device):
    """With validation, previews, metrics of samples, histograms and averages; also on a device without float64."""
    assert fitted[device]["state"] == "finished"
    for key, rel in (("loss", 1e-5), ("grad_norm", 1e-5), ("validation", 1e-3), ("sample_metrics", 1e-3)):
        assert fitted[device][key] == pytest.approx(fitted["expected"][key], rel=rel)


# the device itself notices what it is for


@pytest.fixture(autouse=True)
def no_driver(monkeypatch):
    torch._C._ensureCUDADeviceGuardSet()
    monkeypatch.setattr(torch.cuda, "_lazy_init", lambda: None)


def test_tensors_of_the_cpu_are_refused():
    with FakeDevice("cuda") as device:
        x = torch.ones(3).to(device.device)
        assert x.device.type == "cuda"
        with pytest.raises(RuntimeError, match="meets the device"):
            x + torch.ones(3)
        assert (x + 1.0).raw.tolist() == [2.0, 2.0, 2.0]


def test_waits_are_noted():
    with FakeDevice("cuda") as device:
        x = torch.ones(3).to(device.device, non_blocking=True)
        _ = x * 2 + torch.zeros_like(x)
        assert device.waits == []
        plays = (
            lambda: x[0].item(),
            x.cpu,
            lambda: x[x > 0],
            lambda: bool(x.any()),
            lambda: torch.ones(3).to(x.device),
        )
        for count, play in enumerate(plays, 1):
            play()
            assert len(device.waits) >= count


def test_float64_is_refused_where_there_is_none():
    with FakeDevice("cuda", float64=False) as device, pytest.raises(TypeError, match="no float64"):
        torch.ones(3, device=device.device).double()
