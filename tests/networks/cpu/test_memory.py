import subprocess
import sys

import pytest
import torch

from mezzotint.networks import bfloat16_is_fast, preferred_memory_format


@pytest.mark.parametrize(
    ("device", "dtype", "expected"),
    [
        ("cpu", torch.bfloat16, torch.contiguous_format),
        ("cuda", torch.bfloat16, torch.channels_last),
        ("cuda:1", torch.float32, torch.channels_last),
        ("mps", torch.float32, torch.contiguous_format),
    ],
    ids=str,
)
def test_by_device_and_precision(device, dtype, expected):
    assert preferred_memory_format(device, dtype) == expected


@pytest.mark.parametrize(
    ("capability", "expected"),
    [("AVX512", torch.channels_last), ("AVX2", torch.contiguous_format), ("DEFAULT", torch.contiguous_format)],
)
def test_float32_on_a_cpu_goes_by_the_width_of_its_vectors(monkeypatch, capability, expected):
    monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: capability)
    assert preferred_memory_format("cpu", torch.float32) == expected


def test_bfloat16_is_fast_where_the_processor_says_so():
    with open("/proc/cpuinfo") as file:
        flags = set(file.read().split())
    assert bfloat16_is_fast("cpu") == bool(flags & {"avx512_bf16", "amx_tile"})
    assert not bfloat16_is_fast("meta")


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="glibc's malloc is asked")
def test_freed_memory_is_not_asked_of_the_system_again():
    """In a process of its own, whose settings it changes for good."""
    code = """
import resource, torch
from mezzotint.networks import keep_freed_memory

def faults():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(20):
        torch.ones(16, 2**20)
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

usual = faults()
assert keep_freed_memory()
faults()
print(usual, faults())
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    usual, kept = map(int, done.stdout.split())
    assert kept < usual / 100
