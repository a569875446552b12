"""Sampling grids: the levels that a sampler visits, from noise to data."""
