"""Run directories: the files of a run, their formats, checkpoints, and loading a trained denoiser."""
