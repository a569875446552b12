"""Packages of others that are imported, but not run until something is read from them that needs them."""

import sys
from collections.abc import Callable, Mapping, Sequence
from importlib import import_module
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder
from threading import RLock
from types import ModuleType
from typing import Any

Answers = Mapping[str, Callable[[], Any]]


def defer(module: str, answers: Answers, *, alone: bool = True) -> None:
    """From now on, import a module without running it, until a name is read from it that `answers` lacks.

    Nothing happens where it has been imported already.

    Args:
        answers: how the names are answered that do not need the rest of it.
        alone: whether submodules of a package can be imported without it; otherwise the first of them runs it.
    """
    if module not in sys.modules:
        sys.meta_path.insert(0, DeferringFinder(module, answers, alone))


class DeferringFinder(MetaPathFinder):
    """Finds one module as Python does, and has a DeferringLoader load it."""

    def __init__(self, module: str, answers: Answers, alone: bool) -> None:
        self.module, self.answers, self.alone = module, answers, alone

    def find_spec(
        self, fullname: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if fullname == self.module:
            spec = PathFinder.find_spec(fullname, path, target)
            if spec is not None and spec.loader is not None:
                spec.loader = DeferringLoader(spec.loader, self.answers)
            return spec
        if not self.alone and fullname.startswith(f"{self.module}.") and self.module in DEFERRED:
            run(self.module)
            if fullname in sys.modules:  # which the package has imported by itself
                return Present(sys.modules[fullname]).spec
        return None


class DeferringLoader(Loader):
    """Makes a module that answers for itself what it can, and is run when it cannot."""

    def __init__(self, loader: Loader, answers: Answers) -> None:
        self.loader, self.answers = loader, answers
        self.lock, self.running = RLock(), False

    def create_module(self, spec: ModuleSpec) -> ModuleType | None:
        return self.loader.create_module(spec)

    def exec_module(self, module: ModuleType) -> None:
        def get(name: str) -> Any:
            if name in self.answers and not self.running:
                return self.answers[name]()
            if not name.startswith("__"):
                self.run(module)
            if name in vars(module):
                return vars(module)[name]
            raise AttributeError(f"module {module.__name__!r} has no attribute {name!r}")

        DEFERRED[module.__name__] = self
        module.__getattr__ = get  # type: ignore[method-assign]
        if module.__spec__ is not None:
            module.__spec__.loader = module.__loader__ = self.loader

    def run(self, module: ModuleType) -> None:
        """Execute the module in the one that stood for it. Another thread waits; the module itself does not."""
        with self.lock:
            if self.running or module.__name__ not in DEFERRED:
                return
            self.running = True
            try:
                self.loader.exec_module(module)
                del DEFERRED[module.__name__], module.__getattr__
            finally:
                self.running = False


class Present(Loader):
    """Loader of a module that was executed while Python looked for it, when Python takes the spec of the module."""

    def __init__(self, module: ModuleType) -> None:
        self.module, self.own = module, module.__spec__
        self.spec = ModuleSpec(module.__name__, self)
        vars(module)["__spec__"] = self.spec  # a module of settings, as torch._dynamo.config, refuses other names

    def create_module(self, spec: ModuleSpec) -> ModuleType | None:
        return self.module

    def exec_module(self, module: ModuleType) -> None:
        vars(module)["__spec__"] = self.own


DEFERRED: dict[str, DeferringLoader] = {}


def run(module: str) -> ModuleType:
    """Run a module unless it has been run; return it."""
    found = import_module(module)
    if module in DEFERRED:
        DEFERRED[module].run(found)
    return found


def has_run(module: str) -> bool:
    """Return whether a module has been imported and run."""
    return module in sys.modules and module not in DEFERRED


def from_submodules(package: str, homes: Mapping[str, str]) -> Answers:
    """Answer names of a package from its submodules.

    Args:
        homes: each name's submodule.
    """

    def of(name: str, home: str) -> Callable[[], Any]:
        return lambda: getattr(import_module(f"{package}.{home}"), name)

    return {name: of(name, home) for name, home in homes.items()}
