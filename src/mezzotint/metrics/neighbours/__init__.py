"""Nearest-neighbour metrics over features: precision and recall, density and coverage, memorisation."""
