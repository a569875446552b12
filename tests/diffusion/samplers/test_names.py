"""Samplers that bear a name of k-diffusion or ComfyUI are those: their published loops, written again in sigma."""

import math
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import pytest
import torch
import yaml
from sampler_table import Mixture

from mezzotint.diffusion import EDMSchedule, Karras, NoiseLevel, Restart, integrate
from mezzotint.instantiate.build import build

CONFIGS = Path(__file__).parents[3] / "configs" / "sampler"
X = torch.linspace(-1.7, 1.9, 7, dtype=torch.float64)[:, None]
EXACT = Mixture(EDMSchedule())


def model(x, sigma):
    return EXACT(x, NoiseLevel(1.0, sigma)).x0


class Fed:
    """The same noise for theirs and ours: draw k."""

    def __init__(self):
        self.k = 0

    def __call__(self, *_):
        self.k += 1
        return torch.randn(7, 1, generator=torch.Generator().manual_seed(self.k)).double()


def split(now, next, eta=1.0):
    up = min(next, eta * (next**2 * (now**2 - next**2) / now**2) ** 0.5)
    return (next**2 - up**2) ** 0.5, up


def slope(x, sigma):
    return (x - model(x, sigma)) / sigma


def ancestral(step):
    def loop(x, sigmas, noise):
        for now, next in pairwise(sigmas):
            down, up = split(now, next)
            x = step(x, now, down)
            x = x + up * noise() if next else x
        return x

    return loop


def euler(x, now, next):
    return x + slope(x, now) * (next - now)


def dpm_2(x, now, next):
    if next == 0:
        return euler(x, now, next)
    middle = math.exp(0.5 * (math.log(now) + math.log(next)))
    return x + slope(x + slope(x, now) * (middle - now), middle) * (next - now)


def dpmpp_2s(x, now, next):
    if next == 0:
        return euler(x, now, next)
    t, t_next = -math.log(now), -math.log(next)
    h = t_next - t
    middle = math.exp(-(t + 0.5 * h))
    inside = middle / now * x - math.expm1(-0.5 * h) * model(x, now)
    return next / now * x - math.expm1(-h) * model(inside, middle)


def plain(step):
    def loop(x, sigmas, noise):
        for now, next in pairwise(sigmas):
            x = step(x, now, next)
        return x

    return loop


def heun(x, now, next):
    first = slope(x, now)
    end = x + first * (next - now)
    return x + 0.5 * (first + slope(end, next)) * (next - now) if next else end


def dpmpp_sde(x, sigmas, noise):
    for now, next in pairwise(sigmas):
        if next == 0:
            x = euler(x, now, next)
            continue
        middle = math.exp(-0.5 * (-math.log(now) - math.log(next)))
        denoised = model(x, now)
        down, up = split(now, middle)
        inside = down / now * x - math.expm1(math.log(down) - math.log(now)) * denoised + up * noise()
        second = model(inside, middle)
        down, up = split(now, next)
        x = down / now * x - math.expm1(math.log(down) - math.log(now)) * second + up * noise()
    return x


def dpmpp_2m(x, sigmas, noise):
    old = before = None
    for now, next in pairwise(sigmas):
        denoised = model(x, now)
        h = math.log(now) - math.log(next) if next else math.inf
        if old is None or next == 0:
            x = next / now * x - math.expm1(-h) * denoised
        else:
            r = (math.log(before) - math.log(now)) / h
            x = next / now * x - math.expm1(-h) * ((1 + 1 / (2 * r)) * denoised - old / (2 * r))
        old, before = denoised, now
    return x


def dpmpp_2m_sde(solver):
    def loop(x, sigmas, noise):
        old = h_last = None
        for now, next in pairwise(sigmas):
            denoised = model(x, now)
            if next == 0:
                return denoised
            h = math.log(now) - math.log(next)
            eta_h = h
            x = next / now * math.exp(-eta_h) * x - math.expm1(-h - eta_h) * denoised
            if old is not None:
                r = h_last / h
                if solver == "heun":
                    x = x + (-math.expm1(-h - eta_h) / (-h - eta_h) + 1) * (denoised - old) / r
                else:
                    x = x + 0.5 * -math.expm1(-h - eta_h) * (denoised - old) / r
            x = x + noise() * next * (-math.expm1(-2 * eta_h)) ** 0.5
            old, h_last = denoised, h
        return x

    return loop


def dpmpp_3m_sde(x, sigmas, noise):
    first = second = h_1 = h_2 = None
    for now, next in pairwise(sigmas):
        denoised = model(x, now)
        if next == 0:
            return denoised
        h = math.log(now) - math.log(next)
        h_eta = 2 * h
        x = math.exp(-h_eta) * x - math.expm1(-h_eta) * denoised
        phi_2 = math.expm1(-h_eta) / h_eta + 1
        if h_2 is not None:
            r0, r1 = h_1 / h, h_2 / h
            d1_0, d1_1 = (denoised - first) / r0, (first - second) / r1
            d1, d2 = d1_0 + (d1_0 - d1_1) * r0 / (r0 + r1), (d1_0 - d1_1) / (r0 + r1)
            x = x + phi_2 * d1 - (phi_2 / h_eta - 0.5) * d2
        elif h_1 is not None:
            x = x + phi_2 * (denoised - first) / (h_1 / h)
        x = x + noise() * next * (-math.expm1(-2 * h)) ** 0.5
        first, second, h_1, h_2 = denoised, first, h, h_1
    return x


def res_multistep(x, sigmas, noise):
    old = before = None
    for now, next in pairwise(sigmas):
        denoised = model(x, now)
        if old is None or next == 0:
            x = euler(x, now, next)
        else:
            h = math.log(now) - math.log(next)
            c2 = (math.log(before) - math.log(now)) / -h  # of the earlier point, negative
            phi_1 = math.expm1(-h) / -h
            phi_2 = (phi_1 - 1.0) / -h
            b2 = phi_2 / c2
            x = math.exp(-h) * x + h * ((phi_1 - b2) * denoised + b2 * old)
        old, before = denoised, now
    return x


def lcm(x, sigmas, noise):
    for now, next in pairwise(sigmas):
        x = model(x, now)
        x = x + next * noise() if next else x
    return x


def ddpm(x, sigmas, noise):
    """ComfyUI's, in alphas_cumprod = 1 / (sigma^2 + 1)."""
    for now, next in pairwise(sigmas):
        y = x / (1.0 + now**2) ** 0.5
        bar, before = 1.0 / (now**2 + 1.0), 1.0 / (next**2 + 1.0)
        alpha, eps = bar / before, slope(x, now)
        mean = (1.0 / alpha) ** 0.5 * (y - (1.0 - alpha) * eps / (1.0 - bar) ** 0.5)
        if next:
            mean = mean + ((1.0 - alpha) * (1.0 - before) / (1.0 - bar)) ** 0.5 * noise()
        x = mean * (1.0 + next**2) ** 0.5
    return x


def lms(x, sigmas, noise):
    past = []
    for i, (now, next) in enumerate(pairwise(sigmas)):
        past = [*past, slope(x, now)][-4:]
        order = len(past)
        for j in range(order):
            others = [sigmas[i - k] for k in range(order) if k != j]
            at = sigmas[i - j]

            def basis(s, others=others, at=at):
                return math.prod((s - other) / (at - other) for other in others)

            nodes = (0.5 - 0.15**0.5, 0.5, 0.5 + 0.15**0.5)  # Gauss's three, exact for cubics
            mean = sum(w * basis(now + u * (next - now)) for u, w in zip(nodes, (5 / 18, 8 / 18, 5 / 18), strict=True))
            x = x + (next - now) * mean * past[-1 - j]
    return x


def gradient_estimation(x, sigmas, noise):
    old = None
    for now, next in pairwise(sigmas):
        d = slope(x, now)
        x = x + d * (next - now)
        if old is not None and next:
            x = x + (d - old) * (next - now)
        old = d
    return x


PUBLISHED = {
    "ddim": plain(euler),
    "ddpm": ddpm,
    "dpm_2": plain(dpm_2),
    "dpm_2_ancestral": ancestral(dpm_2),
    "dpmpp_2m": dpmpp_2m,
    "dpmpp_2m_sde": dpmpp_2m_sde("midpoint"),
    "dpmpp_2m_sde_heun": dpmpp_2m_sde("heun"),
    "dpmpp_2s_ancestral": ancestral(dpmpp_2s),
    "dpmpp_3m_sde": dpmpp_3m_sde,
    "dpmpp_sde": dpmpp_sde,
    "euler": plain(euler),
    "euler_a": ancestral(euler),
    "euler_ancestral": ancestral(euler),
    "exponential_sde": dpmpp_2m_sde("heun"),
    "gradient_estimation": gradient_estimation,
    "heun_edm": plain(heun),
    "lcm": lcm,
    "lms": lms,
    "res_multistep": res_multistep,
}


def uni_pc(x, sigmas, b, most=3, lower_order_final=True):
    """The authors' multistep loop with x0 and its corrector, every system solved as they solve it."""
    steps = len(sigmas) - 1
    most = min(most, steps)
    lam = [-math.log(sigma) for sigma in sigmas]
    known = [model(x, sigmas[0])]
    for i in range(1, steps + 1):
        order = min(most, i, steps + 1 - i) if lower_order_final else min(most, i)
        h = lam[i] - lam[i - 1]
        newest, ratios = known[-1], [(lam[i - 1 - k] - lam[i - 1]) / h for k in range(1, order)] + [1.0]
        older = [(known[-1 - k] - newest) / ratios[k - 1] for k in range(1, order)]
        scale = -h if b == "bh1" else math.expm1(-h)
        phi, moments = math.expm1(-h) / -h - 1.0, []
        for k in range(1, order + 1):
            moments.append(phi * math.factorial(k) / scale)
            phi = phi / -h - 1.0 / math.factorial(k + 1)
        rows = torch.tensor([[r**k for r in ratios] for k in range(order)], dtype=torch.float64)
        rhs = torch.tensor(moments, dtype=torch.float64)
        half = torch.tensor([0.5], dtype=torch.float64)
        first = math.exp(-h) * x - math.expm1(-h) * newest
        if order == 1:
            x = first
        else:
            weights = half if order == 2 else torch.linalg.solve(rows[:-1, :-1], rhs[:-1])
            x = first - scale * sum(w * d for w, d in zip(weights, older, strict=True))
        if i < steps:
            known.append(model(x, sigmas[i]))
            weights = half if order == 1 else torch.linalg.solve(rows, rhs)
            x = first - scale * sum(w * d for w, d in zip(weights, [*older, known[-1] - newest], strict=True))
    return x


@pytest.mark.parametrize("steps", [1, 2, 3, 4, 5, 9])
@pytest.mark.parametrize("name", ["uni_pc", "uni_pc_bh2"])
def test_uni_pc_is_the_authors_loop_with_its_last_orders(name, steps):
    """To sigma = 0.001, where ComfyUI stops; without the lower orders it is the same class at its default."""
    sampler = build(yaml.safe_load((CONFIGS / f"{name}.yaml").read_text()))
    grid = tuple(NoiseLevel(1.0, 14.6 * (0.001 / 14.6) ** (i / steps)) for i in range(steps + 1))
    sigmas, b = [level.sigma for level in grid], "bh2" if name.endswith("bh2") else "bh1"
    for ours, lower in ((sampler, True), (replace(sampler, lower_order_final=False), False)):
        wanted = uni_pc(14.6 * X, sigmas, b, lower_order_final=lower)
        torch.testing.assert_close(integrate(EXACT, ours, grid, 14.6 * X), wanted, rtol=1e-12, atol=1e-12)
    ends = [integrate(EXACT, each, grid, 14.6 * X) for each in (sampler, replace(sampler, lower_order_final=False))]
    assert (ends[0] - ends[1]).abs().max() > 1e-6 or steps < 3


def test_the_last_orders_are_lowered_at_the_end_of_a_restart_too():
    """Counted from the grid's end, however often the sampler begins anew."""
    from mezzotint.diffusion import BH2, Renoised, UniPC

    grid = Restart(Karras(9, 0.02, 80.0), 0.1, 2.0, repeats=2, inner=3)(EDMSchedule())
    ratios = [level.ratio for level in grid]
    turn = max(i for i in range(1, len(grid)) if ratios[i] > ratios[i - 1])
    states = {}

    def watch(frame):
        states[frame.index] = frame.x

    lowered = UniPC(3, BH2(), lower_order_final=True)
    end = integrate(EXACT, Renoised(lowered), grid, 80.0 * X, Fed(), watch=watch)
    torch.testing.assert_close(end, integrate(EXACT, lowered, grid[turn:], states[turn]), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("name", PUBLISHED)
@pytest.mark.parametrize(("first", "last"), [(14.6, 0.03), (80.0, 0.002)])
def test_a_name_of_k_diffusion_is_that_sampler(name, first, last):
    sampler = build(yaml.safe_load((CONFIGS / f"{name}.yaml").read_text()))
    grid = Karras(9, last, first)(EDMSchedule())
    sigmas = [float(level.ratio) for level in grid]
    wanted = PUBLISHED[name](first * X, sigmas, Fed())
    got = integrate(EXACT, sampler, grid, first * X, Fed())
    torch.testing.assert_close(got, wanted, rtol=1e-12, atol=1e-12)


def test_restart_is_the_paper_s():
    """Algorithm 1 of Xu et al. 2023 with EDM's Heun in sigma, over a grid that goes up twice."""
    sampler = build(yaml.safe_load((CONFIGS / "restart.yaml").read_text()))
    grid = Restart(Karras(9, 0.02, 80.0), 0.1, 2.0, repeats=2, inner=3)(EDMSchedule())
    noise, x = Fed(), 80.0 * X
    for now, next in pairwise([float(level.ratio) for level in grid]):
        x = heun(x, now, next) if next < now else x + (next**2 - now**2) ** 0.5 * noise()
    torch.testing.assert_close(integrate(EXACT, sampler, grid, 80.0 * X, Fed()), x, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("eta", [0.4, 1.0, 3.0])
def test_any_share_of_ancestral_noise(eta):
    from mezzotint.diffusion import DDIM, Ancestral, DPMSolverSinglestep, DPMSolverSinglestepSDE

    grid = Karras(7, 0.05, 14.6)(EDMSchedule())
    got, wanted = (integrate(EXACT, each, grid, 14.6 * X, Fed()) for each in (Ancestral(DDIM(), eta), DDIM(eta)))
    torch.testing.assert_close(got, wanted, rtol=1e-12, atol=1e-12)
    for each in (Ancestral(DPMSolverSinglestep(2), eta), DPMSolverSinglestepSDE(eta)):
        assert integrate(EXACT, each, grid, 14.6 * X, Fed()).isfinite().all()


def test_what_cannot_be_ancestral_is_refused():
    from mezzotint.diffusion import (
        DDIM,
        DDPM,
        LMS,
        Ancestral,
        DPMSolverPP,
        DPMSolverSinglestepSDE,
        Heun,
        UniPC,
        WarmStarted,
    )

    for each in (LMS(2), UniPC(2), DDPM(), DDIM(1.0), WarmStarted(LMS(2), Heun(), 1)):
        with pytest.raises(ValueError, match="Use a one-step"):
            Ancestral(each)
    with pytest.raises(ValueError, match="positive eta"):
        Ancestral(DDIM(), 0.0)
    with pytest.raises(ValueError, match="positive eta"):
        DPMSolverSinglestepSDE(0.0)
    with pytest.raises(ValueError, match="'midpoint' or 'exact'"):
        DPMSolverPP(3, line="heun")
