"""The average, against its closed form and against a plain float64 loop."""

import pytest
import torch
from tiny import BATCH, train, weights

from mezzotint.diffusion import CosineSchedule, Denoiser, Velocity
from mezzotint.errors import ConfigError
from mezzotint.runs import RunDir, checkpoints
from mezzotint.runs.load import read_weights
from mezzotint.training import EMA, Callback


def recorder(histories):
    class Record(Callback):
        order = -30

        def start(self, run):
            self.step(run)

        def step(self, run):
            state = run.module.denoiser.state_dict()
            histories.append({f"denoiser.{k}": v.double().clone() for k, v in state.items()})

    return Record()


@pytest.mark.parametrize(("halflife", "rampup"), [(160.0, None), (0.2, 0.05), (100_000.0, 0.3)])
def test_the_average_is_the_weighted_sum_of_all_weights(tmp_path, halflife, rampup):
    histories = []
    train(tmp_path, steps=30, ema=EMA(halflife, rampup), extra={"record": recorder(histories)})
    wanted = histories[0]
    for step, now in enumerate(histories[1:], start=1):
        images = step * BATCH
        life = halflife * 30 * BATCH if halflife < 1 else halflife
        life = life if rampup is None else min(life, rampup * images)
        beta = 2.0 ** (-BATCH / life)
        wanted = {k: beta * wanted[k] + (1 - beta) * now[k] for k in now}
    (average,) = weights(tmp_path)["ema"].values()
    for name, value in average.items():
        torch.testing.assert_close(value.double(), wanted[name], rtol=1e-5, atol=1e-6)


def test_half_of_the_past_is_forgotten_in_a_half_life():
    beta = EMA(640.0, None).beta(640.0, images=10**9, batch_size=64)
    assert beta**10 == pytest.approx(0.5)


def test_the_live_weights_are_never_touched(tmp_path):
    seen = []

    class Look(Callback):
        order = 50

        def step(self, run):
            before = {k: v.clone() for k, v in run.module.denoiser.state_dict().items()}
            copy = run.average()
            assert all(torch.equal(v, before[k]) for k, v in run.module.denoiser.state_dict().items())
            averaged = dict(copy.named_parameters())
            assert not any(torch.equal(p, averaged[n]) for n, p in run.module.denoiser.named_parameters())
            assert not copy.training
            assert run.module.training
            seen.append(run.step)

    train(tmp_path, steps=3, ema=EMA(0.5, None), extra={"look": Look()})
    assert seen == [1, 2, 3]


def test_the_copy_holds_the_average(tmp_path):
    class Look(Callback):
        order = 200

        def finish(self, run):
            self.copy = {f"denoiser.{name}": p.clone() for name, p in run.average().named_parameters()}

    look = Look()
    train(tmp_path, steps=5, extra={"look": look})
    for name, value in weights(tmp_path)["ema"]["0.1"].items():
        assert torch.equal(value, look.copy[name])


def test_without_an_average_the_weights_themselves_are_looked_at(tmp_path):
    outcome = train(tmp_path, steps=5, ema=None)
    assert "ema" not in weights(tmp_path)
    assert outcome["validation"]["loss"] > 0


class Odd(torch.nn.Module):
    """A network with two names for one weight, and numbers that belong to it and are not trained."""

    def __init__(self, frequency):
        super().__init__()
        self.one = torch.nn.Linear(16, 16)
        self.other = torch.nn.Linear(16, 16, bias=False)
        self.other.weight = self.one.weight
        self.register_buffer("frequency", torch.tensor(frequency))

    def forward(self, x, t, label=None):
        return self.other(self.one(x.flatten(1)) * self.frequency).reshape(x.shape)


def odd(frequency):
    torch.manual_seed(0)
    return Denoiser(Odd(frequency), CosineSchedule(), Velocity())


def test_what_is_looked_at_has_the_buffers_that_are_trained_with(tmp_path):
    class Look(Callback):
        def step(self, run):
            assert run.average().network.frequency == 3.0

    quiet = {"sample_metrics": Callback()}
    train(tmp_path, steps=7, denoiser=odd(3.0), extra=quiet)
    train(tmp_path, steps=9, denoiser=odd(5.0), extra=quiet | {"look": Look()})
    train(tmp_path, steps=11, denoiser=odd(5.0), extra=quiet | {"look": Look()}, ema=None)


def test_a_shared_weight_is_kept_under_all_its_names(tmp_path):
    train(tmp_path, steps=7, denoiser=odd(3.0), extra={"sample_metrics": Callback()})
    (average, *_) = weights(tmp_path)["ema"].values()
    assert torch.equal(average["denoiser.network.one.weight"], average["denoiser.network.other.weight"])
    read = odd(3.0)
    read.load_state_dict(read_weights(RunDir(tmp_path)))
    assert torch.equal(read.network.one.weight, average["denoiser.network.one.weight"])


def test_averages_are_found_by_the_names_of_the_weights(tmp_path):
    train(tmp_path, steps=7, extra={"sample_metrics": Callback()})
    file = tmp_path / "checkpoints" / "step-00000007.ckpt"
    saved = weights(tmp_path)
    before = saved["ema"]["0.1"]
    saved["ema"]["0.1"] = dict(reversed(before.items()))
    checkpoints.write(saved, file)

    class Look(Callback):
        order = -100

        def step(self, run):
            if run.step == 8:
                found = dict(run.average().named_parameters(prefix="denoiser"))
                assert all(torch.equal(found[name], value) for name, value in before.items())

    train(tmp_path, steps=8, extra={"look": Look(), "sample_metrics": Callback()})


def test_an_average_is_asked_for_by_its_half_life(tmp_path):
    train(tmp_path, steps=2, ema=EMA([0.1, 5_000_000]), extra={"sample_metrics": Callback()})
    for half_life in (5_000_000, 5e6, "5e+06"):
        read = read_weights(RunDir(tmp_path), half_life)
        assert torch.equal(next(iter(read.values())), next(iter(weights(tmp_path)["ema"]["5e+06"].values())))
    with pytest.raises(ConfigError, match=r"weights=7: .* keeps raw, 0.1, 5e\+06"):
        read_weights(RunDir(tmp_path), 7)


def test_two_averages_of_one_name_cannot_be():
    with pytest.raises(ValueError, match="two of these would be one"):
        EMA([1_000_000.0, 1_000_000.1])


@pytest.mark.parametrize("wrong", [{"halflife": 0.0}, {"halflife": []}, {"rampup": 0.0}])
def test_settings_that_cannot_be(wrong):
    with pytest.raises(ValueError, match="must be above 0"):
        EMA(**wrong)
