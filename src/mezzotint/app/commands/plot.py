"""`mezzotint plot GROUP=a,b,...` and `mezzotint plot run=DIR ...`: pictures of parts side by side, and of a run.

Here a comma means beside. A group's choice is a YAML file that is a call, for which Hydra is not needed; what a run is
drawn with is composed by Hydra, see plot_run.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mezzotint.app.config.choices import built_choice
from mezzotint.app.results import run_folders
from mezzotint.app.results.figure_files import paths, saved, writable, write
from mezzotint.errors import ConfigError
from mezzotint.instantiate.locate import did_you_mean
from mezzotint.runs import RunDir

if TYPE_CHECKING:
    from matplotlib.figure import Figure

DRAWN = (
    "loss_weight",
    "time_distribution",
    "grid",
    "schedule",
)  # the first of these with several choices is what is drawn
BESIDE = {
    "schedule": "cosine",
    "target": "velocity",
    "time_distribution": "uniform",
}  # what else has a part in the picture
OUT = "out"  # the files; their endings say whether PNG, SVG or PDF


def main(words: Sequence[str]) -> None:
    """Draw what GROUP=a,b,... or run=DIR names, GROUP.KEY=VALUE changing each choice, and print the paths."""
    words = [f"run={word}" if RunDir(Path(word)).exists() else word for word in words]
    if any(word.startswith("run=") for word in words):
        from mezzotint.app.commands import plot_run

        plot_run.main(words)
        return
    given = read(words)
    files = paths(given.get(OUT))
    figure, name = of_groups(given)
    files = files or [run_folders.folder() / "plots" / f"{name}.png"]
    writable(files)
    write(files, saved(figure))


def read(words: Sequence[str]) -> dict[str, str]:
    known = ("run", OUT, *DRAWN, "target")
    if strange := [word for word in words if word in known]:
        raise ConfigError(f"{strange[0]!r} is not key=value")
    given = {key: value for key, _, value in (word.lstrip("+").partition("=") for word in words)}
    if "kind" in given:
        raise ConfigError("kind= needs a run: give run=DIR too, such as run=runs/latest")
    for key in given:
        if key.partition(".")[0] not in known:
            raise ConfigError(f"{key}: there is nothing to plot{did_you_mean(key, known)} ({', '.join(known)})")
    return given


def of_groups(given: dict[str, str]) -> tuple["Figure", str]:
    from mezzotint.figures import plot_grids, plot_schedules, plot_times, plot_weights

    kind = next((group for group in DRAWN if "," in given.get(group, "")), None)
    kind = kind or next((group for group in DRAWN if group in given), "schedule")
    names = given.get(kind, "linear,cosine,sigmoid,rectified").split(",")
    many = {name: built_choice(kind, name, given) for name in names}
    others = [group for group in BESIDE if group != kind]
    one = {group: built_choice(group, given.get(group, BESIDE[group]), given) for group in others}
    draw: dict[str, Any] = {
        "schedule": lambda: plot_schedules(many),
        "grid": lambda: plot_grids(many, one["schedule"]),
        "time_distribution": lambda: plot_times(many, one["schedule"]),
        "loss_weight": lambda: plot_weights(many, one["schedule"], one["target"], one["time_distribution"]),
    }
    try:
        return draw[kind](), "-".join([kind, *names])
    except ValueError as error:
        raise ConfigError(f"{kind}: {error}") from error
