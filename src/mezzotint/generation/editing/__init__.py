"""Edits of given examples: inverse problems, SDEdit, inversion, interpolation and variations."""
