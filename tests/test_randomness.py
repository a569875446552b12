"""Named randomness: functions of (seed, purpose, counters, index) that behave like independent random numbers."""

import math

import pytest
import torch

from mezzotint.diffusion import (
    DDPM,
    BrownianNoise,
    KeyedRandom,
    NoiseLevel,
    Trailing,
    VPSchedule,
    WhiteNoise,
    exact_gaussian,
    integrate,
    permutation,
)

FROZEN_ORDER = [3, 4, 7, 6, 2, 0, 1, 5]
FROZEN_UNIFORM = [0.3233161935336727, 0.37778018155966653, 0.3568040367962194]
FROZEN_NORMAL = [[-1.427961, 0.934428], [0.023219, -0.04061], [-0.984993, 0.190092]]


@pytest.mark.parametrize("shape", [(1, 8, 8), (3, 5, 7), (1,), (3, 32, 32)])
@pytest.mark.parametrize("part", [1, 5, 16])
def test_any_batch_split_gives_the_same_bits(shape, part):
    whole = KeyedRandom(7, torch.arange(64)).normal("noise", shape, 3)
    parts = [KeyedRandom(7, torch.arange(i, min(i + part, 64))).normal("noise", shape, 3) for i in range(0, 64, part)]
    assert torch.equal(whole, torch.cat(parts))
    assert whole.shape == (64, *shape)
    assert whole.dtype == torch.float32
    u = KeyedRandom(7, torch.arange(64)).uniform("time")
    assert torch.equal(u, torch.cat([KeyedRandom(7, torch.arange(i, i + 8)).uniform("time") for i in range(0, 64, 8)]))


def test_the_numbers_do_not_change_from_version_to_version():
    draws = KeyedRandom(0, torch.tensor([0, 1, 10**12]))
    assert permutation(0, "order", 8, 1).tolist() == FROZEN_ORDER
    torch.testing.assert_close(draws.uniform("time"), torch.tensor(FROZEN_UNIFORM, dtype=torch.float64), rtol=0, atol=0)
    torch.testing.assert_close(draws.normal("noise", (2,)), torch.tensor(FROZEN_NORMAL), rtol=0, atol=1e-6)


def test_every_part_of_the_name_matters():
    index = torch.arange(4)
    base = KeyedRandom(0, index).normal("noise", (16,), 1)
    others = [
        KeyedRandom(1, index).normal("noise", (16,), 1),
        KeyedRandom(2**32, index).normal("noise", (16,), 1),
        KeyedRandom(0, index).normal("sample", (16,), 1),
        KeyedRandom(0, index).normal("noise", (16,), 2),
        KeyedRandom(0, index).normal("noise", (16,)),
        KeyedRandom(0, index + 4).normal("noise", (16,), 1),
    ]
    for other in others:
        assert not (base == other).any()


def test_moments_and_independence():
    v = KeyedRandom(11, torch.arange(2048)).normal("noise", (3, 16, 16)).double().flatten(1)
    n = v.numel()
    assert abs(v.mean().item()) < 4 / math.sqrt(n)
    assert abs(v.var().item() - 1) < 4 * math.sqrt(2 / n)
    assert abs((v**4).mean().item() - 3) < 4 * math.sqrt(96 / n)
    across = torch.corrcoef(v[:128]).fill_diagonal_(0).abs().max().item()
    assert across < 6 / math.sqrt(v.shape[1])
    along = (v[:, 1:] * v[:, :-1]).mean().item()
    halves = (v[:, :384] * v[:, 384:]).mean().item()  # the two numbers of one Box-Muller pair
    assert max(abs(along), abs(halves)) < 5 / math.sqrt(n / 2)
    u = KeyedRandom(11, torch.arange(200_000)).uniform("time")
    counts = torch.histc(u, 100, 0.0, 1.0)
    assert ((counts - 2000) ** 2 / 2000).sum().item() < 160  # chi-square with 99 degrees: one in ten thousand
    assert 0 < u.min() < u.max() < 1


def test_seeds_beyond_32_bits_differ():
    assert not torch.equal(permutation(5, "order", 100), permutation(5 + 2**32, "order", 100))


def test_permutation():
    order = permutation(3, "order", 1000, 4)
    assert order.dtype == torch.int64
    assert torch.equal(order.sort().values, torch.arange(1000))
    assert torch.equal(order, permutation(3, "order", 1000, 4))
    assert not torch.equal(order, permutation(3, "order", 1000, 5))
    fixed = sum((permutation(s, "order", 50) == torch.arange(50)).sum().item() for s in range(200))
    assert 120 < fixed < 290  # one fixed point on average


def test_white_noise_counts_its_calls():
    level, x = NoiseLevel(0.6, 0.8), torch.zeros(3, 1, 4, 4, dtype=torch.float64)
    noise = WhiteNoise(KeyedRandom(0, torch.arange(3)))
    first, second = noise(x, level, level), noise(x, level, level)
    assert first.dtype == torch.float64
    assert not torch.equal(first, second)
    again = noise.begin()
    assert torch.equal(first, again(x, level, level))
    assert torch.equal(second, again(x, level, level))


def test_a_brownian_path_is_the_same_for_any_steps():
    """Over SNR the end of a path with a constant x0 does not depend on the steps."""
    schedule, draws = VPSchedule(), KeyedRandom(0, torch.arange(5))
    fine = Trailing(60)(schedule)
    noise = BrownianNoise(draws, fine)
    x0 = exact_gaussian(schedule, torch.full((1, 2, 2), 0.3), 0.0)
    start = draws.normal("start", (1, 2, 2)).double()
    ends = []
    for stride in (1, 4, 12):
        grid = fine[:-1:stride][: 60 // stride]
        grid = (*grid, fine[-2]) if grid[-1] != fine[-2] else grid
        ends.append(integrate(x0, DDPM(), grid, start, noise))
    for end in ends[1:]:
        torch.testing.assert_close(end, ends[0], rtol=1e-10, atol=1e-10)
    assert not torch.equal(ends[0][0], ends[0][1])


def test_brownian_increments_are_unit_normal_and_consistent():
    levels = tuple(VPSchedule().level(t) for t in (1.0, 0.8, 0.5, 0.2))
    noise, x = BrownianNoise(KeyedRandom(0, torch.arange(20_000)), levels), torch.zeros(20_000, 1, dtype=torch.float64)
    z = noise(x, levels[0], levels[2])
    assert abs(z.mean().item()) < 0.03
    assert z.var().item() == pytest.approx(1.0, abs=0.04)
    overlap = (z * noise(x, levels[1], levels[2])).mean().item()  # the common part of the two increments
    snr = [level.ratio**-2 for level in levels]
    assert overlap == pytest.approx(math.sqrt((snr[2] - snr[1]) / (snr[2] - snr[0])), abs=0.03)
    scaled = NoiseLevel(3 * levels[1].alpha, 3 * levels[1].sigma)
    assert torch.equal(noise(x, scaled, levels[2]), noise(x, levels[1], levels[2]))
    with pytest.raises(ValueError, match="is not in the reference grid"):
        noise(x, VPSchedule().level(0.7), levels[2])
    with pytest.raises(ValueError, match="not cleaner"):
        noise(x, levels[2], levels[1])
