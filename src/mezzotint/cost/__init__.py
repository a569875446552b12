"""The cost of a network before training: parameters, operations and memory. Used by `mezzotint check`."""
