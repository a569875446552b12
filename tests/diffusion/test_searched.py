"""Grids found for a denoiser."""

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
    Linear,
    Listed,
    Trailing,
    adapted,
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
