"""Arrays in files: where their numbers lie, reading some of them at a time, and the moments of their channels."""
