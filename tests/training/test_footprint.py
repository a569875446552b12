"""What a run takes, before it runs."""

import pytest
import torch
from tiny import train, weights

from mezzotint.data.inputs import NetworkInputs
from mezzotint.diffusion import CosineSchedule, Denoiser, Velocity
from mezzotint.networks import MLP, UNet, VectorCondition
from mezzotint.training import EMA, AdamW, Hardware, Muon
from mezzotint.training.hardware.memory import checkpoint_size, footprint, free_memory, size

CPU = {"accelerator": "cpu"}


def counted(network, micro_batch=64, ema=None, **hardware):
    hardware = Hardware(**CPU, **hardware)
    hardware.recompute(network)
    return footprint(network, NetworkInputs((3, 16, 16)), micro_batch, hardware, ema)


def test_weights_moments_and_averages_are_four_bytes_a_parameter():
    network = MLP((3, 16, 16), width=16)
    weights = 4 * sum(p.numel() for p in network.parameters())
    found = counted(network, ema=EMA([0.1, 0.2]))
    assert (found.weights, found.optimizer, found.averages) == (weights, 2 * weights, 3 * weights)
    assert found.total == 6 * weights + found.working
    assert str(found).startswith(size(found.total))


def test_fsdp_shares_them_out():
    network = MLP((3, 16, 16), width=16)
    one, two = counted(network), counted(network, devices=2, strategy="fsdp")
    assert (two.weights, two.optimizer) == (one.weights // 2, one.optimizer // 2)


class Biased(torch.nn.Module):
    """x plus one number a channel, computed from a condition that it cannot do without."""

    def __init__(self):
        super().__init__()
        self.layer = torch.nn.Linear(5, 3)

    def forward(self, x, time, temperature):
        return x + self.layer(temperature)[:, :, None, None]


def test_a_step_is_counted_with_the_conditions_of_the_data():
    """At the peak of the backward pass five tensors of the size of x are alive, and little else."""
    kinds, images = {"temperature": VectorCondition(5)}, 3 * 16 * 16 * 4
    found = footprint(Biased(), NetworkInputs((3, 16, 16), conditions=kinds), 64, Hardware(**CPU)).working
    assert found == pytest.approx(5 * 64 * images, rel=1e-3)
    with pytest.raises(TypeError, match="temperature"):
        footprint(Biased(), NetworkInputs((3, 16, 16)), 64, Hardware(**CPU))


def test_smaller_micro_batches_and_recomputing_save_memory():
    network = UNet((3, 16, 16), width=32, multipliers=(1, 2), attention=(8,))
    whole, half, recomputed = counted(network), counted(network, 32), counted(network, checkpointing=True)
    assert half.working < 0.6 * whole.working
    assert recomputed.working < 0.6 * whole.working


def test_checkpoints_have_the_size_that_was_foretold(tmp_path):
    """Two averages; what is no number takes a few kB."""
    train(tmp_path, steps=2, denoiser=Denoiser(MLP((1, 4, 4), classes=2, width=256), CosineSchedule(), Velocity()))
    saved = weights(tmp_path)
    numbers = sum(tensor.numel() for tensor in saved["state_dict"].values())
    file = next((tmp_path / "checkpoints").glob("*.ckpt"))
    foretold = checkpoint_size(torch.nn.Linear(numbers - 1, 1), EMA([0.1, 0.5]))
    assert foretold > 2e6
    assert file.stat().st_size == pytest.approx(foretold, rel=0.02)


def test_the_state_of_muon_is_counted_too():
    network = UNet((1, 8, 8), width=16, multipliers=(1, 2), blocks=1, attention=())
    for settings in (AdamW(), Muon()):
        optimizer = settings.build(network)
        for p in network.parameters():
            p.grad = torch.ones_like(p)
        optimizer.step()
        held = sum(value.numel() for state in optimizer.state.values() for value in state.values() if value.ndim)
        assert settings.state_numbers(network) == held
    assert Muon().state_numbers(network) < 0.7 * AdamW().state_numbers(network)


def test_this_machine_has_memory():
    assert 1e7 < free_memory("cpu") < 1e14


@pytest.mark.parametrize(("count", "said"), [(10_439_184, "10.4 MB"), (3.2e9, "3.2 GB"), (999, "0.999 kB")])
def test_sizes_are_said_shortly(count, said):
    assert size(count) == said
