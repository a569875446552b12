"""Guidance: exact at w = 0 and 1, indifferent to the target and the frame, without memory between trajectories."""

import inspect
import math
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import pytest
import torch
import yaml

from mezzotint import diffusion
from mezzotint.diffusion import (
    APG,
    CFG,
    DDIM,
    DDNM,
    DPS,
    LMS,
    CFGPlusPlus,
    CFGZero,
    ClassifierGuidance,
    Clean,
    Clip,
    ClipIfEpsilon,
    CompositionalCFG,
    Denoiser,
    DPMSolverPP,
    DPMSolverSinglestep,
    DynamicThreshold,
    EDMSchedule,
    Epsilon,
    ExactMixture,
    ExponentialAdamsBashforth,
    Flow,
    GradientEstimation,
    Heun,
    InpaintGuidance,
    Karras,
    LinearSchedule,
    MomentMatching,
    NoiseLevel,
    PiGDM,
    Preconditioned,
    Prediction,
    RawTime,
    RectifiedFlowSchedule,
    RescaledCFG,
    Score,
    SelfConditioned,
    Trailing,
    UniPC,
    Velocity,
    VPSchedule,
    chain,
    exact_gaussian,
    integrate,
    no_guidance,
    sample,
)
from mezzotint.diffusion.guidance.base import Guidance, move_to
from mezzotint.instantiate.build import build, check

CONTRASTS = [CFG, RescaledCFG, CFGZero, APG]
CONFIGS = Path(__file__).parents[3] / "configs"
LEVEL = VPSchedule().level(0.5)
LABEL = torch.tensor([0, 1, 2, 1])


def data(seed=0, n=4):
    return torch.randn(n, 1, 3, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


class Labelled:
    """E[x0 | x] of unit Gaussians about the label, and about 0 without one; counts calls and images."""

    schedule = VPSchedule()

    def __init__(self, kind=(1.0, 0.0), strength=1.0):
        self.kind, self.strength, self.calls, self.images = kind, strength, 0, 0

    def begin(self):
        return self

    def __call__(self, x, level, label=None, gain=None):
        self.calls, self.images = self.calls + 1, self.images + len(x)
        mean = torch.zeros(len(x)) if label is None else torch.where(label < 0, 0.0, label + 1.0)
        mean = self.strength * mean.double().reshape(-1, 1, 1, 1)
        if gain is not None:
            mean = mean * gain.reshape(-1, 1, 1, 1)
        x0 = mean + level.alpha / level.norm**2 * (x - level.alpha * mean) + 0.1 * x.sin()
        eps = (x - level.alpha * x0) / level.sigma
        return Prediction(x, level, self.kind[0] * x0 + self.kind[1] * eps, *self.kind)


@pytest.mark.parametrize("kind", CONTRASTS)
def test_w_0_is_unconditional_and_w_1_conditional_exactly_and_in_one_call(kind):
    x, plain = data(), Labelled()
    for w, label in ((0.0, torch.full_like(LABEL, -1)), (1.0, LABEL)):
        inner = Labelled()
        got = kind(inner, w).begin()(x, LEVEL, label=LABEL)
        assert torch.equal(got.x0, plain(x, LEVEL, label=label).x0)
        assert (inner.calls, inner.images) == (1, 4)


@pytest.mark.parametrize("kind", CONTRASTS)
def test_between_and_beyond_it_is_one_call_of_twice_the_batch(kind):
    inner = Labelled()
    kind(inner, 2.5).begin()(data(), LEVEL, label=LABEL)
    assert (inner.calls, inner.images) == (1, 8)


@pytest.mark.parametrize("kind", CONTRASTS)
def test_the_target_does_not_matter(kind):
    """eps, x0, v, score, flow and EDM networks give the same guided prediction."""
    ends = []
    for target in (Epsilon(), Clean(), Velocity(), Score(), Flow(), Preconditioned()):
        pred = kind(Labelled(target.coefficients(LEVEL)), 3.0).begin()(data(), LEVEL, label=LABEL)
        ends.append(pred.x0)
    for end in ends[1:]:
        torch.testing.assert_close(end, ends[0], rtol=1e-11, atol=1e-11)


@pytest.mark.parametrize("kind", [*CONTRASTS, Clip, ClipIfEpsilon, DynamicThreshold])
def test_x_stays_alpha_x0_plus_sigma_eps(kind):
    wrapped = replace(kind(Labelled()), **({"scale": 4.0} if kind in CONTRASTS else {}))
    pred = wrapped.begin()(data(), LEVEL, label=LABEL)
    torch.testing.assert_close(LEVEL.perturb(pred.x0, pred.eps), data(), rtol=1e-12, atol=1e-12)


def test_numbers_of_cfg_and_its_rescale():
    """u + 3 (c - u), and Lin et al.'s rescale of it with phi = 0.7, worked out apart from this code."""
    conditional, unconditional = torch.tensor([[1.0, 2.0, 4.0]]).double(), torch.tensor([[0.5, -1.0, 2.0]]).double()

    class Given(Labelled):
        def __call__(self, x, level, label=None):
            return Prediction(x, level, torch.where(label[:, None] < 0, unconditional, conditional), 1.0, 0.0)

    for guided, wanted in (
        (CFG(Given(), 3.0), [2.0, 8.0, 8.0]),
        (RescaledCFG(Given(), 3.0, phi=0.7), [1.2173419725817378, 4.869367890326951, 4.869367890326951]),
    ):
        got = guided(torch.zeros(1, 3).double(), LEVEL, label=torch.tensor([0])).x0
        torch.testing.assert_close(got, torch.tensor([wanted], dtype=torch.float64), rtol=1e-12, atol=0)


def test_rescale_with_phi_1_has_the_conditional_spread():
    inner = Labelled()
    pred = RescaledCFG(inner, 6.0, phi=1.0)(data(), LEVEL, label=LABEL)
    wanted = inner(data(), LEVEL, label=LABEL).x0.flatten(1).std(1)
    torch.testing.assert_close(pred.x0.flatten(1).std(1), wanted, rtol=1e-10, atol=0)
    assert torch.equal(
        RescaledCFG(inner, 6.0, phi=0.0)(data(), LEVEL, label=LABEL).x0, CFG(inner, 6.0)(data(), LEVEL, label=LABEL).x0
    )
    flat = RescaledCFG(Labelled(strength=0.0), 6.0)(0.0 * data(), LEVEL, label=LABEL)  # as of an untrained network
    assert not flat.x0.any()


@pytest.mark.parametrize("kind", CONTRASTS)
def test_a_band_of_levels(kind):
    """Half-open: low < sigma / alpha <= high; outside the conditional prediction, in one call."""
    for ratio, guides in ((0.5, False), (0.50001, True), (2.0, True), (2.00001, False)):
        inner, level = Labelled(), NoiseLevel(1.0, ratio)
        pred = kind(inner, 3.0, low=0.5, high=2.0).begin()(data(), level, label=LABEL)
        plain = Labelled()(data(), level, label=LABEL)
        assert torch.equal(pred.x0, plain.x0) != guides
        assert inner.images == (8 if guides else 4)


def test_autoguidance_extrapolates_from_the_weak_network():
    strong, weak = Labelled(), Labelled(strength=0.5)
    pred = CFG(strong, 2.0, weak=weak).begin()(data(), LEVEL, label=LABEL)
    a, b = Labelled(strength=0.5)(data(), LEVEL, label=LABEL).x0, Labelled()(data(), LEVEL, label=LABEL).x0
    torch.testing.assert_close(pred.x0, a + 2.0 * (b - a), rtol=1e-12, atol=1e-12)
    assert (strong.images, weak.images) == (4, 4)
    assert torch.equal(CFG(strong, 0.0, weak=weak)(data(), LEVEL, label=LABEL).x0, a)
    assert torch.equal(CFG(strong, 1.0, weak=weak)(data(), LEVEL, label=LABEL).x0, b)


def test_autoguidance_between_networks_of_different_frames_and_targets():
    """A weak flow network on rectified flow beside a strong eps network on VP: the same as two eps networks on VP."""

    class Net(torch.nn.Module):
        def __init__(self, schedule, target, mean):
            super().__init__()
            self.exact, self.target = exact_gaussian(schedule, torch.full((1, 3, 3), mean), 0.5), target

        def forward(self, x, time):
            level = self.exact.schedule.level(float(time[0]))
            return self.exact(x, level).mix(*self.target.coefficients(level))

    def denoiser(schedule, target, mean):
        return Denoiser(Net(schedule, target, mean), schedule, target, RawTime())

    strong = denoiser(VPSchedule(), Epsilon(), 1.0)
    ends = [
        integrate(CFG(strong, 1.7, weak=weak), Heun(), Karras(6, 0.05)(VPSchedule()), data())
        for weak in (denoiser(VPSchedule(), Epsilon(), 0.2), denoiser(RectifiedFlowSchedule(), Flow(), 0.2))
    ]
    torch.testing.assert_close(ends[1], ends[0], rtol=1e-10, atol=1e-10)


def test_apg_without_its_three_ideas_is_cfg():
    x = data()
    wanted = CFG(Labelled(), 4.0)(x, LEVEL, label=LABEL).x0
    got = APG(Labelled(), 4.0, eta=1.0, momentum=0.0).begin()(x, LEVEL, label=LABEL).x0
    torch.testing.assert_close(got, wanted, rtol=1e-12, atol=1e-12)


def test_apg_adds_nothing_along_the_conditional_prediction():
    x, c = data(), Labelled()(data(), LEVEL, label=LABEL).x0
    update = APG(Labelled(), 4.0, eta=0.0)(x, LEVEL, label=LABEL).x0 - c
    assert update.abs().max() > 0.1
    torch.testing.assert_close((update * c).flatten(1).sum(1), torch.zeros(4).double(), rtol=0, atol=1e-11)
    short = APG(Labelled(), 3.0, eta=1.0, norm=0.2)(x, LEVEL, label=LABEL).x0 - c
    torch.testing.assert_close(
        short.flatten(1).norm(dim=1), torch.full((4,), 0.4, dtype=torch.float64), rtol=1e-12, atol=0
    )


def test_apg_remembers_within_a_trajectory_and_forgets_between():
    apg, x = APG(Labelled(), 4.0, eta=1.0, momentum=-0.5), data()
    running = apg.begin()
    first, second = running(x, LEVEL, label=LABEL), running(x, LEVEL, label=LABEL)
    c = Labelled()(x, LEVEL, label=LABEL).x0
    torch.testing.assert_close(second.x0 - c, 0.5 * (first.x0 - c), rtol=1e-12, atol=1e-12)
    runs = [sample(apg, DDIM(), Trailing(5), data(), label=LABEL) for _ in range(2)]
    assert torch.equal(*runs)
    assert torch.equal(apg.begin()(x, LEVEL, label=LABEL).x0, first.x0)


def test_cfg_zero_projects_the_null_velocity():
    x = data()
    weak, strong = (Labelled()(x, LEVEL, label=y).mix(-1.0, 1.0) for y in (torch.full_like(LABEL, -1), LABEL))
    s = (weak * strong).flatten(1).sum(1) / weak.square().flatten(1).sum(1)
    u = s.reshape(-1, 1, 1, 1) * weak
    got = CFGZero(Labelled(), 2.0)(x, LEVEL, label=LABEL).mix(-1.0, 1.0)
    torch.testing.assert_close(got, u + 2.0 * (strong - u), rtol=1e-12, atol=1e-12)
    still = CFGZero(Labelled((-1.0, 1.0)), 2.0)(x, NoiseLevel(0.0, 1.0), label=LABEL)
    torch.testing.assert_close(still.mix(0.2, 0.8), x, rtol=1e-12, atol=1e-12)


def test_dynamic_threshold_by_hand():
    x0 = torch.tensor([[0.2, -0.4, 0.6, -4.0], [0.1, 0.2, -0.3, 0.4]]).double()

    class Given(Labelled):
        def __call__(self, x, level):
            return Prediction(x, level, x0, 1.0, 0.0)

    got = DynamicThreshold(Given(), percentile=2 / 3)(x0, LEVEL).x0
    wanted = torch.tensor([[0.2, -0.4, 0.6, -1.0], [0.1, 0.2, -0.3, 0.4]]).double()
    torch.testing.assert_close(got, wanted, rtol=1e-6, atol=1e-6)
    got = DynamicThreshold(Given(), percentile=1.0)(x0, LEVEL).x0
    torch.testing.assert_close(got[0], x0[0] / 4.0, rtol=1e-6, atol=1e-6)
    doubled = DynamicThreshold(Given(), percentile=1.0, bound=2.0)(x0, LEVEL).x0
    torch.testing.assert_close(doubled[0], x0[0] / 2.0, rtol=1e-6, atol=1e-6)


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")
def test_thresholding_acts_where_diffusers_default_does_not():
    """Its sample_max_value=1 bounds the percentile s from above at 1 and so makes a plain clamp of it."""
    x0 = torch.linspace(-3.0, 3.0, 64).reshape(1, 1, 8, 8)
    import diffusers

    theirs = diffusers.DDIMScheduler(thresholding=True)._threshold_sample(x0)
    assert torch.equal(theirs, x0.clamp(-1.0, 1.0))

    class Given(Labelled):
        def __call__(self, x, level):
            return Prediction(x, level, x0, 1.0, 0.0)

    assert (DynamicThreshold(Given())(x0, LEVEL).x0 - theirs).abs().max() > 0.5


def test_clip_rebuilds_eps():
    pred = Clip(Labelled(), -0.3, 0.4)(3.0 * data(), LEVEL)
    assert (float(pred.x0.min()), float(pred.x0.max())) == (-0.3, 0.4)
    torch.testing.assert_close(LEVEL.alpha * pred.x0 + LEVEL.sigma * pred.eps, 3.0 * data(), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize(
    ("target", "clips"), [(Epsilon(), True), (Score(), True), (Velocity(), False), (Clean(), False)]
)
def test_clip_where_x0_is_a_quotient(target, clips):
    inner = Labelled(target.coefficients(LEVEL))
    pred, plain = ClipIfEpsilon(inner, -0.3, 0.4)(3.0 * data(), LEVEL), inner(3.0 * data(), LEVEL)
    assert plain.x0.abs().max() > 0.4
    torch.testing.assert_close(pred.x0, plain.x0.clamp(-0.3, 0.4) if clips else plain.x0, rtol=1e-12, atol=1e-12)


def test_classifier_guidance_gives_the_conditional_denoiser():
    """Two Gaussian classes and their exact classifier: by Bayes's rule the guided eps is that of the class."""
    means, std = torch.tensor([-1.0, 0.5]).double(), 0.4

    def one(mean):
        return exact_gaussian(VPSchedule(), mean.reshape(1), std)

    parts = means[:, None], torch.full((2, 1), std, dtype=torch.float64), torch.tensor([0.3, 0.7], dtype=torch.float64)
    mixture = ExactMixture(VPSchedule(), *parts)

    def classifier(x, level):
        variance = (level.alpha * std) ** 2 + level.sigma**2
        return -((x - level.alpha * means) ** 2) / (2 * variance) + mixture.weights.log()

    x = torch.linspace(-2.0, 2.0, 9).double()[:, None]
    for mode in (torch.no_grad, torch.inference_mode, torch.enable_grad):
        for k in (0, 1):
            with mode():
                label = torch.full((9,), k)
                got = ClassifierGuidance(mixture, classifier)(x, LEVEL, label=label).eps
                torch.testing.assert_close(got, one(means[k])(x, LEVEL).eps, rtol=1e-10, atol=1e-10)
    plain = ClassifierGuidance(mixture, classifier, 0.0)(x, LEVEL, label=label).eps
    torch.testing.assert_close(plain, mixture(x, LEVEL).eps, rtol=1e-12, atol=1e-12)


def test_self_conditioning_shows_the_last_estimate():
    shown = []

    class Net(torch.nn.Module):
        def forward(self, x, time, estimate):
            shown.append(estimate)
            return 0.5 * x

    denoise = SelfConditioned(Denoiser(Net(), VPSchedule(), Clean()))
    for _ in range(2):
        shown.clear()
        frames = []
        sample(denoise, DDIM(), Trailing(3), data(), watch=frames.append)
        assert len(shown) == 3
        assert not shown[0].any()
        for estimate, frame in zip(shown[1:], frames, strict=False):
            torch.testing.assert_close(estimate, frame.prediction.x0)


def test_guidance_in_guidance_begins_inside():
    inner = APG(Labelled(), 4.0)
    running = Clip(inner).begin()
    assert running.inner is not inner
    x = data()
    first, second = running(x, LEVEL, label=LABEL), running(x, LEVEL, label=LABEL)
    assert not torch.equal(first.x0, second.x0)
    assert chain(Labelled(), [CFG(scale=2.0), Clip()]).inner.scale == 2.0
    assert no_guidance(inner) is inner


def test_what_guidance_holds_follows_the_guided_network_in_chains_too():
    inner, weak, classifier = (Denoiser(torch.nn.Conv2d(1, 1, 1), VPSchedule(), Clean()) for _ in range(3))
    guided = chain(inner, [CFG(scale=2.0, weak=weak), Clip(), ClassifierGuidance(None, classifier)])
    move_to(guided, "meta")
    assert [next(part.parameters()).device.type for part in (weak, classifier, inner)] == ["meta", "meta", "meta"]
    counted = Labelled()
    counted.network = torch.nn.Conv2d(1, 1, 1)
    move_to(Clip(counted), "meta")
    assert counted.network.weight.device.type == "cpu"


def test_other_conditioning_reaches_both_halves():
    gain = torch.tensor([1.0, 2.0, 3.0, 4.0]).double()
    got = CFG(Labelled(), 2.0)(data(), LEVEL, label=LABEL, gain=gain).x0
    weak = Labelled()(data(), LEVEL, label=torch.full_like(LABEL, -1), gain=gain).x0
    strong = Labelled()(data(), LEVEL, label=LABEL, gain=gain).x0
    torch.testing.assert_close(got, 2.0 * strong - weak, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize(
    "wrapped", [CFG(Labelled(), 2.0), ClassifierGuidance(Labelled(), None)], ids=lambda w: type(w).__name__
)
def test_a_missing_label_is_refused(wrapped):
    with pytest.raises(ValueError, match="needs a label"):
        wrapped(data(), LEVEL)


@pytest.mark.parametrize(
    "file", sorted((Path(__file__).parents[3] / "configs" / "guidance").glob("*.yaml")), ids=lambda f: f.stem
)
def test_every_guidance_config_guides(file):
    node = yaml.safe_load(file.read_text())
    if "weak" in node:
        node["weak"] = None
    if file.stem.endswith("self_conditioned"):

        class Net(Labelled):
            def __call__(self, x, level, label=None, estimate=None):
                assert estimate is not None
                return super().__call__(x, level, label)

        inner = Net()
    else:
        inner = Labelled()
    x = sample(build(node, "guidance", inner=inner), DDIM(), Trailing(4), data(), label=LABEL)
    assert x.isfinite().all()


@pytest.mark.parametrize("eta", [0.0, 1.0])
@pytest.mark.parametrize("w", [0.0, 0.6, 1.0])
def test_cfg_plus_plus_is_the_published_loop(eta, w):
    """Guided x0, unconditional d: `euler_cfg_pp` and `euler_ancestral_cfg_pp`, written from algorithm 2 in sigma."""
    grid = Karras(6)(EDMSchedule())
    inner, start = Labelled(), data() * 80.0
    noises = iter([data(seed) for seed in range(1, 9)])
    got = integrate(CFGPlusPlus(inner, w), DDIM(eta), grid, start, lambda x, now, next: next_of(noises), label=LABEL)
    noises, x = iter([data(seed) for seed in range(1, 9)]), start
    sigmas = [float(level.sigma) for level in grid]
    for now, then in pairwise(sigmas):
        null = inner(x, NoiseLevel(1.0, now), label=torch.full_like(LABEL, -1)).x0
        x0 = null + w * (inner(x, NoiseLevel(1.0, now), label=LABEL).x0 - null)
        up = eta * (then**2 * (now**2 - then**2) / now**2) ** 0.5
        x = x0 + (x - null) / now * (then**2 - up**2) ** 0.5
        if up:
            x = x + up * next_of(noises)
    torch.testing.assert_close(got, x, rtol=1e-11, atol=1e-11)


def next_of(noises):
    return next(noises)


def loop_2m(both, x, sigmas, noise):
    """`dpmpp_2m_cfg_pp`, in sigma."""
    old = before = None
    for now, then in pairwise(sigmas):
        null, x0 = both(x, now)
        shrink = then / now
        if old is None or then == 0:
            mixed = -shrink * null
        else:
            r = math.log(before / now) / math.log(now / then)
            mixed = -shrink * null + (1 - shrink) * (x0 - old) / (2 * r)
        x = x0 + mixed + shrink * x
        old, before = null, now
    return x


def split(now, then):
    up = min(then, (then**2 * (now**2 - then**2) / now**2) ** 0.5)
    return (then**2 - up**2) ** 0.5, up


def loop_2s_ancestral(both, x, sigmas, noise):
    """`dpmpp_2s_ancestral_cfg_pp`."""
    for now, then in pairwise(sigmas):
        down, up = split(now, then)
        null, x0 = both(x, now)
        if down == 0:
            x = x0 + down * (x - null) / now
        else:
            middle = (now * down) ** 0.5
            moved = x + (x0 - null)
            second = both(middle / now * moved + (1 - middle / now) * x0, middle)[1]
            x = down / now * moved + (1 - down / now) * second
        x = x + up * noise() if then else x
    return x


def loop_gradient_estimation(both, x, sigmas, noise):
    """`gradient_estimation_cfg_pp`, gamma = 2."""
    old = None
    for now, then in pairwise(sigmas):
        null, x0 = both(x, now)
        d = (x - null) / now
        x = x0 + d * then
        if old is not None and then:
            x = x + (d - old) * (then - now)
        old = d
    return x


def loop_res_multistep(both, x, sigmas, noise):
    """`res_multistep_cfg_pp`."""
    old = before = None
    for now, then in pairwise(sigmas):
        null, x0 = both(x, now)
        if old is None or then == 0:
            x = x0 + then * (x - null) / now
        else:
            h = math.log(now / then)
            phi_1 = math.expm1(-h) / -h
            b2 = (phi_1 - 1.0) / -h / (math.log(before / now) / -h)
            x = then / now * (x + (x0 - null)) + h * ((phi_1 - b2) * null + b2 * old)
        old, before = null, now
    return x


CFG_PP = {
    "dpmpp_2m": loop_2m,
    "dpmpp_2s_ancestral": loop_2s_ancestral,
    "res_multistep": loop_res_multistep,
    "gradient_estimation": loop_gradient_estimation,
}


@pytest.mark.parametrize(("first", "last"), [(14.6, 0.03), (80.0, 0.002)])
@pytest.mark.parametrize("w", [0.0, 0.6, 1.0])
@pytest.mark.parametrize("name", CFG_PP)
def test_cfg_plus_plus_of_other_samplers_is_comfyui_s_loop(name, w, first, last):
    """Conditional and unconditional are different mixtures; the loops are written in sigma, and ours in any frame."""
    sampler = build(yaml.safe_load((CONFIGS / "sampler" / f"{name}.yaml").read_text()))
    inner, grid = Mixtures(), Karras(9, last, first)(EDMSchedule())
    start = first * data()

    def both(x, sigma):
        level = NoiseLevel(1.0, sigma)
        null, strong = inner(x, level, label=torch.full_like(LABEL, -1)).x0, inner(x, level, label=LABEL).x0
        return null, null + w * (strong - null)

    def fed():
        noises = iter([data(seed) for seed in range(1, 20)])
        return lambda *_: next_of(noises)

    wanted = CFG_PP[name](both, start, [float(level.ratio) for level in grid], fed())
    assert (both(start, 1.0)[0] - both(start, 1.0)[1]).abs().max() > 0.01 or w == 0.0
    for levels in (grid, tuple(preserving(level) for level in grid)):
        x = start * levels[0].alpha
        got = integrate(CFGPlusPlus(inner, w), sampler, levels, x, fed(), label=LABEL)
        torch.testing.assert_close(got, wanted, rtol=1e-12, atol=1e-12)


def preserving(level):
    norm = math.hypot(1.0, level.ratio)
    return NoiseLevel(1.0 / norm, level.ratio / norm)


class Mixtures:
    """The exact denoisers of two Gaussians a label, and of all four without one."""

    schedule, means = EDMSchedule(), torch.tensor([-0.9, -0.2, 0.3, 0.8]).double()

    def begin(self):
        return self

    def __call__(self, x, level, label):
        each = [self.of(row, level, int(k)) for row, k in zip(x.split(1), label, strict=True)]
        return Prediction(x, level, torch.cat(each), 1.0, 0.0)

    def of(self, x, level, label):
        means = self.means if label == -1 else self.means[label : label + 2]
        weights = torch.full_like(means, 1.0 / len(means))
        spread = means[:, None, None, None].expand(-1, 1, 3, 3)
        return ExactMixture(EDMSchedule(), spread, torch.full_like(spread, 0.3), weights)(x, level).x0


def test_cfg_plus_plus_from_pure_noise_and_in_part_of_the_levels():
    """What an infinite level is remembered by is not used, and outside its band CFG++ is the conditional itself."""
    for sampler in (DPMSolverPP(2), ExponentialAdamsBashforth(2), GradientEstimation()):
        x = sample(CFGPlusPlus(Labelled(), 0.6), sampler, Trailing(8), data(), label=LABEL)
        assert x.isfinite().all()
        outside = sample(CFGPlusPlus(Labelled(), 0.6, low=1e6), sampler, Trailing(8), data(), label=LABEL)
        torch.testing.assert_close(outside, sample(Labelled(), sampler, Trailing(8), data(), label=LABEL))


def test_what_acts_on_x0_after_cfg_plus_plus_leaves_its_eps():
    guided = CFGPlusPlus(Labelled(), 0.6)(data(), LEVEL, label=LABEL)
    clipped = Clip(CFGPlusPlus(Labelled(), 0.6))(data(), LEVEL, label=LABEL)
    torch.testing.assert_close(clipped.eps, guided.unguided.eps)
    torch.testing.assert_close(clipped.x0, guided.x0.clamp(-1.0, 1.0))


@pytest.mark.parametrize(
    "sampler", [Heun(), UniPC(), DPMSolverPP(3), DPMSolverPP(2, 1.0), DPMSolverSinglestep(3), LMS()], ids=str
)
def test_cfg_plus_plus_is_refused_where_no_step_is_published_for_it(sampler):
    with pytest.raises(ValueError, match=r"is published for sampler=ddim.*Use one of these, or guidance=cfg"):
        sample(Clip(CFGPlusPlus(Labelled(), 0.6)), sampler, Trailing(8), data(), label=LABEL)


KNOWN, MASK = torch.full((4, 1, 3, 3), 0.25, dtype=torch.float64), torch.eye(3).bool().expand(4, 1, 3, 3)
SETTINGS = {  # of every class, none at its default
    APG: {"scale": 4.0, "weak": Labelled(strength=0.3), "low": 0.01, "high": 90.0, "eta": 0.7},
    CFG: {"scale": 3.0, "weak": Labelled(strength=0.3), "low": 0.01},
    CFGPlusPlus: {"scale": 0.3, "weak": Labelled(strength=0.3)},
    CFGZero: {"scale": 3.0, "weak": Labelled(strength=0.3)},
    ClassifierGuidance: {"classifier": lambda x, level: x.flatten(1)[:, :3], "scale": 0.4},
    Clip: {"low": -0.5, "high": 0.5},
    ClipIfEpsilon: {"low": -0.5, "high": 0.5},
    CompositionalCFG: {"scales": {"label": 2.5}},
    DPS: {"operator": torch.tanh, "y": KNOWN, "std": 0.3, "gamma": 0.6},
    DDNM: {"operator": lambda x: 2.0 * x, "y": KNOWN, "iterations": 2},
    DynamicThreshold: {"percentile": 0.5, "bound": 0.3},
    InpaintGuidance: {"known": KNOWN, "mask": MASK},
    MomentMatching: {"operator": lambda x: 2.0 * x, "y": KNOWN, "std": 0.3, "iterations": 2},
    PiGDM: {"operator": lambda x: 2.0 * x, "y": KNOWN, "std": 0.3, "iterations": 2, "sigma_data": 0.4},
    RescaledCFG: {"scale": 3.0, "weak": Labelled(strength=0.3), "low": 0.01, "high": 90.0, "phi": 0.2},
    SelfConditioned: {},
}


def exported():
    found = (value for value in vars(diffusion).values() if inspect.isclass(value) and issubclass(value, Guidance))
    return sorted({kind for kind in found if not inspect.isabstract(kind)}, key=lambda kind: kind.__name__)


@pytest.mark.parametrize("kind", exported(), ids=lambda kind: kind.__name__)
def test_settings_by_position_are_those_by_name_and_take_effect(kind):
    """No class has a first field that `chain` overwrites; a denoiser in front is what is guided, as before."""
    settings, inner = SETTINGS[kind], Labelled((-0.6, 0.8) if kind is not ClipIfEpsilon else (0.0, 1.0))
    by_name, by_position = kind(**settings), kind(*settings.values())
    for name, value in settings.items():
        assert getattr(by_position, name) is value
    assert by_position.inner is by_name.inner is None
    around = {
        "chain": chain(inner, [by_position]),
        "by name": kind(**settings, inner=inner),
        "in front": kind(inner, *settings.values()),
        "node": build({"_target_": f"mezzotint.diffusion.{kind.__name__}", **settings}, inner=inner),
    }
    if kind is SelfConditioned:
        assert all(guided.inner is inner for guided in around.values())
        return
    x = 3.0 * data()
    plain = inner(x, LEVEL, label=LABEL).x0
    ends = {how: guided.begin()(x, LEVEL, label=LABEL).x0 for how, guided in around.items()}
    for end in ends.values():
        assert torch.equal(end, ends["chain"])
        assert (end - plain).abs().max() > 1e-3
    told = check({"_target_": f"mezzotint.diffusion.{kind.__name__}", **settings}, provided=("inner",))
    assert not [line for line in told if "argument" in line]


def test_guidance_around_nothing_says_so():
    for kind in exported():
        part = kind(**SETTINGS[kind])
        for use in (part.begin, lambda part=part: part.schedule):
            with pytest.raises(ValueError, match=f"{kind.__name__} wraps no denoiser\\. Use chain"):
                use()
    with pytest.raises(ValueError, match="CFG already wraps a denoiser"):
        chain(Labelled(), [CFG(Labelled(), 2.0)])


@pytest.mark.parametrize(
    "refused",
    [
        lambda: RescaledCFG(2.0, 0.7),
        lambda: CFG(float("inf")),
        lambda: CFG(float("nan")),
        lambda: CFG(2.0, low=3.0, high=1.0),
        lambda: Clip(0.5, -0.5),
        lambda: DynamicThreshold(99.5),
        lambda: DynamicThreshold(0.9, 0.0),
    ],
)
def test_settings_that_cannot_be_are_refused(refused):
    with pytest.raises(ValueError, match=r"give|is not a denoiser|must be"):
        refused()


def test_guidance_around_nothing_and_a_chain_of_something_else_are_refused() -> None:
    x, level = torch.zeros(1, 1, 2, 2), LinearSchedule().level(500.0)
    with pytest.raises(ValueError, match=r"CFG wraps no denoiser. Use chain\(denoise, \[CFG"):
        CFG(3.0)(x, level)
    with pytest.raises(TypeError, match=r"chain\(..., \[3.0\]\): give guidance"):
        chain(exact_gaussian(LinearSchedule(), torch.zeros(1, 2, 2), 0.5), [3.0])  # type: ignore[list-item]
    with pytest.raises(TypeError, match=r"chain\(3.0, ...\): give a denoiser first"):
        chain(3.0, [CFG(3.0)])  # type: ignore[arg-type]
