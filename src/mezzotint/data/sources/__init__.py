"""Dataset classes: published datasets, image folders and arrays."""
