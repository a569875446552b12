"""Numbers that must be finite are, in Python and in configs; where infinity means something it may stand."""

import inspect
import math
from collections.abc import Iterator
from importlib import import_module

import pytest

from mezzotint.diffusion import (
    CFG,
    DDIM,
    DDPM,
    EDMSchedule,
    Karras,
    MinSNRWeight,
    Quadratic,
    Restart,
    SASolver,
    ShiftedSchedule,
)
from mezzotint.finite import Finite
from mezzotint.instantiate.build import check
from mezzotint.instantiate.type_hints import hints_of
from mezzotint.training import AdamW, Callback, Hardware

ROOMS = ("diffusion", "networks", "data", "generation", "metrics", "training")
# what is computed, not chosen: a loss may be infinite
FOUND = {
    "VariationalBound",
    "Description",
    "Evaluation",
    "Trajectory",
    "MemorisationResult",
    "Neighbours",
    "NoiseLevel",
    "Prediction",
    "TrainingRun",
}
FOUND |= {
    "Error",
    "Measured",
    "NoiseLevel",
    "Prediction",
    "TrainingRun",
    "SampledTimes",
    "ExactMixture",
    "StepRecord",
    "Score",
}


def public() -> dict[str, type]:
    """The classes that the rooms offer."""
    rooms = [import_module(f"mezzotint.{room}") for room in ROOMS]
    offered = [getattr(room, name) for room in rooms for name in room.__all__]
    return {one.__name__: one for one in offered if inspect.isclass(one)}


def floats() -> Iterator[tuple[type, str]]:
    """Every setting of a public class that is a float, or holds some."""
    for name, kind in public().items():
        hints = hints_of(kind)
        if name not in FOUND and not getattr(kind, "_is_protocol", False):
            yield from ((kind, key) for key in inspect.signature(kind).parameters if "float" in str(hints.get(key)))


def bounded() -> Iterator[tuple[type, str, float]]:
    """Every setting that is declared to be positive or natural, with the nearest number that it must not be."""
    for kind in public().values():
        if isinstance(kind, Finite) and not inspect.isabstract(kind):
            yield from ((kind, name, 0) for name in sorted(kind.declared("positive")))
            yield from ((kind, name, -1) for name in sorted(kind.declared("natural")))


@pytest.mark.parametrize("number", [math.inf, -math.inf, math.nan])
@pytest.mark.parametrize(("kind", "name"), list(floats()), ids=str)
def test_every_float_of_every_public_class_is_finite(kind, name, number):
    """Before anything else is said of the call, such as that other settings are missing."""
    default = inspect.signature(kind).parameters[name].default
    if default == math.inf == number or inspect.isabstract(kind):
        return
    said = None if default == math.inf == -number else f"{kind.__name__}: {name}={number} is not finite"
    with pytest.raises(ValueError, match=said):
        kind(**{name: number})


@pytest.mark.parametrize(("kind", "name", "number"), list(bounded()), ids=str)
def test_what_a_class_declares_positive_or_natural_is_held_to_it(kind, name, number):
    bound = "above 0" if number == 0 else "0 or more"
    assert name in inspect.signature(kind).parameters
    for wrong in (number, number - 0.5):
        with pytest.raises(ValueError, match=f"{kind.__name__}: {name}={wrong} must be {bound}"):
            kind(**{name: wrong})


def test_bounds_hold_by_position_and_for_subclasses():
    class Mine(Karras):
        natural = ("more",)

    with pytest.raises(ValueError, match=r"Mine: rho=-7\.0 must be above 0"):
        Mine(10, 0.1, 1.0, -7.0)
    assert Mine(10).sigma_min is None


def test_a_class_of_the_users_own_may_call_other_things_positive():
    class Mine(Callback):
        positive = True

        def __init__(self, threshold: float) -> None:
            self.threshold = threshold

    assert Mine(math.inf).threshold == math.inf


@pytest.mark.parametrize("number", [math.inf, -math.inf, math.nan])
@pytest.mark.parametrize(
    ("make", "name"),
    [
        (lambda v: CFG(v), "scale"),
        (lambda v: CFG(scale=v), "scale"),
        (lambda v: Karras(10, rho=v), "rho"),
        (lambda v: Karras(10, 0.1, v), "sigma_max"),
        (lambda v: Quadratic(10, v), "reach"),
        (lambda v: Restart(low=v), "low"),
        (lambda v: EDMSchedule(v), "sigma_max"),
        (lambda v: ShiftedSchedule(EDMSchedule(), v), "log_snr"),
        (lambda v: DDIM(v), "eta"),
        (lambda v: MinSNRWeight(v), "gamma"),
        (lambda v: AdamW(clip=v), "clip"),
        (lambda v: AdamW(betas=(0.9, v)), "betas"),
    ],
)
def test_what_is_not_finite_is_refused(make, name, number):
    with pytest.raises(ValueError, match=f"{name}=.*is not finite"):
        make(number)


def test_where_infinity_is_the_default_it_may_be_said():
    assert SASolver(high=math.inf) == SASolver()
    assert CFG(2.0, high=math.inf) == CFG(2.0)
    with pytest.raises(ValueError, match="high=nan is not finite"):
        SASolver(high=math.nan)


def test_configs_are_held_to_the_same():
    node = {"_target_": "mezzotint.diffusion.CFG", "scale": math.inf}
    assert check(node, "guidance", ("inner",)) == ["guidance.scale: inf is not finite"]
    assert check(node | {"scale": 1e9, "high": math.inf}, "guidance", ("inner",)) == []
    node = {"_target_": "mezzotint.metrics.KernelDistance", "degree": math.nan}
    assert check(node, "metrics.kernel", ("extractor",))


def test_signatures_are_those_of_the_settings():
    assert list(inspect.signature(Karras).parameters) == ["steps", "sigma_min", "sigma_max", "rho"]
    assert list(inspect.signature(DDPM).parameters) == ["variance"]
    with pytest.raises(TypeError):
        Karras(sigma=3.0)


@pytest.mark.parametrize("words", [{"strategy": "deepspeed"}, {"accelerator": "tpu"}, {"accelerator": None}])
def test_hardware_that_is_not_known_is_refused_in_python_too(words):
    with pytest.raises(ValueError, match=r"is not one of 'auto', "):
        Hardware(**words)
