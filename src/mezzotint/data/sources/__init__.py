"""Datasets by name, from folders and from arrays."""
