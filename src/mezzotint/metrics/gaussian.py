"""Gaussian fits of features (mean and covariance), and the Frechet distance between two of them."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

Factors = tuple[Tensor | None, Tensor | None]


@dataclass(frozen=True)
class Moments:
    """Count n, mean (d,) and unbiased covariance (d, d), in float64.

    For n <= d rows also `factor` A (d, n), the scaled centred rows with A A^T = covariance, which saves an
    eigendecomposition.
    """

    count: int
    mean: Tensor
    covariance: Tensor
    factor: Tensor | None = None

    @classmethod
    def of_sums(cls, count: int, total: Tensor, outer: Tensor) -> Moments:
        """Return the moments of n rows from the sums of x (d,) and of x x^T (d, d).

        Raises:
            ValueError: fewer than two rows, whose covariance does not exist.
        """
        if count < 2:
            raise ValueError(f"a covariance needs at least two examples, and there are {count}. Give more.")
        mean = total / count
        covariance = (outer - count * torch.outer(mean, mean)) / (count - 1)
        return cls(count, mean, (covariance + covariance.T) / 2)

    @classmethod
    def of(cls, features: Tensor) -> Moments:
        """Return the moments of feature rows (n, d)."""
        rows = features.to(torch.float64)
        found = cls.of_sums(len(rows), rows.sum(0), rows.T @ rows)
        if len(rows) > rows.shape[1]:
            return found
        return replace(found, factor=(rows - found.mean).T / (len(rows) - 1) ** 0.5)


def frechet_distance(first: Moments, second: Moments) -> float:
    """d^2 = |m1 - m2|^2 + tr S1 + tr S2 - 2 tr sqrt(S1 S2): the squared 2-Wasserstein distance of two Gaussians.

    Sources: Dowson and Landau 1982; Heusel et al. 2017, eq. 6, https://arxiv.org/abs/1706.08500
    """
    shift = (first.mean - second.mean).square().sum()
    traces = first.covariance.trace() + second.covariance.trace()
    root = trace_of_root(first.covariance, second.covariance, (first.factor, second.factor))
    return float((shift + traces - 2 * root).clamp_min(0))  # keeps NaN


def trace_of_root(first: Tensor, second: Tensor, known: Factors = (None, None)) -> Tensor:
    """Return tr sqrt(S1 S2) of two covariances from symmetric matrices only; `known` are factors A with A A^T = S.

    With S1 = L L^T (Cholesky) it is the sum of the square roots of the eigenvalues of L^T S2 L. That loses half of the
    digits if an eigenvalue is zero. A covariance without full rank is therefore factored by eigenvectors, S = A A^T,
    unless its factor is known, and the trace is the sum of the singular values of A1^T A2.

    The eigenvalues of the product S1 S2, which torch-fidelity and torchmetrics use, turn rounding errors into square
    roots of rounding errors where zeros should be: a relative error of 6e-6 for few images over Inception, against
    8e-7 here.
    """
    pairs = list(zip((first, second), known, strict=True))
    factors = [_cholesky(s) if factor is None else factor for s, factor in pairs]
    if known[0] is known[1] is None and factors[0] is not None and factors[1] is not None:
        return torch.linalg.eigvalsh(factors[0].T @ second @ factors[0]).clamp_min(0).sqrt().sum()
    a, b = (_root(s) if factor is None else factor for s, factor in zip((first, second), factors, strict=True))
    return torch.linalg.svdvals(a.T @ b).sum()


def _cholesky(covariance: Tensor) -> Tensor | None:
    """Return the lower Cholesky factor, or None if the covariance is singular in floating point."""
    factor, info = torch.linalg.cholesky_ex(covariance)
    pivots = factor.diagonal()
    return factor if int(info) == 0 and float(pivots.min()) > 1e-6 * float(pivots.max()) else None


def _root(covariance: Tensor) -> Tensor:
    """Return A (d, r) with A A^T = S, where r is the rank."""
    values, vectors = torch.linalg.eigh(covariance)
    real = values > values[-1] * len(values) * torch.finfo(values.dtype).eps
    return vectors[:, real] * values[real].sqrt()
