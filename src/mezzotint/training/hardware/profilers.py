"""Lightning's profilers by name, with their reports in the run."""

from pathlib import Path

from lightning.pytorch.profilers import AdvancedProfiler, Profiler, PyTorchProfiler, SimpleProfiler

from mezzotint.runs import RunDir

PROFILERS = {"simple": SimpleProfiler, "advanced": AdvancedProfiler, "pytorch": PyTorchProfiler}


def named_profiler(name: str | None, directory: Path) -> Profiler | None:
    """Return a profiler that reports to profile/ of a run: durations of hooks, of functions, or a trace of torch."""
    if name is None:
        return None
    return PROFILERS[name](dirpath=RunDir(directory).profile, filename=name)
