"""Sampling grids: the levels that a sampler visits, from noise to data."""

from mezzotint.lazy import exported

from .resampling import RePaint, Restart
from .spacings import (
    AutoSpacing,
    BetaQuantiles,
    ExplicitTimes,
    Grid,
    Karras,
    Leading,
    Linspace,
    LinspaceOpen,
    Quadratic,
    SnapToTable,
    Spacing,
    Trailing,
    UniformAngle,
    UniformLogSNR,
)

__all__ = exported(globals())
