"""What a network costs before it is trained: operations, parameters, memory. Used by `mezzotint check`."""
