"""Trust in `_target_`s, which are code that runs: those that the config of a run names are checked.

The command line and the user's own config folders may name anything. The config of a run may name the components of
this package, a few kinds of classes of known packages, and whatever the user trusts in the command. Each `_target_` is
checked twice: by its path before anything is imported, and by the module that defines it before it is called, since a
module may also hold names that it imported.
"""

import inspect
import os
import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from importlib import import_module
from importlib.machinery import PathFinder
from pathlib import Path
from typing import Any

from mezzotint.errors import ConfigError

PURE = ("mezzotint.diffusion", "mezzotint.networks")  # every class, and every exported function
ROOMS = (*PURE, "mezzotint.data", "mezzotint.metrics", "mezzotint.training")
ROOTS = ("mezzotint.load",)  # functions of the package
KNOWN = {  # packages, of which classes with this base
    "torch.optim": "torch.optim.optimizer.Optimizer",
    "lightning.pytorch.callbacks": "lightning.pytorch.callbacks.callback.Callback",
    "lightning.pytorch.loggers": "lightning.pytorch.loggers.logger.Logger",
    "torchmetrics": "torchmetrics.metric.Metric",
}
NEEDED: dict[str, tuple[str, ...]] = {  # group -> its base classes
    "data": ("mezzotint.data.dataset.Dataset",),
    "codec": ("mezzotint.data.codecs.base.Codec",),
    "network": ("torch.nn.modules.module.Module",),
    "schedule": ("mezzotint.diffusion.schedules.continuous.Schedule",),
    "target": ("mezzotint.diffusion.targets.Target",),
    "c_noise": ("mezzotint.diffusion.preconditioning.NoiseConditioning",),
    "c_in": ("mezzotint.diffusion.preconditioning.InputScale",),
    "objective": ("torch.nn.modules.module.Module",),
    "time_distribution": ("mezzotint.diffusion.objective.times.base.TimeDistribution",),
    "loss_weight": ("mezzotint.diffusion.objective.weights.LossWeight",),
    "loss": ("mezzotint.diffusion.objective.losses.Loss",),
    "optimizer": ("mezzotint.training.optimizers.OptimizerSettings",),
    "lr_schedule": ("mezzotint.training.lr_schedules.LRSchedule",),
    "ema": ("mezzotint.training.callbacks.ema.WeightAverages",),
    "sampler": ("mezzotint.diffusion.samplers.base.Sampler",),
    "grid": ("mezzotint.diffusion.grids.spacings.Spacing",),
    "guidance": ("mezzotint.diffusion.guidance.base.Guidance",),
    "task": ("mezzotint.generation.editing.base.EditTask",),
    "method": ("mezzotint.diffusion.measurement.RestorationMethod",),
    "extractor": ("mezzotint.metrics.extractors.base.Extractor", "mezzotint.metrics.extractors.auto.AutoExtractor"),
    "metrics": ("mezzotint.metrics.metric.Metric",),
    "callbacks": ("mezzotint.training.callbacks.base.Callback", KNOWN["lightning.pytorch.callbacks"]),
    "logger": ("mezzotint.training.tracking.tracker.Tracker", KNOWN["lightning.pytorch.loggers"]),
    "hardware": ("mezzotint.training.hardware.hardware.Hardware",),
    "paths": ("mezzotint.app.config.job.Paths",),
}
PLACE = re.compile(r"(dir|path|folder|root)$")  # names of arguments that are paths


class Untrusted(ConfigError):
    """A run's config that names a `_target_` it may not."""


@dataclass(frozen=True)
class Trust:
    """The `_target_`s that one command allows in a config.

    Args:
        strict: the config was read from a run, so its `_target_`s are checked.
        packages: names of packages that the user trusts.
        folders: of the user's own configs; classes defined in them are trusted.
        paths: `_target_`s in the command itself.
        run: the directory of the run that the config was read from.
        here: folders of the user's own modules, appended to `sys.path` if a config names one of them.
    """

    strict: bool = False
    packages: tuple[str, ...] = ()
    folders: tuple[str, ...] = ()
    paths: tuple[str, ...] = ()
    run: str = ""
    here: tuple[str, ...] = ()

    def admit(self, path: str, where: str) -> None:
        """Check a path, before anything is imported.

        Raises:
            Untrusted: it is not trusted.
        """
        if path.startswith("mezzotint."):
            if self.strict and not nameable(path) and path not in self.paths:
                raise Untrusted(f"{where}: {path!r} is not a component that a config may name")
            return
        if within(path, KNOWN):
            return
        if self.strict and not self.vouched(path):
            raise Untrusted(f"{where}: {refusal(path)}")
        reach(self.here)

    def accept(self, found: Any, path: str, where: str) -> None:
        """Check the object found at a path, before it is called.

        Raises:
            Untrusted: it is defined elsewhere, or is not a component.
        """
        if not self.strict or path in self.paths:
            return
        home = str(getattr(found, "__module__", ""))
        if path.startswith("mezzotint."):
            good = is_part(found, home, path)
        elif package := within(path, KNOWN):
            good = KNOWN[package] in bases(found) and within(home, KNOWN) == package
        else:
            good = bool(within(home, self.packages)) or self.lies_in_folder(file_of(home))
        if not (good or (within(path, self.packages) and within(home, self.packages))):
            raise Untrusted(f"{where}: {path!r} is not a component that a config may name")

    def contain(self, path: str, given: Mapping[str, Any], where: str) -> None:
        """Check the arguments of another package's class, which may write to any path among them.

        Raises:
            Untrusted: one leads out of the run.
        """
        known = within(path, KNOWN)
        if not self.strict or known is None or path in self.paths or within(path, self.packages):
            return
        for key, text in texts(given):
            if leads_away(key, text, self.run):
                raise Untrusted(
                    f"{where}: {key}={text!r} leads out of the run, and {path.rpartition('.')[2]} may write there. "
                    f"To allow it: trust=[{known.partition('.')[0]}]"
                )

    def vouched(self, path: str) -> bool:
        return path in self.paths or bool(within(path, self.packages)) or self.lies_in_folder(find(path, self.here))

    def lies_in_folder(self, file: Path | None) -> bool:
        """Return whether a module is below one of the config folders, but not inside a run there."""
        if file is None:
            return False
        for folder in map(Path, self.folders):
            for one, root in ((file.absolute(), folder.absolute()), (file.resolve(), folder.resolve())):
                if one.is_relative_to(root):
                    between = [place for place in one.parents if place.is_relative_to(root)]
                    return not any(is_run(place) for place in between)
        return False

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def of_dict(cls, saved: dict[str, Any]) -> "Trust":
        return cls(**{key: tuple(value) if isinstance(value, list) else value for key, value in saved.items()})


# ---------------------------------------------------------------------------------------------------- the rule in force


@dataclass
class _Force:
    rule: Trust = field(default_factory=Trust)


_force = _Force()


def current() -> Trust:
    return _force.rule


@contextmanager
def trusting(rule: Trust) -> Iterator[None]:
    """Apply a rule in this process, in all of its threads."""
    before, _force.rule = _force.rule, rule
    try:
        yield
    finally:
        _force.rule = before


def vouch(paths: Sequence[str]) -> None:
    """Add trusted `_target_`s to the rule in force."""
    _force.rule = replace(_force.rule, paths=(*_force.rule.paths, *paths))


def reach(places: Sequence[str]) -> None:
    """Append folders to `sys.path`, behind installed packages, so that they hide none of them."""
    sys.path.extend(place for place in places if place not in sys.path)


# ------------------------------------------------------------------------------------------------------------ checks


def within(path: str, packages: Any) -> str | None:
    """Return the one of these packages that contains a dotted path."""
    return next((package for package in packages if f"{path}.".startswith(f"{package}.")), None)


def texts(node: Any, key: str = "") -> Iterator[tuple[str, str]]:
    """Yield every string in a node with its key, except those of nested `_target_` nodes."""
    match node:
        case str():
            yield key, node
        case Mapping() if "_target_" not in node:
            for inner, value in node.items():
                yield from texts(value, str(inner))
        case list() | tuple():
            for value in node:
                yield from texts(value, key)


def leads_away(key: str, text: str, run: str) -> bool:
    """Return whether a string is a path out of the run: by its beginning, its parts or its key."""
    scheme, colon, rest = text.partition(":")
    if colon and scheme.isalpha() and rest.startswith("//"):
        text = rest[3:] if scheme == "sqlite" else rest[2:]  # sqlite:///here.db, sqlite:////there/it.db
        if scheme not in ("file", "sqlite"):
            return False  # a server
    elif colon and scheme == "file":
        text = rest
    place = os.path.realpath(os.path.expanduser(text)) if "\0" not in text else "/"
    root = os.path.realpath(run) if run else None
    if root and (place == root or place.startswith(f"{root}{os.sep}")):
        return False
    return text[:1] in ("/", "~") or ".." in Path(text).parts or bool(PLACE.search(key))


def nameable(path: str) -> bool:
    """Return whether a path of this package may name a component, without importing it."""
    package, _, name = path.rpartition(".")
    return bool(within(path, ROOMS)) or path in NEEDED["paths"] or (package == "mezzotint" and name.isidentifier())


def is_part(found: Any, home: str, path: str) -> bool:
    """Return whether an object is a component: a class with a component's base, or an export of its package."""
    if path in ROOTS:
        return home == "mezzotint.runs.load"
    room = within(home, ROOMS)
    if room is None:
        return path in NEEDED["paths"] and home == path.rpartition(".")[0]
    exported = found.__name__ in import_module(room).__all__
    if not inspect.isclass(found):
        return exported and room in PURE
    return exported or room in PURE or any(set(needed) & bases(found) for needed in NEEDED.values())


def bases(found: Any) -> set[str]:
    """Return the dotted names of a class and its bases, to compare without importing."""
    return (
        {f"{kind.__module__}.{kind.__qualname__}" for kind in inspect.getmro(found)}
        if inspect.isclass(found)
        else set()
    )


def refusal(path: str) -> str:
    package = path.partition(".")[0]
    return (
        f"the run's config names {path!r}, which is not part of mezzotint, and building it runs its code. "
        f"If you trust that code: trust=[{package}], or --config-dir with the folder that contains it"
    )


def find(path: str, more: Sequence[str] = ()) -> Path | None:
    """Return the file of the module, or innermost package, of a dotted path, without importing anything."""
    places, file = [*sys.path, *more], None
    for name in path.split(".")[:-1]:
        spec = PathFinder.find_spec(name, places)  # by its last name: namespace packages need imported parents
        if spec is None:
            return None
        places = [str(place) for place in spec.submodule_search_locations or ()]
        file = Path(spec.origin) if spec.has_location and spec.origin else Path(places[0]) / "_" if places else None
    return file


def file_of(module: str) -> Path | None:
    file = getattr(sys.modules.get(module), "__file__", None)
    return Path(file) if file else None


def is_run(folder: Path) -> bool:
    """Return whether a folder is a run. Names its files itself: mezzotint.runs builds on this module."""
    return (folder / "config.yaml").is_file() and (
        (folder / "status.json").exists() or (folder / "checkpoints").exists()
    )
