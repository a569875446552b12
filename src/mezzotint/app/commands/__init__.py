"""The commands of `mezzotint`, one a file."""
