"""`mezzotint plot GROUP=a,b,...`: the choices of a group side by side, as a picture. Here a comma means beside.

Hydra, for which a comma means one after the other, has no part in it: a choice is a YAML file that is a call.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from mezzotint.app.help import choices, config_dir
from mezzotint.app.terminal import shown
from mezzotint.build import build, check, nearest
from mezzotint.errors import ConfigError

if TYPE_CHECKING:
    from matplotlib.figure import Figure

DRAWN = ("weight", "times", "grid", "schedule")  # the first of these with several choices is what is drawn
BESIDE = {"schedule": "cosine", "target": "velocity", "times": "uniform"}  # what else has a part in the picture
OUT = "out"  # the file; its ending says whether PNG, SVG or PDF


def main(words: Sequence[str]) -> None:
    """Draw what GROUP=a,b,... or run=DIR names, GROUP.KEY=VALUE changing each choice, and print the path."""
    given = read(words)
    figure, name = of_run(given) if "run" in given else of_groups(given)
    path = Path(given.get(OUT) or f"runs/plots/{name}.png")
    if path.suffix not in (".png", ".svg", ".pdf"):
        raise ConfigError(f"out={path}: give a file name that ends in .png, .svg or .pdf")
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=160)
    print(shown(path))


def read(words: Sequence[str]) -> dict[str, str]:
    given = dict(word.lstrip("+").partition("=")[::2] for word in words)
    known = ("run", OUT, *DRAWN, "target")
    for key in given:
        if key.partition(".")[0] not in known:
            raise ConfigError(f"{key}: there is nothing to plot{nearest(key, known)} ({', '.join(known)})")
    return given


def of_run(given: dict[str, str]) -> tuple["Figure", str]:
    from mezzotint.generation import plot_loss

    try:
        return plot_loss(given["run"]), f"{Path(given['run']).resolve().name}-loss"
    except ValueError as error:
        raise ConfigError(str(error)) from error


def of_groups(given: dict[str, str]) -> tuple["Figure", str]:
    from mezzotint.generation import plot_grids, plot_schedules, plot_times, plot_weights

    kind = next((group for group in DRAWN if "," in given.get(group, "")), None)
    kind = kind or next((group for group in DRAWN if group in given), "schedule")
    names = given.get(kind, "linear,cosine,sigmoid,rectified").split(",")
    many = {name: part(kind, name, given) for name in names}
    others = [group for group in BESIDE if group != kind]
    one = {group: part(group, given.get(group, BESIDE[group]), given) for group in others}
    draw: dict[str, Any] = {
        "schedule": lambda: plot_schedules(many),
        "grid": lambda: plot_grids(many, one["schedule"]),
        "times": lambda: plot_times(many, one["schedule"]),
        "weight": lambda: plot_weights(many, one["schedule"], one["target"], one["times"]),
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
        raise ConfigError(f"{group}={name}: no such choice{nearest(name, known)} ({', '.join(known)})")
    node = yaml.safe_load(file.read_text())
    changes = {key.partition(".")[2]: value for key, value in given.items() if key.startswith(f"{group}.")}
    node |= {key: yaml.safe_load(value) for key, value in changes.items()}
    problems = check(node, group)
    if problems:
        raise ConfigError("\n  ".join(problems))
    return build(node, group)
