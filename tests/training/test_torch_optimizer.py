"""Every class of torch.optim against a loop written by hand, groups by rule, and Muon."""

import copy
import inspect
import math
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import tiny
import torch
from torch import nn
from torch.nn import functional

from mezzotint.instantiate.build import build, check
from mezzotint.instantiate.nodes import node_of
from mezzotint.training import AdamW, Checkpoints, Muon, ParameterRule, TorchOptimizer, muon
from mezzotint.training.muon import Combined, orthogonal
from mezzotint.training.optimizers import set_rate, settle
from mezzotint.training.parameter_groups import parameters

REFUSED = {torch.optim.LBFGS, torch.optim.SparseAdam}
KINDS = sorted(
    {
        kind
        for _, kind in inspect.getmembers(torch.optim, inspect.isclass)
        if issubclass(kind, torch.optim.Optimizer) and kind is not torch.optim.Optimizer
    }
    - REFUSED,
    key=lambda kind: kind.__name__,
)
STEPS = 20


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first, self.norm, self.table = nn.Linear(4, 8), nn.LayerNorm(8), nn.Embedding(3, 8)
        self.last = nn.Linear(8, 4)

    def forward(self, x: torch.Tensor, label: torch.Tensor) -> torch.Tensor:
        return self.last(functional.silu(self.norm(self.first(x)) + self.table(label)))


class Matrix(nn.Module):
    """All that torch.optim.Muon takes."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(4, 4, bias=False)

    def forward(self, x: torch.Tensor, label: torch.Tensor) -> torch.Tensor:
        return self.layer(x)


def network(kind: type) -> nn.Module:
    torch.manual_seed(0)
    return Matrix() if kind is torch.optim.Muon else Net()


def trained(
    net: nn.Module, optimizer: torch.optim.Optimizer, settings: Any = None, steps: range = range(STEPS)
) -> None:
    """Steps of a loop written by hand; with settings, with their rate."""
    source = torch.Generator().manual_seed(1)
    x, label = torch.randn(STEPS, 16, 4, generator=source), torch.arange(16) % 3
    for step in steps:
        optimizer.zero_grad()
        (net(x[step], label) - x[step].flip(1)).square().mean().backward()
        if settings:
            set_rate(optimizer, settings.rate(step * 16, 16, STEPS * 16))
        else:
            for group in optimizer.param_groups:
                group["lr"] = 1e-3 * min(1, (step + 1) / 4) * (1 - step / STEPS)
        optimizer.step()


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_an_optimizer_of_torch_is_a_loop_written_by_hand(kind: type, tmp_path: Path) -> None:
    """Without weight decay on biases, norms and embeddings; resumed in the middle it is the same."""
    settings = TorchOptimizer(kind, lr=1e-3, warmup=64)
    net = network(kind)
    optimizer = settings.build(net)
    trained(net, optimizer, settings, range(STEPS // 2))
    state, optimizer = copy.deepcopy(optimizer.state_dict()), settings.build(net)
    optimizer.load_state_dict(state)
    settle(optimizer, fused=False)
    trained(net, optimizer, settings, range(STEPS // 2, STEPS))

    expected = network(kind)
    decay = inspect.signature(kind).parameters.get("weight_decay")
    groups: list[dict[str, Any]] = [{"params": list(expected.parameters())}]
    if decay is not None and decay.default:
        matrices = [p for name, p in expected.named_parameters() if p.ndim > 1 and "table" not in name]
        others = [p for name, p in expected.named_parameters() if p.ndim == 1 or "table" in name]
        groups = [{"params": matrices, "weight_decay": decay.default}]
        groups += [{"params": others, "weight_decay": 0.0}] if others else []
    trained(expected, kind(groups, lr=1e-3))
    for (name, found), other in zip(net.named_parameters(), expected.parameters(), strict=True):
        assert torch.equal(found, other), name


@pytest.mark.parametrize("kind", [torch.optim.SGD, torch.optim.Adafactor, torch.optim.ASGD], ids=lambda k: k.__name__)
def test_a_run_goes_on_with_its_optimizer(kind: type, tmp_path: Path) -> None:
    settings = {"optimizer": TorchOptimizer(kind, lr=0.01), "ema": None}
    saving = {"checkpoints": Checkpoints(every=7 * tiny.BATCH)}
    tiny.train(tmp_path / "whole", steps=20, callbacks=saving, **settings)
    with pytest.raises(tiny.Killed):
        tiny.train(tmp_path / "killed", steps=20, callbacks=saving | {"kill": tiny.Kill(10)}, **settings)
    tiny.train(tmp_path / "killed", steps=20, callbacks=saving, **settings)
    whole, killed = (tiny.weights(tmp_path / name)["state_dict"] for name in ("whole", "killed"))
    assert all(torch.equal(whole[name], killed[name]) for name in whole)


@pytest.mark.parametrize(
    ("kind", "said"),
    [
        (torch.optim.LBFGS, "evaluates the loss several times a step"),
        (torch.optim.SparseAdam, "needs sparse gradients"),
        (partial(torch.optim.SGD, lr=0.1), "lr of SGD is set by the run"),
    ],
)
def test_what_cannot_train_a_network_is_refused(kind: Any, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        TorchOptimizer(kind)


def test_kinds_of_parameters() -> None:
    found = {one.name: one.kind for one in parameters(Net())}
    assert found == {
        "first.weight": "matrix",
        "first.bias": "bias",
        "norm.weight": "norm",
        "norm.bias": "norm",
        "table.weight": "embedding",
        "last.weight": "matrix",
        "last.bias": "bias",
    }


def test_rules_set_rate_and_decay_of_groups() -> None:
    rules = (
        ParameterRule(name="last", lr=0.1),
        ParameterRule("embedding", lr=0.0),
        ParameterRule("norm", weight_decay=0.2),
    )
    settings = AdamW(lr=0.5, weight_decay=0.1, groups=rules, warmup=0)
    net = Net()
    optimizer = settings.build(net)
    set_rate(optimizer, 0.5)
    names = {id(p): name for name, p in net.named_parameters()}
    found = {names[id(p)]: (g["lr"], g["weight_decay"]) for g in optimizer.param_groups for p in g["params"]}
    assert found == {
        "first.weight": (0.5, 0.1),
        "first.bias": (0.5, 0.0),
        "norm.weight": (0.5, 0.2),
        "norm.bias": (0.5, 0.2),
        "table.weight": (0.0, 0.1),
        "last.weight": (0.05, 0.1),
        "last.bias": (0.05, 0.0),
    }
    with pytest.raises(ValueError, match="not a regular expression"):
        ParameterRule(name="(")


def test_a_class_alone_and_one_with_settings_are_nodes() -> None:
    for kind in (torch.optim.RAdam, partial(torch.optim.SGD, momentum=0.9)):
        settings = TorchOptimizer(kind, groups=(ParameterRule("bias", lr=2.0),))
        node = node_of(settings)
        assert check(node, "optimizer") == []
        assert node_of(build(node, "optimizer")) == node
    wrong = {"_target_": "torch.optim.SGD", "_partial_": True, "momentun": 0.9}
    (problem,) = check({"_target_": "mezzotint.training.TorchOptimizer", "kind": wrong})
    assert "did you mean 'momentum'" in problem


# ---------------------------------------------------------------------------------------------------------------- Muon


@pytest.mark.parametrize("shape", [(16, 48), (48, 16), (32, 32)])
@pytest.mark.parametrize("weight_decay", [0.0, 0.1])
def test_on_matrices_muon_is_that_of_torch(monkeypatch, shape: tuple[int, int], weight_decay: float) -> None:
    """In bfloat16, as on a GPU, bit for bit."""
    monkeypatch.setattr(muon, "arithmetic", lambda device: torch.bfloat16)
    torch.manual_seed(0)
    ours = nn.Linear(*shape, bias=False)
    theirs = copy.deepcopy(ours)
    optimizer = Muon(lr=0.01, weight_decay=weight_decay, warmup=0).build(ours)
    other = torch.optim.Muon(
        theirs.parameters(), 0.01, weight_decay, adjust_lr_fn="match_rms_adamw", nesterov=True, momentum=0.95
    )
    for _ in range(STEPS):
        gradient = torch.randn_like(ours.weight)
        ours.weight.grad, theirs.weight.grad = gradient.clone(), gradient.clone()
        optimizer.step()
        other.step()
    assert torch.equal(ours.weight, theirs.weight)


def test_singular_values_become_about_one() -> None:
    torch.manual_seed(0)
    u, s, v = torch.linalg.svd(torch.randn(24, 40), full_matrices=False)
    found = orthogonal(u @ torch.diag(s) @ v).float()
    values = torch.linalg.svdvals(found)
    assert values.min() > 0.6
    assert values.max() < 1.3
    assert torch.linalg.matrix_norm(found / values.mean() - u @ v) / math.sqrt(24) < 0.3


def test_on_a_cpu_the_iterations_have_single_precision() -> None:
    """Newton-Schulz iterations act on the singular values alone: U p(p(p(p(p(s))))) V^T."""
    torch.manual_seed(0)
    matrix = torch.randn(24, 40, dtype=torch.float64)
    u, s, v = torch.linalg.svd(matrix, full_matrices=False)
    s, (a, b, c) = s / s.norm(), muon.NEWTON_SCHULZ
    for _ in range(5):
        s = a * s + b * s**3 + c * s**5
    torch.testing.assert_close(orthogonal(matrix.float()).double(), u @ torch.diag(s) @ v, rtol=0, atol=2e-5)


def test_a_kernel_is_the_matrix_of_its_output_channels() -> None:
    torch.manual_seed(0)
    kernel, matrix = nn.Conv2d(16, 32, 3, bias=False), nn.Linear(144, 32, bias=False)
    matrix.weight.data = kernel.weight.data.flatten(1).clone()
    gradient = torch.randn(32, 16, 3, 3)
    for layer, grad in ((kernel, gradient), (matrix, gradient.flatten(1))):
        layer.weight.grad = grad.clone()
        Muon(warmup=0).build(layer).step()
    assert torch.equal(kernel.weight.flatten(1), matrix.weight)


def test_biases_norms_tables_and_outer_layers_are_adamws() -> None:
    net = nn.Sequential(nn.Conv2d(3, 32, 3), nn.GroupNorm(4, 32), nn.Conv2d(32, 32, 3), nn.Conv2d(32, 3, 3))
    optimizer = Muon().build(net)
    assert isinstance(optimizer, Combined)
    hidden, rest = optimizer.members
    assert [p.shape for group in hidden.param_groups for p in group["params"]] == [net[2].weight.shape]
    assert sum(len(group["params"]) for group in rest.param_groups) == 7


def test_muon_goes_on_from_its_state() -> None:
    settings = Muon(lr=0.01, warmup=0, thin=4, weight_decay=0.1, groups=(ParameterRule(name="last", lr=0.5),))
    net = network(nn.Module)
    whole = copy.deepcopy(net)
    trained(whole, settings.build(whole), settings)
    optimizer = settings.build(net)
    trained(net, optimizer, settings, range(7))
    state, optimizer = copy.deepcopy(optimizer.state_dict()), settings.build(net)
    optimizer.load_state_dict(state)
    settle(optimizer, fused=True)
    trained(net, optimizer, settings, range(7, STEPS))
    assert all(torch.equal(a, b) for a, b in zip(net.parameters(), whole.parameters(), strict=True))
    assert not torch.equal(net.first.weight, network(nn.Module).first.weight)
