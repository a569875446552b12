"""Grids: from noise to clean, strictly falling, as many calls as asked, and the published indices."""

import itertools
import math

import pytest

from mezzotint.diffusion import (
    BetaQuantiles,
    ContinuousCosineSchedule,
    CosineSchedule,
    EDMSchedule,
    ExplicitTimes,
    Karras,
    Leading,
    LinearSchedule,
    Linspace,
    LinspaceOpen,
    Quadratic,
    RectifiedFlowSchedule,
    SnapToTable,
    Trailing,
    TrigFlowSchedule,
    UniformAngle,
    UniformLogSNR,
    VPSchedule,
)

SPACINGS = [Trailing, Leading, Linspace, LinspaceOpen, Quadratic, Karras, UniformLogSNR, UniformAngle, BetaQuantiles]
SCHEDULES = [
    LinearSchedule(),
    CosineSchedule(),
    LinearSchedule(60),
    ContinuousCosineSchedule(),
    VPSchedule(),
    EDMSchedule(),
    RectifiedFlowSchedule(),
]


def indices(grid, schedule):
    return [round(schedule.time(level)) - 1 for level in grid[:-1]]


@pytest.mark.parametrize("schedule", SCHEDULES, ids=repr)
@pytest.mark.parametrize("kind", SPACINGS)
def test_every_number_of_steps(kind, schedule):
    for steps in (*range(1, 61), 1000):
        if steps > (schedule.steps or 1000):
            continue
        grid = kind(steps)(schedule)
        assert len(grid) == steps + 1
        assert grid[-1].sigma == 0.0
        assert grid[-1].alpha == 1.0
        ratios = [level.ratio for level in grid]
        assert all(a > b for a, b in itertools.pairwise(ratios)), (steps, ratios)


def test_every_configured_grid_on_every_schedule(spacing, configured):
    for name, schedule in configured("schedule").items():
        if (schedule.steps or 1000) < spacing.steps:
            continue
        grid = spacing(schedule)
        assert len(grid) == spacing.steps + 1, name
        assert float(grid[-1].sigma) == 0.0


@pytest.mark.parametrize("steps", [5, 10, 50])
@pytest.mark.parametrize(("name", "kind"), [("leading", Leading), ("trailing", Trailing), ("linspace", Linspace)])
def test_published_indices(name, kind, steps, golden):
    assert indices(kind(steps)(LinearSchedule()), LinearSchedule()) == golden[f"timesteps/{name}/{steps}"]["value"]


def test_improved_diffusion_indices(golden):
    for steps in (5, 10, 50):
        published = golden[f"timesteps/improved-diffusion/{steps}"]["value"]
        assert indices(Linspace(steps)(LinearSchedule()), LinearSchedule())[::-1] == published
        assert (
            indices(Leading(steps)(LinearSchedule()), LinearSchedule())[::-1]
            == golden[f"timesteps/improved-diffusion/ddim{steps}"]["value"]
        )


def test_quad_indices(golden):
    for steps in (5, 10):
        assert (
            indices(Quadratic(steps, reach=0.8)(LinearSchedule()), LinearSchedule())[::-1]
            == golden[f"timesteps/ermongroup-ddim/quad/{steps}"]["value"]
        )
    published = golden["timesteps/ermongroup-ddim/quad/50"]["value"]  # the only one with an index twice: 0, 0, 1, 2, 5
    assert indices(Quadratic(50, reach=0.8)(LinearSchedule()), LinearSchedule())[::-1] == [0, 1, 2, 3, *published[4:]]


def test_the_two_linspaces():
    assert indices(Linspace(10)(LinearSchedule()), LinearSchedule()) == [999, 888, 777, 666, 555, 444, 333, 222, 111, 0]
    assert indices(LinspaceOpen(10)(LinearSchedule()), LinearSchedule()) == [
        999,
        899,
        799,
        699,
        599,
        500,
        400,
        300,
        200,
        100,
    ]


def test_karras_as_published(golden):
    for steps in (5, 18):
        got = [level.sigma for level in Karras(steps)(EDMSchedule())]
        assert got == pytest.approx([*golden[f"karras_sigmas/{steps}"]["value"], 0.0], rel=1e-12)


def test_karras_stays_inside_the_schedule():
    grid = Karras(10, sigma_min=1e-4, sigma_max=1e4)(LinearSchedule())
    assert grid[0] == LinearSchedule().level(1000.0)
    assert grid[-2].ratio == pytest.approx(LinearSchedule().level(1.0).ratio, rel=1e-9)


def test_log_snr_falls_in_equal_steps():
    grid = UniformLogSNR(8)(VPSchedule())
    gaps = [a.log_snr - b.log_snr for a, b in itertools.pairwise(grid[:-1])]
    assert gaps == pytest.approx([gaps[0]] * 7, rel=1e-9)


def test_equal_angles_are_the_cosine_schedules_own_grid():
    for one, two in zip(
        UniformAngle(10)(ContinuousCosineSchedule()), Trailing(10)(ContinuousCosineSchedule()), strict=True
    ):
        assert (one.alpha, one.sigma) == (pytest.approx(two.alpha, abs=1e-15), pytest.approx(two.sigma, rel=1e-14))


def test_beta_quantiles_agree_with_scipy():
    stats = pytest.importorskip("scipy.stats")
    for a, b in ((0.6, 0.6), (2.0, 5.0), (0.5, 3.0)):
        grid = BetaQuantiles(12, a, b)(RectifiedFlowSchedule())
        wanted = [stats.beta.ppf(1 - i / 12, a, b) for i in range(13)]
        assert [level.sigma for level in grid] == pytest.approx(wanted, rel=1e-12, abs=1e-15)


def test_lists_of_times():
    grid = ExplicitTimes([1000, 333.5, 2])(LinearSchedule())
    assert [LinearSchedule().time(level) for level in grid[:-1]] == pytest.approx([1000, 333.5, 2], rel=1e-12)
    assert ExplicitTimes([1.0, 0.5, 0.0]) == ExplicitTimes((1, 0.5, 0))
    assert len(ExplicitTimes([1.0, 0.5, 0.0])(VPSchedule())) == 3
    with pytest.raises(ValueError, match="must be strictly decreasing"):
        ExplicitTimes([1.0, 1.0])
    for nowhere in ([], [0.0], [1.0, -0.5]):
        with pytest.raises(ValueError, match="above 0"):
            ExplicitTimes(nowhere)
    with pytest.raises(ValueError, match=r"start at 999, beyond t_max=1 of ContinuousCosine"):
        ExplicitTimes([999.0, 500.0])(ContinuousCosineSchedule())


def test_on_table_moves_to_entries():
    schedule = LinearSchedule()
    grid = SnapToTable(Karras(10))(schedule)
    assert all(schedule.time(level) == round(schedule.time(level)) for level in grid[:-1])
    wanted = [level.ratio for level in Karras(10)(schedule)]
    assert [level.ratio for level in grid] == pytest.approx(wanted, rel=0.05, abs=1e-3)
    with pytest.raises(ValueError, match="continuous"):
        SnapToTable(Trailing(5))(VPSchedule())


def test_pure_noise_stays_pure_noise():
    for kind in (Trailing, Linspace, UniformAngle, BetaQuantiles):
        assert kind(7)(RectifiedFlowSchedule())[0].alpha == 0.0
    for kind in (Trailing, Linspace, LinspaceOpen, Quadratic):
        assert all(kind(n)(TrigFlowSchedule())[0].alpha == 0.0 for n in range(1, 200))
    assert Karras(7)(RectifiedFlowSchedule())[0].ratio == pytest.approx(80.0)
    assert math.isfinite(UniformLogSNR(7)(ContinuousCosineSchedule())[0].log_snr)


@pytest.mark.parametrize("kind", SPACINGS)
def test_impossible_numbers_of_steps_are_refused(kind):
    with pytest.raises(ValueError, match="at least one step"):
        kind(0)(LinearSchedule())
    if kind in (Trailing, Leading, Linspace, LinspaceOpen, Quadratic):
        with pytest.raises(ValueError, match="at most 60"):
            kind(61)(LinearSchedule(60))


@pytest.mark.parametrize("kind", SPACINGS)
def test_a_table_of_one_step_is_walked_in_one(kind):
    schedule = CosineSchedule(1)
    assert kind(1)(schedule) == (schedule.level(1.0), schedule.level(0.0))
    with pytest.raises(ValueError, match=r"Use at most 1|Use steps=1|is not below"):
        kind(2)(schedule)
