"""A transformer in training: dropout, label dropout, averages and recomputed blocks in a run that was killed."""

from pathlib import Path

import pytest
import torch
from tiny import Kill, Killed, Noise, entries, train, weights

from mezzotint.diffusion import Clean, Denoiser, FlowWeight, LogNormalTimes, Objective, RawTime, RectifiedFlowSchedule
from mezzotint.networks import JiT
from mezzotint.training import EMA, AdamW


def parts(checkpointing: bool = False) -> dict:
    torch.manual_seed(0)
    network = JiT((1, 4, 4), 2, width=16, depth=4, patch=2, class_tokens=2, class_start=1, bottleneck=4, dropout=0.3)
    for block in network.blocks:
        block.checkpointing = checkpointing
    denoiser = Denoiser(network, RectifiedFlowSchedule(), Clean(), RawTime())
    objective = Objective(LogNormalTimes(0.8, 0.8), FlowWeight(0.05), label_dropout=0.1)
    return {"denoiser": denoiser, "objective": objective, "dataset": Noise(), "optimizer": AdamW(1e-2), "ema": EMA(0.1)}


def test_killed_and_resumed_is_never_interrupted_and_recomputed_blocks_learn_the_same(tmp_path: Path) -> None:
    train(tmp_path / "a", steps=20, **parts())
    with pytest.raises(Killed):
        train(tmp_path / "b", steps=20, extra={"kill": Kill(10)}, **parts())
    train(tmp_path / "b", steps=20, **parts())
    train(tmp_path / "c", steps=20, **parts(checkpointing=True))
    one, two, three = (dict(entries(weights(tmp_path / name))) for name in "abc")
    assert one.keys() == two.keys()
    for name, value in one.items():
        assert torch.equal(value, two[name]) if isinstance(value, torch.Tensor) else value == two[name], name
    for name, value in one.items():
        if isinstance(value, torch.Tensor) and value.is_floating_point():
            torch.testing.assert_close(three[name], value, rtol=1e-5, atol=1e-6)
    start = {f"denoiser.{name}": value for name, value in parts()["denoiser"].state_dict().items()}
    final = weights(tmp_path / "a")["state_dict"]
    assert all(not torch.equal(final[name], value) for name, value in start.items())  # every tensor is trained
