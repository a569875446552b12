"""Networks traced on the meta device: operations, output shapes, and the network calls of a whole grid."""

from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn

from mezzotint.app.assembly.dry_run import rehearse_sampling
from mezzotint.app.assembly.evaluation_budget import evaluation_budget
from mezzotint.app.assembly.parts import assemble, materialised, plan_metrics
from mezzotint.app.assembly.tracing import ShapeProbe, forward_flops
from mezzotint.app.config import arguments
from mezzotint.app.config.job import Job
from mezzotint.app.config.resolve import resolve
from mezzotint.app.help import config_dir
from mezzotint.errors import ConfigError


def job(*words: str) -> Job:
    from hydra import compose, initialize_config_dir

    words = ("network=mlp", "network.width=8", "hardware=cpu", *words)
    with initialize_config_dir(str(config_dir()), version_base="1.3"):
        return resolve(compose(arguments.CONFIG, [arguments.addable(word) for word in words]))


class Counted(nn.Module):
    """A network with one output channel for each input channel, or several."""

    def __init__(self, outputs: int = 1) -> None:
        super().__init__()
        self.scale, self.outputs, self.calls = nn.Parameter(torch.ones(1, device="meta")), outputs, 0

    def forward(self, x: Tensor, time: Tensor, label: Tensor | None = None) -> Tensor:
        self.calls += 1
        return torch.cat([self.scale * x] * self.outputs, 1)


class Valued(Counted):
    """A network that looks at values, which tensors on the meta device do not have."""

    def forward(self, x: Tensor, time: Tensor, label: Tensor | None = None) -> Tensor:
        assert float(x.square().mean()) >= 0
        return super().forward(x, time, label)


class Numpy(Counted):
    def forward(self, x: Tensor, time: Tensor, label: Tensor | None = None) -> Tensor:
        return self.scale * float(x.detach().numpy().mean()) * x


class Constant(nn.Module):
    def forward(self, x: Tensor, time: Tensor, label: Tensor | None = None) -> Tensor:
        return x


@pytest.mark.parametrize("outputs", [1, 2])
def test_a_network_is_called_once_for_each_form_of_its_inputs(outputs: int) -> None:
    network = Counted(outputs)
    probe = ShapeProbe(network)
    x, time = torch.randn(3, 2, 4, 4), torch.rand(3)
    for given in ({}, {"label": torch.arange(3)}, {}, {"label": torch.arange(3)}):
        found = probe(x, time, **given)
        assert found.shape == (3, 2 * outputs, 4, 4)
        assert not found.any()
    assert network.calls == 2
    assert list(probe.parameters()) == []


def test_gradients_pass_through_its_zeros() -> None:
    x = torch.randn(1, 1, 2, 2, requires_grad=True)
    (slope,) = torch.autograd.grad(ShapeProbe(Counted())(x, torch.rand(1)).sum(), x)
    assert not slope.any()


@pytest.mark.parametrize("network", [Valued(), Numpy()])
def test_a_network_that_cannot_be_traced_has_the_shape_of_its_input(network: nn.Module) -> None:
    assert ShapeProbe(network)(torch.zeros(2, 1, 3, 3), torch.zeros(2)).shape == (2, 1, 3, 3)
    assert forward_flops(network, (1, 3, 3)) == 0


def test_a_network_without_parameters_is_not_counted() -> None:
    assert forward_flops(Constant(), (1, 3, 3)) == 0
    assert ShapeProbe(Constant())(torch.zeros(2, 1, 3, 3), torch.zeros(2)).shape == (2, 1, 3, 3)


def test_shapes_that_do_not_fit_are_an_error_of_the_config() -> None:
    network = nn.Bilinear(3, 3, 1, device="meta")
    with pytest.raises(ConfigError):
        ShapeProbe(network)(torch.zeros(2, 1, 4, 4), torch.zeros(2, 1, 4, 4))


@pytest.mark.parametrize(
    "words",
    [
        ("sampler=ddim", "grid.steps=7"),
        ("sampler=heun", "grid.steps=7"),
        ("sampler=ddim", "guidance=cfg", "grid.steps=7"),
        ("sampler=ddpm", "target=clean", "grid.steps=5"),
        ("sampler=dpm_solver_3s", "grid.steps=6"),
    ],
    ids=" ".join,
)
def test_the_counted_calls_are_those_of_sampling(words: tuple[str, ...]) -> None:
    chosen = job(*words)
    dry = assemble(chosen, "meta")
    counted = rehearse_sampling(dry.sampling, dry.denoiser, dry.dataset)
    real = materialised(dry, chosen)
    generator = real.sampling.of_dataset(real.denoiser.eval(), real.dataset)
    generator.images(0, 3)
    assert counted == generator.calls


def test_materialised_weights_are_those_of_building_on_the_device() -> None:
    chosen = job("schedule=learned", "loss_weight=uncertainty")
    one, other = materialised(assemble(chosen, "meta"), chosen), assemble(chosen)
    for part, same in ((one.denoiser, other.denoiser), (one.objective, other.objective)):
        for (name, value), (_, expected) in zip(part.named_parameters(), same.named_parameters(), strict=True):
            assert torch.equal(value, expected), name


def test_a_network_that_cannot_be_counted_is_evaluated_without_a_bound() -> None:
    chosen = job("experiment=own_data", "data=emoji", "budget=200")
    dry = assemble(chosen, "meta")
    uncounted = replace(dry, denoiser=dry.denoiser.using(Valued()))
    metrics = plan_metrics(chosen, dry.dataset.shape)
    assert evaluation_budget(chosen, dry, metrics, 50, 3000).reduced
    found = evaluation_budget(chosen, uncounted, metrics, 50, 3000)
    assert (found.samples, found.reference, found.share) == (3000, 3000, 0.0)
