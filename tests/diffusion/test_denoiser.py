"""The Denoiser: one answer whatever the network was taught, in whatever frame it is asked."""

import copy
import math
import pickle

import pytest
import torch
from torch import nn

from mezzotint.diffusion import (
    DDIM,
    Clean,
    ContinuousCosineSchedule,
    CosineSchedule,
    Denoiser,
    EDMSchedule,
    Epsilon,
    ExactMixture,
    Flow,
    LaplaceSchedule,
    LinearSchedule,
    LogSigma,
    LogSNR,
    NoiseLevel,
    NoScale,
    Preconditioned,
    RawTime,
    RectifiedFlowSchedule,
    ScaledTime,
    Score,
    ShiftedSchedule,
    StepIndex,
    Trailing,
    TrigFlowSchedule,
    UnitVarianceScale,
    Velocity,
    VPSchedule,
    ZeroTerminalSNRSchedule,
    broadcast_like,
    integrate,
)

MEANS = torch.tensor([[[[1.5, -0.4]]], [[[-1.0, 0.3]]]]).double()
STDS = torch.tensor([[[[0.3, 0.5]]], [[[0.6, 0.2]]]]).double()
X = torch.randn(6, 1, 1, 2, generator=torch.Generator().manual_seed(0)).double()


class Answers(nn.Module):
    """A perfect network of a mixture: it undoes clock and scale, and answers with its target."""

    def __init__(self, schedule, target, time_of, scale):
        super().__init__()
        self.schedule, self.target, self.time_of, self.scale, self.told = schedule, target, time_of, scale, []
        self.exact = ExactMixture(schedule, MEANS, STDS, torch.tensor([0.4, 0.6]).double())

    def forward(self, x, time, label=None):
        self.told.append(time)
        level = self.schedule.level(self.time_of(time[0].item()))
        pred = self.exact(x / self.scale(level), level)
        return pred.mix(*self.target.coefficients(level))


def log_snr_time(told):
    return VPSchedule().time(NoiseLevel.from_log_snr(told))


CONVENTIONS = [
    (LinearSchedule(), Epsilon(), StepIndex(), NoScale(), lambda told: told + 1),
    (LinearSchedule(4000), Velocity(), ScaledTime(0.25), NoScale(), lambda told: told * 4),
    (
        EDMSchedule(),
        Preconditioned(0.5),
        LogSigma(),
        UnitVarianceScale(0.5),
        lambda told: math.exp(4 * told),
    ),
    (RectifiedFlowSchedule(), Flow(), RawTime(), NoScale(), lambda told: told),
    (VPSchedule(), Score(), LogSNR(), NoScale(), log_snr_time),
    (ContinuousCosineSchedule(), Clean(), ScaledTime(1000), NoScale(), lambda told: told / 1000),
]


def denoiser(case):
    schedule, target, clock, scale, time_of = case
    return Denoiser(Answers(schedule, target, time_of, scale), schedule, target, clock, scale)


@pytest.mark.parametrize("case", CONVENTIONS, ids=lambda case: type(case[1]).__name__)
@pytest.mark.parametrize("frame", [1.0, 7.3])
def test_every_convention_gives_the_exact_answer_in_every_frame(case, frame):
    exact = ExactMixture(VPSchedule(), MEANS, STDS, torch.tensor([0.4, 0.6]).double())
    for ratio in (0.05, 0.7, 3.1, 60.0):
        level = NoiseLevel(frame, frame * ratio)
        wanted, got = exact(X * frame, level), denoiser(case)(X * frame, level)
        torch.testing.assert_close(got.x0, wanted.x0, rtol=1e-8, atol=1e-8)
        torch.testing.assert_close(got.eps, wanted.eps, rtol=1e-8, atol=1e-8)


@pytest.mark.parametrize("frame", [LinearSchedule(), EDMSchedule(), RectifiedFlowSchedule()], ids=repr)
def test_one_trajectory_whatever_the_network_was_taught(frame):
    grid = tuple(frame.level(frame.t_max * share) for share in (0.93, 0.71, 0.44, 0.2, 0.05, 0.0))
    start = X * grid[0].norm
    ends = [integrate(denoiser(case), DDIM(), grid, start) for case in CONVENTIONS]
    for end in ends[1:]:
        torch.testing.assert_close(end, ends[0], rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("case", CONVENTIONS, ids=lambda case: type(case[1]).__name__)
def test_training_and_sampling_ask_the_same_question(case):
    """`predict` at times equals a call at the level of that time."""
    d = denoiser(case)
    t = (0.37 * d.schedule.t_max) // 1 if d.schedule.steps else 0.37 * d.schedule.t_max
    sampled = d(X, d.schedule.level(t))
    times = torch.full((6,), t, dtype=torch.int64 if d.schedule.steps else torch.float64)
    trained = d.predict(X, times)
    torch.testing.assert_close(trained.x0, sampled.x0, rtol=1e-10, atol=1e-10)
    torch.testing.assert_close(d.network.told[0], d.network.told[1], rtol=1e-14, atol=0.0)


class Echo(nn.Module):
    """Remembers what it is asked and answers with a part of it."""

    def __init__(self, factor=0.5, outputs=1, dtype=None):
        super().__init__()
        self.weight = nn.Parameter(torch.tensor(factor))
        self.outputs, self.dtype, self.asked = outputs, dtype, []

    def forward(self, x, time, label=None):
        self.asked.append((x, time, label))
        return (self.weight * torch.cat([x] * self.outputs, 1)).to(self.dtype or x.dtype)


def test_defaults_by_kind_of_schedule():
    table, continuous = Denoiser(Echo(), LinearSchedule()), Denoiser(Echo(), EDMSchedule())
    assert table.c_noise == StepIndex()
    assert continuous.c_noise == ScaledTime(1000 / 80)
    table.predict(torch.zeros(2, 1, 2, 2), torch.tensor([1, 1000]))
    assert table.network.asked[0][1].tolist() == [0.0, 999.0]


def test_time_is_at_least_float32_and_answers_keep_the_dtype():
    echo = Echo(dtype=torch.bfloat16)
    d, level = Denoiser(echo, LinearSchedule(), Clean()), LinearSchedule().level(999.0)
    assert d(torch.zeros(2, 1, 2, 2), level).x0.dtype == torch.float32
    assert echo.asked[-1][1].dtype == torch.float32
    assert echo.asked[-1][1].tolist() == [998.0, 998.0]
    half = torch.zeros(2, 1, 2, 2, dtype=torch.bfloat16)
    assert d(half, level).x0.dtype == torch.bfloat16
    assert echo.asked[-1][1].tolist() == [998.0, 998.0]
    assert d.predict(torch.zeros(2, 1, 2, 2), torch.tensor([3, 4])).x0.dtype == torch.float32


def test_two_outputs_a_channel_are_prediction_and_fraction():
    d, x = Denoiser(Echo(outputs=2), LinearSchedule()), torch.full((2, 3, 2, 2), 0.4)
    pred = d(x, LinearSchedule().level(5.0))
    torch.testing.assert_close(pred.value, 0.5 * x)
    torch.testing.assert_close(pred.fraction, (0.5 * x + 1) / 2)
    with pytest.raises(ValueError, match="returns 9 channels for an input of 3"):
        Denoiser(Echo(outputs=3), LinearSchedule())(x, LinearSchedule().level(5.0))


def test_conditioning_goes_by_name():
    echo = Echo()
    Denoiser(echo, LinearSchedule())(torch.zeros(2, 1, 2, 2), LinearSchedule().level(5.0), label=torch.tensor([1, -1]))
    assert echo.asked[0][2].tolist() == [1, -1]


@pytest.mark.parametrize("target", [Epsilon(), Score()], ids=repr)
@pytest.mark.parametrize(
    "schedule",
    [
        ContinuousCosineSchedule(),
        RectifiedFlowSchedule(),
        ZeroTerminalSNRSchedule(CosineSchedule()),
        ShiftedSchedule(ContinuousCosineSchedule(), -1.0),
    ],
    ids=repr,
)
def test_undecodable_pairs_are_refused_when_built(target, schedule):
    with pytest.raises(ValueError, match=r"cannot be decoded at t=\d+.*alpha=0.*Use target=velocity or target=clean"):
        Denoiser(Echo(), schedule, target)


@pytest.mark.parametrize(
    ("schedule", "settings"),
    [
        (RectifiedFlowSchedule, {"shift": 0.0}),
        (RectifiedFlowSchedule, {"shift": -0.5}),
        (EDMSchedule, {"sigma_max": -1.0}),
        (EDMSchedule, {"sigma_max": 0.0}),
        (TrigFlowSchedule, {"sigma_data": -0.5}),
        (LaplaceSchedule, {"scale": 0.0}),
    ],
)
def test_settings_under_which_noise_does_not_grow_are_refused(schedule, settings):
    with pytest.raises(ValueError, match="must be above 0"):
        schedule(**settings)


class Falling(RectifiedFlowSchedule):
    """A schedule of somebody else's, on which noise falls with time."""

    def level(self, t):
        return super().level(1.0 - t)


def test_a_schedule_on_which_noise_does_not_grow_is_refused_when_built():
    with pytest.raises(ValueError, match="must grow with time"):
        Denoiser(Echo(), Falling(), Velocity())


def test_a_clock_that_is_infinite_on_the_table_is_refused_when_built():
    for clock in (LogSNR(), LogSigma()):
        Denoiser(Echo(), LinearSchedule(), Velocity(), clock)
        with pytest.raises(ValueError, match="infinite at t=1000"):
            Denoiser(Echo(), ZeroTerminalSNRSchedule(LinearSchedule()), Velocity(), clock)


def test_every_other_pair_is_accepted(schedule, target):
    end = float(schedule.level(schedule.t_max).alpha)
    if end == 0.0 and isinstance(target, Epsilon | Score):
        return
    d = Denoiser(Echo(), schedule, target)
    d.check(Trailing(10)(schedule))
    x = torch.randn(2, 1, 2, 2, generator=torch.Generator().manual_seed(0)).double()
    for level in Trailing(10)(schedule)[:-1]:
        pred = d(x, level)
        assert torch.isfinite(pred.x0).all()
        assert torch.isfinite(pred.eps).all()


def test_grids_that_ask_what_cannot_be_answered_are_refused():
    backwards = Trailing(5)(LinearSchedule())[::-1]  # inversion begins at clean data
    Denoiser(Echo(), LinearSchedule(), Epsilon()).check(backwards)
    for target in (Clean(), Score()):
        with pytest.raises(ValueError, match="does not determine x0 and eps"):
            Denoiser(Echo(), LinearSchedule(), target).check(backwards)
    with pytest.raises(ValueError, match="is not finite at"):
        Denoiser(Echo(), EDMSchedule(), Preconditioned(), LogSigma(), UnitVarianceScale()).check(
            Trailing(5)(EDMSchedule())[::-1]
        )
    with pytest.raises(ValueError, match="cannot be decoded"):
        Denoiser(Echo(), LinearSchedule(), Epsilon()).check((NoiseLevel(0.0, 1.0), NoiseLevel(1.0, 0.0)))


def test_beyond_a_table_the_level_is_the_true_one_and_the_time_the_last():
    echo = Echo(0.0)
    d, x = Denoiser(echo, LinearSchedule(), Velocity()), torch.ones(1, 1, 1, 1).double()
    pred = d(x, NoiseLevel(1.0, 1000.0))  # the table ends at 157
    assert echo.asked[0][1].item() == 999.0
    torch.testing.assert_close(pred.x0, x / (1 + 1000.0**2), rtol=1e-9, atol=0.0)


def test_beyond_a_schedule_x_keeps_the_norm_that_it_has_at_the_end():
    """A variance-exploding network is shown pure noise of the size that it knows."""
    echo = Echo(0.0)
    pred = Denoiser(echo, EDMSchedule(), Velocity())(X, NoiseLevel(0.0, 1.0))
    torch.testing.assert_close(echo.asked[0][0], EDMSchedule().level(80.0).norm * X)
    torch.testing.assert_close(pred.eps, X)


def test_the_fraction_of_a_low_precision_answer_is_not_rounded_twice():
    d, x = Denoiser(Echo(0.001, 2, torch.bfloat16), LinearSchedule()), torch.ones(1, 1, 1, 1)
    assert d(x, LinearSchedule().level(5.0)).fraction.item() == pytest.approx(0.5005, abs=1e-6)


def test_placements_follow_batch_dtype_and_device_and_stay_bounded():
    d, level = Denoiser(Echo(), LinearSchedule()), LinearSchedule().level(10.0)
    for shape, dtype in (((2, 1, 2, 2), torch.float32), ((5, 1, 2, 2), torch.float32), ((5, 1, 2, 2), torch.float64)):
        d(torch.zeros(shape, dtype=dtype), level)
        time = d.network.asked[-1][1]
        assert (len(time), time.dtype) == (shape[0], dtype)
    for i in range(4200):
        d(torch.zeros(1, 1, 1, 1), NoiseLevel(1.0, 1.0 + i * 1e-3))
    assert len(d._cache) <= 4096


def test_it_can_be_copied_pickled_and_asked_in_inference_mode():
    d, x = Denoiser(Echo(), LinearSchedule()), torch.ones(1, 1, 2, 2)
    with torch.inference_mode():
        d(x, LinearSchedule().level(3.0))
    loss = d(x, LinearSchedule().level(3.0)).x0.sum()  # a remembered placement meets a backward pass
    loss.backward()
    assert d.network.weight.grad is not None
    for other in (copy.deepcopy(d), pickle.loads(pickle.dumps(Denoiser(nn.Identity(), LinearSchedule())))):
        assert other.schedule == LinearSchedule()
    assert list(d.state_dict()) == ["network.weight"]


def test_using_other_weights():
    d = Denoiser(Echo(0.5), EDMSchedule(), Preconditioned(0.7), LogSigma(), UnitVarianceScale(0.7))
    other = d.using(Echo(0.1))
    assert (other.schedule, other.target, other.c_noise, other.c_in) == (d.schedule, d.target, d.c_noise, d.c_in)
    assert other.network.weight.item() == pytest.approx(0.1)


def test_edm_conventions_as_published(golden):
    sigmas = golden["edm/c_in"]["sigma"]
    for i, sigma in enumerate(sigmas):
        level = NoiseLevel(1.0, sigma)
        assert UnitVarianceScale(0.5)(level) == pytest.approx(golden["edm/c_in"]["value"][i], rel=1e-12)
        assert LogSigma()(sigma, level) == pytest.approx(golden["edm/c_noise"]["value"][i], rel=1e-12, abs=1e-15)


def test_calls_are_counted():
    running = Denoiser(Echo(), LinearSchedule()).begin()
    for level in Trailing(5)(LinearSchedule())[:-1]:
        running(torch.zeros(1, 1, 2, 2), level)
    assert running.calls == 5
    assert running.begin().calls == 0
    assert isinstance(broadcast_like(1.0, X), float)
