"""Run directories: the files of a run by name, their formats, checkpoints, and loading a trained denoiser."""

from mezzotint.runs.directory import RunDir

__all__ = ["RunDir"]
