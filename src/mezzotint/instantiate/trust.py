"""Which `_target_`s a config may name. A `_target_` is code that runs, so that of a config from elsewhere is judged.

A user's own words and config folders may name anything. A config that is read from a run may name the parts of this
package, a few kinds of classes of known packages, and what the user vouches for in the command itself. It is judged
twice: by its path before anything is imported, and by where it was defined before it is called, since a module may
hold a name that it imported itself.
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

PURE = ("mezzotint.diffusion", "mezzotint.networks")  # mathematics: every class, and every function that is exported
ROOMS = (*PURE, "mezzotint.data", "mezzotint.metrics", "mezzotint.training")
ROOTS = ("mezzotint.load",)  # functions of the package itself
KNOWN = {  # of other packages: classes with this base
    "torch.optim": "torch.optim.optimizer.Optimizer",
    "lightning.pytorch.callbacks": "lightning.pytorch.callbacks.callback.Callback",
    "lightning.pytorch.loggers": "lightning.pytorch.loggers.logger.Logger",
    "torchmetrics": "torchmetrics.metric.Metric",
}
NEEDED: dict[str, tuple[str, ...]] = {  # group -> the bases of which it needs one
    "data": ("mezzotint.data.dataset.Dataset",),
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
    "ema": ("mezzotint.training.callbacks.base.Callback",),
    "sampler": ("mezzotint.diffusion.samplers.base.Sampler",),
    "grid": ("mezzotint.diffusion.grids.spacings.Spacing",),
    "guidance": ("mezzotint.diffusion.guidance.base.Guidance",),
    "extractor": ("mezzotint.metrics.extractors.base.Extractor", "mezzotint.metrics.extractors.auto.AutoExtractor"),
    "metrics": ("mezzotint.metrics.metric.Metric",),
    "callbacks": ("mezzotint.training.callbacks.base.Callback", KNOWN["lightning.pytorch.callbacks"]),
    "logger": ("mezzotint.training.tracking.tracker.Tracker", KNOWN["lightning.pytorch.loggers"]),
    "hardware": ("mezzotint.training.hardware.hardware.Hardware",),
    "paths": ("mezzotint.app.config.job.Paths",),
}
PLACE = re.compile(r"(dir|path|folder|root)$")  # arguments that are places
METHODS = {"optimizer": ("build", "rate"), "guidance": ("__call__",)}  # what is enough instead, where no more is asked
NAMED = ("metrics", "callbacks", "logger")  # groups of several parts by name


class Untrusted(ConfigError):
    """A config from elsewhere that names what it may not."""


@dataclass(frozen=True)
class Trust:
    """What one command lets a config name.

    Args:
        strict: the config was read from a run, so what it names is judged.
        packages: which the user trusts by name.
        folders: of the user's own configs; classes that lie there are trusted.
        paths: `_target_`s that the user wrote in this command himself.
        run: the directory of the run that the config was read from.
        here: where the user's own modules are found, behind what is installed, if one of them is named.
    """

    strict: bool = False
    packages: tuple[str, ...] = ()
    folders: tuple[str, ...] = ()
    paths: tuple[str, ...] = ()
    run: str = ""
    here: tuple[str, ...] = ()

    def admit(self, path: str, where: str) -> None:
        """Judge a path, before anything is imported.

        Raises:
            Untrusted: what it names is not trusted.
        """
        if path.startswith("mezzotint."):
            if self.strict and not nameable(path) and path not in self.paths:
                raise Untrusted(f"{where}: {path!r} is no part that a config may name")
            return
        if within(path, KNOWN):
            return
        if self.strict and not self.vouched(path):
            raise Untrusted(f"{where}: {refusal(path)}")
        reach(self.here)

    def accept(self, found: Any, path: str, where: str) -> None:
        """Judge what a path led to, before it is called.

        Raises:
            Untrusted: it is another thing than its path says.
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
            raise Untrusted(f"{where}: {path!r} is no part that a config may name")

    def contain(self, path: str, given: Mapping[str, Any], where: str) -> None:
        """Judge the arguments of another package's part, which writes wherever they say.

        Raises:
            Untrusted: they lead out of the run.
        """
        known = within(path, KNOWN)
        if not self.strict or known is None or path in self.paths or within(path, self.packages):
            return
        for key, text in texts(given):
            if leads_away(key, text, self.run):
                raise Untrusted(
                    f"{where}: {key}={text!r} leads out of the run, and {path.rpartition('.')[2]} may write there. "
                    f"If that is meant: trust=[{known.partition('.')[0]}]"
                )

    def vouched(self, path: str) -> bool:
        return path in self.paths or bool(within(path, self.packages)) or self.lies_in_folder(find(path, self.here))

    def lies_in_folder(self, file: Path | None) -> bool:
        """Whether a module lies below a config folder, and not in a run that lies there too."""
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
    def of_dict(cls, told: dict[str, Any]) -> "Trust":
        return cls(**{key: tuple(value) if isinstance(value, list) else value for key, value in told.items()})


# ----------------------------------------------------------------------------------------------------- what is in force


@dataclass
class _Force:
    rule: Trust = field(default_factory=Trust)


_force = _Force()


def current() -> Trust:
    return _force.rule


@contextmanager
def trusting(rule: Trust) -> Iterator[None]:
    """Let a rule hold, in this whole process: what it forbids must not be had in another thread either."""
    before, _force.rule = _force.rule, rule
    try:
        yield
    finally:
        _force.rule = before


def vouch(paths: Sequence[str]) -> None:
    """Trust more `_target_`s that the user wrote, as long as the rule in force holds."""
    _force.rule = replace(_force.rule, paths=(*_force.rule.paths, *paths))


def reach(places: Sequence[str]) -> None:
    """Let modules be found there, behind what is installed, so that nothing is hidden."""
    sys.path.extend(place for place in places if place not in sys.path)


# ------------------------------------------------------------------------------------------------------------ judgement


def within(path: str, packages: Any) -> str | None:
    """The package among these that a dotted path lies in."""
    return next((package for package in packages if f"{path}.".startswith(f"{package}.")), None)


def texts(node: Any, key: str = "") -> Iterator[tuple[str, str]]:
    """Every text in a node that is not one of the nodes in it, with its key."""
    if isinstance(node, str):
        yield key, node
    elif isinstance(node, Mapping) and "_target_" not in node:
        for inner, value in node.items():
            yield from texts(value, str(inner))
    elif isinstance(node, (list, tuple)):
        for value in node:
            yield from texts(value, key)


def leads_away(key: str, text: str, run: str) -> bool:
    """Whether a text is a place outside of a folder: by how it begins, by what it leads through, or by its key."""
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
    """Whether a path of this package may lead to a part, judged without importing it."""
    package, _, name = path.rpartition(".")
    return bool(within(path, ROOMS)) or path in NEEDED["paths"] or (package == "mezzotint" and name.isidentifier())


def is_part(found: Any, home: str, path: str) -> bool:
    """A class of the rooms that is a part by its base, or is exported there; of mathematics, functions too."""
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
    """The dotted names of a class and all its bases; nothing is imported to compare them."""
    return (
        {f"{kind.__module__}.{kind.__qualname__}" for kind in inspect.getmro(found)}
        if inspect.isclass(found)
        else set()
    )


def refusal(path: str) -> str:
    package = path.partition(".")[0]
    return (
        f"the run's config names {path!r}, which is no part of mezzotint, and to build it is to run its code. "
        f"If you know that code: trust=[{package}], or --config-dir with the folder that it lies in"
    )


def find(path: str, more: Sequence[str] = ()) -> Path | None:
    """The file of the module, or the lowest package, that a dotted path leads through; nothing is imported."""
    places, file = [*sys.path, *more], None
    for name in path.split(".")[:-1]:
        spec = PathFinder.find_spec(name, places)  # by its own name: a namespace asks for parents that are not imported
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


# ---------------------------------------------------------------------------------------------- what a group is made of


def group_of(where: str) -> str | None:
    """The group whose part stands at a place of the config, if it is a part itself and nothing inside one."""
    group, dot, name = where.partition(".")
    whole = bool(name) and not set(name) & {".", "["} if group in NAMED else not dot
    return group if group in NEEDED and whole else None


def misfit(found: Any, where: str) -> str | None:
    """Why a class cannot be what its place in the config needs; None where it can, or where only calling it tells."""
    group = group_of(where)
    if group is None or not inspect.isclass(found) or set(NEEDED[group]) & bases(found):
        return None
    if group in METHODS and set(METHODS[group]) <= set(dir(found)):
        return None
    needed = " or ".join(base.rpartition(".")[2] for base in NEEDED[group])
    article = "an" if needed[0] in "AEIOU" else "a"
    return f"{where}: {found.__name__} is not {article} {needed}, which {group}= needs"
