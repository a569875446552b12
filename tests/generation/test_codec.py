"""Samples of data N(m, S) with three channels of 64 have its mean and covariance, in the unit of the data."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from mezzotint.data import ArrayFile, codec_of
from mezzotint.diffusion import EDMSchedule, Karras, NoiseLevel, Prediction, Schedule
from mezzotint.diffusion.samplers import Heun
from mezzotint.generation import SampleGenerator

SHAPE, DIM, N = (3, 64), 192, 3000
OFFSET, SCALE = np.array([[0.0], [280.0], [-5.0]]), np.array([[1.0], [15.0], [0.02]])


@dataclass(frozen=True, eq=False)
class ExactGaussian:
    """The exact denoiser of N(mean, covariance) of flat examples, in the eigenbasis of the covariance."""

    schedule: Schedule
    mean: Tensor
    covariance: Tensor

    def begin(self) -> "ExactGaussian":
        return self

    def __call__(self, x: Tensor, level: NoiseLevel, **cond: Any) -> Prediction:
        variances, basis = torch.linalg.eigh(self.covariance)
        offset = (x.flatten(1).double() - level.alpha * self.mean) @ basis
        total = level.alpha**2 * variances + level.sigma**2
        x0 = self.mean + (offset * (level.alpha * variances / total)) @ basis.T
        eps = (offset * (level.sigma / total)) @ basis.T
        a, b = -level.sigma / level.norm, level.alpha / level.norm
        return Prediction(x, level, (a * x0 + b * eps).view_as(x).to(x.dtype), a, b)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> tuple[ArrayFile, Tensor, Tensor]:
    """5,000 smooth series that are correlated between channels; the mean and covariance that they were drawn with."""
    random = np.random.default_rng(0)
    distance = np.abs(np.arange(64)[:, None] - np.arange(64))
    within = np.exp(-distance / 8) + 0.05 * np.eye(64)
    between = np.array([[1.0, 0.6, 0.0], [0.6, 1.0, -0.3], [0.0, -0.3, 1.0]])
    scale = np.repeat(SCALE, 64, 1).ravel()
    covariance = np.kron(between, within) * scale[:, None] * scale
    mean = (OFFSET + SCALE * np.sin(np.arange(64) / 10)).ravel()
    x = mean + random.standard_normal((5000, DIM)) @ np.linalg.cholesky(covariance).T
    file = tmp_path_factory.mktemp("gaussian") / "data.npy"
    np.save(file, x.reshape(-1, *SHAPE).astype(np.float32))
    return ArrayFile(root=str(file)), torch.from_numpy(mean), torch.from_numpy(covariance)


def test_samples_have_the_mean_and_the_covariance_of_the_data(data):
    dataset, mean, covariance = data
    codec = codec_of(dataset)
    m = torch.tensor(codec.mean, dtype=torch.float64).repeat_interleave(64)
    s = torch.tensor(codec.std, dtype=torch.float64).repeat_interleave(64)
    exact = ExactGaussian(EDMSchedule(), (mean - m) / s, covariance / s[:, None] / s)
    generator = SampleGenerator(exact, Heun(), Karras(40), SHAPE, seed=1, batch=N, codec=codec)
    samples, _ = generator.images(0, N)
    assert samples.dtype == torch.float32
    white = torch.linalg.solve_triangular(
        torch.linalg.cholesky(covariance), (samples.flatten(1).double() - mean).T, upper=False
    ).T
    assert within_three(N * white.mean(0).square())
    found = white.T @ white / N
    assert within_three(N / 2 * (found.diagonal() - 1).square())
    i, j = torch.triu_indices(DIM, DIM, 1)
    assert within_three(N * found[i, j].square())
    assert abs(found.diagonal().mean() - 1) < 3 * (2 / (N * DIM)) ** 0.5


def within_three(squares: Tensor) -> bool:
    """Return whether squares of unit normals, nearly independent, have a mean within three standard errors of 1."""
    return abs(squares.mean().item() - 1) < 3 * (2 / len(squares)) ** 0.5
