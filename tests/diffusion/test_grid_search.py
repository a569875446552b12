"""Grids found for a denoiser."""

import itertools

import pytest
import torch

from mezzotint.diffusion import (
    DDIM,
    DDPM,
    ContinuousCosineSchedule,
    EDMSchedule,
    ExactMixture,
    ExplicitTimes,
    Heun,
    KeyedRandom,
    LinearSchedule,
    Trailing,
    VPSchedule,
    adaptive_grid,
    integrate,
    optimal_grid,
    sample,
)

MIXTURE = (
    torch.tensor([[1.5, -0.4], [-1.0, 0.3], [0.2, 2.0]]).double(),
    torch.tensor([[0.1, 0.2], [0.2, 0.1], [0.1, 0.1]]).double(),
    torch.tensor([0.2, 0.5, 0.3]).double(),
)


def noise(n, seed=0):
    return KeyedRandom(seed, torch.arange(n)).normal("sample", (2,)).double()


@pytest.mark.parametrize(
    ("schedule", "share"), [(VPSchedule(), 0.7), (LinearSchedule(), 0.7), (ContinuousCosineSchedule(), 0.9)], ids=repr
)
def test_optimised_steps_are_better_than_even_ones(schedule, share):
    exact = ExactMixture(schedule, *MIXTURE)
    fine = Trailing(80)(schedule)
    truth = integrate(exact, Heun(), Trailing(1000)(ContinuousCosineSchedule()), noise(200, 1))

    def error(spacing):
        return (sample(exact, DDIM(), spacing, noise(200, 1)) - truth).norm(dim=1).mean().item()

    found = optimal_grid(exact, fine, noise(64), 16)
    assert isinstance(found, ExplicitTimes)
    assert len(found(schedule)) == 17
    assert found(schedule)[0].sigma == pytest.approx(fine[0].sigma)
    assert error(found) < share * error(Trailing(16))


def test_optimised_by_trying_every_path():
    schedule = VPSchedule()
    exact, grid = ExactMixture(schedule, *MIXTURE), Trailing(8)(VPSchedule())
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
        found = optimal_grid(exact, grid, noise(16), steps)(schedule)
        assert [level.sigma for level in found] == pytest.approx([grid[i].sigma for i in best], rel=1e-9)
    with pytest.raises(ValueError, match="from 1 to 8"):
        optimal_grid(exact, grid, noise(16), 9)


@pytest.mark.parametrize(
    "schedule", [VPSchedule(), ContinuousCosineSchedule(), LinearSchedule(), EDMSchedule()], ids=repr
)
@pytest.mark.parametrize("sampler", [DDIM(), Heun()], ids=repr)
def test_adapted_grids_take_more_steps_for_less_error(schedule, sampler):
    exact = ExactMixture(schedule, *MIXTURE)
    truth = integrate(exact, Heun(), Trailing(1000)(ContinuousCosineSchedule()), noise(100, 1))
    errors, counts = [], []
    for rtol in (3e-2, 3e-3, 3e-4):
        spacing = adaptive_grid(exact, noise(64), rtol, sampler)
        grid = spacing(schedule)
        assert all(a.ratio > b.ratio for a, b in itertools.pairwise(grid))
        counts.append(len(grid) - 1)
        errors.append((sample(exact, sampler, spacing, noise(100, 1)) - truth).norm(dim=1).median().item())
    assert counts[0] < counts[1] < counts[2]
    assert errors[0] > errors[1] > errors[2]
    assert counts[2] < 400


def test_adapted_grids_refuse_the_impossible():
    exact = ExactMixture(VPSchedule(), *MIXTURE)
    with pytest.raises(ValueError, match="Raise rtol"):
        adaptive_grid(exact, noise(8), 1e-12)
    with pytest.raises(ValueError, match="no order"):
        adaptive_grid(exact, noise(8), 1e-2, DDPM())
