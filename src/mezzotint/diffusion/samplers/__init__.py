"""Samplers: each a frozen object that steps x from one level to the next.

Nearly all are one formula. With x0 and eps the prediction at `now` (alpha, sigma), and primes for `next`,

    x' = alpha' x0 + sqrt(sigma'^2 - v) eps + sum_j w_j (f_j - f_0) + sqrt(v) z.

v is the variance of fresh noise: 0 for the probability-flow ODE, the posterior's for ancestral sampling. The w_j
weigh what earlier (or inner, or later) predictions f_j, of x0 or eps, differ from this one: none of them gives DDIM
and DDPM. Written so, both ends are exact for all: at alpha = 0 there is nothing earlier, at sigma' = 0 remains x0.

No loop, grid, clip or progress bar in here: `integrate` loops, grids are given, guidance wraps the denoiser.
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
from .multistep import Multistep
from .predictor_corrector import BH1, BH2, SASolver, UniPC
from .runge_kutta import RK4, Euler, Heun, Midpoint, RungeKutta, Tableau
from .singlestep import DPMSolverSinglestep

__all__ = exported(globals())
