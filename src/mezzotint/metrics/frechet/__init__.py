"""Fréchet distances between Gaussian fits of features: FID and its relatives."""
