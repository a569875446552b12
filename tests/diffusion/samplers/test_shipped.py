"""Every shipped sampler on every shipped schedule along every shipped grid: draws of Gaussian data, or a refusal."""

from dataclasses import replace
from itertools import product
from pathlib import Path

import pytest
import torch
import yaml
from sampler_table import UNMEASURED

from mezzotint.diffusion import (
    DDIM,
    DEIS,
    IPNDM,
    LMS,
    CosineSchedule,
    EDMSchedule,
    Heun,
    Karras,
    KeyedRandom,
    LaplaceSchedule,
    LinearSchedule,
    NoiseLevel,
    RectifiedFlowSchedule,
    Renoised,
    RePaint,
    SASolver,
    Trailing,
    UniPC,
    WhiteNoise,
    edit,
    exact_gaussian,
    integrate,
    invert,
    sample,
)
from mezzotint.diffusion.coordinates import FlowCoordinate, NoiseCoordinate
from mezzotint.diffusion.stability import LEAST, MOST, check_draw, spread, validated_grid
from mezzotint.instantiate.build import build

CONFIGS = Path(__file__).parents[3] / "configs"
STEPS = (5, 10, 20, 30, 50)
STD = 0.4


def choices(group):
    return {file.stem: build(yaml.safe_load(file.read_text())) for file in sorted((CONFIGS / group).glob("*.yaml"))}


def spacings():
    """Every grid, as a function of its number of steps."""
    for name, spacing in choices("grid").items():
        if hasattr(spacing, "spacing"):
            yield name, lambda n, s=spacing: replace(s, spacing=replace(s.spacing, steps=n))
        else:
            yield name, lambda n, s=spacing: replace(s, steps=n)


def draw(sampler, schedule, spacing):
    draws = KeyedRandom(0, torch.arange(400))
    eps = draws.normal("sample", (4,)).double()
    return float(sample(exact_gaussian(schedule, torch.zeros(4), STD), sampler, spacing, eps, WhiteNoise(draws)).std())


@pytest.mark.parametrize("name", [name for name in choices("sampler") if name not in UNMEASURED])
def test_gaussian_data_come_out_or_one_line_does(name):
    """Each combination with one of five numbers of steps, in turn.

    Not wider than the data by half (few steps of a high order may be that far off; what is further off is refused), and
    not narrower than half of what DDIM leaves on the same grid, whose error is to shrink the data; 1,600 numbers say a
    standard deviation to 2 %, so a twentieth is allowed for chance.
    """
    sampler, wrong, refused, drawn = choices("sampler")[name], [], 0, 0
    for i, ((where, schedule), (grid, spacing)) in enumerate(product(choices("schedule").items(), spacings())):
        steps = STEPS[i % len(STEPS)]
        try:
            levels = validated_grid(spacing(min(steps, schedule.steps or steps))(schedule))
            got = draw(sampler, schedule, lambda _, levels=levels: levels)
        except ValueError as error:
            refused += 1
            if "\n" in str(error) or "use" not in str(error).lower():
                wrong.append(str(error))
            continue
        drawn += 1
        down = [
            level for level in levels if level.ratio <= min(each.ratio for each in levels[: levels.index(level) + 1])
        ]
        least = spread(DDIM(), tuple(down), schedule.prior_std(levels[0]), STD)
        if not LEAST * 0.95 * least < got < 1.05 * MOST * STD:
            wrong.append((where, grid, steps, got, least))
    assert not wrong
    assert drawn > 4 * refused or not sampler.turns or sampler.order is not None
    assert drawn


@pytest.mark.parametrize("steps", STEPS)
@pytest.mark.parametrize("name", ["plms", "pndm", "heun_edm", "edm"])
def test_a_first_step_from_a_cosine_tables_end_is_no_noise(name, steps):
    """sigma / alpha is 20,291 at the end of the default schedule, and 12.8 a step later."""
    assert draw(choices("sampler")[name], CosineSchedule(), Trailing(steps)) == pytest.approx(
        STD, rel=0.08 if steps > 5 else 0.3
    )


@pytest.mark.parametrize("name", ["plms", "pndm", "heun_edm", "edm"])
def test_pure_noise_is_left_by_the_limit_of_eulers_step(name):
    assert draw(choices("sampler")[name], RectifiedFlowSchedule(), Trailing(20)) == pytest.approx(STD, rel=0.06)


def test_the_spread_is_that_of_what_is_drawn():
    for sampler, spacing in ((SASolver(), Karras(40)), (choices("sampler")["edm"], Karras(20)), (Heun(), Trailing(9))):
        exact = spread(sampler, validated_grid(spacing(EDMSchedule())), 80.0, STD)
        assert draw(sampler, EDMSchedule(), spacing) == pytest.approx(exact, rel=0.05)


def test_what_would_draw_noise_says_so():
    leading = choices("grid")["leading"]
    with pytest.raises(ValueError, match=r"is unstable on this grid of 50 steps.*Use more steps, another grid"):
        sample(exact_gaussian(RectifiedFlowSchedule(), torch.zeros(2), STD), SASolver(3, 3), leading, torch.randn(2, 2))


@pytest.mark.parametrize("name", choices("sampler"))
def test_a_grid_that_goes_up_again_needs_fresh_noise(name):
    sampler, grid = choices("sampler")[name], choices("grid")["restart"]
    exact = exact_gaussian(LinearSchedule(), torch.zeros(2), STD)
    if sampler.turns and sampler.order is None:  # edm churns a deterministic step, which may go either way
        assert sample(exact, sampler, grid, torch.randn(2, 2)).isfinite().all()
        return
    with pytest.raises(ValueError, match="sampler=restart"):
        sample(exact, sampler, grid, torch.randn(2, 2))
    check_draw(Renoised(sampler), validated_grid(RePaint(Karras(100), 10, 2)(LinearSchedule())), 0.0, 1.0)


CLEAN, NOISY, HALF = NoiseLevel(1.0, 0.0), NoiseLevel(0.1, 0.99), NoiseLevel(0.8, 0.6)


@pytest.mark.parametrize(
    ("grid", "said"),
    [
        ((), "0 level"),
        ((NOISY,), "1 level"),
        ((NOISY, NOISY), "1 level"),
        ((NOISY, NoiseLevel(float("nan"), 0.5), CLEAN), "Level 1"),
        ((NOISY, NoiseLevel(0.5, float("inf")), CLEAN), "Level 1"),
        ((NOISY, NoiseLevel(0.5, -0.5), CLEAN), "Level 1"),
        ((NOISY, NoiseLevel(-0.5, 0.5), CLEAN), "Level 1"),
        ((NoiseLevel(0.0, 0.0), CLEAN), "Level 0"),
        ((NOISY, NoiseLevel(0.8, 0.6), NoiseLevel(1.6, 1.2), CLEAN), "same sigma / alpha"),
    ],
)
@pytest.mark.parametrize("use", ["sample", "integrate", "edit", "invert"])
def test_a_grid_that_is_none_is_refused_before_anything_is_asked(grid, said, use):
    class Silent:
        schedule = LinearSchedule()

        def begin(self):
            raise AssertionError("nothing is asked")

    x, spacing = torch.zeros(1, 1), lambda schedule: grid
    calls = {
        "sample": lambda: sample(Silent(), DDIM(), spacing, x),
        "integrate": lambda: integrate(Silent(), DDIM(), grid, x),
        "edit": lambda: edit(Silent(), DDIM(), spacing, x, x, 1.0),
        "invert": lambda: invert(Silent(), DDIM(), spacing, x),
    }
    with pytest.raises(ValueError, match=said):
        calls[use]()


@pytest.mark.parametrize("name", choices("sampler"))
def test_a_level_named_twice_changes_nothing(name):
    sampler, grid = choices("sampler")[name], Karras(12)(LinearSchedule())
    twice = tuple(level for level in grid for _ in range(2))
    draws = KeyedRandom(3, torch.arange(4))
    exact, x = exact_gaussian(LinearSchedule(), torch.zeros(2), STD), draws.normal("sample", (2,)).double()
    once, again = (integrate(exact, sampler, levels, x, WhiteNoise(draws)) for levels in (grid, twice))
    assert torch.equal(once, again)


@pytest.mark.parametrize("where", [*(choices("schedule")[n] for n in ("rectified", "trigflow", "laplace", "cosine"))])
@pytest.mark.parametrize(
    "walker", [DDIM(), Heun(), LMS(2), LMS(4), DEIS(3), LMS(4, FlowCoordinate()), IPNDM(4), UniPC(2)], ids=str
)
def test_the_noise_of_a_gaussian_image_or_one_line(walker, where):
    """z = x / std: x is of data whose standard deviations differ."""
    stds, image = torch.tensor([0.5, 0.8]).double(), torch.tensor([[0.5, 0.8]]).double()
    exact, start = exact_gaussian(where, torch.zeros(2), stds), 0.05 if isinstance(where, LaplaceSchedule) else 0.0
    try:
        z = invert(exact, walker, Trailing(200), image)
    except ValueError as error:
        assert "Use" in str(error)  # noqa: PT017
        return
    clean = float(Trailing(200)(where)[-2].ratio)
    wanted = image / (stds**2 + clean**2).sqrt()
    torch.testing.assert_close(z, wanted.expand_as(z), rtol=0.03 + start, atol=0)


def test_inversion_needs_two_steps():
    exact = exact_gaussian(CosineSchedule(), torch.zeros(2), STD)
    with pytest.raises(ValueError, match=r"one step.*Use 2 steps or more"):
        invert(exact, DDIM(), Trailing(1), torch.zeros(1, 2))


def test_a_long_step_in_the_noise_coordinate_is_eulers_and_others_are_not():
    exact, x = exact_gaussian(CosineSchedule(), torch.zeros(1), STD), torch.ones(1, 1).double()
    far, near = (NoiseLevel(1.0, 20291.0), NoiseLevel(1.0, 12.8)), (NoiseLevel(1.0, 20.0), NoiseLevel(1.0, 12.8))
    for pair, same in ((far, True), (near, False)):
        heun, euler = (integrate(exact, s, pair, x) for s in (Heun(NoiseCoordinate()), DDIM()))
        assert torch.equal(heun, euler) == same or (heun - euler).abs() < 1e-9
