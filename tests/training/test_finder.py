"""The micro-batch finder, with a limit in the place of a full GPU."""

import pytest
import torch
from tiny import Noise, denoiser

from mezzotint.data.inputs import NetworkInputs
from mezzotint.diffusion import Objective
from mezzotint.errors import ConfigError
from mezzotint.training import AdamW, Hardware, micro_batch
from mezzotint.training.hardware.hardware import is_full, out_of_memory
from mezzotint.training.micro_batch import MicroBatchProbe, find, largest, runs

CPU = Hardware(accelerator="cpu")


def full_above(limit, tried=None):
    def step(size):
        if tried is not None:
            tried.append(size)
        if size > limit:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")

    return step


@pytest.mark.parametrize("share", [1, 7, 48, 64, 96])
@pytest.mark.parametrize("limit", [1, 5, 16, 63, 200])
def test_the_largest_that_fits_is_found_among_those_that_divide(share, limit):
    step, sizes = full_above(limit), micro_batch.divisors(share)
    assert largest(sizes, lambda size: runs(lambda: step(size))) == max(size for size in sizes if size <= limit)


def test_the_whole_share_is_tried_first_and_little_else_after():
    tried = []
    step = full_above(10, tried)
    largest(micro_batch.divisors(1 << 20), lambda size: runs(lambda: step(size)))
    assert tried[0] == 1 << 20
    assert len(tried) <= 6


def test_nothing_fits():
    assert largest([1, 2, 4], lambda size: False) is None


def test_other_errors_are_not_taken_for_a_full_device():
    def broken():
        raise RuntimeError("mat1 and mat2 shapes cannot be multiplied")

    with pytest.raises(RuntimeError, match="mat1"):
        runs(broken)


def rig(ema=None):
    return MicroBatchProbe(denoiser(), Objective(), AdamW(), CPU, NetworkInputs.of(Noise()), ema)


def test_a_cpu_is_asked_by_counting(monkeypatch):
    tried = rig()
    whole, half = tried.memory(16), tried.memory(8)
    monkeypatch.setattr(micro_batch, "free_memory", lambda device: (whole + half) / 2 / micro_batch.ROOM)
    trials = find(tried, 16)
    assert [trial.micro_batch for trial in trials] == [8, 4, 2, 1]
    assert all(trial.images_per_second > 0 for trial in trials)
    assert trials[0].memory == half


def test_not_even_one_image(monkeypatch):
    monkeypatch.setattr(micro_batch, "free_memory", lambda device: 1.0)
    with pytest.raises(ConfigError, match="not even one image fits"):
        find(rig(), 16)


def test_a_step_too_slow_to_wait_for_is_not_timed(monkeypatch):
    monkeypatch.setattr(micro_batch, "PATIENCE", 0.0)
    assert [trial.images_per_second for trial in find(rig(), 4)] == [None] * 3


def test_a_full_device_is_one_line_that_names_what_to_lower():
    assert is_full(torch.OutOfMemoryError("CUDA out of memory"))
    assert is_full(RuntimeError("[enforce fail at alloc_cpu.cpp:121] DefaultCPUAllocator: can't allocate memory"))
    said = str(out_of_memory(CPU, 64))
    assert "hardware.micro_batch=32" in said
    assert "hardware.checkpointing=true" in said
    assert "\n" not in said
    assert "micro_batch=0" not in str(out_of_memory(CPU, 1))
