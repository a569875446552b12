"""Multistep coefficients in float64, from moments.

A prediction f (x0 or eps) is interpolated by a polynomial in some variable tau of the level, and its contribution to
the step is an integral of that polynomial: sum_k c_k mu_k with mu_k the integral of (tau - tau_now)^k. A multistep rule
is thus a list of moments mu_1, mu_2, ..., and its weights w_j on the differences f_j - f_0 follow from
sum_j w_j (tau_j - tau_now)^k = mu_k.
"""

import math
from collections.abc import Callable, Sequence
from functools import cache

import torch


def match(nodes: Sequence[float], moments: Sequence[float]) -> tuple[float, ...]:
    """Return w with sum_j w_j nodes_j^k = moments_{k-1}, k = 1..n: the integrated interpolant through 0 and n nodes."""
    weights = []
    for j, node in enumerate(nodes):
        lagrange = [
            0.0,
            1.0 / node,
        ]  # coefficients of the polynomial that is 1 at this node, 0 at 0 and at the other nodes
        for other in (*nodes[:j], *nodes[j + 1 :]):
            shifted, kept = [0.0, *lagrange], [*lagrange, 0.0]
            lagrange = [(a - other * b) / (node - other) for a, b in zip(shifted, kept, strict=True)]
        weights.append(sum(c * mu for c, mu in zip(lagrange[1:], moments, strict=True)))
    return tuple(weights)


def phi(k: int, z: float) -> float:
    """Return phi_k(z) = sum_n z^n / (n + k)!, so phi_0 = exp and phi_{k+1}(z) = (phi_k(z) - 1/k!) / z.

    Source: Hochbruck and Ostermann 2010, eq. 2.11, https://doi.org/10.1017/S0962492910000048
    """
    if abs(z) < 1.0:
        return sum(z**n / math.factorial(n + k) for n in range(20))
    value = math.exp(z)
    for i in range(k):
        value = (value - 1.0 / math.factorial(i)) / z
    return value


def exponential_moments(h: float, n: int) -> list[float]:
    """Return mu_k = integral over s from 0 to h of exp(s - h) s^k = k! h^{k+1} phi_{k+1}(-h), k = 0..n, for any h."""
    return [math.factorial(k) * h ** (k + 1) * phi(k + 1, -h) for k in range(n + 1)]


def stieltjes_moments(of: Callable[[float], float], start: float, stop: float, n: int) -> list[float]:
    """Return mu_k = integral of (tau - start)^k d of(tau) from start to stop, k = 1..n, by parts and quadrature."""
    h, total = stop - start, []
    points = [(h * node, h * weight, of(start + h * node)) for node, weight in gauss()]
    for k in range(1, n + 1):
        total.append(h**k * of(stop) - sum(w * k * s ** (k - 1) * value for s, w, value in points))
    return total


@cache
def gauss(n: int = 32) -> tuple[tuple[float, float], ...]:
    """Return nodes and weights of Gauss-Legendre quadrature on [0, 1], from eigenvectors of the Jacobi matrix.

    Source: Golub and Welsch 1969, https://doi.org/10.1090/S0025-5718-69-99647-1
    """
    k = torch.arange(1, n, dtype=torch.float64)
    off = k / (4 * k**2 - 1).sqrt()
    nodes, vectors = torch.linalg.eigh(torch.diag(off, 1) + torch.diag(off, -1))
    return tuple(zip(((nodes + 1) / 2).tolist(), (vectors[0] ** 2).tolist(), strict=True))
