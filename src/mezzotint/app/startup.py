"""Less time from the command to the first step: what no command uses is not run, and collection waits for training.

Lightning imports all of torchmetrics for a version and two base classes, and with it torchvision, scipy.signal and
matplotlib; Lightning, and every optimizer of torch, import torch's compiler to say that nothing of theirs is compiled.
Measured on one core, in seconds of CPU to the end of the first step: 5.4 without this module, 2.9 with it, and torch
alone takes 1.4 of them.
"""

import gc
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import wraps
from logging import getLogger
from types import FunctionType, ModuleType
from typing import Any

from mezzotint.deferred import defer, from_submodules, has_run, run

COMPILER, METRICS, PLOTS = "torch._dynamo", "torchmetrics", "torchmetrics.utilities.plot"
HOMES = {"__version__": "__about__", "Metric": "utilities.checks", "MetricCollection": "collections"}
USUAL = gc.get_threshold()
OBJECTS = 50_000  # that are made until the garbage collector looks at them; 700 by default


@contextmanager
def rare_collection() -> Iterator[None]:
    """Let the garbage collector look rarely: imports make a million objects that stay, and a third of the time to the
    first step went into looking through them.
    """
    gc.set_threshold(OBJECTS, *USUAL[1:])
    try:
        yield
    finally:
        usual_collection()


def usual_collection() -> None:
    """Let the garbage collector look as often as Python's default is."""
    gc.set_threshold(*USUAL)


def defer_packages() -> None:
    """Defer torchmetrics and torch's compiler in this process, as far as they have not been imported."""
    defer(METRICS, {**from_submodules(METRICS, HOMES), "_logger": lambda: getLogger(METRICS)})
    defer(PLOTS, {"_AX_TYPE": lambda: Any, "_PLOT_OUT_TYPE": lambda: Any, "plot_single_or_multi_val": lambda: plot})
    of_compiler = {"graph_break": graph_break, "disable": disable, "OptimizedModule": OptimizedModule}
    defer(COMPILER, {name: answer(value) for name, value in of_compiler.items()}, alone=False)


def answer(value: Any) -> Callable[[], Any]:
    return lambda: value


def plot(*args: Any, **kwargs: Any) -> Any:
    """`plot_single_or_multi_val` of torchmetrics, which imports matplotlib."""
    return run(PLOTS).plot_single_or_multi_val(*args, **kwargs)


def compiler() -> ModuleType | None:
    """Torch's compiler where something has run it, else None: then nothing is compiled."""
    return run(COMPILER) if has_run(COMPILER) else None


def graph_break(*args: Any, **kwargs: Any) -> None:
    """`torch._dynamo.graph_break`, which does nothing where nothing is compiled."""
    if there := compiler():
        there.graph_break(*args, **kwargs)


def disable(fn: Any = None, *args: Any, **kwargs: Any) -> Any:
    """`torch._dynamo.disable`: the function unchanged, until something is compiled."""
    if not isinstance(fn, FunctionType):
        return run(COMPILER).disable(fn, *args, **kwargs)
    disabled: list[Callable[..., Any]] = []

    @wraps(fn)
    def call(*given: Any, **named: Any) -> Any:
        if not disabled and (there := compiler()):
            disabled.append(there.disable(fn, *args, **kwargs))
        return (disabled[0] if disabled else fn)(*given, **named)

    return call


class OfCompiler(type):
    """Metaclass that leaves the answer to the compiler's own class, if there is one."""

    def __instancecheck__(cls, instance: object) -> bool:
        there = compiler()
        return there is not None and isinstance(instance, there.OptimizedModule)


class OptimizedModule(metaclass=OfCompiler):
    """`torch._dynamo.OptimizedModule`, of which there is no instance before the compiler has run."""
