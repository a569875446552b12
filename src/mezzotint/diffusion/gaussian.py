"""The transition q(x_t | x_s) and the posterior q(x_s | x_t, x0) between any two levels s and t of one process.

DDPM's tables and every respacing follow from them. Both are computed from r = (alpha_t sigma_s) / (alpha_s sigma_t),
which is 0 where s is clean and below 1 where s is cleaner than t: no nearly equal squares are subtracted.
"""

from .levels import NoiseLevel
from .scalar_ops import Number, equals, exceeds


def transition(s: NoiseLevel, t: NoiseLevel) -> tuple[Number, Number]:
    """Return (factor, variance) of q(x_t | x_s) = N(factor x_s, variance I), for s cleaner than t.

    factor = alpha_t / alpha_s, variance = sigma_t^2 - factor^2 sigma_s^2 (beta_t for neighbours of a DDPM table).

    Source: Kingma et al. 2021, app. A, https://arxiv.org/abs/2107.00630
    """
    r = _relative_noise(s, t)
    return t.alpha / s.alpha, t.sigma**2 * (1.0 - r) * (1.0 + r)


def posterior(s: NoiseLevel, t: NoiseLevel) -> tuple[Number, Number, Number]:
    """Return (keep, clean, variance) of q(x_s | x_t, x0) = N(keep x_t + clean x0, variance I), for s cleaner than t.

    Source: Ho et al. 2020, eqs. 6 and 7, https://arxiv.org/abs/2006.11239, for any pair of levels.
    """
    r = _relative_noise(s, t)
    gap = (1.0 - r) * (1.0 + r)
    return r * s.sigma / t.sigma, s.alpha * gap, s.sigma**2 * gap


def _relative_noise(s: NoiseLevel, t: NoiseLevel) -> Number:
    signal, noise = s.alpha, t.sigma
    if equals(signal, 0.0) or equals(noise, 0.0):
        raise ValueError(f"No step leads from {s} to {t}: the first must carry signal and the second noise.")
    r = (t.alpha * s.sigma) / (signal * noise)
    if exceeds(r, 1.0):
        if exceeds(r, 1.0 + 1e-9):
            raise ValueError(f"{s} is noisier than {t}: the first level must be the cleaner one. Swap the two.")
        return 1.0
    return r
