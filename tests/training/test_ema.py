"""The average, against its closed form and against a plain float64 loop."""

import pytest
import torch
from tiny import BATCH, train, weights

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


@pytest.mark.parametrize("wrong", [{"halflife": 0.0}, {"halflife": []}, {"rampup": 0.0}])
def test_settings_that_cannot_be(wrong):
    with pytest.raises(ValueError, match="must be above 0"):
        EMA(**wrong)
