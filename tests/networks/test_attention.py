"""Attention by its definition, on both paths."""

import pytest
import torch

from mezzotint.networks.attention import attend


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16], ids=str)
def test_attention_is_a_mean_of_values_weighted_by_softmax(dtype):
    """Written out, one position at a time, in float64; bfloat16 takes the plain products."""
    query, key, value = torch.randn(3, 2, 3, 4, 5).to(dtype).unbind()  # 2 images, 3 heads, 4 channels, 5 positions
    expected = torch.empty(2, 3, 4, 5, dtype=torch.float64)
    for n in range(5):
        scores = (query.double()[..., n, None] * key.double()).sum(dim=2) / 4**0.5
        expected[..., n] = (value.double() * scores.softmax(dim=-1)[:, :, None]).sum(dim=-1)
    tolerance = {torch.float64: 1e-12, torch.float32: 1e-6, torch.bfloat16: 3e-2}[dtype]
    output = attend(query, key, value)
    assert output.dtype == dtype
    torch.testing.assert_close(output.double(), expected, rtol=0, atol=tolerance)
