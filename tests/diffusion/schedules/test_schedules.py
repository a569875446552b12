"""Laws of schedules: ends, inverses, monotone noise, the same numbers for floats and tensors; tables as published."""

import copy
import itertools
import math
import pickle

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from mezzotint.diffusion import (
    ContinuousCosineSchedule,
    CosineSchedule,
    EDMSchedule,
    LaplaceSchedule,
    LearnedSchedule,
    LinearSchedule,
    NoiseLevel,
    RectifiedFlowSchedule,
    ScaledLinearSchedule,
    ShiftedSchedule,
    SigmoidBetaSchedule,
    SigmoidSchedule,
    SubVPSchedule,
    TabulatedSchedule,
    TrigFlowSchedule,
    VPSchedule,
    ZeroTerminalSNRSchedule,
)


def as_float(level):
    return NoiseLevel(float(level.alpha), float(level.sigma))


def test_both_ends_are_exact(schedule):
    start = as_float(schedule.level(0.0))
    assert start.alpha == 1.0
    assert start.sigma == 0.0
    assert as_float(schedule.level(schedule.t_max)).sigma > 0


@pytest.mark.parametrize("name", ["continuous_cosine", "rectified", "trigflow", "cosine_zero_snr", "linear_zero_snr"])
def test_pure_noise_is_exactly_that(name, configured):
    schedule = configured("schedule")[name]
    assert schedule.level(schedule.t_max).alpha == 0.0
    assert schedule.level(torch.tensor([schedule.t_max], dtype=torch.float64)).alpha.item() == 0.0


def test_time_inverts_level(schedule, times_of):
    times = times_of(schedule)
    back = [float(schedule.time(as_float(schedule.level(t)))) for t in times]
    assert back == pytest.approx(times, rel=1e-10, abs=1e-12)
    t = torch.tensor(times, dtype=torch.float64)
    torch.testing.assert_close(torch.as_tensor(schedule.time(schedule.level(t))), t, rtol=1e-10, atol=1e-12)


def test_time_does_not_depend_on_the_frame(schedule, times_of):
    for t in times_of(schedule, 20):
        level = as_float(schedule.level(t))
        scaled = NoiseLevel(level.alpha * 3.7, level.sigma * 3.7)
        assert float(schedule.time(scaled)) == pytest.approx(t, rel=1e-9)


def test_noise_grows_with_time(schedule, times_of):
    ratios = [as_float(schedule.level(t)).ratio for t in times_of(schedule)]
    assert all(a < b for a, b in itertools.pairwise(ratios))


def test_floats_and_tensors_give_the_same_numbers(schedule, times_of, same_level):
    times = [0.0, *times_of(schedule)]
    floats = [as_float(schedule.level(t)) for t in times]
    together = schedule.level(torch.tensor(times, dtype=torch.float64))
    assert together.alpha.dtype == together.sigma.dtype == torch.float64
    same_level(together, NoiseLevel([n.alpha for n in floats], [n.sigma for n in floats]), 1e-13)


def test_levels_are_float64_whatever_the_times_are(schedule):
    """Else what low precision leaves of a level depends on who asked."""
    whole = torch.tensor([0, 1])
    for t in (torch.tensor([0.25, 1.0]) * schedule.t_max, torch.tensor([0.25, 1.0]).bfloat16(), whole):
        level, wanted = schedule.level(t), schedule.level(t.double())
        assert level.alpha.dtype == level.sigma.dtype == torch.float64
        torch.testing.assert_close(level.alpha, wanted.alpha, rtol=0, atol=0)
        torch.testing.assert_close(level.sigma, wanted.sigma, rtol=0, atol=0)
    assert schedule.level(torch.tensor(0.5)).alpha.shape == ()
    end = schedule.level(torch.tensor([schedule.t_max])).alpha.item()
    assert end == pytest.approx(float(schedule.level(schedule.t_max).alpha), rel=1e-5, abs=0.0)


def test_time_is_held_to_the_noisy_range(schedule):
    assert float(schedule.time(NoiseLevel(0.0, 1.0))) == pytest.approx(schedule.t_max)
    nearly_clean = float(schedule.time(NoiseLevel(1.0, 1e-12)))
    assert nearly_clean == 1.0 if schedule.steps else 0.0 <= nearly_clean < 0.01 * schedule.t_max


def test_rate_is_the_slope_of_log_snr(schedule):
    if schedule.steps:
        t = torch.tensor([2, schedule.steps // 2])
        slope = 0.5 * (schedule.level(t + 1).log_snr - schedule.level(t - 1).log_snr)
        tolerance = 1e-12
    else:
        t, h = torch.tensor([0.2, 0.45, 0.8]).double() * schedule.t_max, 1e-6 * schedule.t_max
        slope = (schedule.level(t + h).log_snr - schedule.level(t - h).log_snr) / (2 * h)
        tolerance = 1e-7
    torch.testing.assert_close(schedule.rate(t).detach(), slope.detach(), rtol=tolerance, atol=0.0)
    assert (schedule.rate(t) < 0).all()


def test_the_rate_is_finite_beside_pure_noise():
    """Else a weight per unit of log-SNR would be infinite at the entry before."""
    schedule = ZeroTerminalSNRSchedule(LinearSchedule())
    before, *rest = schedule.rate(torch.tensor([998, 999, 1000])).tolist()
    slope = schedule.level(999.0).log_snr - schedule.level(998.0).log_snr
    assert rest == pytest.approx([slope, slope])
    assert slope < before < 0
    with pytest.raises(ValueError, match="log-SNR has no slope"):
        LinearSchedule(1).rate(torch.tensor([1]))


def test_previous_of_a_table_is_the_entry_before():
    assert LinearSchedule().previous(torch.tensor([1, 2, 1000])).tolist() == [0, 1, 999]
    torch.testing.assert_close(
        RectifiedFlowSchedule().previous(torch.tensor([0.5, 0.01]), 10), torch.tensor([0.4, 0.0])
    )


def test_schedules_are_values(schedule):
    if isinstance(schedule, nn.Module):
        return  # one that learns is a module, not a value
    schedule.level(schedule.t_max / 2)
    for other in (copy.deepcopy(schedule), pickle.loads(pickle.dumps(schedule))):
        assert other == schedule
        assert hash(other) == hash(schedule)
        assert repr(other) == repr(schedule)


@pytest.mark.parametrize(
    ("name", "schedule"),
    [
        ("linear", LinearSchedule()),
        ("scaled_linear", ScaledLinearSchedule()),
        ("sigmoid", SigmoidBetaSchedule()),
        ("cosine", CosineSchedule()),
        ("sigmoid_alphabar_form(start-3,end3,tau1)", SigmoidSchedule()),
    ],
)
def test_tables_as_published(name, schedule, golden):
    table = golden[f"alpha_bar/{name}"]
    got = [schedule.level(t + 1.0).alpha ** 2 for t in table["t"]]
    assert got == pytest.approx(table["value"], rel=1e-13)
    if "logsnr" in table:
        assert [schedule.level(t + 1.0).log_snr for t in table["t"]] == pytest.approx(table["logsnr"], rel=1e-10)


def test_other_numbers_of_steps_scale_the_betas(golden):
    for schedule, name in ((LinearSchedule(4000), "linear_T4000"), (CosineSchedule(4000), "cosine_T4000")):
        got = [schedule.level(t + 1.0).alpha ** 2 for t in (0, 1999, 3999)]
        assert got == pytest.approx(golden[f"alpha_bar/{name}"]["value"], rel=1e-12)


def test_tables_agree_with_diffusers():
    diffusers = pytest.importorskip("diffusers")
    for name, schedule in (
        ("linear", LinearSchedule()),
        ("scaled_linear", ScaledLinearSchedule()),
        ("squaredcos_cap_v2", CosineSchedule()),
    ):
        first, last = (0.00085, 0.012) if name == "scaled_linear" else (1e-4, 0.02)
        theirs = diffusers.DDPMScheduler(beta_schedule=name, beta_start=first, beta_end=last).alphas_cumprod.double()
        ours = schedule.level(torch.arange(1, 1001)).alpha ** 2
        torch.testing.assert_close(ours, theirs, rtol=2e-5, atol=0.0)


@pytest.mark.parametrize("steps", [0, -3])
def test_a_table_needs_a_step(steps):
    with pytest.raises(ValueError, match="at least one step"):
        LinearSchedule(steps).level(0.0)


def test_betas_outside_their_range_are_refused():
    with pytest.raises(ValueError, match="between 0 and 1"):
        LinearSchedule(10).level(1.0)


def test_times_outside_a_table_are_refused():
    with pytest.raises(ValueError, match="outside"):
        LinearSchedule().level(1000.5)


def test_edm_takes_levels_above_its_own_as_they_are():
    assert EDMSchedule().time(NoiseLevel(1.0, 113.0)) == 113.0
    assert EDMSchedule().time(NoiseLevel(0.0, 1.0)) == 80.0


def test_zero_terminal_snr_as_published(golden):
    table, schedule = golden["zero_terminal_snr/linear/alpha_bar"], ZeroTerminalSNRSchedule(LinearSchedule())
    index = golden["alpha_bar/linear"]["t"]
    got = [schedule.level(t + 1.0).alpha ** 2 for t in index]
    assert got[:-1] == pytest.approx(table["value"][:-1], rel=1e-9)
    assert got[-1] == table["value"][-1] == 0.0
    assert schedule.level(999.5).log_snr < schedule.level(999.0).log_snr


def test_zero_terminal_snr_agrees_with_diffusers():
    ddim = pytest.importorskip("diffusers.schedulers.scheduling_ddim")
    betas = torch.linspace(1e-4, 0.02, 1000, dtype=torch.float64)
    theirs = torch.cumprod(1 - ddim.rescale_zero_terminal_snr(betas), 0)
    torch.testing.assert_close(
        ZeroTerminalSNRSchedule(LinearSchedule()).level(torch.arange(1, 1001)).alpha ** 2, theirs, rtol=1e-9, atol=1e-18
    )


def test_shifts_as_published(golden):
    base = ContinuousCosineSchedule()
    for side, added in zip(golden["logsnr_shift"]["d"], golden["logsnr_shift"]["value"], strict=True):
        assert 2 * math.log(64 / side) == pytest.approx(added)
        shifted = ShiftedSchedule(base, added)
        assert shifted.level(0.3).log_snr == pytest.approx(base.level(0.3).log_snr + added, rel=1e-12)
        assert shifted.level(0.3).norm == pytest.approx(1.0)
    table = ShiftedSchedule(LinearSchedule(), -1.0)
    assert (table.steps, table.t_max) == (1000, 1000.0)
    got = [RectifiedFlowSchedule(3.0).level(t).sigma for t in (1.0, 0.75, 0.5, 0.25)]
    assert got == pytest.approx(golden["flow_shift3"]["value"], rel=1e-12)
    assert RectifiedFlowSchedule(3.0).level(0.4).log_snr == pytest.approx(
        RectifiedFlowSchedule().level(0.4).log_snr - 2 * math.log(3)
    )


def test_flow_shift_agrees_with_diffusers():
    """At shift 1, whose sigmas it does not shift twice."""
    diffusers = pytest.importorskip("diffusers")
    theirs = diffusers.FlowMatchEulerDiscreteScheduler(shift=3.0).sigmas.double()
    ours = RectifiedFlowSchedule(3.0).level(torch.arange(1000, 0, -1).double() / 1000).sigma
    torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-6)


def test_sub_vp_has_less_noise_than_vp():
    for t in (0.01, 0.4, 0.9):
        vp, sub = VPSchedule().level(t), SubVPSchedule().level(t)
        assert sub.alpha == vp.alpha
        assert sub.sigma == pytest.approx(vp.sigma**2, rel=1e-12)


def test_vp_as_published():
    """log alpha_bar(t) = -0.1 t - 9.95 t^2."""
    for t in (1e-3, 0.3, 1.0):
        assert 2 * math.log(VPSchedule().level(t).alpha) == pytest.approx(-0.1 * t - 9.95 * t**2, rel=1e-12)


def test_trigflow_keeps_the_datas_deviation():
    schedule = TrigFlowSchedule(0.5)
    for t in (0.1, 0.7, 1.5):
        level = schedule.level(t)
        assert (0.5 * level.alpha) ** 2 + level.sigma**2 == pytest.approx(0.25, rel=1e-12)
    assert schedule.prior_std(schedule.level(schedule.t_max)) == 0.5


def test_laplace_is_the_quantile_of_its_distribution():
    for t in (0.1, 0.4, 0.5, 0.9):
        wanted = torch.distributions.Laplace(1.0, 0.5).icdf(torch.tensor(1 - t).double()).item()
        assert LaplaceSchedule(1.0, 0.5).level(t).log_snr == pytest.approx(wanted, rel=1e-6, abs=1e-6)


def test_betas_as_a_list():
    listed = TabulatedSchedule(LinearSchedule(50).betas().tolist())
    assert listed == TabulatedSchedule(tuple(LinearSchedule(50).betas().tolist()))
    assert hash(listed) == hash(TabulatedSchedule(listed.values))
    assert (listed.steps, listed.t_max) == (50, 50.0)
    for t in (0.0, 1.0, 17.0, 17.4, 50.0):
        assert listed.level(t) == LinearSchedule(50).level(t)
    with pytest.raises(ValueError, match="between 0 and 1"):
        TabulatedSchedule([0.1, 1.0, 0.2]).level(1.0)


def test_a_learned_schedule_is_monotone_whatever_it_has_learned():
    schedule = LearnedSchedule(width=8)
    generator = torch.Generator().manual_seed(0)
    for _ in range(5):
        with torch.no_grad():
            for name, p in schedule.named_parameters():
                if name != "ends":
                    p.copy_(3 * torch.randn(p.shape, generator=generator))
        log_snr = schedule.log_snr(torch.linspace(0, 1, 200, dtype=torch.float64))
        assert (log_snr.diff() < 0).all()
        assert (log_snr[0].item(), log_snr[-1].item()) == (pytest.approx(13.3), pytest.approx(-5.0))
    with pytest.raises(ValueError, match="Swap"):
        LearnedSchedule(-5.0, 13.3)
    with pytest.raises(ValueError, match="cannot be shifted"):
        ShiftedSchedule(schedule, -1.0)


@settings(max_examples=40, deadline=None)
@given(
    low=st.floats(0.001, 2.0),
    more=st.floats(0.1, 40.0),
    t=st.floats(0.001, 1.0),
    kind=st.sampled_from([VPSchedule, SubVPSchedule]),
)
def test_inverse_for_any_parameters(low, more, t, kind):
    schedule = kind(low, low + more)
    assert schedule.time(schedule.level(t)) == pytest.approx(t, rel=1e-7, abs=1e-9)


@settings(max_examples=25, deadline=None)
@given(betas=st.lists(st.floats(1e-4, 0.5), min_size=1, max_size=12), share=st.floats(0.0, 1.0))
def test_inverse_for_any_table(betas, share):
    schedule = TabulatedSchedule(betas)
    t = 1.0 + share * (len(betas) - 1)
    assert schedule.time(schedule.level(t)) == pytest.approx(t, rel=1e-9)
