"""`mezzotint ema run=DIR std=0.1`: an average of the weights of any length, made of a run's snapshots."""

from collections.abc import Sequence
from pathlib import Path

from mezzotint.app.config.compose import pointed
from mezzotint.app.terminal import display_path
from mezzotint.errors import ConfigError
from mezzotint.runs import RunDir

KEYS = ("run", "std", "out")
USAGE = "mezzotint ema run=runs/latest std=0.1"


def main(words: Sequence[str]) -> None:
    """Write an average for each length and print its path.

    Raises:
        ConfigError: the words are others, the run has no snapshots, or no average is as long.
    """
    given = dict(word.split("=", 1) for word in words if word.partition("=")[0] in KEYS and "=" in word)
    if unknown := [word for word in words if word.partition("=")[0] not in given]:
        raise ConfigError(f"{unknown[0]}: ema takes only run=, std= and out=: {USAGE}")
    if not given.get("run") or not given.get("std"):
        raise ConfigError(f"which run, and which length? Give both: {USAGE}")
    run, stds = RunDir(pointed(Path(given["run"]).expanduser())), [number(text) for text in given["std"].split(",")]
    run.config()
    out = given.get("out")
    if out and (len(stds) > 1 or not out.endswith(".safetensors")):
        raise ConfigError(f"out={out}: give a file that ends with .safetensors, which takes a single std=")
    from mezzotint.runs.snapshots import tracked, write_average

    for std in stds:
        file = Path(out).expanduser() if out else run.snapshots / f"std-{std:g}.safetensors"
        step = write_average(file, run, std)
        shown = display_path(run.path)
        print(f"{display_path(file)} (step {step}; `mezzotint sample run={shown} ema.std={std:g}` samples from it)")
        least, most = min(tracked(run)), max(tracked(run))
        if not least <= std <= most:
            print(f"std={std:g} is outside the tracked lengths, {least:g} to {most:g}: it is a rough reconstruction")


def number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise ConfigError(f"std={text}: give a number such as 0.1, or several as std=0.05,0.1") from None
