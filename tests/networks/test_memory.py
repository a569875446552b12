import pytest
import torch

from mezzotint.networks import preferred_memory_format


@pytest.mark.parametrize(
    ("device", "dtype", "expected"),
    [
        ("cpu", torch.float32, torch.channels_last),
        ("cpu", torch.bfloat16, torch.contiguous_format),
        ("cuda", torch.bfloat16, torch.channels_last),
        ("cuda:1", torch.float32, torch.channels_last),
        ("mps", torch.float32, torch.contiguous_format),
    ],
    ids=str,
)
def test_by_device_and_precision(device, dtype, expected):
    assert preferred_memory_format(device, dtype) == expected
