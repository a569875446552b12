"""Weights in the formats of other programs: the name and layout of each tensor there, and how files are read.

A format is a function from a network of this package to its entries, one for each of its tensors; the same entries
serve both directions.
"""
