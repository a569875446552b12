"""Grids that go up again, and grids found for a denoiser."""

import itertools

import pytest
import torch

from mezzotint.diffusion import (
    DDIM,
    DDPM,
    EDM,
    VP,
    ContinuousCosine,
    Draws,
    ExactMixture,
    Heun,
    Karras,
    Linear,
    Listed,
    Renoise,
    RePaint,
    Restart,
    Trailing,
    White,
    adapted,
    exact_gaussian,
    integrate,
    optimised,
    sample,
)

MIXTURE = (
    torch.tensor([[1.5, -0.4], [-1.0, 0.3], [0.2, 2.0]]).double(),
    torch.tensor([[0.1, 0.2], [0.2, 0.1], [0.1, 0.1]]).double(),
    torch.tensor([0.2, 0.5, 0.3]).double(),
)


def noise(n, seed=0):
    return Draws(seed, torch.arange(n)).normal("sample", (2,)).double()


@pytest.mark.parametrize("schedule", [Linear(), VP(), EDM()], ids=repr)
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


def test_repaint_walks_every_stretch_again():
    spacing = RePaint(Trailing(7), jump=3, walks=2)
    times = [Linear().time(level) if level.sigma else 0 for level in spacing(Linear())]
    base = [1000, 857, 714, 571, 429, 286, 143, 0]
    assert times == [*base[:4], *base[2::-1], *base[1:4], *base[4:7], *base[5:2:-1], *base[4:7], 0]
    assert len(times) == spacing.steps + 1
    assert RePaint(Trailing(7), walks=1)(Linear()) == Trailing(7)(Linear())


@pytest.mark.parametrize("spacing", [Restart(Karras(80), 0.2, 1.0, 3, 20), RePaint(Trailing(200), 20, 3)], ids=repr)
def test_walking_up_keeps_the_law(spacing):
    n, schedule = 10_000, VP()
    exact = exact_gaussian(schedule, torch.tensor([0.3, -0.2]), 0.5)
    sampler = Renoise(DDPM() if isinstance(spacing, RePaint) else DDIM())
    x = sample(exact, sampler, spacing, noise(n), White(Draws(1, torch.arange(n))))
    torch.testing.assert_close(x.mean(0), torch.tensor([0.3, -0.2]).double(), rtol=0.0, atol=0.02)
    torch.testing.assert_close(x.std(0), torch.tensor([0.5, 0.5]).double(), rtol=0.06, atol=0.0)


@pytest.mark.parametrize(("schedule", "share"), [(VP(), 0.7), (Linear(), 0.7), (ContinuousCosine(), 0.9)], ids=repr)
def test_optimised_steps_are_better_than_even_ones(schedule, share):
    exact = ExactMixture(schedule, *MIXTURE)
    fine = Trailing(80)(schedule)
    truth = integrate(exact, Heun(), Trailing(1000)(ContinuousCosine()), noise(200, 1))

    def error(spacing):
        return (sample(exact, DDIM(), spacing, noise(200, 1)) - truth).norm(dim=1).mean().item()

    found = optimised(exact, fine, noise(64), 16)
    assert isinstance(found, Listed)
    assert len(found(schedule)) == 17
    assert found(schedule)[0].sigma == pytest.approx(fine[0].sigma)
    assert error(found) < share * error(Trailing(16))


def test_optimised_by_trying_every_path():
    schedule = VP()
    exact, grid = ExactMixture(schedule, *MIXTURE), Trailing(8)(VP())
    x, predictions = [noise(16)], []
    for now, next in itertools.pairwise(grid):
        predictions.append(exact(x[-1], now))
        x.append(predictions[-1].mix(next.alpha, next.sigma))

    def cost(path):
        miss = [
            (predictions[i].mix(grid[j].alpha, grid[j].sigma) - x[j]) / grid[j].norm
            for i, j in itertools.pairwise(path)
        ]
        return sum(m.norm(dim=1).mean().item() for m in miss)

    for steps in (1, 2, 4, 8):
        paths = [(0, *middle, 8) for middle in itertools.combinations(range(1, 8), steps - 1)]
        best = min(paths, key=cost)
        found = optimised(exact, grid, noise(16), steps)(schedule)
        assert [level.sigma for level in found] == pytest.approx([grid[i].sigma for i in best], rel=1e-9)
    with pytest.raises(ValueError, match="from 1 to 8"):
        optimised(exact, grid, noise(16), 9)


@pytest.mark.parametrize("schedule", [VP(), ContinuousCosine(), Linear(), EDM()], ids=repr)
@pytest.mark.parametrize("sampler", [DDIM(), Heun()], ids=repr)
def test_adapted_grids_take_more_steps_for_less_error(schedule, sampler):
    exact = ExactMixture(schedule, *MIXTURE)
    truth = integrate(exact, Heun(), Trailing(1000)(ContinuousCosine()), noise(100, 1))
    errors, counts = [], []
    for rtol in (3e-2, 3e-3, 3e-4):
        spacing = adapted(exact, noise(64), rtol, sampler)
        grid = spacing(schedule)
        assert all(a.ratio > b.ratio for a, b in itertools.pairwise(grid))
        counts.append(len(grid) - 1)
        errors.append((sample(exact, sampler, spacing, noise(100, 1)) - truth).norm(dim=1).median().item())
    assert counts[0] < counts[1] < counts[2]
    assert errors[0] > errors[1] > errors[2]
    assert counts[2] < 400


def test_adapted_grids_refuse_the_impossible():
    exact = ExactMixture(VP(), *MIXTURE)
    with pytest.raises(ValueError, match="Raise rtol"):
        adapted(exact, noise(8), 1e-12)
    with pytest.raises(ValueError, match="no order"):
        adapted(exact, noise(8), 1e-2, DDPM())
