"""What is refused before anything is made, by `train`, and told after the plan, by `check`."""

import re
import shutil
from pathlib import Path
from types import SimpleNamespace
from typing import Any, NamedTuple

import numpy as np
import pytest

from mezzotint.app.assembly import preflight
from mezzotint.app.assembly.compatibility import check_shards
from mezzotint.app.assembly.duration import spoken
from mezzotint.errors import ConfigError

from ..conftest import TINY, Command

NEVER = "runs/never"


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["optimizer.lr=nan"], "optimizer.lr: nan is not float"),
        (["optimizer.lr=20"], "optimizer: lr=20.0: a weight moves by about so much in a step"),
        (["optimizer.betas=[0.9,1.5]"], "optimizer: betas=[0.9, 1.5]: both must be 0 or more and below 1"),
        (["optimizer.eps=-1"], "optimizer: eps=-1.0 must be above 0"),
        (["callbacks.progress.quiet=-1"], "callbacks.progress: quiet=-1.0: give the seconds"),
        (["hardware.workers=-1"], "hardware: workers=-1: give 0 or more processes"),
        (["network.multipliers=[1,-2]"], "network: multipliers=[1, -2], groups=32: all must be above 0"),
        (["network.groups=0"], "network: multipliers=[1, 2], groups=0: all must be above 0"),
        (["network.shape=[3,8,8]"], "network.shape=[3, 8, 8] and data.shape=[1, 8, 8] differ"),
        (["network.classes=5"], "network.classes=5 and data.classes=10: the network would not know every label"),
        (["network.augmentation=9"], "network.augmentation=9, and the objective augments nothing"),
        (["network.augmentation=5", "objective=augmented"], "network: A network built with augmentation=5 got 9"),
        (["network.learned_variance=true"], "the network has two outputs for each channel, and loss="),
        (
            ["network.learned_variance=true", "loss=variational"],
            "the network has two outputs for each channel, and loss=VariationalLoss never trains the second",
        ),
        (["loss=hybrid"], "network: variance=LearnedRangeVariance needs a network with two outputs per channel"),
        (["schedule.steps=0"], "schedule: CosineSchedule(steps=0, offset=0.008, max_beta=0.999) has steps=0"),
        (["schedule.steps=-5"], "schedule: CosineSchedule(steps=-5"),
        (["guidance=cfg_interval", "guidance.low=5"], "guidance: low=5, high=2.9: guidance is applied in between"),
        (["loss_weight=min_snr", "loss_weight.gamma=-1"], "loss_weight: gamma=-1 must be above 0"),
        (["guidance=cfg_pp", "sampler=unipc"], "guidance by CFGPlusPlus is published for sampler=ddim"),
        (["guidance=cfg_pp", "guidance.scale=1", "objective.label_dropout=0"], "guidance compares"),
        (["guidance=cfg", "objective.label_dropout=0"], "guidance compares with what the network says without a label"),
        (["budget=1e6"], "budget: 1000000.0 (write an integer as 1000000) is not int"),
        (["seed=99999999999999999999999"], "seed: this integer does not fit into 64 bits; give a smaller one"),
        (["name=latest"], "name=latest is what the link to the newest run is called"),
        (["paths.runs=null"], "paths.runs=: give a folder"),
        (["~paths.runs"], "paths.runs: Paths requires this argument"),
        (["paths.runs="], "paths.runs=: give a folder"),
        (["weights=emma"], "weights=emma: this run keeps raw, ema, 0.05"),
        (["ema=none", "weights=ema", "weights=0.05"], "weights=0.05: this run keeps raw"),
        (["hardware.micro_batch=find"], "hardware.micro_batch=find only works with `mezzotint check`"),
        (["hardware.checkpointing=true", "network=mlp"], "hardware: checkpointing=true, and MLP has no stages"),
        (["paths.runs=/proc/x"], "/proc cannot be written"),
        (["paths.cache=/proc/x"], "/proc cannot be written"),
        (["grid=repaint"], "sampler: DDIM(eta=0.0) only retraces its deterministic path where the grid gets noisier"),
        (
            ["callbacks.checkpoints=null"],
            "callbacks: none of them saves, so the run could be neither",
        ),
        (["sampler=[ddim,heun]"], "sampler=[ddim,heun]: one sampler at a time; lists are for metrics"),
        (["sampler=ddim,heun"], "sampler=ddim,heun: one sampler at a time, or -m for a job each"),
        (["metrics=[fid,kernl]"], "metrics=kernl: no such choice"),
        (["ema=null"], "ema=null: give the name of a choice: ema=none chooses nothing"),
        (["budget"], "'budget' is not key=value"),
        (["-x"], "no option -x"),
        (["--multirn"], "no option --multirn; did you mean '--multirun'?"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_refused_before_anything_is_made(
    words: list[str], said: str, mezzotint: Command, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mezzotint.app.commands.train.train", lambda *_: pytest.fail("it was not refused"))
    done = mezzotint("train", *words)
    assert done.code == 2
    assert done.err.startswith(f"mezzotint train: {said}")
    assert done.err.count("\n") == 1
    assert list(home.iterdir()) == []


@pytest.mark.parametrize(
    ("metric", "real", "said"),
    [
        ("fid_split_half", 3, "SplitHalfFrechet needs at least 4 real examples, and there are 3"),
        ("density_coverage", 5, "DensityCoverage needs at least 6 real examples, and there are 5"),
        ("precision_recall", 3, "PrecisionRecall needs at least 4"),
        ("fid", 1, "FrechetDistance needs at least 2"),
        ("kid", 1, "KernelDistance needs at least 2"),
        ("mifid", 1, "MiFID needs at least 2"),
        ("inception_score", 9, "InceptionScore needs at least 10 generated examples, and there are 9"),
    ],
)
@pytest.mark.parametrize("kind", ["npz", "test"])
def test_what_a_metric_needs_of_any_reference_is_known_before_training(
    metric: str, real: int, said: str, kind: str, mezzotint: Command, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mezzotint.app.commands.train.train", lambda *_: pytest.fail("it was not refused"))
    pixels = np.random.default_rng(0).integers(0, 256, (40, 8, 8, 1), dtype=np.uint8)
    np.savez("few.npz", images=pixels[:real])
    np.savez("data.npz", images=pixels)
    words = ["reference=few.npz"]
    if kind == "test":
        words = ["data=npz", "data.root=data.npz", "data.shape=[1,8,8]", f"data.held_out={real / 40}", "reference=test"]
    before = set(home.iterdir())
    for command in ("check", "train"):
        done = mezzotint(command, f"metrics=[{metric}]", "n=null", "debug=tiny", "hardware=cpu", *words)
        assert done.code == 2
        assert f"metrics.{metric}: {said}" in done.err.splitlines()[-1]
    assert set(home.iterdir()) == before


def test_a_callback_that_is_null_is_left_out(mezzotint: Command) -> None:
    done = mezzotint("train", *TINY, "callbacks.nan_guard=null", "metrics=[]", "name=a")
    assert done.code == 0, done.err
    assert "nan_guard" not in Path("runs/a/config.yaml").read_text()
    assert "4 steps of 16 images, " in done.out.splitlines()[1]


# ------------------------------------------------------------------------------------------------------------- the disk


class Usage(NamedTuple):
    total: int
    used: int
    free: int


def test_a_disk_too_small_for_the_checkpoints_is_told_in_numbers(
    mezzotint: Command, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Digits: 7.85 MB each, three that stay and one that is written."""
    monkeypatch.setattr(shutil, "disk_usage", lambda place: Usage(10**9, 0, 30 * 10**6))
    done = mezzotint("train")
    assert done.code == 2
    assert "has 30 MB free, and 4 checkpoints of 7.85 MB need 31.4 MB" in done.err
    assert list(home.iterdir()) == []
    assert mezzotint("check", "network=mlp", "network.width=1024", "hardware=cpu").code == 2
    assert mezzotint("check", "network=mlp", "callbacks.checkpoints.keep=1").code == 0


@pytest.mark.parametrize(("every", "keep", "expected"), [(0.1, 3, 4), (0.5, 3, 3), (1000, 1, 2), (50, 30, 21)])
def test_how_many_checkpoints_lie_on_the_disk(every: float, keep: int, expected: int) -> None:
    from mezzotint.training import Checkpoints

    callbacks = {"checkpoints": Checkpoints(every=every, keep=keep)}
    assert preflight.checkpoints(SimpleNamespace(budget=1000), callbacks) == expected
    assert preflight.checkpoints(SimpleNamespace(budget=1000), callbacks | {"sample_metrics": object()}) == expected + 1
    assert preflight.checkpoints(SimpleNamespace(budget=1000), {}) == 0


def test_nothing_is_left_where_writing_was_tried(tmp_path: Path) -> None:
    assert preflight.reason(tmp_path) is None
    assert list(tmp_path.iterdir()) == []
    file = tmp_path / "file"
    file.touch()
    assert preflight.reason(file) == "it is a file"
    assert preflight.existing(tmp_path / "a" / "b") == tmp_path


# ---------------------------------------------------------------------------------------------------------------- check


def test_the_plan_says_what_a_run_would_take(mezzotint: Command) -> None:
    out = mezzotint("check", "name=a", "hardware.micro_batch=16").out
    for said in (
        " a step, 8.81 TFLOP in all",
        "16 images on each device, 4 times a step",
        "weights 2.61 MB, optimizer 2.64 MB, averages 5.22 MB",
        "with hardware.checkpointing=true",
        "7.85 MB each, at most 4 on the disk at once: 31.4 MB",
        "runs/a (new)",
    ):
        assert said in out


def test_data_that_is_missing_is_told_after_the_plan(mezzotint: Command) -> None:
    done = mezzotint("check", "data=image_folder", "data.root=/nowhere", "network=mlp", "reference=/nothing")
    assert "images of 3 x 64 x 64, not here" in done.out
    assert "\n  data: /nowhere is not a folder: give data.root=DIR with a folder of images.\n" in done.err
    assert "\n  reference=/nothing: there is no such folder or file" in done.err
    assert done.code == 2


def test_data_that_training_would_fetch_is_no_fault(mezzotint: Command, home: Path) -> None:
    done = mezzotint("check", "data=cifar10", "network=mlp", "extractor=effnet", f"data.cache={home}/data")
    assert done.code == 0, done.err
    assert "training downloads them to" in done.out
    assert list(home.iterdir()) == []


@pytest.mark.skipif("__import__('torch').cuda.is_available()")
def test_a_job_for_a_cluster_is_planned_where_there_is_no_gpu(mezzotint: Command) -> None:
    done = mezzotint("check", "hardware=gpus", "hardware.devices=8", "network=mlp")
    assert "8 images on each device, once a step" in done.out
    assert "torch sees no GPU here" in done.err
    assert done.code == 2
    assert mezzotint("check", "hardware=gpus", "hardware.devices=7", "network=mlp").err.startswith(
        "mezzotint check: batch_size: "
    )


def test_a_network_that_cannot_be_counted_is_checked_all_the_same(mezzotint: Command, home: Path) -> None:
    (home / "mine_that_looks.py").write_text(
        "import torch\nclass Net(torch.nn.Module):\n"
        "    def __init__(self, shape):\n        super().__init__()\n        self.c = torch.nn.Conv2d(1, 1, 1)\n"
        "    def forward(self, x, time, label=None):\n"
        "        return self.c(x) if x.is_meta or x.sum().item() > 0 else self.c(x)\n"
    )
    (home / "own" / "network").mkdir(parents=True)
    (home / "own" / "network" / "mine.yaml").write_text("_target_: mine_that_looks.Net\nshape: ${data.shape}\n")
    done = mezzotint("check", "--config-dir=own", "network=mine")
    assert (done.code, done.err) == (0, "")
    assert "not to be counted for this network" in done.out


def test_the_largest_micro_batch_is_looked_for(mezzotint: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    from mezzotint.training import micro_batch

    monkeypatch.setattr(micro_batch, "free_memory", lambda device: 20e6)
    done = mezzotint("check", "hardware.micro_batch=find", "batch_size=16", "hardware=cpu", "network=mlp")
    assert done.code == 0, done.err
    assert "images/s" in done.out
    assert done.out.splitlines()[-1].endswith("is the largest that fits; the batch stays 16")


# ---------------------------------------------------------------------------------------------------------------- pairs


def test_a_run_is_sampled_with_the_guidance_that_it_was_trained_for(mezzotint: Command) -> None:
    """guidance= of the command replaces the run's, and with it SelfConditioned."""
    words = ["objective.self_conditioning=0.5", "network.self_conditioning=true", "guidance=self_conditioned"]
    done = mezzotint("train", *TINY, *words, "objective.label_dropout=0", "metrics=[]", "name=a")
    assert done.code == 0, done.err
    refused = mezzotint("sample", "run=runs/a", "guidance=none")
    assert refused.code == 2
    assert "guidance without SelfConditioned do not fit together" in refused.err
    refused = mezzotint("sample", "run=runs/a", "guidance=cfg_self_conditioned")
    assert refused.code == 2
    assert "objective.label_dropout=0" in refused.err


def test_shards_are_of_the_network_alone() -> None:
    from torch import nn

    class Pieces:
        strategy, processes = "fsdp", 2
        network = nn.Linear(2, 2)
        named_parameters: Any = network.named_parameters

    check_shards(Pieces, nn.Identity(), Pieces)
    with pytest.raises(ConfigError, match="weight outside of it is trained too"):
        check_shards(Pieces, nn.Linear(1, 1), Pieces)


def test_a_folder_that_may_not_be_opened_is_told(mezzotint: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    def forbidden(*_: object, **__: object) -> None:
        raise PermissionError(13, "Permission denied", "/srv/runs/a/config.yaml")

    monkeypatch.setattr("mezzotint.app.results.run_folders.place", forbidden)
    done = mezzotint("train", "paths.runs=/srv/runs")
    assert done.code == 2
    assert done.err.splitlines()[-1].startswith(
        "mezzotint train: /srv/runs/a/config.yaml: permission denied; choose another folder with paths.runs="
    )


def test_what_a_look_costs_and_how_long_all_takes_here_is_said(mezzotint: Command) -> None:
    said = mezzotint("check", "data=emoji", "hardware=cpu").out
    assert re.search(r"at the end +64 pictures drawn, [\d,]+ samples evaluated \(fid, kid\) against 1,700 images", said)
    assert re.search(r"time here +about [\d.]+ \w+: .* of training, .* \(measured: a step of \d+ took", said)
    assert "evaluated" in mezzotint("check", "data=emoji", "hardware=cpu", "n=3000").out


@pytest.mark.parametrize(
    ("seconds", "said"),
    [(0.25, "0.25 s"), (59, "59 s"), (89, "89 s"), (750, "12 min"), (14_000, "3.9 hours"), (4e5, "4.6 days")],
)
def test_a_duration_is_said_in_two_digits(seconds: float, said: str) -> None:
    assert spoken(seconds) == said
