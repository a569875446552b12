"""What test_fake_device.py shows without a GPU, on one: `pytest -m cuda tests/devices`, which `make gpu` runs too."""

from collections.abc import Callable
from typing import Any

import pytest
import torch

if not torch.cuda.is_available():
    pytest.skip("torch sees no GPU", allow_module_level=True)

from computed import measuring, restoring, sampling, training
from members import denoisers, measurements, restorations, samplings
from test_fake_device import WAITING

pytestmark = pytest.mark.cuda
KINDS = {
    "training": (training, denoisers, 2),
    "sampling": (sampling, samplings, 1),
    "restoring": (restoring, restorations, None),
    "measuring": (measuring, measurements, None),
}
CASES = {f"{kind} {name}": (kind, make) for kind, (_, members, _) in KINDS.items() for name, make in members()}


class Strict(list[str]):
    """Makes torch refuse to wait for the device from the n-th time on that it is cleared; None never does."""

    def __init__(self, at: int | None) -> None:
        self.left = at

    def clear(self) -> None:
        self.left = None if self.left is None else self.left - 1
        if self.left == 0:
            torch.cuda.set_sync_debug_mode("error")


@pytest.fixture(autouse=True)
def exact():
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = False
    yield
    torch.cuda.set_sync_debug_mode("default")


def played(name: str) -> tuple[Callable[..., torch.Tensor], Callable[[], Any], Strict]:
    kind, make = CASES[name]
    play, _, at = KINDS[kind]
    return play, make, Strict(None if name in WAITING else at)


@pytest.mark.parametrize("name", CASES)
def test_a_gpu_computes_what_the_cpu_computes_and_nobody_waits(name):
    play, make, waits = played(name)
    expected = play(make, torch.device("cpu"), [])
    found = play(make, torch.device("cuda", 0), waits)
    torch.cuda.set_sync_debug_mode("default")
    scale = max(1.0, float(expected.abs().max()))
    assert float((found.cpu().double() - expected.double()).abs().max()) / scale < 2e-2  # of chains of many steps


@pytest.mark.parametrize("name", [name for name in CASES if name.startswith(("training", "sampling"))])
def test_bfloat16_is_near(name):
    play, make, _ = played(name)
    with torch.autocast("cuda", torch.bfloat16):
        assert play(make, torch.device("cuda", 0), []).isfinite().all()
