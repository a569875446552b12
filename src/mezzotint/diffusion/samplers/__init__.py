"""Samplers: frozen objects that step x from one level to the next.

Nearly all of them are one formula. With x0 and eps the prediction at `now` (alpha, sigma), and primes for `next`,

    x' = alpha' x0 + sqrt(sigma'^2 - v) eps + sum_j w_j (f_j - f_0) + sqrt(v) z.

v is the variance of fresh noise: 0 for the probability-flow ODE, the posterior's for ancestral sampling. The w_j are
weights on the differences between earlier (or inner, or later) predictions f_j, of x0 or eps, and this one; without
them the step is DDIM's or DDPM's. Both ends are exact: at alpha = 0 there are no earlier predictions, and at sigma' = 0
only x0 remains.

Samplers contain no loop, grid, clipping or progress bar: `integrate` loops, grids are arguments, and guidance wraps the
denoiser.
"""

from mezzotint.lazy import exported

from .adams_bashforth import DEIS, IPNDM, LMS, GradientEstimation
from .ancestral import Ancestral, DPMSolverSinglestepSDE
from .base import Sampler
from .combinators import EDMStochastic, LangevinCorrected, Renoised, WarmStarted
from .ddim import DDIM
from .ddpm import DDPM
from .ersde import ERSDE
from .exponential import DPMSolver, DPMSolverPP, ExponentialAdamsBashforth
from .mean_flow import MeanFlow
from .multistep import Multistep
from .predictor_corrector import BH1, BH2, SASolver, UniPC
from .runge_kutta import RK4, Euler, Heun, Midpoint, RungeKutta, Tableau
from .singlestep import DPMSolverSinglestep

__all__ = exported(globals())
