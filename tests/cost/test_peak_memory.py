"""Counted memory against a perceptron by hand and against the peak of a process that trains."""

import json
import subprocess
import sys

import pytest
import torch
from torch import nn

from mezzotint.cost.peak_memory import working_memory
from mezzotint.networks import UNet

MEASURE = """
import ctypes, gc, json, os, torch
from mezzotint.networks import MLP, UNet
torch.set_num_threads(1)

def resident(key):
    lines = open("/proc/self/status").read().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(key)) * 1024

def peak(network, batch, shape):
    x, time = torch.randn(batch, *shape), torch.rand(batch)
    gc.collect(), ctypes.CDLL(None).malloc_trim(0)
    before = resident("VmRSS")
    open("/proc/self/clear_refs", "w").write("5")
    for _ in range(2):
        loss = network(x, time).square().mean()
        network.zero_grad()
        loss.backward()
        del loss
    return resident("VmHWM") - before

def unet(**more):
    return UNet((3, 32, 32), width=32, multipliers=(1, 2), blocks=1, attention=(), **more)

def recomputing():
    network = unet()
    for part in network.modules():
        if hasattr(part, "checkpointing"):
            part.checkpointing = True
    return network

peak(recomputing(), 2, (3, 32, 32))  # code and tables that are loaded once
print(json.dumps([
    peak(unet(), 16, (3, 32, 32)),
    peak(recomputing(), 16, (3, 32, 32)),
    peak(MLP((1, 8, 8), width=256, layers=4), 8192, (1, 8, 8)),
]))
"""


class Perceptron(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first, self.last = nn.Linear(12, 40, bias=False), nn.Linear(40, 12, bias=False)

    def forward(self, x, time):
        return self.last(torch.relu(self.first(x.flatten(1)))).unflatten(1, (3, 2, 2))


def test_a_perceptron_by_hand():
    """The peak: the hidden layer before and after its relu, the gradients of both, the output's, those of the weights.

    The first weight's gradient (480) is made when the hidden layer's alone is left.
    """
    batch, weights = 1000, 2 * 480
    counted = working_memory(Perceptron(), (3, 2, 2), batch) / 4
    hidden, image = 40 * batch, 12 * batch
    assert 2 * hidden + image + weights < counted < 3 * hidden + 4 * image + weights + 10


def test_a_network_stays_as_it_is_and_none_is_needed():
    with torch.device("meta"):
        network = UNet((3, 8, 8), 10, width=16, multipliers=(1, 2), attention=(4,))
    one, two, four = (working_memory(network, (3, 8, 8), batch, classes=10) for batch in (16, 32, 64))
    assert (four - two) == pytest.approx(2 * (two - one), rel=0.02)
    assert all(parameter.grad is None and parameter.is_meta for parameter in network.parameters())


def test_half_precision_keeps_less():
    network = UNet((3, 16, 16), width=32, multipliers=(1, 2), attention=(8,))
    counted = [working_memory(network, (3, 16, 16), 64, dtype=dtype) for dtype in (torch.float32, torch.bfloat16)]
    assert 0.45 < counted[1] / counted[0] < 0.7


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc")
def test_counted_is_what_a_training_process_takes():
    """Within a tenth, and within a quarter where stages are recomputed: there, what kernels take for themselves shows.

    MALLOC_MMAP_THRESHOLD_ gives every tensor pages of its own, so that nothing freed stays in the process.
    """
    from mezzotint.networks import MLP

    environment = {"MALLOC_MMAP_THRESHOLD_": "65536", "OMP_NUM_THREADS": "1", "PATH": ""}
    done = subprocess.run([sys.executable, "-c", MEASURE], env=environment, capture_output=True, text=True, check=True)
    measured = json.loads(done.stdout)
    plain = UNet((3, 32, 32), width=32, multipliers=(1, 2), blocks=1, attention=())
    recomputing = UNet((3, 32, 32), width=32, multipliers=(1, 2), blocks=1, attention=())
    for part in recomputing.modules():
        if hasattr(part, "checkpointing"):
            part.checkpointing = True
    perceptron = MLP((1, 8, 8), width=256, layers=4)
    counted = [
        working_memory(plain, (3, 32, 32), 16),
        working_memory(recomputing, (3, 32, 32), 16),
        working_memory(perceptron, (1, 8, 8), 8192),
    ]
    assert counted[1] < 0.6 * counted[0]
    for ours, theirs, tolerance in zip(counted, measured, (0.1, 0.25, 0.1), strict=True):
        assert ours == pytest.approx(theirs, rel=tolerance, abs=8e6)
