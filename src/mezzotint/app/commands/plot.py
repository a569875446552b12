"""`mezzotint plot GROUP=a,b,...` and `mezzotint plot run=DIR ...`: pictures of parts side by side, and of a run.

Here a comma means beside. A group's choice is a YAML file that is a call, for which Hydra is not needed; what a run is
drawn with is composed by Hydra, see plot_run.
"""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from mezzotint.app.help import choices, config_dir
from mezzotint.app.results import run_folders
from mezzotint.app.terminal import display_path
from mezzotint.atomic import atomic_path
from mezzotint.errors import ConfigError
from mezzotint.instantiate.build import build, check
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
FORMATS = (".png", ".svg", ".pdf")


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


def paths(out: str | None, formats: Sequence[str] = FORMATS) -> list[Path]:
    """The files of out=a.png,b.svg."""
    files = [Path(name).expanduser() for name in (out or "").split(",") if name]
    for file in files:
        if file.suffix not in formats or file.is_dir():
            raise ConfigError(f"out={file}: give a file name that ends in {', '.join(formats[:-1])} or {formats[-1]}")
    return files


def saved(figure: "Figure") -> Callable[[Path, str], object]:
    """What writes a figure to a file of a format."""
    return lambda file, kind: figure.savefig(file, format=kind, dpi=160, bbox_inches="tight", pad_inches=0.1)


def writable(files: Sequence[Path]) -> None:
    """Refuse places that cannot be written, before anything is drawn for them."""
    for file in files:
        try:
            run_folders.writable(file.parent)
        except ConfigError:
            raise ConfigError(f"{file.parent} cannot be written; name a file elsewhere: out=FILE") from None


def write(files: Sequence[Path], make: Callable[[Path, str], object]) -> None:
    """Write each file whole or not at all, and say where it is."""
    for file in files:
        file.parent.mkdir(parents=True, exist_ok=True)
        with atomic_path(file) as part:
            make(part, file.suffix[1:])
        print(display_path(file))


def read(words: Sequence[str]) -> dict[str, str]:
    known = ("run", OUT, *DRAWN, "target")
    if strange := [word for word in words if word in known]:
        raise ConfigError(f"{strange[0]!r} is not key=value")
    given = dict(word.lstrip("+").partition("=")[::2] for word in words)
    if "kind" in given:
        raise ConfigError("kind= is of a run: give run=DIR too, such as run=runs/latest")
    for key in given:
        if key.partition(".")[0] not in known:
            raise ConfigError(f"{key}: there is nothing to plot{did_you_mean(key, known)} ({', '.join(known)})")
    return given


def of_groups(given: dict[str, str]) -> tuple["Figure", str]:
    from mezzotint.figures import plot_grids, plot_schedules, plot_times, plot_weights

    kind = next((group for group in DRAWN if "," in given.get(group, "")), None)
    kind = kind or next((group for group in DRAWN if group in given), "schedule")
    names = given.get(kind, "linear,cosine,sigmoid,rectified").split(",")
    many = {name: part(kind, name, given) for name in names}
    others = [group for group in BESIDE if group != kind]
    one = {group: part(group, given.get(group, BESIDE[group]), given) for group in others}
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


def part(group: str, name: str, given: dict[str, str]) -> Any:
    """One choice of a group, with what the words change in it."""
    file = config_dir() / group / f"{name}.yaml"
    if not file.is_file():
        known = choices(file.parent)
        raise ConfigError(f"{group}={name}: no such choice{did_you_mean(name, known)} ({', '.join(known)})")
    node = yaml.safe_load(file.read_text())
    changes = {key.partition(".")[2]: value for key, value in given.items() if key.startswith(f"{group}.")}
    for key, value in changes.items():
        change(node, key.split("."), yaml.safe_load(value))
    problems = check(node, group)
    if problems:
        raise ConfigError("\n  ".join(problems))
    return build(node, group)


def change(node: dict[str, Any], keys: Sequence[str], value: Any) -> None:
    """Set what a dotted key leads to; one that leads nowhere is left for `check` to tell of."""
    first, *rest = keys
    if rest and isinstance(node.get(first), dict):
        change(node[first], rest, value)
    else:
        node[".".join(keys)] = value
