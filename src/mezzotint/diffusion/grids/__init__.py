"""Sampling grids: the levels that a sampler visits, from noise to data."""

from mezzotint.lazy import exported

from .adapted import AutoSpacing, SnapToTable
from .beta_quantiles import BetaQuantiles
from .noise_levels import Karras, UniformAngle, UniformLogSNR
from .resampling import RePaint, Restart
from .spacings import ExplicitTimes, Grid, Spacing
from .table_entries import Leading, Linspace, LinspaceOpen, Quadratic, Trailing

__all__ = exported(globals())
