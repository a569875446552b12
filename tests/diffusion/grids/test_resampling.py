"""Grids that go up again."""

import itertools

import pytest
import torch

from mezzotint.diffusion import (
    DDIM,
    DDPM,
    Clean,
    Denoiser,
    EDMSchedule,
    Karras,
    KeyedRandom,
    LinearSchedule,
    Renoised,
    RePaint,
    Restart,
    SnapToTable,
    Trailing,
    VPSchedule,
    WhiteNoise,
    exact_gaussian,
    integrate,
    sample,
)


def noise(n, seed=0):
    return KeyedRandom(seed, torch.arange(n)).normal("sample", (2,)).double()


@pytest.mark.parametrize("schedule", [LinearSchedule(), VPSchedule(), EDMSchedule()], ids=repr)
def test_restart_repeats_its_interval(schedule):
    spacing = Restart(Karras(12), low=0.1, high=0.5, repeats=3, inner=4)
    grid = spacing(schedule)
    assert len(grid) == spacing.steps + 1
    ups = [(a.ratio, b.ratio) for a, b in itertools.pairwise(grid) if b.ratio > a.ratio]
    assert len(ups) == 3
    for low, high in ups:
        assert low <= 0.1
        assert high == pytest.approx(0.5, rel=1e-6)
    assert [level for level in Karras(12)(schedule) if level not in grid] == []
    with pytest.raises(ValueError, match="Raise high"):
        Restart(Karras(12, sigma_min=0.6), low=0.1, high=0.5)(schedule)


def test_a_restart_on_the_table_repeats_its_interval_too():
    grid = SnapToTable(Restart(Karras(12), low=0.1, high=0.5, repeats=3, inner=4))(LinearSchedule())
    times = [LinearSchedule().time(level) if level.sigma else 0 for level in grid]
    assert all(t == round(t) for t in times)
    assert sum(a < b for a, b in itertools.pairwise(times)) == 3
    assert times[0] == 1000
    assert times[-1] == 0


def test_a_walk_up_from_clean_data_asks_nothing_there():
    class Net(torch.nn.Module):
        def forward(self, x, time):
            return 0.5 * x

    denoise, grid = Denoiser(Net(), LinearSchedule(), Clean()), RePaint(Trailing(6), jump=3, walks=2)(LinearSchedule())
    assert sum(level.clean for level in grid) == 2
    denoise.check(grid)
    assert integrate(denoise, Renoised(DDPM()), grid, noise(2)).isfinite().all()


@pytest.mark.parametrize(
    "refused",
    [
        lambda: Restart(inner=0),
        lambda: Restart(repeats=-1),
        lambda: RePaint(Trailing(7), jump=0),
        lambda: RePaint(Trailing(7), walks=0),
    ],
)
def test_walks_that_go_nowhere_are_refused(refused):
    with pytest.raises(ValueError, match="or more"):
        refused()


def test_repaint_walks_every_stretch_again():
    spacing = RePaint(Trailing(7), jump=3, walks=2)
    times = [LinearSchedule().time(level) if level.sigma else 0 for level in spacing(LinearSchedule())]
    base = [1000, 857, 714, 571, 429, 286, 143, 0]
    assert times == [*base[:4], *base[2::-1], *base[1:4], *base[4:7], *base[5:2:-1], *base[4:7], 0]
    assert len(times) == spacing.steps + 1
    assert RePaint(Trailing(7), walks=1)(LinearSchedule()) == Trailing(7)(LinearSchedule())


@pytest.mark.parametrize("spacing", [Restart(Karras(80), 0.2, 1.0, 3, 20), RePaint(Trailing(200), 20, 3)], ids=repr)
def test_walking_up_keeps_the_law(spacing):
    n, schedule = 10_000, VPSchedule()
    exact = exact_gaussian(schedule, torch.tensor([0.3, -0.2]), 0.5)
    sampler = Renoised(DDPM() if isinstance(spacing, RePaint) else DDIM())
    x = sample(exact, sampler, spacing, noise(n), WhiteNoise(KeyedRandom(1, torch.arange(n))))
    torch.testing.assert_close(x.mean(0), torch.tensor([0.3, -0.2]).double(), rtol=0.0, atol=0.02)
    torch.testing.assert_close(x.std(0), torch.tensor([0.5, 0.5]).double(), rtol=0.06, atol=0.0)
