"""Numbers that must be finite are, in Python and in configs; where infinity means something it may stand."""

import inspect
import math

import pytest

from mezzotint.build import check
from mezzotint.diffusion import CFG, DDIM, DDPM, EDM, Karras, MinSNR, Quad, Restart, SASolver, Shifted
from mezzotint.training import AdamW, Hardware


@pytest.mark.parametrize("number", [math.inf, -math.inf, math.nan])
@pytest.mark.parametrize(
    ("make", "name"),
    [
        (lambda v: CFG(v), "scale"),
        (lambda v: CFG(scale=v), "scale"),
        (lambda v: Karras(10, rho=v), "rho"),
        (lambda v: Karras(10, 0.1, v), "sigma_max"),
        (lambda v: Quad(10, v), "reach"),
        (lambda v: Restart(low=v), "low"),
        (lambda v: EDM(v), "sigma_max"),
        (lambda v: Shifted(EDM(), v), "log_snr"),
        (lambda v: DDIM(v), "eta"),
        (lambda v: MinSNR(v), "gamma"),
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
    node = {"_target_": "mezzotint.metrics.Kernel", "degree": math.nan}
    assert check(node, "metrics.kernel", ("extractor",))


def test_signatures_are_those_of_the_settings():
    assert list(inspect.signature(Karras).parameters) == ["steps", "sigma_min", "sigma_max", "rho"]
    assert list(inspect.signature(DDPM).parameters) == ["variance"]
    with pytest.raises(TypeError):
        Karras(sigma=3.0)


@pytest.mark.parametrize("words", [{"strategy": "deepspeed"}, {"accelerator": "mps"}, {"accelerator": None}])
def test_hardware_that_is_not_known_is_refused_in_python_too(words):
    with pytest.raises(ValueError, match=r"is not known\. Choose one of"):
        Hardware(**words)
