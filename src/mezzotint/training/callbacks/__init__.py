"""The callbacks of a run, one a file."""
