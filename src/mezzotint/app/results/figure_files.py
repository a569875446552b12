"""Files of a figure: their names from out=, whether they can be written, and how they are."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from mezzotint.app.results import run_folders
from mezzotint.app.terminal import display_path
from mezzotint.atomic import atomic_path
from mezzotint.errors import ConfigError

if TYPE_CHECKING:
    from matplotlib.figure import Figure

FORMATS = (".png", ".svg", ".pdf")


def paths(out: str | None, formats: Sequence[str] = FORMATS) -> list[Path]:
    """Return the files of out=a.png,b.svg. Raises ConfigError: an ending that is no format."""
    files = [Path(name).expanduser() for name in (out or "").split(",") if name]
    for file in files:
        if file.suffix not in formats or file.is_dir():
            raise ConfigError(f"out={file}: give a file name that ends in {', '.join(formats[:-1])} or {formats[-1]}")
    return files


def saved(figure: "Figure") -> Callable[[Path, str], object]:
    """Return a function that writes the figure to a file of a format."""
    return lambda file, kind: figure.savefig(file, format=kind, dpi=160, bbox_inches="tight", pad_inches=0.1)


def writable(files: Sequence[Path]) -> None:
    """Refuse folders that cannot be written, before anything is drawn. Raises ConfigError."""
    for file in files:
        try:
            run_folders.writable(file.parent)
        except ConfigError:
            raise ConfigError(f"{file.parent} cannot be written; name a file elsewhere: out=FILE") from None


def write(files: Sequence[Path], make: Callable[[Path, str], object]) -> None:
    """Write each file atomically and print its path."""
    for file in files:
        file.parent.mkdir(parents=True, exist_ok=True)
        with atomic_path(file) as part:
            make(part, file.suffix[1:])
        print(display_path(file))
