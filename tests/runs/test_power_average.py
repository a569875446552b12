"""Power-function averages against quadrature, an independent least squares, and directly tracked averages."""

import math
from itertools import pairwise
from pathlib import Path

import mpmath
import numpy as np
import pytest
import torch

from mezzotint.errors import ConfigError
from mezzotint.reading import Damaged
from mezzotint.runs import RunDir, snapshots
from mezzotint.runs.power_average import PowerAverage, coefficients, decay, exponent

PUBLISHED = {0.05: 16.97219860, 0.10: 6.93720394, 0.15: 3.55786877}


@pytest.mark.parametrize("std", [0.01, 0.05, 0.1, 0.15, 0.2, 0.25, 0.28])
def test_the_exponent_gives_the_profile_its_width(std: float) -> None:
    gamma = float(exponent(std))
    mean, square = (gamma + 1) / (gamma + 2), (gamma + 1) / (gamma + 3)
    assert math.sqrt(square - mean**2) == pytest.approx(std, rel=1e-12)
    assert gamma == pytest.approx(PUBLISHED.get(std, gamma), abs=1e-8)


@pytest.mark.parametrize("std", [0.0, -0.1, 0.3, 1.0])
def test_lengths_that_no_power_has(std: float) -> None:
    with pytest.raises(ValueError, match="above 0 and at most"):
        exponent(std)


def test_steps_add_up_to_the_profile() -> None:
    """After n steps the weight of step k is the integral of the profile over it."""
    std, batch, steps = 0.1, 30, 200
    found = np.zeros(steps)
    for k in range(1, steps + 1):
        beta = decay(std, k * batch, batch)
        found *= beta
        found[k - 1] = 1 - beta
    edges = np.arange(steps + 1) / steps
    np.testing.assert_allclose(found, np.diff(edges ** (float(exponent(std)) + 1)), rtol=1e-10, atol=1e-16)


@pytest.mark.parametrize("wanted", [0.05, 0.08, 0.15, 0.25])
def test_coefficients_are_the_least_squares_by_quadrature(wanted: float) -> None:
    """Minimise the integral of (sum c_i p_i - p)^2 with Gauss-Legendre quadrature and mpmath's QR."""
    found = [PowerAverage(images, std) for images in (2000, 4000, 7000, 10_000) for std in (0.05, 0.2)]
    with mpmath.workdps(40):

        def profile(one: PowerAverage, s: mpmath.mpf) -> mpmath.mpf:
            t, gamma = mpmath.mpf(one.images) / 10_000, mpmath.mpf(str(exponent(one.std)))
            return (gamma + 1) * s**gamma / t ** (gamma + 1) if s <= t else mpmath.mpf(0)

        cuts = [0, mpmath.mpf("0.2"), mpmath.mpf("0.4"), mpmath.mpf("0.7"), 1]
        nodes = [
            (a + (b - a) * (x + 1) / 2, w * (b - a) / 2)
            for a, b in pairwise(cuts)
            for x, w in mpmath.calculus.quadrature.GaussLegendre(mpmath.mp).calc_nodes(5, 140)
        ]
        matrix = mpmath.matrix(len(nodes), len(found))
        right = mpmath.matrix(len(nodes), 1)
        target = PowerAverage(10_000, wanted)
        for i, (s, w) in enumerate(nodes):
            root = mpmath.sqrt(w)
            right[i] = root * profile(target, s)
            for k, one in enumerate(found):
                matrix[i, k] = root * profile(one, s)
        expected, _ = mpmath.qr_solve(matrix, right)
        np.testing.assert_allclose(coefficients(found, target), [float(v) for v in expected], rtol=0, atol=1e-10)


def test_a_snapshot_of_the_length_is_taken_as_it_is() -> None:
    found = [PowerAverage(images, std) for images in (500, 1000) for std in (0.05, 0.1)]
    np.testing.assert_allclose(coefficients(found, PowerAverage(1000, 0.1)), [0, 0, 0, 1], atol=1e-12)


@pytest.mark.parametrize("kind", ["decaying", "wandering"])
def test_reconstructions_are_the_tracked_averages(tmp_path: Path, kind: str) -> None:
    """32 snapshots, float16 on the disk: 16 times, two lengths; every length between is within 1e-3."""
    torch.manual_seed(0)
    batch, steps, lengths = 30, 1600, (0.05, 0.0625, 0.075, 0.1, 0.125, 0.15, 0.2, 0.25)
    start, end = torch.randn(2, 300, dtype=torch.float64)
    tracked = {std: torch.zeros(300, dtype=torch.float64) for std in lengths}
    run, live = RunDir(tmp_path), start.clone()
    for step in range(1, steps + 1):
        if kind == "decaying":
            live = end + (start - end) * math.exp(-8 * step / steps) + 0.02 * torch.randn_like(start)
        else:
            live = live + 0.02 * torch.randn_like(start)
        for std, average in tracked.items():
            average.lerp_(live, 1 - decay(std, step * batch, batch))
        if step % 100 == 0:
            kept = {std: {"denoiser.w": tracked[std].float()} for std in (0.05, 0.25)}
            snapshots.write(snapshots.named(run.snapshots, step), step * batch, kept)
    for std, average in tracked.items():
        step, found = snapshots.reconstruct(run, std)
        assert step == steps
        assert float((found["denoiser.w"] - average).norm() / average.norm()) < 1e-3, std
    assert snapshots.reconstruct(run, 0.1, 850)[0] == 800


def test_tensors_beyond_half_precision_stay_whole(tmp_path: Path) -> None:
    large = {"a": torch.tensor([1e6, 1.0]), "b": torch.tensor([0.1])}
    run = RunDir(tmp_path)
    snapshots.write(snapshots.named(run.snapshots, 1), 10, {0.1: large})
    _, found = snapshots.reconstruct(run, 0.1)
    assert torch.equal(found["a"], large["a"])
    assert found["b"] == large["b"].half().float()


def test_what_is_no_snapshot_is_named(tmp_path: Path) -> None:
    run = RunDir(tmp_path)
    with pytest.raises(ConfigError, match="has no snapshots; they are kept by training with ema=power"):
        snapshots.reconstruct(run, 0.1)
    file = snapshots.named(run.snapshots, 1)
    snapshots.write(file, 10, {0.1: {"a": torch.zeros(1)}})
    with pytest.raises(ConfigError, match="std=0"):
        snapshots.reconstruct(run, 0.5)
    file.write_bytes(b"nothing")
    with pytest.raises(Damaged, match="holds no snapshots"):
        snapshots.reconstruct(run, 0.1)
