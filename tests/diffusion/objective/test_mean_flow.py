"""Average velocities: the flow loss at r = t, the closed form of Gaussian data, derivatives through every network."""

import pytest
import torch
from torch import nn

from mezzotint.diffusion import (
    DDIM,
    AdaptiveLoss,
    ContinuousCosineSchedule,
    Denoiser,
    EDMSchedule,
    Epsilon,
    Flow,
    KeyedRandom,
    LearnedSchedule,
    LinearSchedule,
    LogNormalTimes,
    MeanFlow,
    MeanFlowObjective,
    NoiseLevel,
    Objective,
    RawTime,
    RectifiedFlowSchedule,
    ScaledTime,
    SquaredErrorLoss,
    StratifiedTimes,
    Trailing,
    TrigFlowSchedule,
    Velocity,
    VPSchedule,
    integrate,
    invert,
    sample,
)
from mezzotint.diffusion.interval import flow_time
from mezzotint.diffusion.objective.mean_flow import average_velocity, total_derivative
from mezzotint.networks import MLP, DiT, EDM2UNet, IntervalCondition, JiT, SongUNet, UNet, UViT

MEAN, STD = 0.7, 0.4
STENCIL = {1: 4 / 5, 2: -1 / 5, 3: 4 / 105, 4: -1 / 280}  # of the first derivative, order 8
SCHEDULES = [
    RectifiedFlowSchedule(),
    RectifiedFlowSchedule(shift=3.0),
    VPSchedule(),
    ContinuousCosineSchedule(),
    TrigFlowSchedule(),
    EDMSchedule(),
]
INTERVAL = {"interval": IntervalCondition()}


def draws(n, start=0, seed=0):
    return KeyedRandom(seed, torch.arange(start, start + n))


def on_path(u, until, y):
    """The probability-flow ODE of N(MEAN, STD^2) from y at flow time u to `until`, in closed form."""

    def spread(u):
        return (((1 - u) * STD) ** 2 + u**2) ** 0.5

    return (1 - until) * MEAN + (y - (1 - u) * MEAN) * spread(until) / spread(u)


class Exact(nn.Module):
    """The average velocity of Gaussian data, and the velocity itself at an interval of 0, as a network.

    Its input is x of the schedule, its time that of the schedule.
    """

    def __init__(self, schedule):
        super().__init__()
        self.schedule = schedule
        self.off = nn.Parameter(torch.zeros(3, dtype=torch.float64))

    def forward(self, x, time, interval=None, **_):
        interval = torch.zeros_like(time) if interval is None else interval
        level = self.schedule.level(time)
        u, total = (c.reshape(-1, *(1,) * (x.ndim - 1)) for c in (flow_time(level), level.alpha + level.sigma))
        y, length = x.double() / total, interval.double().reshape_as(u)
        slope = (u - (1 - u) * STD**2) / (((1 - u) * STD) ** 2 + u**2)
        instant = slope * (y - (1 - u) * MEAN) - MEAN
        safe = torch.where(length == 0, 1.0, length)
        value = torch.where(length == 0, instant, (y - on_path(u, u - length, y)) / safe)
        return value + self.off[0] + self.off[1] * y + self.off[2] * length


def raw_time(schedule):
    return Denoiser(Exact(schedule), schedule, Flow(), RawTime())


@pytest.mark.parametrize("schedule", SCHEDULES, ids=repr)
def test_the_closed_form_obeys_the_identity(schedule):
    """U = V - (u - u') dU/du on Gaussian data, V the exact velocity: on every schedule, in its own frame."""
    denoiser = raw_time(schedule)
    t = torch.linspace(0.1, 0.95, 7).double() * (1.0 if schedule.t_max > 2 else schedule.t_max)
    end = t * torch.linspace(0.05, 0.9, 7).double()
    level = schedule.level(t)
    x = torch.linspace(-1.5, 1.5, 7).double().reshape(7, 1, 1, 1) * (level.alpha + level.sigma).reshape(7, 1, 1, 1)
    velocity = denoiser.predict_at(x, t, level, interval=torch.zeros(7)).value
    average = average_velocity(denoiser, end, {})
    slope = total_derivative(average, schedule, x, t, velocity)
    length = flow_time(level) - flow_time(schedule.level(end))
    wanted = velocity - length.reshape_as(x) * slope
    torch.testing.assert_close(average(x, t), wanted, rtol=1e-8, atol=1e-8)


@pytest.mark.parametrize("improved", [False, True])
@pytest.mark.parametrize("schedule", SCHEDULES[:4], ids=repr)
def test_the_closed_form_minimises_the_loss(schedule, improved):
    """The gradient at the closed form is zero up to sampling noise; with an error of 1e-3 it would not be."""
    denoiser, n = raw_time(schedule).train(), 60_000
    x0 = MEAN + STD * draws(n, seed=5).normal("data", (1, 1, 1)).double()
    objective = MeanFlowObjective(StratifiedTimes(), equal=0.25, improved=improved)

    def gradient(batch):
        losses = objective(denoiser, x0[batch], draws(len(batch), int(batch[0])))
        return torch.autograd.grad(losses.mean(), denoiser.network.off)[0]

    parts = torch.stack([gradient(batch) for batch in torch.arange(n).split(n // 50)])
    error = parts.std(0) / len(parts) ** 0.5
    assert (parts.mean(0).abs() < 4 * error).all(), (parts.mean(0), error)
    assert (error < 2e-2).all()


@pytest.mark.parametrize("make", [lambda: UNet((1, 8, 8), 3, 16, (1, 2), 1, (), conditions=INTERVAL), lambda: net(DiT)])
def test_equal_times_give_the_flow_loss_bitwise(make):
    denoiser = Denoiser(scrambled(make()), RectifiedFlowSchedule(), Flow()).train()
    x0, label = torch.randn(6, 1, 8, 8), torch.arange(6) % 3
    given = {"label_dropout": 0.3, "loss": SquaredErrorLoss(), "times": LogNormalTimes()}
    plain = Objective(**given)(denoiser, x0, draws(6), label=label)
    assert torch.equal(MeanFlowObjective(equal=1.0, **given)(denoiser, x0, draws(6), label=label), plain)
    mixed = MeanFlowObjective(equal=0.5, **given)(denoiser, x0, draws(6), label=label)
    same = mixed == plain
    assert 0 < same.sum() < 6
    wanted = draws(6).uniform("unequal_times") >= 0.5
    assert torch.equal(same, wanted)


def test_an_example_does_not_depend_on_its_batch():
    denoiser = Denoiser(scrambled(net(MLP)).double(), RectifiedFlowSchedule(), Flow()).train()
    x0, objective = torch.randn(8, 1, 8, 8).double(), MeanFlowObjective(equal=0.25, improved=True)
    together = objective(denoiser, x0, draws(8))
    apart = torch.cat([objective(denoiser, x0[i : i + 2], draws(2, i)) for i in range(0, 8, 2)])
    torch.testing.assert_close(together, apart, rtol=1e-6, atol=1e-9)


def net(kind, **more):
    sizes = {
        MLP: {"width": 16},
        DiT: {"width": 16, "depth": 2, "head_width": 8, "patch": 4},
        JiT: {
            "width": 16,
            "depth": 3,
            "head_width": 8,
            "patch": 4,
            "bottleneck": 8,
            "class_start": 1,
            "class_tokens": 2,
        },
        SongUNet: {"width": 16, "multipliers": (1, 2), "blocks": 1, "attention": (4,)},
        EDM2UNet: {"width": 16, "multipliers": (1, 2), "blocks": 1, "attention": (4,), "head_width": 8},
        UViT: {"width": 16, "depth": 3, "head_width": 8, "patch": 4},
    }
    return kind((1, 8, 8), 3, conditions=INTERVAL, **sizes[kind], **more)


def scrambled(network):
    torch.manual_seed(1)
    for p in network.parameters():
        p.data.add_(0.1 * torch.randn_like(p))
    return network


NETWORKS = [
    lambda: UNet((1, 8, 8), 3, 16, (1, 2), 1, (8,), conditions=INTERVAL),
    *(lambda kind=kind: net(kind) for kind in (MLP, DiT, JiT, UViT, SongUNet, EDM2UNet)),
]


@pytest.mark.parametrize("make", NETWORKS)
def test_the_derivative_through_a_network_is_that_of_finite_differences(make):
    """Along the path, of x, t and the interval together; the path's curvature is none on the straight one.

    Forward mode in float32, against central differences of order 8 in float64.
    """
    schedule, network = RectifiedFlowSchedule(), scrambled(make())
    clock = RawTime() if isinstance(network, EDM2UNet) else ScaledTime(25)  # EDM2's Fourier features: small numbers
    denoiser = Denoiser(network, schedule, Flow(), clock)
    torch.manual_seed(0)
    x0, eps, t, end = (
        torch.randn(2, 1, 8, 8),
        torch.randn(2, 1, 8, 8),
        torch.tensor([0.4, 0.9]),
        torch.tensor([0.1, 0.3]),
    )
    t, end = t.double(), end.double()
    average = average_velocity(denoiser, end, {"label": torch.tensor([1, -1])})
    slope = total_derivative(average, schedule, schedule.level(t).perturb(x0, eps), t, eps - x0)
    double = denoiser.double()
    at = average_velocity(double, end, {"label": torch.tensor([1, -1])})
    h = 5e-3  # not less: times are float32 inside
    ends = [
        [at(schedule.level(s).perturb(x0.double(), eps.double()), s) for s in (t + i * h, t - i * h)] for i in STENCIL
    ]
    wanted = sum(share * (ahead - behind) for share, (ahead, behind) in zip(STENCIL.values(), ends, strict=True)) / h
    assert (slope - wanted).norm() < 1e-4 * wanted.norm()


@pytest.mark.parametrize("schedule", SCHEDULES, ids=repr)
@pytest.mark.parametrize("steps", [1, 2, 7])
def test_samples_of_the_closed_form_are_exact_on_any_grid(schedule, steps):
    grid = Trailing(steps)(schedule)
    eps = torch.linspace(-2, 2, 9).double().reshape(9, 1, 1, 1)
    start = eps * schedule.prior_std(grid[0])
    got = integrate(raw_time(schedule), MeanFlow(), grid, start)
    top = grid[0]
    total = top.alpha + top.sigma
    wanted = on_path(top.sigma / total, 0.0, start / total)
    torch.testing.assert_close(got, wanted, rtol=1e-4, atol=1e-4)  # the interval is float32


def test_a_network_without_an_interval_is_that_of_equal_times():
    for make in NETWORKS:
        network = scrambled(make())
        x, time = torch.randn(3, 1, 8, 8), torch.tensor([5.0, 300.0, 990.0])
        assert torch.equal(network(x, time), network(x, time, interval=torch.zeros(3)))
        assert not torch.allclose(network(x, time), network(x, time, interval=torch.full((3,), 0.5)))


@pytest.mark.parametrize(
    ("schedule", "target", "word"),
    [
        (RectifiedFlowSchedule(), Velocity(), "target=flow"),
        (RectifiedFlowSchedule(shift=2.0), Epsilon(), "target=flow"),
        (LinearSchedule(), Flow(), "schedule=rectified"),
        (LearnedSchedule(), Flow(), "schedule=rectified"),
    ],
)
def test_pairs_without_an_average_velocity_are_refused(schedule, target, word):
    if isinstance(target, Epsilon):
        schedule = VPSchedule()
    denoiser = Denoiser(net(MLP), schedule, target)
    with pytest.raises(ValueError, match=f"objective=mean_flow.*Use {word}"):
        MeanFlowObjective()(denoiser, torch.zeros(2, 1, 8, 8), draws(2))


def test_steps_to_more_noise_are_refused():
    denoiser = raw_time(RectifiedFlowSchedule())
    with pytest.raises(ValueError, match="sampler=euler"):
        invert(denoiser, MeanFlow(), Trailing(4), torch.zeros(1, 1, 1, 1))


def test_guidance_becomes_part_of_the_velocity():
    """At r = t the value is w (eps - x0) + (1 - w) U of no label, and eps - x0 itself where the label is dropped."""
    denoiser = Denoiser(scrambled(net(MLP)), RectifiedFlowSchedule(), Flow()).train()
    x0, label = torch.randn(40, 1, 8, 8), torch.arange(40) % 3
    seen = []

    class Spy(SquaredErrorLoss):
        def __call__(self, value, target):
            seen.append(target)
            return super().__call__(value, target)

    kwargs = {"equal": 1.0, "label_dropout": 0.5, "loss": Spy()}
    MeanFlowObjective(**kwargs)(denoiser, x0, draws(40), label=label)
    MeanFlowObjective(**kwargs, guidance_scale=2.0)(denoiser, x0, draws(40), label=label)
    plain, guided = seen
    t = draws(40).uniform("time")
    x = RectifiedFlowSchedule().level(t).perturb(x0, plain + x0)
    null = denoiser.predict(x, t, label=torch.full((40,), -1)).value
    lost = draws(40).uniform("label_dropout") < 0.5
    wanted = torch.where(lost.reshape(-1, 1, 1, 1), plain, 2 * plain - null)
    torch.testing.assert_close(guided, wanted, rtol=1e-4, atol=1e-4)
    with pytest.raises(ValueError, match=r"label_dropout=0\.1"):
        MeanFlowObjective(guidance_scale=2.0)
    with pytest.raises(ValueError, match="needs labels"):
        MeanFlowObjective(**kwargs, guidance_scale=2.0)(denoiser, x0, draws(40))


def test_ends_have_the_distribution_of_the_times_below_t():
    objective = MeanFlowObjective(LogNormalTimes(-0.4, 1.0), equal=0.0)
    schedule, many = RectifiedFlowSchedule(), draws(20_000)
    t = objective.times.sample(many, schedule).t
    end, shorter = objective.ends(t, many, schedule)
    assert len(shorter) == 20_000
    assert (end <= t).all()
    share = objective.times.share_below((end / (1 - end)).log()) / objective.times.share_below((t / (1 - t)).log())
    quantiles = share.quantile(torch.tensor([0.1, 0.5, 0.9], dtype=torch.float64))
    torch.testing.assert_close(quantiles, torch.tensor([0.1, 0.5, 0.9]).double(), atol=0.015, rtol=0)


def test_the_adaptive_loss_has_the_gradient_of_the_weighted_error():
    value, target = torch.randn(5, 3, requires_grad=True), torch.randn(5, 3)
    (got,) = torch.autograd.grad(AdaptiveLoss(0.75, 0.1)(value, target).sum(), value)
    error = (value - target).square().sum(1, keepdim=True)
    torch.testing.assert_close(got, 2 * (value - target) / (error + 0.1) ** 0.75)


def test_validation_reports_the_flow_loss():
    from mezzotint.training.fixed_draws import APART, FixedDraws

    denoiser = Denoiser(scrambled(net(MLP)), RectifiedFlowSchedule(), Flow()).eval()
    x0, fixed = torch.randn(8, 1, 8, 8), FixedDraws(0, torch.arange(8) + APART)
    got = MeanFlowObjective(loss=AdaptiveLoss(), equal=0.0)(denoiser, x0, fixed)
    assert torch.equal(got, Objective()(denoiser, x0, fixed))


def test_sampling_goes_through_the_ordinary_loop():
    denoiser = Denoiser(scrambled(net(MLP)), RectifiedFlowSchedule(), Flow()).eval()
    x = sample(denoiser, MeanFlow(), Trailing(2), torch.randn(4, 1, 8, 8))
    assert x.shape == (4, 1, 8, 8)
    assert NoiseLevel(1.0, 0.0) == Trailing(2)(denoiser.schedule)[-1]


def test_a_compiled_network_has_the_same_loss():
    """Compiled code has no forward-mode derivative: the network is run as it is written there, and only there."""
    network = scrambled(net(MLP))
    denoiser = Denoiser(network, RectifiedFlowSchedule(), Flow()).train()
    x0, objective = torch.randn(6, 1, 8, 8), MeanFlowObjective(equal=0.25)
    plain = objective(denoiser, x0, draws(6))
    network.compile(backend="eager")
    torch.testing.assert_close(objective(denoiser, x0, draws(6)), plain, rtol=1e-5, atol=1e-6)


def test_training_brings_one_call_close_to_the_data():
    """Two points, 0.2 wide: DDIM's one call ends near their mean, and the average velocity's at the points."""
    torch.manual_seed(0)
    network = MLP((1, 1, 1), width=48, conditions=INTERVAL)
    denoiser = Denoiser(network, RectifiedFlowSchedule(), Flow(), ScaledTime(25.0)).train()
    optimizer, objective = torch.optim.Adam(network.parameters()), MeanFlowObjective(equal=0.5)
    steps, batch = 400, 256
    for i in range(steps):
        for group in optimizer.param_groups:
            group["lr"] = 4e-3 * (1 - i / steps)
        many = draws(batch, i * batch)
        x0 = many.uniform("side").float().sub(0.5).sign().reshape(-1, 1, 1, 1) + 0.1 * many.normal("data", (1, 1, 1))
        optimizer.zero_grad()
        objective(denoiser, x0, many).mean().backward()
        optimizer.step()
    eps = torch.linspace(0.001, 0.999, 999).mul(2).sub(1).erfinv().mul(2**0.5).reshape(-1, 1, 1, 1)
    ours, ddim = (sample(denoiser.eval(), sampler, Trailing(1), eps).flatten() for sampler in (MeanFlow(), DDIM()))
    distances = [float((x.sort()[0].abs() - 1).abs().mean()) for x in (ours, ddim)]
    assert distances[0] < 0.25
    assert distances[1] > 2 * distances[0]


@pytest.mark.parametrize("improved", [False, True])
def test_under_autocast_the_derivative_of_a_unet_is_that_of_single_precision(improved):
    """Torch's group norm in bfloat16 on a CPU has a derivative in float32, which no convolution takes."""
    torch.manual_seed(0)
    network = UNet(
        (1, 8, 8), width=16, multipliers=(1, 2), blocks=1, attention=(), conditions={"interval": IntervalCondition()}
    )
    for parameter in network.parameters():
        nn.init.normal_(parameter, std=0.1)
    denoiser = Denoiser(network, RectifiedFlowSchedule(), Flow(), c_noise=ScaledTime(25.0))
    x0, draws = torch.randn(16, 1, 8, 8), KeyedRandom(0, torch.arange(16))
    exact = MeanFlowObjective(improved=improved)(denoiser, x0, draws)
    with torch.autocast("cpu", torch.bfloat16):
        rounded = MeanFlowObjective(improved=improved)(denoiser, x0, draws)
    torch.testing.assert_close(rounded.float(), exact, rtol=0.1, atol=0.02)
