import copy
import math

import pytest
import torch

from mezzotint.training import AdamW
from mezzotint.training.optimizers import clip_, peak, settle


def test_the_rate_rises_over_the_warmup_and_falls_to_zero_with_the_budget():
    settings = AdamW(lr=1.0, warmup=400)
    rates = [settings.rate(images, 100, 10_000) for images in range(0, 10_000, 100)]
    assert rates[:5] == pytest.approx([0.25 * 1.0, 0.5 * 0.99, 0.75 * 0.98, 0.97, 0.96])
    assert rates[50] == pytest.approx(0.5)
    assert rates[-1] == pytest.approx(0.01)
    assert AdamW(lr=1.0, warmup=0.04).rate(100, 100, 10_000) == pytest.approx(rates[1])


@pytest.mark.parametrize("budget", [64, 100, 2_000, 30_000, 96_000])
@pytest.mark.parametrize("decay", ["linear", "cosine", "constant"])
@pytest.mark.parametrize("warmup", [0, 0.3, 6_400, 90_000, (6_400, 0.1)])
def test_the_peak_is_the_highest_of_all_rates(budget, decay, warmup):
    settings = AdamW(lr=0.2, warmup=warmup, decay=decay)
    rates = [settings.rate(images, 64, budget) for images in range(0, budget, 64)]
    highest, images = peak(settings, 64, budget)
    assert highest == max(rates)
    assert images == 64 * (1 + rates.index(highest))


def test_of_several_warmups_the_least_counts():
    assert [AdamW(warmup=(6_400, 0.1)).risen(budget) for budget in (5, 2_000, 64_000, 10**9)] == [1, 200, 6_400, 6_400]
    for wrong in ((), (0.0,), (6_400, -1)):
        with pytest.raises(ValueError, match="give amounts above 0"):
            AdamW(warmup=wrong)


def test_the_other_decays():
    assert AdamW(lr=0.2, warmup=0, decay="constant").rate(9_999, 1, 10_000) == 0.2
    cosine = AdamW(lr=0.2, warmup=0, decay="cosine")
    assert [cosine.rate(n, 1, 100) for n in (0, 25, 50)] == pytest.approx([0.2, 0.1 + 0.1 * math.sqrt(0.5), 0.1])


def test_biases_and_norms_do_not_decay():
    module = torch.nn.Sequential(torch.nn.Linear(3, 3), torch.nn.LayerNorm(3))
    optimizer = AdamW(lr=0.1, weight_decay=0.5, warmup=0).build(module)
    for parameter in module.parameters():
        torch.nn.init.ones_(parameter)
        parameter.grad = torch.zeros_like(parameter)
    optimizer.step()
    values = {name: float(parameter.detach().mean()) for name, parameter in module.named_parameters()}
    assert values == pytest.approx({"0.weight": 0.95, "0.bias": 1.0, "1.weight": 1.0, "1.bias": 1.0})


@pytest.mark.parametrize("limit", [0.5, 100.0, None])
def test_clipping_is_that_of_torch(limit):
    source = torch.Generator().manual_seed(0)
    gradients = [torch.randn(shape, generator=source) for shape in ((3, 4), (5,), (2, 2, 2))]
    parameters = [torch.nn.Parameter(torch.zeros_like(g)) for g in gradients]
    for parameter, gradient in zip(parameters, gradients, strict=True):
        parameter.grad = gradient.clone()
    expected = torch.nn.utils.clip_grad_norm_(parameters, limit or float("inf"))
    assert clip_(gradients, limit) == pytest.approx(float(expected))
    for parameter, gradient in zip(parameters, gradients, strict=True):
        torch.testing.assert_close(gradient, parameter.grad)


def test_moments_that_come_from_another_layout_go_with_their_weights():
    """Fused kernels walk through memory, and would give each weight the moment of another one."""
    source = torch.Generator().manual_seed(0)
    drawn = [torch.randn(2, 3, 4, 4, generator=source) for _ in range(3)]

    def stepped(layout, before):
        weight = torch.nn.Parameter(drawn[0].clone(memory_format=layout))
        optimizer = AdamW().build(weight_holder(weight))
        if before:
            optimizer.load_state_dict(copy.deepcopy(before))
        settle(optimizer, fused=True)
        weight.grad = drawn[2 if before else 1].clone(memory_format=layout)
        optimizer.step()
        return weight.detach(), optimizer.state_dict()

    _, saved = stepped(torch.contiguous_format, None)
    there, _ = stepped(torch.contiguous_format, saved)
    here, _ = stepped(torch.channels_last, saved)
    torch.testing.assert_close(here, there)


def weight_holder(weight):
    module = torch.nn.Module()
    module.weight = weight
    return module


def test_steps_are_counted_where_the_optimiser_looks_for_them():
    weight = torch.nn.Parameter(torch.zeros(2, device="meta"))
    optimizer = AdamW().build(weight_holder(weight), fused=False)
    optimizer.state[weight] = {"step": torch.tensor(3.0), "exp_avg": torch.zeros(2, device="meta")}
    settle(optimizer, fused=True)
    assert optimizer.state[weight]["step"].device.type == "meta"
    assert optimizer.param_groups[0]["fused"]
    optimizer.state[weight]["step"] = torch.tensor(3.0)
    settle(optimizer, fused=False)
    assert optimizer.state[weight]["step"].device.type == "cpu"
    assert not optimizer.param_groups[0]["fused"]


@pytest.mark.parametrize("wrong", [{"lr": 0.0}, {"clip": -1.0}, {"warmup": -1}, {"decay": "stairs"}])
def test_settings_that_cannot_be(wrong):
    with pytest.raises(ValueError, match=next(iter(wrong))):
        AdamW(**wrong)
